"""The context variables of a shared fixture: set by one item, seen by all that use it, reset where they were set.

Sequential pytest has one context for the whole run. Here each lane has its own, so a shared fixture gets one too.
"""

import contextvars
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import Any, TypeVar

from pytest_llmcall.concurrency.lane import CURRENT_ITEM, LANE
from pytest_llmcall.concurrency.leftovers import LEFTOVERS
from pytest_llmcall.concurrency.tracebacks import hide

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide

T = TypeVar("T")

_MISSING = object()
# These say whose code is running; they never travel from one item to another.
_OURS: frozenset[ContextVar[Any]] = frozenset({LANE, LEFTOVERS, CURRENT_ITEM})


class SharedContext:
    """The context in which one fixture instance is set up and torn down."""

    __slots__ = ("_changes", "_context")

    def __init__(self) -> None:
        self._context: Context | None = None
        self._changes: dict[ContextVar[Any], Any] = {}

    def set_up(self, execute: Callable[..., T], *args: Any) -> T:
        """Run the set-up in a fresh copy of the caller's context and show the caller what it set."""
        context = contextvars.copy_context()
        # What a shared fixture starts belongs to its scope and outlives the item.
        context.run(LEFTOVERS.set, None)
        try:
            return context.run(execute, *args)
        finally:
            self._context = context
            self._changes = dict(changes(context))
            self.show()

    def show(self) -> None:
        """Set, in the caller's context, what the set-up has set."""
        for var, value in self._changes.items():
            if var.get(_MISSING) is not value:
                var.set(value)

    def tear_down(self, finish: Callable[..., object], *args: Any) -> None:
        """Run the teardown where the set-up ran, on behalf of the caller's lane."""
        context, self._context, self._changes = self._context, None, {}
        if context is None:
            finish(*args)
            return
        context.run(LANE.set, LANE.get())
        context.run(finish, *args)


def changes(context: Context) -> Iterator[tuple[ContextVar[Any], Any]]:
    """Yield the variables of a context whose values differ from the caller's."""
    for var, value in context.items():
        if var not in _OURS and var.get(_MISSING) is not value:
            yield var, value
