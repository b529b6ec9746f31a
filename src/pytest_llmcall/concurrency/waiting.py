"""`wait()`: how synchronous test code waits for an awaitable, in a lane and outside of one."""

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from pytest_llmcall.concurrency.async_fixtures import Waiter
from pytest_llmcall.concurrency.lane import LANE
from pytest_llmcall.concurrency.loop import TrackingLoop
from pytest_llmcall.concurrency.tracebacks import hide

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = hide

T = TypeVar("T")

# What runs awaitables for items that are not in a lane, while a plugin of ours is at work.
WAITER: ContextVar[Waiter | None] = ContextVar("pytest_lanes_waiter", default=None)


class CannotWaitError(RuntimeError):
    """`wait()` was called where nothing may wait: inside a coroutine, or in a thread that is not the test's own."""


def in_lane() -> bool:
    """Tell whether the calling code belongs to an item that is in flight together with others."""
    lane = LANE.get()
    return lane is not None and not lane.done


def wait(awaitable: Awaitable[T]) -> T:
    """Return the result of an awaitable, from synchronous test code.

    In a lane other items go on meanwhile. Outside of one the awaitable is run to its end at once.

    Args:
        awaitable: a coroutine, or anything else that can be awaited.

    Returns:
        What the awaitable returns; what it raises is raised here.

    Raises:
        CannotWaitError: inside a running coroutine, or in another thread than the test's.
    """
    try:
        waiter = _waiter_here()
    except RuntimeError:
        _discard(awaitable)
        raise
    result: T = _run_privately(awaitable) if waiter is None else waiter.wait(awaitable)
    return result


def _waiter_here() -> Waiter | None:
    refuse_in_coroutine()
    lane = LANE.get()
    if lane is not None and not lane.done:
        if lane.fiber is None or not lane.fiber.is_current():
            raise CannotWaitError(
                "wait() was called in a thread that the test started; call it in the test's own thread"
            )
        return lane.hub
    if threading.current_thread() is not threading.main_thread():
        raise CannotWaitError("wait() was called in a foreign thread; call it in the test's own thread")
    return WAITER.get()


def refuse_in_coroutine() -> None:
    """Raise if an event loop is running here.

    Raises:
        CannotWaitError: inside a running coroutine or callback.
    """
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - get_running_loop() raises instead of answering
        raise CannotWaitError("wait() was called inside a running coroutine; use `await` there")


def _discard(awaitable: Awaitable[Any]) -> None:
    # Else Python warns, on top of the error, that the coroutine was never awaited.
    if asyncio.iscoroutine(awaitable):
        awaitable.close()


async def awaited(awaitable: Awaitable[T]) -> T:
    """Return what the awaitable returns: tasks are made of coroutines only."""
    return await awaitable


def coroutine_of(awaitable: Awaitable[T]) -> Coroutine[Any, Any, T]:
    """Return the awaitable as a coroutine, itself if it is one: it must be the native one that the task gets."""
    return awaitable if isinstance(awaitable, Coroutine) else awaited(awaitable)


def _run_privately(awaitable: Awaitable[T]) -> T:
    # With a factory the runner leaves the thread's current event loop as it is.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(coroutine_of(awaitable))


class Solo:
    """Runs awaitables one at a time, on one loop for the whole session: what managed items use without lanes."""

    def __init__(self) -> None:
        self.loop = TrackingLoop()
        self._runner = asyncio.Runner(loop_factory=lambda: self.loop)

    def wait(self, awaitable: Awaitable[Any], *, context: Context | None = None, keep_result: bool = False) -> Any:
        """Return the awaitable's result."""
        del keep_result  # here a result is never dropped
        refuse_in_coroutine()
        coroutine = coroutine_of(awaitable)
        if context is None:
            # A runner's own context would carry what one test sets into the next.

            context = copy_context()
        return self._runner.run(coroutine, context=context)

    def close(self) -> None:
        """Cancel what is left and close the loop."""
        self.loop.really_close()
