"""The built-in validators by name, and how one is made from what a case file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_llmcall.reply import MISSING
from pytest_llmcall.validators.base import BuiltIn, ParameterError, ParameterProblem
from pytest_llmcall.validators.field_value import Field
from pytest_llmcall.validators.json_shape import Json, JsonSchema
from pytest_llmcall.validators.text import (
    Contains,
    Equals,
    MaxLength,
    MaxWords,
    MinLength,
    MinWords,
    NotContains,
    NotEmpty,
    Regex,
)
from pytest_llmcall.validators.wording import nearest_of, show, unknown

contains = Contains
equals = Equals
field = Field
json = Json
json_schema = JsonSchema
max_length = MaxLength
max_words = MaxWords
min_length = MinLength
min_words = MinWords
not_contains = NotContains
not_empty = NotEmpty
regex = Regex

BUILT_IN: Final[Mapping[str, type[BuiltIn]]] = {
    each.name: each
    for each in (
        Contains,
        Equals,
        Field,
        Json,
        JsonSchema,
        MaxLength,
        MaxWords,
        MinLength,
        MinWords,
        NotContains,
        NotEmpty,
        Regex,
    )
}


def names() -> tuple[str, ...]:
    """Return the names of the built-in validators."""
    return tuple(BUILT_IN)


def nearest(name: str) -> str | None:
    """Return the built-in name that is most like another, or None."""
    return nearest_of(name, BUILT_IN)


def build(name: str, raw_params: object = MISSING) -> BuiltIn:
    """Return a built-in validator from what a case file says.

    Args:
        name: One of `names()`.
        raw_params: MISSING for the bare name; a mapping for the long form; anything else is the short form.

    Raises:
        ParameterError: The name is not built in, or the parameters do not fit; lists all of them.
    """
    if name not in BUILT_IN:
        raise ParameterError(name, [ParameterProblem(path=(), message=unknown("validator", name, BUILT_IN))])
    cls = BUILT_IN[name]
    return cls(**_long_form(cls, raw_params))


def _long_form(cls: type[BuiltIn], raw: object) -> dict[str, Any]:
    short = cls.short_parameter()
    if raw is MISSING or raw is None:
        return {}
    if isinstance(raw, Mapping) and not (cls is JsonSchema and "schema" not in raw):
        return dict(raw)
    if short is not None:
        return {short: raw}
    if raw is True:
        return {}
    takes = f"takes only {', '.join(cls.parameters())}" if cls.parameters() else "takes no parameters"
    raise ParameterError(cls.name, [ParameterProblem(path=(), message=f"{cls.name} {takes}, not {show(raw)}")])
