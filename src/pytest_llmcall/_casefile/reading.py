"""The small readers that all keys share: each returns a value, or None after it has noted a problem."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_llmcall._casefile.nodes import ListNode, MapNode, Node, Scalar, describe
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall.validators.wording import unknown


def read_text(node: Node, what: str, problems: Problems, *, may_be_empty: bool = False) -> str | None:
    """Return a text; one of white space alone is empty."""
    value = node.value if isinstance(node, Scalar) else None
    if not isinstance(value, str):
        quotable = isinstance(node, Scalar) and node.value is not None
        hint = f"; write it in quotes: '{node.raw}'" if isinstance(node, Scalar) and quotable else ""
        problems.add(Code.WRONG_TYPE, node, f"{what} must be a text, not {describe(node)}{hint}")
        return None
    if not may_be_empty and not value.strip():
        problems.add(Code.WRONG_TYPE, node, f"{what} must not be empty")
        return None
    return value


def read_number(node: Node, what: str, problems: Problems) -> int | float | None:
    """Return a number."""
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    problems.add(Code.WRONG_TYPE, node, f"{what} must be a number, not {describe(node)}")
    return None


def read_flag(node: Node, what: str, problems: Problems) -> bool | None:
    """Return a boolean."""
    if isinstance(node, Scalar) and isinstance(node.value, bool):
        return node.value
    problems.add(Code.WRONG_TYPE, node, f"{what} must be true or false, not {describe(node)}")
    return None


def read_list(node: Node, what: str, problems: Problems) -> list[Node]:
    """Return the items of a list, none after a problem."""
    if isinstance(node, ListNode):
        return node.items
    problems.add(Code.WRONG_TYPE, node, f"{what} must be a list, not {describe(node)}")
    return []


def read_map(node: Node, what: str, problems: Problems) -> MapNode | None:
    """Return a mapping."""
    if isinstance(node, MapNode):
        return node
    problems.add(Code.WRONG_TYPE, node, f"{what} must be a mapping, not {describe(node)}")
    return None


def check_keys(node: MapNode, what: str, known: Iterable[str], problems: Problems) -> None:
    """Note every key that is not known, with the nearest one that is."""
    known = tuple(known)
    for key, where in node.keys.items():
        if key not in known and key != "<<":  # a merge key has its own problem
            problems.add(Code.UNKNOWN_KEY, where, unknown(f"key of {what}", key, known))
