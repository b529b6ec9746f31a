"""The ledger of one pytest item: what it has asked and judged so far, and how long it waited for slots."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from pytest_llmcall.call import Call
from pytest_llmcall.errors import BrokenValidator, NoReply, Source
from pytest_llmcall.outcome import Exchange
from pytest_llmcall.reply import Reply
from pytest_llmcall.verdict import Verdict


class Prepared(Protocol):
    """Something that a test has prepared and may or may not have awaited."""

    @property
    def place(self) -> Source:
        """Where the test prepared it."""
        ...

    @property
    def forgotten(self) -> str:
        """What is wrong if nobody awaits it."""
        ...

    @property
    def was_awaited(self) -> bool:
        """Whether it happened, or has begun to."""
        ...

    @property
    def is_under_way(self) -> bool:
        """Whether it has begun and not ended."""
        ...

    def give_up(self) -> None:
        """End what is under way; nobody will await it."""
        ...


class QueueClock:
    """Counts the seconds in which at least one call of an item waited for a slot; any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting = 0
        self._since = 0.0
        self._seconds = 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time that is spent inside."""
        with self._lock:
            if not self._waiting:
                self._since = time.monotonic()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if not self._waiting:
                    self._seconds += time.monotonic() - self._since

    def take(self) -> float:
        """Return the seconds counted since the last time."""
        with self._lock:
            seconds, self._seconds = self._seconds, 0.0
        return seconds


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Grows while its item runs.

    Attributes:
        started: When the item first asked, in seconds since the epoch; None before.
        verdicts: What validators said, as far as it stands in no record yet; `broken` likewise.
        handles: What the item has prepared, awaited or not.
        replies: What came back, to see at the end whether anybody looked at it.
        of_subtests: What ended subtests, which the test itself survives.
        written: How many exchanges stand in a record on disk already.
    """

    clock: QueueClock = field(default_factory=QueueClock)
    started: float | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    broken: list[BrokenValidator] = field(default_factory=list)
    handles: list[Prepared] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    of_subtests: list[BaseException] = field(default_factory=list)
    written: int = 0
    _exchanges: list[Exchange] = field(default_factory=list)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Every call in the order of asking."""
        return tuple(self._exchanges)

    def open(self, call: Call) -> int:
        """Note that a call is on its way; return its number."""
        if self.started is None:
            self.started = time.time()
        self._exchanges.append(Exchange(call=call))
        return len(self._exchanges) - 1

    def close(self, number: int, *, reply: Reply | None = None, no_reply: NoReply | None = None) -> None:
        """Note what came of a call."""
        call = self._exchanges[number].call
        self._exchanges[number] = Exchange(call=call, reply=reply, no_reply=no_reply)

    def cut(self, number: int) -> None:
        """Note that a call was cut short when it already had its slot."""
        self._exchanges[number] = Exchange(call=self._exchanges[number].call, was_cut=True)

    def judged(self, verdicts: Sequence[Verdict], broken: Sequence[BrokenValidator] = ()) -> None:
        """Note what validators said."""
        self.verdicts.extend(verdicts)
        self.broken.extend(broken)
