"""Whether a JSON Schema makes sense: that it can say no to something, and that its references come to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from referencing import Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from pytest_llmcall.validators.patterns import matches_everything
from pytest_llmcall.validators.schema_keywords import ecma_pattern

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_EVERY_TYPE: Final = frozenset(("array", "boolean", "null", "number", "object", "string"))


class At(NamedTuple):
    """A schema inside another one, with what its references are looked up by."""

    schema: Any
    resolver: Any

    def inner(self, schema: Any) -> At:
        """Return a schema that stands in this one."""
        if not isinstance(schema, Mapping):
            return At(schema, self.resolver)
        resource = Resource.from_contents(schema, default_specification=DRAFT202012)
        return At(schema, self.resolver.in_subresource(resource))

    def referred(self) -> Iterator[At]:
        """Return the schemas that this one's own references lead to; those that lead nowhere are left out."""
        for keyword in REFERENCES:
            if isinstance(reference := self.schema.get(keyword), str):
                try:
                    found = self.resolver.lookup(reference)
                except Unresolvable:
                    continue
                yield At(found.contents, found.resolver)


def never_ends(start: At) -> bool:
    """Tell whether a schema's references lead back to it before anything of the judged value is used up."""
    waiting, seen = list(start.referred()), set()
    while waiting:
        at = waiting.pop()
        if at.schema is start.schema:
            return True
        if isinstance(at.schema, Mapping) and id(at.schema) not in seen:
            seen.add(id(at.schema))
            waiting.extend((*at.referred(), *_in_place(at)))
    return False


def _in_place(at: At) -> Iterator[At]:
    for keyword, value in at.schema.items():
        if keyword in ("not", "if", "then", "else"):
            yield at.inner(value)
        elif keyword in ("allOf", "anyOf", "oneOf", "extends") and isinstance(value, list):
            yield from map(at.inner, value)
        elif keyword in ("dependentSchemas", "dependencies") and isinstance(value, Mapping):
            yield from map(at.inner, value.values())


def accepts_everything(at: At, judged: frozenset[str], _seen: frozenset[int] = frozenset()) -> bool:
    """Tell whether a schema certainly accepts every value.

    Args:
        at: A schema that is right in itself.
        judged: The keywords that its draft judges by.
    """
    schema = at.schema
    if not isinstance(schema, Mapping):
        return schema is True
    if id(schema) in _seen:
        return True  # what leads back to itself asks for nothing more

    def accepts(inner: At) -> bool:
        return accepts_everything(inner, judged, _seen | {id(schema)})

    def holds(keyword: str, value: Any) -> bool:
        if keyword in REFERENCES:
            return all(map(accepts, at.referred()))
        if rule := _RULES.get(keyword):
            return rule(value, schema, lambda each: accepts(at.inner(each)))
        return keyword not in judged

    return all(holds(keyword, value) for keyword, value in schema.items())


_Accepts = Callable[[Any], bool]
_Rule = Callable[[Any, Mapping[str, Any], _Accepts], bool]


def _one(value: Any, _schema: object, accepts: _Accepts) -> bool:
    return all(map(accepts, value)) if isinstance(value, list) else accepts(value)


def _named(value: Any, _schema: object, accepts: _Accepts) -> bool:
    return all(not each if isinstance(each, list) else accepts(each) for each in value.values())


def _any(value: Any, _schema: object, accepts: _Accepts) -> bool:
    return any(map(accepts, value))


def _least(value: Any, _schema: object, _accepts: object) -> bool:
    return isinstance(value, int | float) and value <= 0


def _nothing(value: Any, _schema: object, _accepts: object) -> bool:
    return not value


def _types(value: Any, _schema: object, _accepts: object) -> bool:
    return value == "any" or (isinstance(value, list) and _EVERY_TYPE.issubset(map(str, value)))


_RULES: Final[Mapping[str, _Rule]] = {
    **dict.fromkeys(("allOf", "prefixItems", "items", "additionalItems", "additionalProperties"), _one),
    **dict.fromkeys(("propertyNames", "unevaluatedItems", "unevaluatedProperties"), _one),
    **dict.fromkeys(
        ("properties", "patternProperties", "dependencies", "dependentRequired", "dependentSchemas"), _named
    ),
    **dict.fromkeys(("minLength", "minItems", "minProperties"), _least),
    **dict.fromkeys(("required", "uniqueItems"), _nothing),
    "anyOf": _any,
    "oneOf": lambda value, _, accepts: len(value) == 1 and accepts(value[0]),
    "not": lambda value, *_: value is False,
    "if": lambda _value, schema, accepts: all(accepts(schema.get(each, True)) for each in ("then", "else")),
    "contains": lambda _value, schema, _: schema.get("minContains") == 0 and "maxContains" not in schema,
    "type": _types,
    "pattern": lambda value, *_: matches_everything(ecma_pattern(value)),
}
