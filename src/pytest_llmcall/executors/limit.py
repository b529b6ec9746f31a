"""Limit: holds a slot for each attempt of a call, so that at most N are in flight. Never holds one for a case."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import anyio

from pytest_llmcall.call import Call
from pytest_llmcall.errors import NoReply
from pytest_llmcall.executors import Executor, preparation
from pytest_llmcall.reply import Reply


class Slots:
    """The slots of a run, shared by all of its executors; belongs to the executors' loop."""

    def __init__(self, limit: int) -> None:
        self._limiter = anyio.CapacityLimiter(limit)
        self.peak = 0

    @property
    def all_taken(self) -> bool:
        """Whether who asks now has to wait."""
        return self._limiter.available_tokens <= 0

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
        if not self._slots.all_taken:
            return await self._execute(call)
        async with preparation(self._inner, call):
            return await self._execute(call)

    async def _execute(self, call: Call) -> Reply:
        asked = time.monotonic()
        holder = object()
        with self._waiting():
            await self._slots.acquire(holder)
        started = time.monotonic()
        queued_s = started - asked
        try:
            if self._on_start:
                self._on_start(call)
            reply = await self._inner.execute(call)
        except NoReply as error:
            error.queued_s += queued_s
            error.duration_s += time.monotonic() - started if error.attempts else 0.0
            raise
        finally:
            self._slots.release(holder)
        return replace(reply, queued_s=reply.queued_s + queued_s)
