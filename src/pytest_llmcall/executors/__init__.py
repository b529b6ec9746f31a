"""Executors ask a model. What one is, and how wrappers keep that shape: `Limit(Retry(ClaudeCLI()))`."""

from __future__ import annotations

from typing import Protocol

from pytest_llmcall.call import Call
from pytest_llmcall.reply import Reply

__all__ = ["Executor"]


class Executor(Protocol):
    """Asks a model; a wrapper has the same interface as what it wraps."""

    async def execute(self, call: Call) -> Reply:
        """Return what came back for a call.

        Raises:
            NoReply: Nothing came back that could be judged; its subclass says whether another try makes sense.
        """
        ...
