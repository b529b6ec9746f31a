"""What a run may spend, and what it has spent: the two records that purse, header and closing section share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may spend at most; None means that there is no limit.

    Attributes:
        max_calls: Attempts: one that is asked again counts twice.
        max_tokens: All tokens, cached ones included.
        max_time_s: Seconds from the first call's start in which a call must be expected to end.
    """

    max_cost_usd: float | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    max_time_s: float | None = None

    def __bool__(self) -> bool:
        return any(each is not None for each in (self.max_cost_usd, self.max_calls, self.max_tokens, self.max_time_s))

    def share(self, index: int, of: int) -> Self:
        """Return what one of several processes may spend; all shares together are what all may spend.

        A process beyond their number, one that replaces another that crashed, may spend nothing: nobody knows what
        the other one has spent.
        """
        return replace(
            self,
            max_cost_usd=None if self.max_cost_usd is None else self.max_cost_usd / of * (index < of),
            max_calls=_whole_share(self.max_calls, index, of),
            max_tokens=_whole_share(self.max_tokens, index, of),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a process has spent.

    Attributes:
        calls: Attempts that have ended.
        seconds: From the first call's start to the last end.
        guessed_calls: Attempts that count with an estimate, since nobody said what they took.
        guessed_usd: The part of the cost that is such an estimate.
    """

    calls: int = 0
    cost_usd: float = 0.0
    tokens: int = 0
    seconds: float = field(default=0.0, compare=False)
    guessed_calls: int = 0
    guessed_usd: float = 0.0

    @classmethod
    def together(cls, parts: Iterable[Self]) -> Self:
        """Return what several processes have spent."""
        parts = list(parts)
        return cls(
            calls=sum(each.calls for each in parts),
            cost_usd=sum(each.cost_usd for each in parts),
            tokens=sum(each.tokens for each in parts),
            seconds=max((each.seconds for each in parts), default=0.0),
            guessed_calls=sum(each.guessed_calls for each in parts),
            guessed_usd=sum(each.guessed_usd for each in parts),
        )


def _whole_share(total: int | None, index: int, of: int) -> int | None:
    if total is None:
        return None
    return total // of + (index < total % of) if index < of else 0
