"""Begins a call while it still waits for its slot, since a start-up takes time that the slot would pay for.

The CLI only gets ready until the first line on its stdin, which whoever holds the slot writes. The deadline counts
from there, so that beginning ahead changes nothing but when the answer comes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

import anyio

from pytest_llmcall.call import Call
from pytest_llmcall.errors import NoReply


class Begun(Protocol):
    """A call that has begun, and that nobody has told anything yet."""

    async def settle(self) -> None:
        """Return when it is ready."""


B = TypeVar("B", bound=Begun)


class Ahead(Generic[B]):
    """Begins calls ahead of their slots.

    Args:
        begin: Begins a call, and ends whatever is left of it.
        most: How many calls may have begun, or be about to, and wait for their slots.
    """

    def __init__(self, begin: Callable[[Call], AbstractAsyncContextManager[B]], *, most: int) -> None:
        self._begin = begin
        self._room = anyio.Semaphore(most)

    @asynccontextmanager
    async def prepare(self, call: Call) -> AsyncIterator[None]:
        """Begin a call in the background for `begun` in the same task; end it if nobody asks for it."""
        mine: _Beginning[B] = _Beginning(call)
        raised: Exception | None = None
        token = _MINE.set(mine)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._keep, mine)
                try:
                    yield
                except Exception as error:  # the group would wrap it
                    raised = error
                tasks.cancel_scope.cancel()
        finally:
            _MINE.reset(token)
        if raised is not None:
            raise raised

    @asynccontextmanager
    async def begun(self, call: Call) -> AsyncIterator[B]:
        """Return a call that has begun: ahead if this very one was prepared, else now.

        What failed ahead is raised here.
        """
        mine = _MINE.get()
        found: B | None = await mine.take() if mine is not None and mine.call is call else None
        if found is not None:
            yield found
        else:
            async with self._begin(call) as fresh:
                yield fresh

    async def _keep(self, mine: _Beginning[B]) -> None:
        """Begin a call when there is room, and hold it until this is cancelled."""
        with mine.in_line:
            await self._room.acquire()
            mine.has_room = True
        if not mine.has_room:
            return
        async with AsyncExitStack() as held:
            try:
                begun = await self._begin_for(mine, held)
                if begun is None:
                    return
                with mine.idle:
                    await begun.settle()
                    await anyio.sleep_forever()
            finally:
                self._room.release()
            await anyio.sleep_forever()

    async def _begin_for(self, mine: _Beginning[B], held: AsyncExitStack) -> B | None:
        try:
            mine.begun = await held.enter_async_context(self._begin(mine.call))
        except (NoReply, OSError) as error:
            mine.failure = error
        finally:
            mine.ready.set()
        return mine.begun


class _Beginning(Generic[B]):
    """What `Ahead` does for one call."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.in_line = anyio.CancelScope()
        self.idle = anyio.CancelScope()
        self.has_room = False
        self.ready = anyio.Event()
        self.begun: B | None = None
        self.failure: NoReply | OSError | None = None

    async def take(self) -> B | None:
        """Return the call once it has begun, or None if it was not its turn yet; raise what kept it from beginning."""
        if not self.has_room:
            self.in_line.cancel()
            return None
        await self.ready.wait()
        self.idle.cancel()
        if self.failure is not None:
            raise self.failure
        return self.begun


# Not a table by calls: the same one may be asked twice at a time.
_MINE: ContextVar[_Beginning[Any] | None] = ContextVar("pytest_llmcall_ahead", default=None)
