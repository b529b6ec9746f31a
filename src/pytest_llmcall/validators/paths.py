"""Paths into JSON values: `a.b[0].c`, with quotes for keys that hold dots: `a."b.c"`; `$` is the whole value."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator

from pytest_llmcall.reply import MISSING
from pytest_llmcall.validators.base import Kind, ParameterProblem, Path, Text, unfit

_EXAMPLE: Final = 'a.b[0]."key.with.dots"'
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
_NAME: Final = rf'(?P<quoted>{_QUOTED})|(?P<plain>[^.\[\]"]+)'
_BRACKET: Final = rf"\[(?:(?P<index>-?\d+)|(?P<key>{_QUOTED}))\]"
_FIRST: Final = re.compile(f"(?:{_NAME})|{_BRACKET}")
_NEXT: Final = re.compile(rf"\.(?:{_NAME})|{_BRACKET}")
_PLAIN_KEY: Final = re.compile(r'[^.\[\]"$\s]+')


def parse_path(text: str) -> Path:
    """Return the keys and indexes of a path.

    Raises:
        ValueError: It is not a path; the text of the error says where.
    """
    steps: list[str | int] = []
    at = 1 if text == "$" or text.startswith(("$.", "$[")) else 0
    while at < len(text):
        match = (_NEXT if at else _FIRST).match(text, at)
        if match is None:
            raise ValueError(f"{text!r} is no path, from character {at + 1} on; write for example {_EXAMPLE}")
        steps.append(_step(**match.groupdict()))
        at = match.end()
    return tuple(steps)


def _step(*, quoted: str | None, plain: str | None, index: str | None, key: str | None) -> str | int:
    if index is not None:
        return int(index)
    return plain if plain is not None else str(json.loads(quoted or key or ""))


def format_path(steps: Sequence[str | int]) -> str:
    """Return a path as `parse_path` reads it."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = step if _PLAIN_KEY.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            text += f".{key}" if text else key
    return text or "$"


def look_up(value: Any, path: Path) -> Any:
    """Return what stands at a path, or MISSING."""
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list | tuple) or not -len(value) <= step < len(value):
                return MISSING
            value = value[step]
        elif not isinstance(value, Mapping) or step not in value:
            return MISSING
        else:
            value = value[step]
    return value


def _readable(text: str) -> str:
    try:
        parse_path(text)
    except ValueError as error:
        raise unfit(ParameterProblem(path=(), message=str(error))) from None
    return text


JsonPath = Annotated[Text, AfterValidator(_readable), Kind("a path such as a.b[0].c")]
