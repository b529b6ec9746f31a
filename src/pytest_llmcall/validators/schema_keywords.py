r"""JSON Schema's keywords: which ones a draft knows, and those that Python or jsonschema would judge wrongly.

Numbers are decimal (19.99 is a multiple of 0.01), items are compared as JSON (true is not 1), and patterns mean what
they mean in ECMAScript: `$` is the very end, `\d` and `\w` are ASCII.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator as SchemaValidator
from jsonschema.validators import extend

from pytest_llmcall.validators.patterns import compile_pattern
from pytest_llmcall.validators.wording import cut

_CORE: Final = frozenset(
    (
        *("$anchor", "$comment", "$defs", "$dynamicAnchor", "$id", "$ref", "$schema", "$vocabulary", "definitions"),
        *("contentEncoding", "contentMediaType", "contentSchema", "default", "deprecated", "description"),
        *("discriminator", "example", "examples", "format", "id", "readOnly", "title", "writeOnly"),
    )
)
_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "if": ("then", "else"),
    "dependentSchemas": ("minContains", "maxContains"),
    "$recursiveRef": ("$recursiveAnchor",),
}
# A class in brackets, in which a first `]` is a plain character; an escape; the end.
_PIECE: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]|\\.|\$", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\.", re.DOTALL)
_OUTSIDE: Final = {"$": r"\Z", r"\d": "[0-9]", r"\D": "[^0-9]", r"\w": "[A-Za-z0-9_]", r"\W": "[^A-Za-z0-9_]"}
_INSIDE: Final = {r"\d": "0-9", r"\w": "A-Za-z0-9_"}

Errors = Iterator[ValidationError]


@lru_cache
def known_keywords(checker: type[SchemaValidator]) -> frozenset[str]:
    """Return the keywords of a draft that are judged, and those that only describe."""
    judged = frozenset(checker.VALIDATORS)
    described = frozenset(checker.META_SCHEMA.get("properties", ())) - {"dependencies"}
    return judged | described | _CORE | {each for keyword in judged for each in _WITH.get(keyword, ())}


@lru_cache
def strict_checker(checker: type[SchemaValidator]) -> type[SchemaValidator]:
    """Return the class of a draft with the keywords of this module."""
    ours = {
        "multipleOf": _multiple_of,
        "divisibleBy": _multiple_of,
        "uniqueItems": _unique_items,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
    }
    judged = {name: each for name, each in ours.items() if name in checker.VALIDATORS}
    strict: type[SchemaValidator] = extend(checker, judged)  # type: ignore[no-untyped-call]
    return strict


def ecma_pattern(pattern: str) -> str:
    """Return a pattern of ECMAScript's as Python writes it."""
    return _PIECE.sub(lambda found: _written(found[0]), pattern)


def _written(piece: str) -> str:
    if piece.startswith("["):
        return _ESCAPE.sub(lambda found: _INSIDE.get(found[0], found[0]), piece)
    return _OUTSIDE.get(piece, piece)


def _multiple_of(checker: SchemaValidator, factor: float, value: Any, _schema: object) -> Errors:
    if not checker.is_type(value, "number"):
        return
    if not (math.isfinite(value) and math.isfinite(factor)):
        yield ValidationError(f"{value!r} is too large to be a multiple of {factor!r}")
    elif (_fraction(value) / _fraction(factor)).denominator != 1:
        yield ValidationError(f"{value!r} is not a multiple of {factor!r}")


def _fraction(number: Any) -> Fraction:
    # By its digits, since 19.99 as a binary number is a multiple of nothing.
    return Fraction(str(number)) if isinstance(number, float) else Fraction(number)


def _unique_items(checker: SchemaValidator, wanted: object, value: Any, _schema: object) -> Errors:
    if wanted and checker.is_type(value, "array") and len(set(map(_key, value))) < len(value):
        yield ValidationError(f"{cut(repr(value))} has items that are not unique")


def _key(value: Any) -> tuple[object, ...]:
    if isinstance(value, Mapping):
        return ("object", frozenset((name, _key(each)) for name, each in value.items()))
    if isinstance(value, list | tuple):
        return ("array", *map(_key, value))
    return (isinstance(value, bool), value)


def _pattern(checker: SchemaValidator, pattern: str, value: Any, _schema: object) -> Errors:
    if checker.is_type(value, "string") and compile_pattern(ecma_pattern(pattern)).search(value) is None:
        yield ValidationError(f"{cut(repr(value))} does not match {pattern!r}")


def _pattern_properties(checker: Any, patterns: Mapping[str, Any], value: Any, _schema: object) -> Errors:
    if not checker.is_type(value, "object"):
        return
    for pattern, inner in patterns.items():
        compiled = compile_pattern(ecma_pattern(pattern))
        for name in filter(compiled.search, value):
            yield from checker.descend(value[name], inner, path=name, schema_path=pattern)
