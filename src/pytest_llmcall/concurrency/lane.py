"""A lane: one pytest item on its way, with everything that is its own while others are on theirs."""

import asyncio
import collections
import io
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import pytest
from _pytest.outcomes import Exit

from pytest_llmcall.concurrency.leftovers import Leftovers

if TYPE_CHECKING:
    from pytest_llmcall.concurrency.fibers import Fiber
    from pytest_llmcall.concurrency.hub import Hub
    from pytest_llmcall.concurrency.process_state import Globals
    from pytest_llmcall.concurrency.timers import LaneTimer


class LaneCancelled(Exit):
    """Thrown into a lane when the run stops.

    It is an Exit, because pytest re-raises that at once: nothing is reported for the item.
    """


class Sink:
    """Where the output of a lane goes until the next phase of its report takes it; safe to write to from threads."""

    __slots__ = ("err", "out")

    def __init__(self) -> None:
        self.out: collections.deque[str] = collections.deque()
        self.err: collections.deque[str] = collections.deque()

    def take(self) -> tuple[str, str]:
        """Return (out, err) written so far and forget them."""
        return _drain(self.out), _drain(self.err)


def _drain(chunks: collections.deque[str]) -> str:
    taken = []
    while chunks:
        taken.append(chunks.popleft())
    return "".join(taken)


class Lane:
    """One item in flight.

    Attributes:
        phase: where in its protocol the item is.
        task: what the fiber waits for, if it waits for an awaitable.
        waits_for: what the fiber waits for, in words.
        stopped: the run has stopped; the item is to be torn down without a report.
        abandoned: it was stopped, and ignores that.
        late: its teardown was cancelled, because the run must end.
        struck_by: the SystemExit of the lane's own code on the loop, until the fiber raises it.
        done: the fiber has ended; what still carries this lane in its context belongs to nobody.
        shown: what --setup-show shows, until the next report.
        capturing: output goes to the report; if not, to the terminal.
    """

    def __init__(self, hub: "Hub", item: pytest.Item) -> None:
        self.hub = hub
        self.item = item
        self.fiber: Fiber | None = None
        self.phase: Literal["setup", "call", "teardown"] = "setup"
        self.task: asyncio.Task[Any] | None = None
        self.waits_for: str | None = None
        self.stopped = False
        self.abandoned = False
        self.late = False
        self.struck_by: SystemExit | None = None
        self.done = False
        self.resuming = False
        self.failed_with: BaseException | None = None
        self.unreported: list[pytest.TestReport] = []
        self.announced = False
        self.sinks = [Sink()]
        self.capturing = False
        self.globals: Globals | None = None
        self.leftovers = Leftovers()
        self.exception_handler: Callable[..., Any] | None = None
        self.undo: dict[str, Callable[[], object]] = {}
        self.timed_out: str | None = None
        self.timer: LaneTimer | None = None
        self.shown = io.StringIO()

    def suspend(self) -> None:
        """Leave the lane's fiber until the hub resumes it. Called inside the fiber."""
        if self.fiber is None:
            raise RuntimeError(f"{self!r} has not started")
        self.fiber.suspend()

    def starts_threads(self) -> None:
        """Note that from now on threads of this lane may log at any time."""
        if not self.done:
            self.hub.levels.watch(self)

    @property
    def sink(self) -> Sink:
        """Where output goes right now."""
        return self.sinks[-1]

    def must_stop(self) -> bool:
        """Tell whether the fiber may not go on with its test; its teardown always may."""
        return self.stopped and self.phase != "teardown"

    def is_waiting(self) -> bool:
        """Tell whether the fiber waits for an awaitable that has not ended."""
        return self.task is not None and not self.task.done()

    def is_lost(self) -> bool:
        """Tell whether nothing will ever resume the fiber."""
        return not self.is_waiting() and self.waits_for is None and not self.done

    def __repr__(self) -> str:
        return f"<Lane {self.item.nodeid} ({self.phase})>"


# The lane that the running code belongs to. Tasks, callbacks and threads inherit it.
LANE: ContextVar[Lane | None] = ContextVar("pytest_lanes_lane", default=None)

# The item that the running code belongs to, in a lane or alone. SetupState is told the next item, never the current.
CURRENT_ITEM: ContextVar[pytest.Item | None] = ContextVar("pytest_lanes_current_item", default=None)
