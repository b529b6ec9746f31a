"""JSON out of a reply: the structured data if there is some, else the text, read strictly."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from pytest_llmcall.reply import MISSING, Reply
from pytest_llmcall.validators.wording import quote

_FENCE: Final = re.compile(
    r"^[ ]{0,3}(`{3,}|~{3,})[ \t]*([^\s`]*)[^\n`]*\n(.*?)^[ ]{0,3}\1[`~]*[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_JSON_SPACE: Final = " \t\r\n"


class NotJson(ValueError):
    """A text is not JSON; the text of the error says why and shows it."""


def judged_value(reply: Reply, *, fenced: bool) -> Any:
    """Return the JSON value that a reply stands for.

    Raises:
        NotJson: There is no structured data, and the text is not JSON.
    """
    if reply.data is not MISSING:
        return reply.data
    if not fenced or not (blocks := list(_FENCE.finditer(reply.text))):
        return parse(reply.text)
    if len(blocks) > 1:
        raise NotJson(f"the text has {len(blocks)} fenced blocks, wanted one: {quote(reply.text)}")
    [block] = blocks
    outside = reply.text[: block.start()] + reply.text[block.end() :]
    if outside.strip():
        raise NotJson(f"the text has more than the fenced block: {quote(outside.strip())}")
    if block[2].casefold() not in ("", "json"):
        raise NotJson(f"the fenced block is marked {block[2]!r}, not json: {quote(reply.text)}")
    return parse(block[3])


def parse(text: str) -> Any:
    """Return the value of a text that is JSON as a whole, as RFC 8259 has it, without duplicate keys.

    Raises:
        NotJson: It is not.
    """
    if not text.strip(_JSON_SPACE):
        raise NotJson("the text is empty, which is not JSON")
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        hint = "; `fenced: true` allows a fenced block" if _FENCE.search(text) else ""
        raise NotJson(f"the text is not JSON ({error.msg} at {where}{hint}): {quote(text)}") from None
    except RecursionError:
        raise NotJson(f"the text is nested too deeply to be read as JSON: {quote(text)}") from None
    except ValueError as error:
        raise NotJson(f"the text is not JSON ({error}): {quote(text)}") from None


def json_equal(one: object, other: object) -> bool:
    """Tell whether two JSON values are the same: 30 is 30.0, but true is not 1 and "30" is not 30."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if is_number(one) and is_number(other):
        return one == other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return type(one) is type(other) and one == other


def is_json(value: object) -> bool:
    """Tell whether a value of Python is one that JSON has."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_json(each) for key, each in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int)


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a number; a boolean is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def type_of(value: object) -> str:
    """Return JSON's name of a value's type; a whole number is an `integer` however it is written."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object")
        found[key] = value
    return found
