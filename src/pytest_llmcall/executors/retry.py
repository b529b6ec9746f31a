"""Retry: asks once more after a failure of the infrastructure, and never for anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import anyio

from pytest_llmcall.call import Call
from pytest_llmcall.errors import InfrastructureError, NotAsked
from pytest_llmcall.executors import Executor
from pytest_llmcall.reply import Reply

PAUSE_S: Final = 1.0  # the CLI has backed off for longer by itself; this is for a process that died


class Retry:
    """Asks at most `attempts` times; stands outside Limit, so that each attempt takes a slot of its own."""

    def __init__(self, inner: Executor, *, attempts: int = 2, pause_s: float = PAUSE_S) -> None:
        self._inner = inner
        self._attempts = attempts
        self._pause_s = pause_s

    async def execute(self, call: Call) -> Reply:
        """Return the first reply, with the number of attempts; else raise the last failure."""
        queued_s = duration_s = 0.0
        failed: InfrastructureError | None = None
        for attempt in range(1, self._attempts + 1):
            try:
                reply = await self._inner.execute(call)
            except InfrastructureError as error:
                error.attempts = attempt
                error.queued_s += queued_s
                error.duration_s += duration_s
                if attempt == self._attempts:
                    raise
                failed, queued_s, duration_s = error, error.queued_s, error.duration_s
                await anyio.sleep(self._pause_s)
            except NotAsked as error:
                if failed is None:
                    raise
                # The call was made once, and perhaps paid for: that it is not made again does not undo that.
                failed.detail = "\n".join(filter(None, (failed.detail, f"not asked again: {error.reason}")))
                raise failed from error
            else:
                if failed is None:
                    return reply
                return replace(reply, attempts=attempt, queued_s=reply.queued_s + queued_s)
        raise AssertionError("unreachable: the last attempt returns or raises")
