"""Ends what calls have left, those of many calls with one look at all processes.

A look costs as much as there are processes; when many calls end at a time, a look for each would be most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
from anyio import to_thread

from pytest_llmcall.executors.claude.environment import CALL_MARK
from pytest_llmcall.executors.claude.leftovers import end_marked


@dataclass(slots=True)
class _Look:
    """One look, for the calls that asked for it before it began."""

    call_ids: set[str] = field(default_factory=set)
    is_done: bool = False


class Sweeper:
    """Belongs to the executors' loop."""

    def __init__(self) -> None:
        self._one_at_a_time = anyio.Lock()
        self._next = _Look()

    async def end(self, call_id: str) -> None:
        """Kill what bears the mark of a call; what it has started until now is gone then."""
        look = self._next
        look.call_ids.add(call_id)
        async with self._one_at_a_time:
            if look.is_done:
                return
            self._next = _Look()
            await to_thread.run_sync(end_marked, CALL_MARK, *look.call_ids)
            look.is_done = True
