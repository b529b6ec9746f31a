"""Limit: holds a slot for each attempt of a call, so that at most N are in flight. Never holds one for a case."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import anyio
import anyio.lowlevel

from pytest_llmcall.call import Call
from pytest_llmcall.errors import NoReply
from pytest_llmcall.executors import Executor, preparation
from pytest_llmcall.reply import Reply


class Slots:
    """The slots of a run, shared by all of its executors; belongs to the executors' loop."""

    def __init__(self, limit: int) -> None:
        self._limiter = anyio.CapacityLimiter(limit)
        self.peak = 0

    def try_acquire(self, holder: object) -> bool:
        """Take a slot if one is free and nobody waits for it; return whether it was."""
        try:
            self._limiter.acquire_on_behalf_of_nowait(holder)
        except anyio.WouldBlock:
            return False
        self.peak = max(self.peak, int(self._limiter.borrowed_tokens))
        return True

    async def acquire(self, holder: object) -> None:
        """Wait for a slot, in the order of asking."""
        await self._limiter.acquire_on_behalf_of(holder)
        self.peak = max(self.peak, int(self._limiter.borrowed_tokens))

    def release(self, holder: object) -> None:
        """Give a slot back."""
        self._limiter.release_on_behalf_of(holder)


class Limit:
    """Waits for a slot, then asks.

    Args:
        inner: Who is asked.
        slots: What is waited for.
        on_start: Hears of every call that has its slot.
        waiting: Is entered while a call waits for its slot, in the context of who asked.
    """

    def __init__(
        self,
        inner: Executor,
        slots: Slots,
        *,
        on_start: Callable[[Call], None] | None = None,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._inner = inner
        self._slots = slots
        self._on_start = on_start
        self._waiting = waiting

    async def execute(self, call: Call) -> Reply:
        """Return the reply, with the seconds that the call waited for its slot; it is got ready meanwhile."""
        holder = object()
        if self._slots.try_acquire(holder):
            return await self._ask(call, holder, queued_s=0.0)
        asked = time.monotonic()
        async with preparation(self._inner, call):
            with self._waiting():
                await self._slots.acquire(holder)
            return await self._ask(call, holder, queued_s=time.monotonic() - asked)

    async def _ask(self, call: Call, holder: object, *, queued_s: float) -> Reply:
        started = time.monotonic()
        try:
            await anyio.lowlevel.checkpoint()  # let others run, and start nothing that was cancelled
            if self._on_start:
                self._on_start(call)
            reply = await self._inner.execute(call)
        except NoReply as error:
            error.queued_s += queued_s
            error.duration_s += time.monotonic() - started if error.attempts else 0.0
            raise
        finally:
            self._slots.release(holder)
        return replace(reply, queued_s=reply.queued_s + queued_s) if queued_s else reply
