"""What a run may spend, has spent and did not ask, in words; and the plan of a dry run."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmcall.executors.estimates import Guess
from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.reports.budget import SHOWN_ITEMS, budget_lines, limits_text, over_budget
from pytest_llmcall.reports.plan import PlannedItem, plan_lines


def line(nodeid: str, status: str, reason: str) -> dict[str, Any]:
    return {"nodeid": nodeid, "status": status, "reason": reason}


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(), ""),
        (Limits(max_cost_usd=0.5), "budget: at most $0.5"),
        (Limits(max_calls=3, max_tokens=900), "budget: at most 3 calls, 900 tokens"),
        (Limits(max_time_s=60), "budget: no call that would end after 60 s"),
    ],
)
def test_limits_are_said_in_one_line(limits: Limits, text: str) -> None:
    assert limits_text(limits) == text


def test_only_what_the_budget_refused_counts_as_such_and_each_item_once() -> None:
    records = [
        line("a", "not asked", "budget: 1 of 1 calls made"),
        line("a", "not asked", "budget: 1 of 1 calls made"),
        line("b", "not asked", "not asked: the run stopped"),
        line("c", "failed", "budget: a verdict that begins like this"),
        line("d", "not asked", "budget: 1 of 1 calls made"),
    ]
    assert over_budget(records) == ["a", "d"]


def test_many_items_are_counted_and_shown_with_v() -> None:
    refused = [f"case {each}" for each in range(SHOWN_ITEMS + 7)]
    short = list(budget_lines(Limits(max_calls=1), Spent(calls=1), refused, everything=False))
    assert len(short) == SHOWN_ITEMS + 2
    assert short[-2:] == ["… and 7 more; -v shows all", "budget: 1 of 1 calls; 57 not asked, so the run is no success"]
    whole = list(budget_lines(Limits(max_calls=1), Spent(calls=1), refused, everything=True))
    assert len(whole) == SHOWN_ITEMS + 7 + 1


def test_what_is_only_estimated_is_said_to_be() -> None:
    spent = Spent(calls=4, cost_usd=0.42, tokens=900, seconds=12.34, guessed_calls=2, guessed_usd=0.03)
    limits = Limits(max_cost_usd=0.5, max_calls=20, max_tokens=1_000, max_time_s=60)
    (said,) = budget_lines(limits, spent, [], everything=False)
    assert said.split(", ") == [
        "budget: $0.4200 of $0.5 spent ($0.0300 of it estimated)",
        "4 of 20 calls",
        "900 of 1000 tokens (estimated for 2 of 4 calls)",
        "12.3 of 60 s; everything was asked",
    ]


def test_workers_have_spent_together_what_each_has_spent() -> None:
    one = Spent(calls=1, cost_usd=0.1, tokens=10, seconds=5, guessed_calls=1, guessed_usd=0.1)
    other = Spent(calls=2, cost_usd=0.2, tokens=20, seconds=7)
    both = Spent.together([one, other])
    assert both.cost_usd == pytest.approx(0.3)
    assert (both.calls, both.tokens, both.seconds, both.guessed_calls, both.guessed_usd) == (3, 30, 7.0, 1, 0.1)


def test_a_plan_sums_up_what_is_known_and_counts_what_is_not() -> None:
    priced = Guess(prompt_tokens=10, tokens=510, cost_usd=0.01)
    items = [
        PlannedItem(nodeid="a", model="max/opus", guess=priced),
        PlannedItem(nodeid="b", model="m", guess=Guess(prompt_tokens=10, tokens=510, cost_usd=0.0, priced=False)),
        PlannedItem(nodeid="c", model="m"),
        PlannedItem(nodeid="d", model="m", guess=priced, skipped="later"),
    ]
    assert list(plan_lines(items, Limits())) == [
        "  1 call   ~510 tokens       ~$0.0100  max/opus  a",
        "  1 call   ~510 tokens   cost unknown  m         b",
        " ? calls      ? tokens            $ ?  m         c",
        "1 would be skipped: later",
        "2 calls of cases, about 1020 tokens, about $0.0100, 1 call of unknown cost",
        "and the calls of 1 Python test: unknown until it runs",
        "nothing was asked, and nothing was run",
    ]


def test_a_plan_of_nothing_says_so() -> None:
    assert next(iter(plan_lines([], Limits()))) == "0 calls of cases, about 0 tokens"
