"""JSON Schemas: found to be right and complete when a file is read, then used without ever touching the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator as SchemaValidator
from jsonschema.validators import validator_for
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]
from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from pytest_llmcall.validators.base import ParameterProblem, Path
from pytest_llmcall.validators.formats import FORMATS
from pytest_llmcall.validators.paths import format_path
from pytest_llmcall.validators.schema_keywords import known_keywords, strict_checker
from pytest_llmcall.validators.schema_sense import REFERENCES, At, accepts_everything, never_ends
from pytest_llmcall.validators.wording import cut, nearest_of

SHOWN_ERRORS: Final = 50
"""Errors of one value that a reason lists at most."""

_ONE: Final = frozenset(
    (
        *("additionalItems", "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames"),
        *("then", "unevaluatedItems", "unevaluatedProperties"),
    )
)
_MANY: Final = frozenset(("allOf", "anyOf", "items", "oneOf", "prefixItems"))
_NAMED: Final = frozenset(
    ("$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties")
)


class _Place(NamedTuple):
    path: Path
    schema: Mapping[str, Any]
    resolver: Any

    @property
    def at(self) -> At:
        return At(self.schema, self.resolver)


def schema_problems(schema: Mapping[str, Any], *, formats: bool = True) -> list[ParameterProblem]:
    """Return everything that is wrong with a schema; paths are relative to it.

    Args:
        schema: A JSON Schema, of the draft that its `$schema` names, else 2020-12.
        formats: Whether a `format` that cannot be checked here is wrong.
    """
    checker = _checker_class(schema)
    if checker is None:
        message = f"the schema's draft is not known: {schema['$schema']!r}; leave `$schema` out for 2020-12"
        return [ParameterProblem(path=("$schema",), message=message)]
    try:
        return _wrong(schema, checker) or _senseless(schema, known_keywords(checker), formats=formats)
    except RecursionError:
        return [ParameterProblem(path=(), message="the schema is nested too deeply to be used")]


def _wrong(schema: Mapping[str, Any], checker: type[SchemaValidator]) -> list[ParameterProblem]:
    meta = checker(checker.META_SCHEMA, registry=REGISTRY, format_checker=FORMATS)
    return [
        ParameterProblem(
            path=tuple(error.absolute_path), message=f"the schema is wrong {_line(error)}{_branches(error)}"
        )
        for error in _sorted(meta.iter_errors(schema))
    ]


def _senseless(schema: Mapping[str, Any], known: frozenset[str], *, formats: bool) -> list[ParameterProblem]:
    checks = (_unknown_keywords(known), _open_references, _endless, *((_open_formats,) if formats else ()))
    return [problem for place in _places(schema) for check in checks for problem in check(place)]


def can_say_no(schema: Mapping[str, Any]) -> bool:
    """Tell whether there is a value that a schema rejects; in doubt there is."""
    checker = _checker_class(schema) or Draft202012Validator
    [root] = (place for place in _places(schema) if not place.path)
    return not accepts_everything(root.at, frozenset(checker.VALIDATORS))


def schema_errors(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Return a line for everything in which a value breaks a schema, up to `SHOWN_ERRORS` of them."""
    checker = strict_checker(_checker_class(schema) or Draft202012Validator)
    # Without its `$schema`, for which jsonschema would take its own class wherever a reference leads back here.
    plain = {keyword: each for keyword, each in schema.items() if keyword != "$schema"}
    try:
        errors = _sorted(checker(plain, registry=REGISTRY, format_checker=FORMATS).iter_errors(value))
    except RecursionError:
        return ["at $: nested too deeply to be judged"]
    lines = [line for error in errors[:SHOWN_ERRORS] for line in (_line(error), *map(_branch, error.context))]
    return [*lines, f"and {len(errors) - SHOWN_ERRORS:,} more errors"] if len(errors) > SHOWN_ERRORS else lines


def _checker_class(schema: Mapping[str, Any]) -> type[SchemaValidator] | None:
    if "$schema" not in schema:
        return Draft202012Validator
    named = schema["$schema"]
    return validator_for({"$schema": named}, default=None) if isinstance(named, str) else None  # type: ignore[arg-type]


def _sorted(errors: Iterator[ValidationError]) -> list[ValidationError]:
    return sorted(errors, key=lambda error: ([str(step) for step in error.absolute_path], error.message))


def _line(error: ValidationError) -> str:
    return f"at {format_path(tuple(error.absolute_path))}: {cut(error.message)}"


def _branch(error: ValidationError) -> str:
    return f"  branch {error.schema_path[0]}, at {format_path(tuple(error.absolute_path))}: {cut(error.message)}"


def _branches(error: ValidationError) -> str:
    return f" ({cut('; '.join(each.message for each in error.context))})" if error.context else ""


def _places(schema: Mapping[str, Any]) -> Iterator[_Place]:
    root = Resource.from_contents(schema, default_specification=DRAFT202012)
    waiting = [_Place((), schema, REGISTRY.resolver_with_root(root))]
    while waiting:
        place = waiting.pop()
        yield place
        for path, inner in _inner(place.schema):
            resource = Resource.from_contents(inner, default_specification=DRAFT202012)
            waiting.append(_Place((*place.path, *path), inner, place.resolver.in_subresource(resource)))


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for keyword, value in schema.items():
        if keyword in _ONE and isinstance(value, Mapping):
            yield (keyword,), value
        elif keyword in _MANY and isinstance(value, list):
            yield from (((keyword, at), each) for at, each in enumerate(value) if isinstance(each, Mapping))
        elif keyword in _NAMED and isinstance(value, Mapping):
            yield from (((keyword, name), each) for name, each in value.items() if isinstance(each, Mapping))


def _unknown_keywords(known: frozenset[str]) -> Callable[[_Place], Iterator[ParameterProblem]]:
    def check(place: _Place) -> Iterator[ParameterProblem]:
        for keyword in place.schema:
            if keyword not in known and not keyword.startswith("x-"):
                near = nearest_of(keyword, known)
                hint = f" Did you mean {near!r}?" if near else ""
                message = (
                    f"this draft of JSON Schema has no keyword {keyword!r}.{hint} Notes of your own begin with `x-`"
                )
                yield ParameterProblem(path=(*place.path, keyword), message=message)

    return check


def _endless(place: _Place) -> Iterator[ParameterProblem]:
    if never_ends(place.at):
        keyword = next(each for each in REFERENCES if each in place.schema)
        message = f"{keyword} {place.schema[keyword]!r} leads back to itself and never comes to an end"
        yield ParameterProblem(path=(*place.path, keyword), message=message)


def _open_references(place: _Place) -> Iterator[ParameterProblem]:
    for keyword in REFERENCES:
        reference = place.schema.get(keyword)
        if not isinstance(reference, str):
            continue
        try:
            place.resolver.lookup(reference)
        except Unresolvable:
            message = f"{keyword} {reference!r} leads nowhere in this schema; nothing is fetched from elsewhere"
            yield ParameterProblem(path=(*place.path, keyword), message=message)


def _open_formats(place: _Place) -> Iterator[ParameterProblem]:
    name = place.schema.get("format")
    if isinstance(name, str) and name not in FORMATS.checkers:
        known = ", ".join(sorted(FORMATS.checkers))
        message = f"format {name!r} cannot be checked; known: {known}. Use `pattern`, or install jsonschema[format]"
        yield ParameterProblem(path=(*place.path, "format"), message=message)
