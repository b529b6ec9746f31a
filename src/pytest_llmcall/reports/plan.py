"""What a dry run says: what would be asked, of whom, and about what it would take. Unknown is unknown, never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_llmcall.executors.estimates import Guess
from pytest_llmcall.executors.spending import Limits
from pytest_llmcall.reports.budget import limits_text

UNTIL_IT_RUNS = "unknown until it runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedItem:
    """An item that would ask.

    Attributes:
        guess: What its one call would take; None if nobody knows how often it asks.
        skipped: Why it would not run; empty if it would.
    """

    nodeid: str
    model: str
    guess: Guess | None = None
    skipped: str = ""


def plan_lines(items: Sequence[PlannedItem], limits: Limits) -> Iterator[str]:
    """Return the lines of a dry run: one per item that would ask, what would be skipped, and the totals."""
    would_run = [each for each in items if not each.skipped]
    width = max((len(each.model) for each in would_run), default=0)
    for each in would_run:
        yield f"{_calls(each):>8} {_tokens(each):>13} {_cost(each):>14}  {each.model:<{width}}  {each.nodeid}"
    for reason, count in Counter(each.skipped for each in items if each.skipped).most_common():
        yield f"{count} would be skipped: {reason}"
    yield from _totals(would_run)
    if text := limits_text(limits):
        yield text
    yield "nothing was asked, and nothing was run"


def _totals(items: Sequence[PlannedItem]) -> Iterator[str]:
    known = [each.guess for each in items if each.guess is not None]
    priced = [each for each in known if each.priced]
    unpriced = len(known) - len(priced)
    yield ", ".join(
        [
            f"{_count(len(known), 'call')} of cases",
            f"about {sum(each.tokens for each in known)} tokens",
            *([f"about ${sum(each.cost_usd for each in priced):.4f}"] if priced else []),
            *([f"{_count(unpriced, 'call')} of unknown cost"] if unpriced else []),
        ]
    )
    if tests := len(items) - len(known):
        yield f"and the calls of {_count(tests, 'Python test')}: {UNTIL_IT_RUNS}"


def _calls(item: PlannedItem) -> str:
    return "? calls" if item.guess is None else "1 call"


def _tokens(item: PlannedItem) -> str:
    return "? tokens" if item.guess is None else f"~{item.guess.tokens} tokens"


def _cost(item: PlannedItem) -> str:
    if item.guess is None:
        return "$ ?"
    return f"~${item.guess.cost_usd:.4f}" if item.guess.priced else "cost unknown"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
