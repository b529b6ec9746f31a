"""A call that can go on for long may cost what is left, and is stopped there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.executors.paying import CENTS, ask_all, call, paid, run, settled

from pytest_llmcall import NotAsked, Reply
from pytest_llmcall.call import McpServer
from pytest_llmcall.errors import CutByBudget, NoReply
from pytest_llmcall.executors.budget import Budget
from pytest_llmcall.executors.claude.argv import launch_line
from pytest_llmcall.executors.purse import Purse
from pytest_llmcall.executors.retry import Retry
from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.reply import Ending
from pytest_llmcall.testing import FakeExecutor

AGENTS: list[dict[str, Any]] = [
    {"tools": ("Bash",)},
    {"mcp": (McpServer(name="s", command="x"),)},
    {"schema": {"type": "object"}},
]


@pytest.mark.parametrize("fields", AGENTS)
def test_an_agent_may_cost_what_is_left_for_it(fields: dict[str, Any]) -> None:
    async def main() -> list[float | None]:
        purse = Purse(Limits(max_cost_usd=1.0))
        await settled(purse)
        inner = FakeExecutor(paid(), hold_until=2)
        await ask_all(Budget(inner, purse, prices=CENTS), call(**fields), call(**fields))
        return [each.max_cost_usd for each in inner.calls]

    assert run(main) == [pytest.approx(0.9), pytest.approx(0.8)]  # of the second one's, a dime is the first one's


def test_a_call_of_one_answer_is_not_bounded() -> None:
    async def main() -> list[float | None]:
        inner = FakeExecutor(paid())
        await ask_all(Budget(inner, Purse(Limits(max_cost_usd=1.0)), prices=CENTS), call())
        return [each.max_cost_usd for each in inner.calls]

    assert run(main) == [None]


@pytest.mark.parametrize(("own", "passed_on"), [(0.5, 0.5), (5.0, 1.0)])
def test_the_lower_bound_of_the_calls_own_and_the_runs_holds(own: float, passed_on: float) -> None:
    async def main() -> list[float | None]:
        inner = FakeExecutor(paid())
        budget = Budget(inner, Purse(Limits(max_cost_usd=1.0)), prices=CENTS)
        await budget.execute(call(tools=("Bash",), max_cost_usd=own))
        return [each.max_cost_usd for each in inner.calls]

    assert run(main) == [passed_on]


def test_a_call_that_used_up_the_runs_budget_is_no_verdict_about_the_model_and_is_paid_for() -> None:
    async def main() -> tuple[Reply | NoReply, Purse]:
        purse = Purse(Limits(max_cost_usd=1.0))
        inner = FakeExecutor(paid(1.2, 50, ending=Ending.MAX_BUDGET, ending_detail="Reached maximum budget ($1)"))
        stack = Retry(Budget(inner, purse, prices=CENTS), pause_s=0)
        (ended,) = await ask_all(stack, call(tools=("Bash",)))
        assert len(inner.calls) == 1
        return ended, purse

    error, purse = run(main)
    assert isinstance(error, CutByBudget)
    assert not isinstance(error, NotAsked)
    assert "it had cost $1.2000, and $1.0000 was left" in error.reason
    assert (error.received, error.cost_usd, error.tokens, error.attempts) == ("ok", 1.2, 50, 1)
    assert purse.spent == Spent(calls=1, cost_usd=1.2, tokens=50)


def test_a_call_that_used_up_its_own_bound_is_a_reply() -> None:
    async def main() -> Reply:
        inner = FakeExecutor(paid(0.2, ending=Ending.MAX_BUDGET))
        budget = Budget(inner, Purse(Limits(max_cost_usd=1.0)), prices=CENTS)
        return await budget.execute(call(tools=("Bash",), max_cost_usd=0.1))

    assert run(main).ending is Ending.MAX_BUDGET


@pytest.mark.parametrize(("bound", "options"), [(None, []), (0.25, ["--max-budget-usd=0.25"])])
def test_the_cli_is_told_what_a_call_may_cost(bound: float | None, options: list[str]) -> None:
    line = launch_line(Path("claude"), call(max_cost_usd=bound), model=None)
    assert [each for each in line if "budget" in each] == options
