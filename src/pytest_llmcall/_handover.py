"""Hands calls over to the executors' loop, which runs in a thread of its own, and their replies back to any loop.

An item that blocks cannot turn another item's reply into a timeout. Handing over does not wait for that thread: at a
thousand calls, being switched to and back would cost more than all the rest.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
from anyio.abc import TaskStatus
from anyio.from_thread import start_blocking_portal

from pytest_llmcall.call import Call
from pytest_llmcall.errors import NotAsked
from pytest_llmcall.executors import Executor
from pytest_llmcall.reply import Reply

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from anyio.from_thread import BlockingPortal

T = TypeVar("T")
ENDING = "not asked: the run is ending"

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True


class ExecutorThread:
    """The executors' loop, and the thread that runs it."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal
        self._loop: asyncio.AbstractEventLoop = portal.call(asyncio.get_running_loop)
        self._handed_over: deque[tuple[Any, ...]] = deque()
        self._wake = asyncio.Event()
        self._group: TaskGroup

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Self]:
        """Start the thread; at the end every call is cancelled and may end its processes first."""
        with start_blocking_portal("asyncio", name="llmcall executors") as portal:
            thread = cls(portal)
            portal.start_task(thread._serve)
            try:
                yield thread
            finally:
                portal.call(thread._group.cancel_scope.cancel)

    def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """Return what a coroutine function of the executors' loop returns; waits for it."""
        return self._portal.call(function)

    def submit(self, function: Callable[[Call], Awaitable[Reply]], call: Call) -> concurrent.futures.Future[Reply]:
        """Start a call in a copy of the caller's context; cancelling its future cancels it.

        Raises:
            RuntimeError: The loop has ended.
        """
        future: concurrent.futures.Future[Reply] = concurrent.futures.Future()
        self._handed_over.append((contextvars.copy_context(), function, call, future))
        self._loop.call_soon_threadsafe(self._wake.set)
        return future

    def _refuse_the_rest(self) -> None:
        while self._handed_over:
            _settle(self._handed_over.popleft()[-1].set_exception, NotAsked(ENDING))

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        async with anyio.create_task_group() as self._group:
            task_status.started()
            # A task group takes tasks from tasks only, not from callbacks of the loop.
            while await self._wake.wait():
                self._wake.clear()
                while self._handed_over:
                    context, *asked = self._handed_over.popleft()
                    context.run(_say_asyncio)
                    context.run(self._group.start_soon, self._run, *asked)

    async def _run(
        self,
        function: Callable[[Call], Awaitable[Reply]],
        call: Call,
        future: concurrent.futures.Future[Reply],
    ) -> None:
        try:
            with anyio.CancelScope() as scope:
                future.add_done_callback(self._stopper(scope))
                _settle(future.set_result, await function(call))
        except Exception as error:
            _settle(future.set_exception, error)
        finally:
            future.cancel()  # where the run's end has cancelled the call; else it is settled

    def _stopper(self, scope: anyio.CancelScope) -> Callable[[concurrent.futures.Future[Reply]], None]:
        def stop(done: concurrent.futures.Future[Reply]) -> None:
            if done.cancelled():
                with suppress(RuntimeError):  # the loop has ended, and the call with it
                    self._loop.call_soon_threadsafe(scope.cancel)

        return stop


def _say_asyncio() -> None:
    """Let anyio know where it is: the context of a test on trio's loop says otherwise."""
    if sniffio := sys.modules.get("sniffio"):
        sniffio.current_async_library_cvar.set("asyncio")


def _settle(set_: Callable[[T], None], value: T) -> None:
    with suppress(concurrent.futures.InvalidStateError):  # cancelled meanwhile, in another thread
        set_(value)


class ElsewhereExecutor:
    """Asks an executor that lives on another thread's loop, from whatever loop the caller runs on."""

    def __init__(self, thread: ExecutorThread, inner: Executor) -> None:
        self._thread = thread
        self._inner = inner
        self._under_way: dict[int, concurrent.futures.Future[Reply]] = {}

    async def execute(self, call: Call) -> Reply:
        """Return the reply; cancelling this cancels the call, which ends its processes."""
        try:
            future = self._thread.submit(self._inner.execute, call)
        except RuntimeError as error:
            raise NotAsked(ENDING) from error
        self._under_way[id(call)] = future
        try:
            return await result_of(future)
        finally:
            del self._under_way[id(call)]

    def give_up(self, call: Call) -> None:
        """Cancel a call whose own loop may never run again."""
        if future := self._under_way.get(id(call)):
            future.cancel()


async def result_of(future: concurrent.futures.Future[T]) -> T:
    """Return what another thread's future will hold, on asyncio's loop or trio's; cancelling this cancels it."""
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - get_running_loop() raises instead of answering
        return await asyncio.wrap_future(future)
    import trio  # noqa: PLC0415 - whoever runs here without asyncio has imported it

    token, done = trio.lowlevel.current_trio_token(), trio.Event()

    def wake(_: object) -> None:
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(done.set)

    future.add_done_callback(wake)
    try:
        await done.wait()
    except BaseException:
        future.cancel()
        raise
    return future.result()
