"""The timeout of a lane's item: counted from the item's own set-up, without what it waits for other lanes.

An item that is only queued has no lane and no timer yet.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Iterator

from pytest_llmcall.concurrency.lane import LANE

# Handles of this context belong to no lane: the engine's own bookkeeping needs no bracket.
NOBODY = contextvars.Context()


class LaneTimer:
    """Calls a function after some seconds, of which those between `pause` and `resume` do not count."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, fire: Callable[[], None]) -> None:
        self._loop = loop
        self._left = seconds
        self._fire = fire
        self._pauses = 0
        self._ended = False
        self._start()

    def _start(self) -> None:
        self._due = self._loop.time() + self._left
        self._handle = self._loop.call_at(self._due, self._fire, context=NOBODY)

    def pause(self) -> None:
        """Stop the clock, until `resume` was called as often. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._count, 1, context=NOBODY)

    def resume(self) -> None:
        """Take one `pause` back. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._count, -1, context=NOBODY)

    def _count(self, change: int) -> None:
        was_running = self._pauses == 0
        self._pauses += change
        if self._ended or was_running == (self._pauses == 0):
            return
        if was_running:
            self._left = self._due - self._loop.time()
            self._handle.cancel()
        else:
            self._start()

    def cancel(self) -> None:
        """End the timer. Only the loop's own thread may call this."""
        self._ended = True
        self._handle.cancel()


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """Keep the time that is spent inside out of the item's timeout: it waits for a turn, not for its own work.

    For code of a lane, in its fiber, in a coroutine or in a thread that carries the lane's context. The clock stands
    still while any part of the item is inside. Outside of a lane, and without a timeout, this does nothing.
    """
    lane = LANE.get()
    timer = None if lane is None or lane.done else lane.timer
    if lane is None or timer is None:
        yield
        return
    timer.pause()
    try:
        yield
    finally:
        if not lane.done:
            timer.resume()
