"""The validator of one field of the reply's JSON: that it is there, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator
from pydantic import Field as Bounds
from pydantic.dataclasses import dataclass

from pytest_llmcall.reply import MISSING, Reply
from pytest_llmcall.validators.base import PARAMETERS, BuiltIn, Flag, Kind, ParameterError, ParameterProblem, Path
from pytest_llmcall.validators.json_text import NotJson, is_json, is_number, json_equal, judged_value, type_of
from pytest_llmcall.validators.paths import JsonPath, format_path, look_up, parse_path
from pytest_llmcall.validators.patterns import Pattern, comparable, compile_pattern, matches_everything
from pytest_llmcall.validators.wording import show
from pytest_llmcall.verdict import Verdict

_TYPES: Final = "string, integer, number, boolean, array, object or null"
TypeName = Literal["string", "integer", "number", "boolean", "array", "object", "null"]


def _json_value(value: Any) -> Any:
    if not is_json(value):
        raise ValueError("not a JSON value")
    return value


_UNSET: Any = MISSING  # None is a JSON value, so an option that was not given is MISSING

JsonValue = Annotated[Any, AfterValidator(_json_value), Kind("a JSON value")]
JsonValues = Annotated[list[Any], Bounds(min_length=1), AfterValidator(_json_value), Kind("a list of JSON values")]
Types = Annotated[
    TypeName | Annotated[list[TypeName], Bounds(min_length=1)], Kind(f"{_TYPES} (in quotes), or a list of some of them")
]
Bound = Annotated[int | float, Bounds(allow_inf_nan=False), Kind("a number")]
Size = Annotated[int, Bounds(ge=0), Kind("a whole number of at least 0")]


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class Field(BuiltIn):
    """A field of the JSON is there (which is asked if nothing else is) or not, and holds what it should."""

    name: ClassVar[str] = "field"

    path: JsonPath
    _: KW_ONLY
    exists: Flag = True
    equals: JsonValue = _UNSET
    one_of: JsonValues = _UNSET
    type: Types = _UNSET
    contains: JsonValue = _UNSET
    matches: Pattern = _UNSET
    min: Bound = _UNSET
    max: Bound = _UNSET
    min_length: Size = _UNSET
    max_length: Size = _UNSET
    fenced: Flag = False

    def __post_init__(self) -> None:
        """Refuse conditions that contradict each other, and those that hold for every value."""
        problems = [ParameterProblem(path=(name,), message=message) for name, message in self._senseless()]
        if problems:
            raise ParameterError(self.name, problems)

    def judge(self, reply: Reply) -> Verdict:
        """Say no with every condition that does not hold."""
        path = parse_path(self.path)
        try:
            value = look_up(judged_value(reply, fenced=self.fenced), path)
        except NotJson as no:
            return self.verdict(False, f"wanted JSON with {self.path!r}, {no}")
        if value is MISSING:
            return self._on_missing(reply, path)
        if not self.exists:
            return self.verdict(False, f"wanted no {self.path!r}, found {show(value)}")
        if broken := [
            _describe(name, wanted) for name, wanted in self._asked() if not _CONDITIONS[name](value, wanted)
        ]:
            return self.verdict(False, f"wanted {self.path!r} {' and '.join(broken)}, found {_found(value)}")
        return self.verdict(True, f"{self.path!r} is {_found(value)}")

    def _on_missing(self, reply: Reply, path: Path) -> Verdict:
        if not self.exists:
            return self.verdict(True, f"there is no {self.path!r}")
        whole = judged_value(reply, fenced=self.fenced)
        reached = next(at for at in range(len(path), -1, -1) if look_up(whole, path[:at]) is not MISSING)
        parent = look_up(whole, path[:reached])
        return self.verdict(
            False, f"wanted {self.path!r}, but {format_path(path[:reached])} holds none such: {_found(parent)}"
        )

    def _asked(self) -> Iterator[tuple[str, Any]]:
        values = ((name, getattr(self, name)) for name in _CONDITIONS)
        return ((name, wanted) for name, wanted in values if wanted is not MISSING)

    def _senseless(self) -> Iterator[tuple[str, str]]:
        asked = dict(self._asked())
        if not self.exists and asked:
            yield "exists", f"a field that must not exist cannot be asked for {', '.join(asked)}"
        for least, most in (("min", "max"), ("min_length", "max_length")):
            if least in asked and most in asked and asked[least] > asked[most]:
                yield least, f"{least} {asked[least]} is more than {most} {asked[most]}, so nothing can fit"
        if asked.get("contains") == "":
            yield "contains", "contains must not be empty: every text contains it"
        if "matches" in asked and matches_everything(self.matches):
            yield "matches", f"matches {self.matches!r} fits every text, so it cannot say no"


def _has_type(value: Any, wanted: str | list[str]) -> bool:
    found = type_of(value)
    names = [wanted] if isinstance(wanted, str) else wanted
    return found in names or (found == "integer" and "number" in names)


def _contains(value: Any, wanted: Any) -> bool:
    if isinstance(value, str):
        return isinstance(wanted, str) and wanted in value
    return isinstance(value, list | tuple) and any(json_equal(each, wanted) for each in value)


def _matches(value: str, wanted: str) -> bool:
    return compile_pattern(wanted).search(comparable(value)) is not None


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str | list | tuple | Mapping) else None


_CONDITIONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "equals": json_equal,
    "one_of": lambda value, wanted: any(json_equal(value, each) for each in wanted),
    "type": _has_type,
    "contains": _contains,
    "matches": lambda value, wanted: isinstance(value, str) and _matches(value, wanted),
    "min": lambda value, wanted: is_number(value) and value >= wanted,
    "max": lambda value, wanted: is_number(value) and value <= wanted,
    "min_length": lambda value, wanted: (length := _length(value)) is not None and length >= wanted,
    "max_length": lambda value, wanted: (length := _length(value)) is not None and length <= wanted,
}

_WORDS: Final[Mapping[str, str]] = {
    "equals": "equal to",
    "one_of": "to be one of",
    "type": "of type",
    "contains": "to contain",
    "matches": "to match",
    "min": "to be a number of at least",
    "max": "to be a number of at most",
    "min_length": "to have a length of at least",
    "max_length": "to have a length of at most",
}


def _describe(name: str, wanted: Any) -> str:
    shown = wanted if name == "type" and isinstance(wanted, str) else show(wanted)
    return f"{_WORDS[name]} {shown}"


def _found(value: Any) -> str:
    return f"{show(value)} ({type_of(value)})"
