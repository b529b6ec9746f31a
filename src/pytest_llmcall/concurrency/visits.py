"""The lives of a collector: pytest tears it down when the next item lies elsewhere, and sets it up anew later.

A parametrized session fixture reorders items so that a module is left and visited again. Each unbroken row of items
below a node is one visit, planned from the order of the items; two visits of one node never overlap.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from _pytest.nodes import Node


@dataclass(eq=False, slots=True, kw_only=True)
class Visit:
    """One life of a collector.

    Attributes:
        left: the items of the visit that are not done yet.
        earlier: the visit of the same node before this one.
        over: the node has been torn down at the end of the visit.
    """

    earlier: "Visit | None"
    left: set[pytest.Item] = field(default_factory=set)
    over: bool = False


class Visits:
    """Knows, for each item, the visit of each node above it."""

    def __init__(self, items: Iterable[pytest.Item]) -> None:
        self._of: dict[pytest.Item, dict[Node, Visit]] = {}
        self._latest: dict[Node, Visit] = {}
        before: dict[Node, Visit] = {}
        for item in items:
            now: dict[Node, Visit] = {}
            for node in item.listchain()[:-1]:
                visit = before.get(node) or Visit(earlier=self._latest.get(node))
                visit.left.add(item)
                now[node] = self._latest[node] = visit
            self._of[item] = before = now

    def of(self, item: pytest.Item, node: Node) -> Visit:
        """Return the visit of a node above the item that the item belongs to."""
        known = self._of.get(item)
        # Other plugins may make items of their own while the run goes on.
        return known[node] if known else self._latest.setdefault(node, Visit(earlier=None))

    def may_start(self, item: pytest.Item) -> bool:
        """Tell whether every earlier visit of the nodes above the item is over."""
        return all(visit.earlier is None or visit.earlier.over for visit in self._of[item].values())
