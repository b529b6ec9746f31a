"""What built-in validators share: typed parameters that are checked when a validator is made.

A validator is a frozen pydantic dataclass that derives from `BuiltIn`, names itself in `name`, says in a `Kind` what
each parameter must be, and answers in `judge`. It never raises to say no.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Final, Self, get_type_hints

from pydantic import ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from pytest_llmcall.errors import LLMCallError
from pytest_llmcall.reply import Reply
from pytest_llmcall.validators.wording import show, unknown
from pytest_llmcall.verdict import Verdict

# Who misuses a validator sees where: pytest hides the frames of modules that say so.
__tracebackhide__ = True

PARAMETERS: Final = ConfigDict(strict=True, extra="forbid")
"""Parameters are never converted: `"3"` is not 3, and true is not 1."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a parameter must be, in words that can follow "must be"."""

    words: str


Flag = Annotated[bool, Kind("true or false")]
Count = Annotated[int, Field(ge=1), Kind("a whole number of at least 1")]
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterProblem:
    """One parameter that does not fit.

    Attributes:
        path: Where it stands inside the parameters, the parameter's name first; empty for the validator as a whole.
        message: What it must be and what was found.
    """

    path: Path
    message: str


class ParameterError(LLMCallError):
    """All that is wrong with the parameters of one validator."""

    def __init__(self, validator: str, problems: Iterable[ParameterProblem]) -> None:
        self.validator = validator
        self.problems = tuple(problems)
        super().__init__("\n".join(f"validator {validator!r}: {each.message}" for each in self.problems))


class BuiltIn:
    """The base of built-in validators; see the module's docstring."""

    __slots__ = ()

    name: ClassVar[str]

    @classmethod
    def parameters(cls) -> tuple[str, ...]:
        """Return the names of the parameters in order."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]  # every subclass is a dataclass

    @classmethod
    def short_parameter(cls) -> str | None:
        """Return the parameter that the short form gives (`contains: Paris`), or None if there is none."""
        return next((each.name for each in fields(cls) if not each.kw_only), None)  # type: ignore[arg-type]

    def judge(self, reply: Reply) -> Verdict:
        """Return the verdict on a reply."""
        raise NotImplementedError

    @model_validator(mode="wrap")
    @classmethod
    def _check_parameters(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise ParameterError(cls.name, _problems(cls, error.errors())) from None

    def verdict(self, passed: bool, reason: str) -> Verdict:  # noqa: FBT001 - the one fact that a verdict is about
        """Return this validator's verdict."""
        return Verdict(validator=self.name, passed=passed, reason=reason)


def _problems(cls: type[BuiltIn], errors: list[ErrorDetails]) -> list[ParameterProblem]:
    found: dict[Path, ParameterProblem] = {}
    for error in errors:
        for problem in _translate(cls, error):
            # A union reports one error for each of its members; the first says enough.
            found.setdefault(problem.path, problem)
    return list(found.values())


def _translate(cls: type[BuiltIn], error: ErrorDetails) -> list[ParameterProblem]:
    names = cls.parameters()
    first = error["loc"][0] if error["loc"] else ""
    name = names[first] if isinstance(first, int) and first < len(names) else str(first)
    if "problems" in error.get("ctx", {}):
        return [
            ParameterProblem(path=(name, *each.path) if name else each.path, message=each.message)
            for each in error["ctx"]["problems"]
        ]
    if error["type"] == "missing":
        return [ParameterProblem(path=(), message=f"{name} is missing: it must be {_kind(cls, name)}")]
    if error["type"] == "unexpected_keyword_argument":
        return [ParameterProblem(path=(name,), message=unknown("parameter", name, names))]
    if error["type"] == "unexpected_positional_argument":
        return [ParameterProblem(path=(), message=f"too many values: name the parameters ({', '.join(names)})")]
    value = error["input"]
    return [ParameterProblem(path=(name,), message=f"{name} must be {_kind(cls, name)}, not {show(value)}")]


def _kind(cls: type[BuiltIn], name: str) -> str:
    # Not `__pydantic_fields__`: the class that pydantic hands to a validator is the one before `slots` remade it.
    metadata = get_type_hints(cls, include_extras=True)[name].__metadata__
    return next(each.words for each in reversed(metadata) if isinstance(each, Kind))


def unfit(*problems: ParameterProblem) -> PydanticCustomError:
    """Return what a parameter's own check raises; paths are relative to the parameter."""
    return PydanticCustomError("unfit", "unfit", {"problems": problems})
