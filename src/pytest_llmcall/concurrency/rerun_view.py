"""What pytest-rerunfailures sees as SetupState's stack while lanes are in flight.

Before it runs an item again it takes all other nodes off the stack, so that they stay set up, and puts them back
later. With lanes that would be everybody's nodes: here it only notes that the item is not done with its collectors.
"""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
from _pytest.nodes import Node

from pytest_llmcall.concurrency.lane import CURRENT_ITEM


class RerunView(MutableMapping[Node, Any]):
    """The active nodes, of which the current item can only see its own and take off none but itself."""

    def __init__(self, nodes: dict[Node, Any]) -> None:
        self._nodes = nodes
        self._coming_back: set[pytest.Item] = set()

    def comes_back(self, item: pytest.Item) -> bool:
        """Tell whether the item will run again and needs its collectors."""
        return item in self._coming_back

    def __getitem__(self, node: Node) -> Any:
        return self._nodes[node]

    def __contains__(self, node: object) -> bool:
        return node in self._nodes

    def __setitem__(self, node: Node, entry: Any) -> None:
        self._nodes[node] = entry

    def __delitem__(self, node: Node) -> None:
        item = CURRENT_ITEM.get()
        if item is None or node is item:
            del self._nodes[node]
        else:
            self._coming_back.add(item)

    def __iter__(self) -> Iterator[Node]:
        item = CURRENT_ITEM.get()
        return iter([node for node in (self._nodes if item is None else item.listchain()) if node in self._nodes])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def update(self, *entries: Any, **others: Any) -> None:
        """Note that the item will not run again: the nodes that it puts back were never taken away."""
        del entries, others
        item = CURRENT_ITEM.get()
        if item is not None:
            self._coming_back.discard(item)
