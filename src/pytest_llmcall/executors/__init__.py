"""Executors ask a model. What one is, and how wrappers keep that shape: `Limit(Retry(ClaudeCLI()))`."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol

from pytest_llmcall.call import Call
from pytest_llmcall.reply import Reply

__all__ = ["Executor", "preparation"]


class Executor(Protocol):
    """Asks a model; a wrapper has the same interface as what it wraps."""

    async def execute(self, call: Call) -> Reply:
        """Return what came back for a call.

        Raises:
            NoReply: Nothing came back that could be judged; its subclass says whether another try makes sense.
        """
        ...


def preparation(executor: Executor, call: Call) -> AbstractAsyncContextManager[object]:
    """Return what gets a call ready in the background while it waits; entered and left by the task that asks.

    An executor or wrapper that has something to get ready offers it as `prepare(call)`.
    """
    prepare = getattr(executor, "prepare", None)
    made: AbstractAsyncContextManager[object] = prepare(call) if prepare else nullcontext()
    return made
