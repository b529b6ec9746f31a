"""The budget learns what calls take, books what every attempt took, and bounds what could go on for long."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import anyio
import pytest
from tests.executors.paying import CENT, CENTS, MODEL, Gated, PriceList, ask_all, call, paid, run, settled

from pytest_llmcall import Call, ConfigurationError, InfrastructureError, NotAsked, Reply, TimedOut
from pytest_llmcall.errors import NoReply, OverBudget
from pytest_llmcall.executors.budget import Budget
from pytest_llmcall.executors.estimates import ASSUMED_ANSWER_TOKENS, FREE, FreeOfCharge, Guess, guess
from pytest_llmcall.executors.limit import Limit, Slots
from pytest_llmcall.executors.prices import Price
from pytest_llmcall.executors.purse import Purse
from pytest_llmcall.executors.retry import Retry
from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.executors.stop import StopOnConfiguration
from pytest_llmcall.reply import Usage
from pytest_llmcall.testing import FakeExecutor, reply

# --- learning


def test_the_first_call_of_a_model_goes_alone_while_others_pass() -> None:
    async def main() -> list[list[str]]:
        purse = Purse(Limits(max_cost_usd=5.0))
        inner = Gated()
        budget = Budget(inner, purse, prices=PriceList(dict.fromkeys("ab", CENT)))
        seen = []
        async with anyio.create_task_group() as group:
            for prompt in ("a1", "a2", "a3", "b1"):
                group.start_soon(budget.execute, call(prompt, model=prompt[0]))
            await anyio.wait_all_tasks_blocked()
            seen.append(sorted(inner.started))
            inner.let_go("a1")
            await anyio.wait_all_tasks_blocked()
            seen.append(sorted(inner.started))
            inner.let_go("a2", "a3", "b1")
        return seen

    assert run(main) == [["a1", "b1"], ["a1", "a2", "a3", "b1"]]


@pytest.mark.parametrize(
    ("limits", "at_once"),
    [
        (Limits(max_tokens=100_000), 1),
        (Limits(max_cost_usd=100.0), 1),
        (Limits(max_calls=9, max_time_s=99), 3),
    ],
)
def test_only_limits_of_money_and_tokens_make_the_first_call_go_alone(limits: Limits, at_once: int) -> None:
    async def main() -> int:
        inner = Gated()
        budget = Budget(inner, Purse(limits), prices=CENTS)
        async with anyio.create_task_group() as group:
            for prompt in "abc":
                group.start_soon(budget.execute, call(prompt))
            await anyio.wait_all_tasks_blocked()
            started = len(inner.started)
            inner.let_go(*"abc")
        return started

    assert run(main) == at_once


def test_a_failure_says_nothing_of_what_a_call_costs() -> None:
    async def main() -> tuple[int, float]:
        purse = Purse(Limits(max_cost_usd=9.0))
        dear = TimedOut("late")
        dear.cost_usd, dear.tokens = 2.0, 9
        await ask_all(Budget(FakeExecutor(dear), purse, prices=CENTS), call())
        inner = Gated()
        budget = Budget(inner, purse, prices=CENTS)
        async with anyio.create_task_group() as group:
            for prompt in "ab":
                group.start_soon(budget.execute, call(prompt))
            await anyio.wait_all_tasks_blocked()
            started = len(inner.started)
            inner.let_go(*"ab")
        return started, purse.spent.cost_usd

    assert run(main) == (1, 2.2)  # the next one goes alone, too


def test_the_first_wave_does_not_spend_many_times_the_limit() -> None:
    async def main() -> tuple[int, float]:
        purse = Purse(Limits(max_cost_usd=0.5))
        inner = FakeExecutor(paid(0.4))  # far more than a cent, which the price lets expect
        await ask_all(Budget(inner, purse, prices=CENTS), *[call()] * 8)
        return len(inner.calls), purse.spent.cost_usd

    assert run(main) == (1, 0.4)


def test_what_a_call_costs_is_learned_from_the_calls_before() -> None:
    async def main() -> list[float]:
        purse = Purse(Limits(max_cost_usd=9.0))
        budget = Budget(FakeExecutor(paid(0.2), paid(0.4), TimedOut("late"), paid(0.9)), purse, prices=CENTS)
        spent = []
        for _ in range(3):
            await ask_all(budget, call())
            spent.append(round(purse.spent.cost_usd, 6))
        return spent

    assert run(main) == [0.2, 0.6, 0.9]  # the third one failed, and counts with the mean


def test_a_much_longer_prompt_is_expected_to_cost_more() -> None:
    async def main() -> None:
        purse = Purse(Limits(max_cost_usd=1.0, max_tokens=9_999))
        await settled(purse)
        usual = await purse.admit(MODEL, Guess(prompt_tokens=500, tokens=600))
        long = await purse.admit(MODEL, Guess(prompt_tokens=1_040, tokens=1_540))
        assert (usual.cost_usd, usual.tokens) == (0.1, 100)
        assert (long.cost_usd, long.tokens) == (0.2, 200)
        with pytest.raises(OverBudget):
            await purse.admit(MODEL, Guess(prompt_tokens=100_000, tokens=100_500))

    run(main)


def test_before_anything_is_known_the_price_and_the_prompt_decide() -> None:
    price = Price(input=1.0, output=2.0, cache_read=0.0, cache_write=0.0)
    found = guess(call("x" * 400, system="y" * 400), price)
    assert (found.prompt_tokens, found.tokens) == (200, 200 + ASSUMED_ANSWER_TOKENS)
    assert found.cost_usd == 200 + 2 * ASSUMED_ANSWER_TOKENS
    assert guess(call("x", schema={"title": "z" * 400}), price).prompt_tokens > 100
    assert guess(call("x", functions=({"name": "z" * 400},)), price).prompt_tokens > 100

    async def main() -> None:
        with pytest.raises(OverBudget, match=r"spent \(--llm-max-cost\), .* expected to cost \$0\.0100"):
            await Budget(FakeExecutor(), Purse(Limits(max_cost_usd=0.009)), prices=CENTS).execute(call())

    run(main)


@pytest.mark.parametrize("seed", range(20))
def test_equal_calls_never_pass_a_limit_at_any_concurrency(seed: int) -> None:
    chance = random.Random(seed)
    costs = {model: chance.choice([0.01, 0.03, 0.1]) for model in "abc"}
    limits = Limits(
        max_cost_usd=chance.choice([None, 0.2, 0.5]),
        max_calls=chance.choice([None, 5, 11]),
        max_tokens=chance.choice([None, 700, 5_000]),
    )

    class Unruly:
        async def execute(self, asked: Call) -> Reply:
            for _ in range(chance.randrange(6)):
                await anyio.lowlevel.checkpoint()
            if chance.random() < 0.1:
                error = InfrastructureError("gone")
                error.cost_usd, error.tokens = costs[asked.model or ""], 100
                raise error
            return paid(costs[asked.model or ""])

    async def main() -> Purse:
        purse = Purse(limits)
        prices = PriceList(dict.fromkeys("abc", CENT))
        budget = Limit(Budget(Unruly(), purse, prices=prices), Slots(chance.choice([1, 3, 16])))
        calls = [call(f"{each}", model=chance.choice("abc")) for each in range(40)]
        ended = await ask_all(Retry(budget, pause_s=0), *calls)
        assert len(ended) == len(calls)
        return purse

    spent = run(main).spent
    assert spent.cost_usd <= (limits.max_cost_usd or 99) + 1e-9 + _learned_too_late(limits, costs)
    assert spent.calls <= (limits.max_calls or 99)
    assert spent.tokens <= (limits.max_tokens or 99_999)
    assert spent.calls > 0


def _learned_too_late(limits: Limits, costs: Mapping[str, float]) -> float:
    """Return by how much the first calls of the models may cost more than their guess of a cent."""
    return 0.0 if limits.max_cost_usd is None else sum(max(0.0, cost - 0.01) for cost in costs.values())


# --- what is known of a cost


def test_a_failed_attempt_is_paid_for_with_what_it_is_known_to_have_cost() -> None:
    error = InfrastructureError("cut")
    error.cost_usd, error.tokens = 0.07, 70

    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=1.0))
        await ask_all(Budget(FakeExecutor(error), purse, prices=CENTS), call())
        return purse

    assert run(main).spent == Spent(calls=1, cost_usd=0.07, tokens=70)


def test_a_failed_attempt_of_unknown_cost_counts_with_its_estimate() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=1.0))
        await ask_all(Budget(FakeExecutor(TimedOut("late")), purse, prices=CENTS), call())
        return purse

    spent = run(main).spent
    assert (spent.calls, spent.guessed_calls) == (1, 1)
    assert spent.cost_usd == spent.guessed_usd == pytest.approx(0.01)


def test_what_never_started_costs_nothing_and_is_no_call() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=1.0, max_calls=1))
        missing = ConfigurationError("no CLI", attempts=0)
        ended = await ask_all(Budget(FakeExecutor(missing), purse, prices=CENTS), call(), call())
        assert ended == [missing, missing]
        return purse

    assert run(main).spent == Spent()


def test_each_attempt_is_paid_for() -> None:
    async def main() -> tuple[list[Reply | NoReply], int]:
        inner = FakeExecutor(*(InfrastructureError(f"gone {each}") for each in range(4)))
        budget = Budget(inner, Purse(Limits(max_calls=3)), prices=CENTS)
        return await ask_all(Retry(Limit(budget, Slots(1)), pause_s=0), call(), call()), len(inner.calls)

    ended, asked = run(main)
    assert asked == 3
    assert sorted(each.attempts for each in ended) == [1, 2]
    (once,) = (each for each in ended if each.attempts == 1)
    assert isinstance(once, InfrastructureError)  # it was asked, so it is not "not asked"
    assert once.detail == "not asked again: budget: 3 of 3 calls made (--llm-max-calls)"


def test_what_waited_while_its_executor_was_stopped_is_not_asked() -> None:
    async def main() -> tuple[list[str], Spent]:
        class Rejecting(Gated):
            async def execute(self, call: Call) -> Reply:
                await super().execute(call)
                error = ConfigurationError("bad key")
                error.cost_usd, error.tokens = 0.0, 0
                raise error

        purse, inner = Purse(Limits(max_cost_usd=1.0)), Rejecting()
        budget = Budget(StopOnConfiguration(inner, name="Claude"), purse, prices=CENTS)
        ended: list[Reply | NoReply] = []

        async def ask() -> None:
            ended.extend(await ask_all(budget, *[call()] * 3))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            inner.let_go("hello")
        assert [type(each) for each in ended] == [ConfigurationError, NotAsked, NotAsked]
        return inner.started, purse.spent

    assert run(main) == (["hello"], Spent(calls=1))


def test_a_reply_without_usage_counts_by_its_length() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_tokens=5_000))
        await ask_all(Budget(FakeExecutor(reply("x" * 4_000, cost_usd=0.5)), purse, prices=CENTS), call("y" * 400))
        return purse

    assert run(main).spent == Spent(calls=1, cost_usd=0.5, tokens=1_100, guessed_calls=1)


def test_a_reply_without_a_cost_is_paid_at_the_price() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=1.0))
        await ask_all(Budget(FakeExecutor(paid(None, ASSUMED_ANSWER_TOKENS)), purse, prices=CENTS), call())
        return purse

    spent = run(main).spent
    assert (spent.cost_usd, spent.guessed_calls) == (pytest.approx(0.01), 0)


def test_a_model_that_nobody_can_price_is_not_asked_under_a_limit_of_cost() -> None:
    async def main() -> list[Reply | NoReply]:
        inner = FakeExecutor()
        budget = Budget(inner, Purse(Limits(max_cost_usd=1.0)), prices=PriceList())
        ended = await ask_all(budget, call(model="odd/model"), call(model="odd/model"))
        assert not inner.calls
        return ended

    first, second = run(main)
    assert isinstance(first, ConfigurationError)
    assert (first.scope, first.attempts) == ("model", 0)
    for part in ("odd/model", "--llm-max-cost", "--llm-max-calls", "--llm-max-tokens"):
        assert part in first.reason + first.remedy
    assert isinstance(second, NotAsked)
    assert str(second) == f"not asked: an earlier case stopped this model: {first.reason}"


@pytest.mark.parametrize("limits", [Limits(max_calls=5), Limits(max_tokens=9_999), Limits()])
def test_without_a_limit_of_cost_no_price_is_needed(limits: Limits) -> None:
    async def main() -> Any:
        return await ask_all(Budget(FakeExecutor(paid(None)), Purse(limits), prices=PriceList()), call(), call())

    assert [type(each) for each in run(main)] == [Reply, Reply]


def test_a_model_of_unknown_price_is_asked_once_where_replies_tell_their_cost() -> None:
    async def main() -> tuple[int, list[Reply | NoReply], Purse]:
        purse = Purse(Limits(max_cost_usd=1.0))
        inner = Gated(cost=None)
        budget = Budget(inner, purse, prices=PriceList(), tells_cost=True)
        ended: list[Reply | NoReply] = []

        async def ask() -> None:
            ended.extend(await ask_all(budget, *[call()] * 3))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            inner.let_go("hello")
        return len(inner.started), ended, purse

    asked, ended, purse = run(main)
    assert asked == 1
    assert [type(each) for each in ended] == [Reply, ConfigurationError, NotAsked]
    assert (purse.spent.calls, purse.spent.guessed_calls) == (1, 1)
    assert purse.spent.cost_usd > 0


def test_a_guess_of_the_price_refuses_no_call_while_anything_is_left() -> None:
    async def main() -> list[Reply | NoReply]:
        inner = FakeExecutor(paid(0.0004))
        budget = Budget(inner, Purse(Limits(max_cost_usd=0.001)), prices=PriceList(), tells_cost=True)
        return await ask_all(budget, *[call()] * 3)

    assert [type(each) for each in run(main)] == [Reply, Reply, OverBudget]


def test_a_model_of_unknown_price_is_refused_when_nothing_is_left() -> None:
    async def main() -> None:
        purse = Purse(Limits(max_cost_usd=0.1))
        await settled(purse, model="other")
        budget = Budget(FakeExecutor(paid()), purse, prices=PriceList(), tells_cost=True)
        with pytest.raises(OverBudget):
            await budget.execute(call())

    run(main)


def test_the_embedded_model_costs_nothing() -> None:
    async def main() -> tuple[Purse, FakeExecutor]:
        purse = Purse(Limits(max_cost_usd=0.000_001))
        inner = FakeExecutor(paid(0.0))
        budget = Budget(inner, purse, prices=FreeOfCharge(), tells_cost=True)
        ended = await ask_all(budget, *[call(tools=("Read",))] * 3)
        assert all(isinstance(each, Reply) for each in ended)
        return purse, inner

    purse, inner = run(main)
    assert purse.spent.cost_usd == 0
    assert FREE.cost(Usage(input_tokens=9, output_tokens=9)) == 0
    assert {each.max_cost_usd for each in inner.calls} == {None}  # the CLI believes that it pays for another model


def test_only_what_is_admitted_counts_as_asked() -> None:
    async def main() -> tuple[list[Call], list[Call]]:
        heard: list[Call] = []
        limits = Limits(max_calls=1, max_cost_usd=1.0)
        budget = Budget(FakeExecutor(paid()), Purse(limits), prices=CENTS, on_start=heard.append)
        calls = [call("a", tools=("Bash",)), call("b")]
        await ask_all(budget, *calls)
        return heard, calls

    heard, calls = run(main)
    assert [id(each) for each in heard] == [id(calls[0])]
