"""pytest's SetupState for items that overlap: a tree of active nodes in place of a stack.

A collector is torn down when the last item of its visit is done, not when the next item to start lies elsewhere.
The parents of a node always stand before it, so the reverse order is still the order of teardown.
"""

from collections.abc import Callable
from typing import Any, cast

import pytest
from _pytest.nodes import Node
from _pytest.outcomes import OutcomeException
from _pytest.runner import SetupState

from pytest_llmcall.concurrency.lane import CURRENT_ITEM
from pytest_llmcall.concurrency.locks import Locks
from pytest_llmcall.concurrency.rerun_view import RerunView
from pytest_llmcall.concurrency.tracebacks import hide
from pytest_llmcall.concurrency.visits import Visit, Visits

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide

_Outcome = (OutcomeException, Exception)
# A teardown that exits must not keep the collectors up that it was the last to need.
_Ending = (*_Outcome, SystemExit)


class TreeSetupState(SetupState):
    """Sets up the missing nodes above an item and tears down those that nobody needs any more."""

    def __init__(
        self,
        visits: Visits,
        *,
        locks: Locks,
        stopping: Callable[[], bool],
        after_item: Callable[[pytest.Item, bool], None],
    ) -> None:
        super().__init__()
        self._nodes: dict[Node, Any] = self.stack
        self._view: RerunView | None = None
        self._locks = locks
        self._stopping = stopping
        self._after_item = after_item
        self._active: set[pytest.Item] = set()
        self._visits = visits

    def tolerate_reruns(self) -> None:
        """Let pytest-rerunfailures handle the stack in its way."""
        self._view = RerunView(self._nodes)
        self.stack = cast("Any", self._view)

    def begin(self, item: pytest.Item) -> None:
        """Note that an item has started: its collectors stay up until it is done, even if the run stops."""
        self._active.add(item)

    def setup(self, item: pytest.Item) -> None:
        """Set up the nodes above the item that are not up yet, and the item."""
        for node in item.listchain():
            if node in self._nodes and not self._locks.is_held(node):
                self._set_up_once(node)
                continue
            with self._locks.hold(node, f"the set-up of {node.nodeid or 'the session'}"):
                self._set_up_once(node)

    def _set_up_once(self, node: Node) -> None:
        if node in self._nodes:
            failed = self._nodes[node][1]
            if failed:
                raise failed[0].with_traceback(failed[1])
            return
        self._nodes[node] = ([node.teardown], None)
        try:
            node.setup()
        except _Outcome as error:
            self._nodes[node] = (self._nodes[node][0], (error, error.__traceback__))
            raise

    def teardown_exact(self, nextitem: pytest.Item | None) -> None:  # noqa: ARG002 - pytest's signature
        """Tear down the current item and every collector that it was the last to need; without one, everything."""
        item = CURRENT_ITEM.get()
        errors: list[BaseException] = []
        if item is None:
            for node in reversed(list(self._nodes)):
                self._tear_down(node, errors)
        else:
            comes_back = self._view is not None and self._view.comes_back(item)
            self._tear_down(item, errors)
            self._collect(lambda: self._after_item(item, comes_back), errors)
            if not comes_back:
                self._leave_collectors(item, errors)
        _raise_together(errors, "errors during test teardown")

    def _leave_collectors(self, item: pytest.Item, errors: list[BaseException]) -> None:
        self._active.discard(item)
        for node in reversed(item.listchain()[:-1]):
            visit = self._visits.of(item, node)
            visit.left.discard(item)
            if not self._is_needed(visit):
                self._tear_down(node, errors)
                visit.over = True

    def _is_needed(self, visit: Visit) -> bool:
        if self._stopping():
            return not self._active.isdisjoint(visit.left)
        return bool(visit.left)

    def _tear_down(self, node: Node, errors: list[BaseException]) -> None:
        if node not in self._nodes:
            return
        # First, as pytest does: what the finalizers may still ask for follows from the node being inactive.
        finalizers, _ = self._nodes.pop(node)
        raised: list[BaseException] = []
        while finalizers:
            self._collect(finalizers.pop(), raised)
        if len(raised) == 1:
            errors.extend(raised)
        elif raised:
            errors.append(BaseExceptionGroup(f"errors while tearing down {node!r}", raised[::-1]))

    def _collect(self, call: Callable[[], object], errors: list[BaseException]) -> None:
        try:
            call()
        except _Ending as error:
            errors.append(error)
        except BaseExceptionGroup as group:
            # Several finalizers have failed, one of them through pytest.fail(); pytest would forget all that is left.
            if group.subgroup((KeyboardInterrupt, GeneratorExit)) is not None:
                raise
            errors.append(group)


def _raise_together(errors: list[BaseException], message: str) -> None:
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup(message, errors[::-1])
