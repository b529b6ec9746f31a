"""Builds nodes from a stream of values, as both readers produce it; finds duplicate keys and keys that are no text."""

from __future__ import annotations

import math
import re
from typing import Final

from pytest_llmcall._casefile.nodes import EXPANDED_LIMIT, ListNode, MapNode, Node, Scalar, describe
from pytest_llmcall._casefile.problems import Code, Problems

SURROGATE: Final = re.compile("[\ud800-\udfff]")

DEPTH_LIMIT: Final = 100
"""Lists and mappings inside each other, at most; all later steps may then recurse."""


class Tree:
    """A tree of nodes in the making."""

    def __init__(self, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._open: list[Node] = []
        # The key that waits for its value, for each open mapping; a Node that is no text waits too, and is dropped.
        self._keys: list[Node | None] = []

    def open_map(self, line: int, column: int) -> Node:
        """Start a mapping."""
        return self._push(MapNode(line=line, column=column))

    def open_list(self, line: int, column: int) -> Node:
        """Start a list."""
        return self._push(ListNode(line=line, column=column))

    def is_open(self, node: Node) -> bool:
        """Tell whether a list or mapping is not complete yet."""
        return any(each is node for each in self._open)

    def close(self) -> None:
        """End the innermost list or mapping, and put it where it belongs."""
        node = self._open.pop()
        self._keys.pop()
        self.add(node)

    def add(self, node: Node) -> None:
        """Put a complete value where it belongs."""
        if isinstance(node, Scalar) and (reason := _unfit(node.value)):
            self._problems.add(Code.VALUE, node, f"{describe(node)} {reason}")
        if not self._open:
            self.root = node
            self._check_weight(node)
            return
        parent = self._open[-1]
        parent.weight += node.weight
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif isinstance(parent, MapNode):
            self._add_to_map(parent, node)

    def _push(self, node: Node) -> Node:
        if len(self._open) >= DEPTH_LIMIT:
            message = f"lists and mappings stand more than {DEPTH_LIMIT} deep in each other"
            self._problems.fail(Code.VALUE, node.line, node.column, message)
        self._open.append(node)
        self._keys.append(None)
        return node

    def _add_to_map(self, parent: MapNode, node: Node) -> None:
        key = self._keys[-1]
        if key is None:
            self._keys[-1] = node
            self._check_key(parent, node)
            return
        self._keys[-1] = None
        if isinstance(node, Scalar) and not node.raw:
            # A value that was left out starts, for YAML, where the next token does.
            node.line, node.column = key.line, key.column
        if isinstance(key, Scalar) and isinstance(key.value, str) and key.value not in parent.entries:
            parent.entries[key.value] = node
            parent.keys[key.value] = key

    def _check_key(self, parent: MapNode, key: Node) -> None:
        if not isinstance(key, Scalar) or not isinstance(key.value, str):
            hint = f"; write it in quotes: '{key.raw}'" if isinstance(key, Scalar) and key.raw else ""
            self._problems.add(Code.VALUE, key, f"a key must be a text, not {describe(key)}{hint}")
        elif first := parent.keys.get(key.value):
            message = f"the key {key.value!r} stands twice in one mapping, first in line {first.line}"
            self._problems.add(Code.DUPLICATE_KEY, key, message)
        elif key.value == "<<" and key.raw == "<<":
            message = (
                "merge keys (`<<`) are not part of YAML 1.2; a key at the top of the file is a default of all cases"
            )
            self._problems.add(Code.VALUE, key, message)

    def _check_weight(self, root: Node) -> None:
        if root.weight > EXPANDED_LIMIT:
            message = f"with its aliases followed, the file holds more than {EXPANDED_LIMIT:,} characters"
            self._problems.fail(Code.ALIASES, 0, 0, message)


def _unfit(value: str | float | None) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "is not one that JSON has"
    if isinstance(value, str) and SURROGATE.search(value):
        return "holds half of a surrogate pair, which no UTF-8 has"
    return ""
