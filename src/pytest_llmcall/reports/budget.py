"""What a run may spend, has spent and did not ask, in words: for the header and the closing section."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.outcome import Status

SHOWN_ITEMS: Final = 50  # without -v
_REASON: Final = "budget: "  # how every reason of an OverBudget begins

Record = Mapping[str, Any]


def limits_text(limits: Limits) -> str:
    """Return what a run may spend; empty if it has no limit."""
    parts = (
        (limits.max_cost_usd, "${:g}"),
        (limits.max_calls, "{} calls"),
        (limits.max_tokens, "{} tokens"),
        (limits.max_time_s, "no call that would end after {:g} s"),
    )
    known = ", ".join(text.format(limit) for limit, text in parts if limit is not None)
    return f"budget: at most {known}".replace("at most no", "no") if known else ""


def over_budget(records: Iterable[Record]) -> list[str]:
    """Return the items that were not asked, or not asked everything, because of the budget; each once, sorted."""
    refused = (each for each in records if each["status"] == Status.NOT_ASKED and each["reason"].startswith(_REASON))
    return sorted({each["nodeid"] for each in refused})


def budget_lines(limits: Limits, spent: Spent, refused: Sequence[str], *, everything: bool) -> Iterator[str]:
    """Return the lines of the closing section, none if the run has no limit.

    Args:
        limits: What the whole run might spend.
        spent: What it has spent.
        refused: The items that were not asked.
        everything: Show all of them, however many there are.
    """
    if not limits:
        return
    shown = refused if everything else refused[:SHOWN_ITEMS]
    for nodeid in shown:
        yield f"not asked because of the budget: {nodeid}"
    if len(shown) < len(refused):
        yield f"… and {len(refused) - len(shown)} more; -v shows all"
    result = f"{len(refused)} not asked, so the run is no success" if refused else "everything was asked"
    yield f"budget: {', '.join(_spent(limits, spent))}; {result}"


def _spent(limits: Limits, spent: Spent) -> Iterator[str]:
    if limits.max_cost_usd is not None:
        guessed = f" (${spent.guessed_usd:.4f} of it estimated)" if spent.guessed_usd else ""
        yield f"${spent.cost_usd:.4f} of ${limits.max_cost_usd:g} spent{guessed}"
    if limits.max_calls is not None:
        yield f"{spent.calls} of {limits.max_calls} calls"
    if limits.max_tokens is not None:
        guessed = f" (estimated for {spent.guessed_calls} of {spent.calls} calls)" if spent.guessed_calls else ""
        yield f"{spent.tokens} of {limits.max_tokens} tokens{guessed}"
    if limits.max_time_s is not None:
        yield f"{spent.seconds:.1f} of {limits.max_time_s:g} s"
