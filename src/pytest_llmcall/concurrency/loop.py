"""The lanes' event loop: brackets every callback that belongs to a lane, and cannot be frozen or closed by a test.

Handles are bracketed, never coroutines: whoever asks a task for its coroutine gets the native one.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from functools import partial
from typing import Any

from pytest_llmcall.concurrency.lane import LANE, Lane
from pytest_llmcall.concurrency.leftovers import LEFTOVERS

# Runs a callback as a step of a lane.
Step = Callable[[Lane, Callable[[], None]], None]


class TrackingLoop(asyncio.SelectorEventLoop):
    """A loop that remembers what each item started on it, with a clock that tests cannot replace."""

    _default_executor: Any

    # Bound as a default: freezegun and its like replace module globals, and a frozen loop never wakes.
    def time(self, _clock: Callable[[], float] = time.monotonic) -> float:
        """Return the real monotonic clock, in seconds."""
        return _clock()

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Create a task and remember which item started it."""
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        context: Context | None = options.get("context")
        leftovers = LEFTOVERS.get() if context is None else context.get(LEFTOVERS)
        if leftovers is not None:
            leftovers.tasks.add(task)
        return task

    def _asyncgen_firstiter_hook(self, agen: AsyncGenerator[Any, Any]) -> None:
        super()._asyncgen_firstiter_hook(agen)  # type: ignore[misc]  # not in typeshed
        leftovers = LEFTOVERS.get()
        if leftovers is not None:
            leftovers.generators.add(agen)

    def close(self) -> None:
        """Refuse: other tests live on this loop, too.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("this event loop is shared by all tests of the run; a test must not close it")

    def really_close(self) -> None:
        """Cancel what is left and close the loop. Only its owner calls this."""
        if self.is_closed():
            return
        for task in asyncio.all_tasks(self):
            task.cancel()
        self.run_until_complete(_settle(self))
        super().close()


# At the very end of a run, where Ctrl-C may have led: what ignores its cancellation is given up soon.
_CLOSE_SECONDS = 1.0


async def _settle(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=_CLOSE_SECONDS)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(loop.shutdown_asyncgens(), _CLOSE_SECONDS)


class LaneLoop(TrackingLoop):
    """The loop that the hub pumps."""

    def __init__(self, step: Step) -> None:
        self.step = step
        super().__init__()

    def _call_soon(self, *args: Any) -> asyncio.Handle:
        handle: asyncio.Handle = super()._call_soon(*args)  # type: ignore[misc]  # not in typeshed
        handle.__class__ = _LaneHandle
        return handle

    def call_at(self, *args: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
        """Schedule a callback that runs inside its lane."""
        handle = super().call_at(*args, **options)
        handle.__class__ = _LaneTimerHandle
        return handle

    def _add_callback(self, handle: asyncio.Handle) -> None:
        # Readers and writers make their handles without _call_soon.
        if type(handle) is asyncio.Handle:
            handle.__class__ = _LaneHandle
        super()._add_callback(handle)  # type: ignore[misc]  # not in typeshed

    def set_exception_handler(self, handler: Any) -> None:
        """Set the handler for the lane that asks, or for the loop if none does."""
        lane = LANE.get()
        if lane is None:
            super().set_exception_handler(handler)
        else:
            lane.exception_handler = handler

    def get_exception_handler(self) -> Any:
        """Return the handler of the lane that asks, or the loop's."""
        lane = LANE.get()
        if lane is not None and lane.exception_handler is not None:
            return lane.exception_handler
        return super().get_exception_handler()

    def call_exception_handler(self, context: Any) -> None:
        """Hand an error to the handler that its lane has set, else to the loop's."""
        lane = LANE.get()
        handler = None if lane is None else lane.exception_handler
        if handler is None:
            super().call_exception_handler(context)
        else:
            handler(self, context)

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - asyncio's own signature
        """Switch debug mode; a lane's change ends with its item."""
        lane = LANE.get()
        if lane is not None:
            lane.undo.setdefault("debug", partial(super().set_debug, self.get_debug()))
        super().set_debug(enabled)

    def set_default_executor(self, executor: Any) -> None:
        """Set the default executor; a lane's change ends with its item."""
        lane = LANE.get()
        if lane is not None:
            lane.undo.setdefault("executor", partial(setattr, self, "_default_executor", self._default_executor))
        super().set_default_executor(executor)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a function in a thread that knows the lane which asked for it."""
        lane = LANE.get()
        if lane is not None:
            lane.starts_threads()
            if not _carries(func, lane):
                func = _for_lane(lane, func)
        return super().run_in_executor(executor, func, *args)


def _carries(func: Callable[..., Any], lane: Lane) -> bool:
    """Tell whether the function runs in a context of the lane, as that of `asyncio.to_thread` does.

    Another wrapper around it would show as the caller in log records.
    """
    context = getattr(getattr(func, "func", None), "__self__", None)
    return isinstance(func, partial) and isinstance(context, Context) and context.get(LANE) is lane


def _for_lane(lane: Lane, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the lane set around it: a pool's threads serve one lane after the other."""

    def call(*args: Any) -> Any:
        token = LANE.set(lane)
        try:
            return func(*args)
        finally:
            LANE.reset(token)

    return call


class _LaneHandle(asyncio.Handle):
    __slots__ = ()

    def _run(self) -> None:
        lane: Lane | None = self._context.get(LANE)  # type: ignore[attr-defined]  # not in typeshed
        if lane is None or lane.done:
            super()._run()
        else:
            self._loop.step(lane, super()._run)  # type: ignore[attr-defined]  # not in typeshed


class _LaneTimerHandle(asyncio.TimerHandle):
    __slots__ = ()

    def _run(self) -> None:
        lane: Lane | None = self._context.get(LANE)  # type: ignore[attr-defined]  # not in typeshed
        if lane is None or lane.done:
            super()._run()
        else:
            self._loop.step(lane, super()._run)  # type: ignore[attr-defined]  # not in typeshed
