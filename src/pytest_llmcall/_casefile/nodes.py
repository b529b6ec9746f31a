"""The values of a case file, each with its line: what the YAML and the JSON reader give, and all later steps read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_llmcall.validators.wording import quote

EXPANDED_LIMIT: Final = 32 * 1024 * 1024
"""The most that a file may hold once its aliases are followed, in characters; a value itself counts as 16."""


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """A value and where it starts; lines and columns count from 1."""

    line: int
    column: int
    weight: int = 16


@dataclass(slots=True, kw_only=True, eq=False)
class Scalar(Node):
    """A text, number, boolean or null, with its text as the file has it."""

    value: str | int | float | bool | None
    raw: str


@dataclass(slots=True, kw_only=True, eq=False)
class ListNode(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False)
class MapNode(Node):
    """A mapping; `keys` has where each key stands."""

    entries: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)


def plain(node: Node) -> Any:
    """Return a value as Python has it; a value that aliases share stays shared."""
    return _plain(node, {})


def _plain(node: Node, done: dict[int, Any]) -> Any:
    if id(node) not in done:
        if isinstance(node, MapNode):
            done[id(node)] = {key: _plain(each, done) for key, each in node.entries.items()}
        elif isinstance(node, ListNode):
            done[id(node)] = [_plain(each, done) for each in node.items]
        else:
            done[id(node)] = node.value if isinstance(node, Scalar) else None
    return done[id(node)]


def descend(node: Node, path: tuple[str | int, ...]) -> Node:
    """Return the value at a path, or the last one on the way to it."""
    for step in path:
        if isinstance(node, MapNode) and step in node.entries:
            node = node.entries[str(step)]
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        else:
            break
    return node


def texts(node: Node) -> Iterator[str]:
    """Return every text in a value, keys left out."""
    if isinstance(node, Scalar) and isinstance(node.value, str):
        yield node.value
    for each in (
        node.items if isinstance(node, ListNode) else node.entries.values() if isinstance(node, MapNode) else ()
    ):
        yield from texts(each)


def describe(node: Node) -> str:
    """Return what a value is, for "must be a text, not …"."""
    if isinstance(node, MapNode):
        return "a mapping"
    if isinstance(node, ListNode):
        return "a list"
    value = node.value if isinstance(node, Scalar) else None
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    return quote(value) if isinstance(value, str) else f"the number {value}"
