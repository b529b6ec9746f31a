"""Reads what a Python test says (`llm(…)` and its mark) with the readers of case files: one set of rules for both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_llmcall._casefile.cases import READERS
from pytest_llmcall._casefile.expansion import Expansion, values_for
from pytest_llmcall._casefile.mcp import fill_servers
from pytest_llmcall._casefile.nodes import ListNode, MapNode, Node, Scalar
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall.call import McpServer, Message, WorkFile
from pytest_llmcall.errors import CaseFileError


def read_python_values(given: Mapping[str, object], *, path: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return values as a Call has them, and what is wrong with them.

    Args:
        given: Keys of a case, with plain Python values. A record (`Message`, `McpServer`) may stand for its mapping,
            a pydantic model for its schema, a single text for a list of one.
        path: The test's file: `{{dir}}` is its folder.
    """
    problems = Problems(path)
    values = {key: _read(key, value, at, problems) for at, (key, value) in enumerate(given.items(), start=1)}
    if problems:
        return {}, _messages(problems)
    if "mcp" in values:
        values["mcp"] = fill_servers(values["mcp"], Expansion(values=values_for(path)), problems)
    return values, _messages(problems)


def _read(key: str, value: object, at: int, problems: Problems) -> Any:
    try:
        # Its number stands for a line, so that problems come in the order of the keys.
        node = _node(_adapted(key, value), at)
    except TypeError as error:
        problems.add_at(Code.WRONG_TYPE, at, 0, f"{key} holds {error}")
        return None
    except RecursionError:
        problems.add_at(Code.WRONG_TYPE, at, 0, f"{key} holds itself, or too many levels")
        return None
    return READERS[key](node, problems)


def _messages(problems: Problems) -> tuple[str, ...]:
    try:
        problems.raise_if_any()
    except CaseFileError as error:
        return tuple(each.message for each in error.problems)
    return ()


def _adapted(key: str, value: object) -> object:
    if key == "schema" and hasattr(value, "model_json_schema"):
        return value.model_json_schema()
    if key in {"tools", "needs"} and isinstance(value, str):
        return [value]
    if key == "mcp" and isinstance(value, McpServer):
        value = [value]
    if key == "mcp" and isinstance(value, list | tuple) and all(isinstance(each, McpServer) for each in value):
        return _without_repeats("server", [(each.name, _set_fields(each)) for each in value])
    if key == "files" and isinstance(value, list | tuple) and all(isinstance(each, WorkFile) for each in value):
        return _without_repeats("file", [(each.path, each.content) for each in value])
    return value


def _without_repeats(what: str, pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return pairs as a mapping.

    Raises:
        TypeError: It would lose one.
    """
    if repeated := [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]:
        raise TypeError(f"more than one {what} {repeated[0]!r}")
    return dict(pairs)


def _set_fields(server: McpServer) -> dict[str, Any]:
    return {key: value for key, value in asdict(server).items() if key != "name" and value not in (None, (), {})}


def _node(value: object, line: int) -> Node:
    """Return a value as the readers know it.

    Raises:
        TypeError: It is nothing that a case file could hold.
    """
    if isinstance(value, Message):
        value = asdict(value)
    if isinstance(value, int | float) and not _is_finite(value):
        raise TypeError(f"{value!r:.40}, which is not a finite number")
    if value is None or isinstance(value, str | int | float | bool):
        return Scalar(line=line, column=0, value=value, raw=str(value))
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the key {wrong[0]!r}, which is no text")
        entries = {key: _node(each, line) for key, each in value.items()}
        keys = {key: Scalar(line=line, column=0, value=key, raw=key) for key in entries}
        return MapNode(line=line, column=0, entries=entries, keys=keys)
    if isinstance(value, list | tuple | set | frozenset):
        return ListNode(line=line, column=0, items=[_node(each, line) for each in value])
    raise TypeError(f"a value of type {type(value).__name__}: {value!r:.80}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all that a float can be
        return False
