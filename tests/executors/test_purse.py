"""The purse admits only what fits, in the order of asking, whoever gives up while it waits."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from tests.executors.paying import CENT, CENTS, DIME, MODEL, Clock, Gated, PriceList, ask_all, call, paid, run, settled

from pytest_llmcall import Call, Reply, TimedOut
from pytest_llmcall.errors import NoReply, OverBudget
from pytest_llmcall.executors import Executor
from pytest_llmcall.executors.budget import Budget
from pytest_llmcall.executors.estimates import Guess
from pytest_llmcall.executors.prices import Price
from pytest_llmcall.executors.purse import Purse, Ticket
from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.testing import FakeExecutor

# --- what fits each limit


def test_a_call_that_the_money_does_not_cover_is_refused_with_the_figures() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=0.35))
        await settled(purse, times=3)
        with pytest.raises(OverBudget) as caught:
            await purse.admit(MODEL, DIME)
        assert str(caught.value) == (
            "budget: $0.3000 of $0.35 spent (--llm-max-cost), and this call was expected to cost $0.1000"
        )
        return purse

    spent = run(main).spent
    assert (spent.calls, spent.cost_usd, spent.tokens) == (3, pytest.approx(0.3), 300)


def test_a_call_that_the_tokens_do_not_cover_is_refused_with_the_figures() -> None:
    async def main() -> None:
        purse = Purse(Limits(max_tokens=250))
        await settled(purse, times=2)
        with pytest.raises(
            OverBudget, match=r"^budget: 200 of 250 tokens spent \(--llm-max-tokens\), .* expected to take 100$"
        ):
            await purse.admit(MODEL, DIME)

    run(main)


def test_the_number_of_calls_is_exact() -> None:
    async def main() -> None:
        purse = Purse(Limits(max_calls=2))
        await settled(purse, times=2)
        with pytest.raises(OverBudget, match=r"^budget: 2 of 2 calls made \(--llm-max-calls\)$"):
            await purse.admit(MODEL, DIME)

    run(main)


def test_a_call_that_would_end_too_late_is_refused() -> None:
    async def main() -> None:
        clock = Clock()
        purse = Purse(Limits(max_time_s=10), clock=clock)
        clock.now += 1_000  # what was before the first call does not count
        ticket = await purse.admit(MODEL, DIME)
        clock.now += 4
        purse.settle(ticket)
        clock.now += 2
        await settled(purse)  # 6 s are gone, and a call takes 4 s
        clock.now += 3
        with pytest.raises(OverBudget, match=r"^budget: 9\.0 of 10 s gone \(--llm-max-time\), .* to take 2\.0 s$"):
            await purse.admit(MODEL, DIME)

    run(main)


def test_equal_calls_use_the_limit_up_to_its_last_cent() -> None:
    async def main() -> int:
        purse = Purse(Limits(max_cost_usd=0.7))  # 7 * 0.1 is more than 0.7 in the last digit
        with pytest.raises(OverBudget):
            await settled(purse, times=20)
        return purse.spent.calls

    assert run(main) == 7


def test_without_limits_all_calls_start_at_once() -> None:
    async def main() -> int:
        purse = Purse()
        inner = FakeExecutor(hold_until=20)
        budget = Budget(inner, purse, prices=PriceList(), tells_cost=False)
        await ask_all(budget, *[call()] * 20)
        return purse.peak

    assert run(main) == 20


# --- waiting


def test_a_call_waits_for_those_in_flight_and_starts_when_they_were_cheaper() -> None:
    async def main() -> list[str]:
        purse = Purse(Limits(max_cost_usd=0.3))
        await settled(purse)
        inner = Gated(cost=0.01)
        budget = Budget(inner, purse, prices=CENTS)
        async with anyio.create_task_group() as group:
            for prompt in ("a", "b", "c"):
                group.start_soon(budget.execute, call(prompt))
            await anyio.wait_all_tasks_blocked()
            before = list(inner.started)
            inner.let_go("a")
            await anyio.wait_all_tasks_blocked()
            assert before == ["a", "b"]
            inner.let_go("b", "c")
        return inner.started

    assert run(main) == ["a", "b", "c"]


def test_a_call_that_waited_is_refused_when_the_others_cost_what_was_expected() -> None:
    async def main() -> list[Reply | NoReply]:
        purse = Purse(Limits(max_cost_usd=0.3))
        await settled(purse)
        return await ask_all(Budget(FakeExecutor(paid(), hold_until=2), purse, prices=CENTS), *[call()] * 3)

    assert [type(each) for each in run(main)] == [Reply, Reply, OverBudget]


def test_a_large_call_that_waits_is_not_passed_by_small_ones() -> None:
    async def main() -> list[str]:
        purse = Purse(Limits(max_cost_usd=1.0))
        for model, cost in (("large", 0.6), ("small", 0.1)):
            await settled(purse, Guess(prompt_tokens=1, tokens=1, cost_usd=cost), model=model)
        purse.spent = Spent()
        inner = Gated(cost=0.1)
        budget = Budget(inner, purse, prices=PriceList(dict.fromkeys(("large", "small"), CENT)))
        async with anyio.create_task_group() as group:
            for prompt in ("1 small", "2 large", "3 large", "4 small", "5 small"):
                group.start_soon(budget.execute, call(prompt, model=prompt[2:]))
                await anyio.wait_all_tasks_blocked()
            assert inner.started == ["1 small", "2 large"]
            inner.let_go("2 large")
            await anyio.wait_all_tasks_blocked()
            inner.let_go("1 small", "3 large", "4 small", "5 small")
        return inner.started

    assert run(main) == ["1 small", "2 large", "3 large", "4 small", "5 small"]


def test_who_can_never_fit_is_told_so_while_others_wait() -> None:
    async def main() -> None:
        purse = Purse(Limits(max_cost_usd=1.0))
        await settled(purse, Guess(prompt_tokens=1, tokens=1, cost_usd=0.5), model="half")
        purse.spent = Spent()
        inner = Gated(cost=0.5)
        known = PriceList({"half": CENT, "never": Price(input=0, output=2 / 500, cache_read=0, cache_write=0)})
        budget = Budget(inner, purse, prices=known)
        async with anyio.create_task_group() as group:
            for prompt in ("a", "b"):
                group.start_soon(budget.execute, call(prompt, model="half"))
            group.start_soon(_refused, budget, call("c", model="half"))
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(OverBudget):
                await budget.execute(call("d", model="never"))
            assert inner.started == ["a", "b"]
            inner.let_go("a", "b")

    run(main)


async def _refused(executor: Executor, asked: Call) -> None:
    with pytest.raises(OverBudget):
        await executor.execute(asked)


def test_who_gives_up_waiting_does_not_hold_up_those_behind() -> None:
    async def main() -> list[str]:
        purse = Purse(Limits(max_cost_usd=1.0))
        for model, cost in (("large", 0.6), ("small", 0.1)):
            await settled(purse, Guess(prompt_tokens=1, tokens=1, cost_usd=cost), model=model)
        purse.spent = Spent()
        inner = Gated()
        budget = Budget(inner, purse, prices=PriceList(dict.fromkeys(("large", "small"), CENT)))
        async with anyio.create_task_group() as group:
            group.start_soon(budget.execute, call("first", model="large"))
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as waiting:
                    waiting.start_soon(budget.execute, call("large", model="large"))
                    await anyio.wait_all_tasks_blocked()
                    group.start_soon(budget.execute, call("small", model="small"))
                    await anyio.wait_all_tasks_blocked()
                    assert inner.started == ["first"]
                    scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert inner.started == ["first", "small"]
            inner.let_go("first", "small")
        assert purse.spent.calls == 2
        return inner.started

    assert run(main) == ["first", "small"]


def test_who_is_cancelled_in_the_moment_of_admission_gives_it_back() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_calls=1))
        ticket = await purse.admit(MODEL, DIME)
        admitted: list[Ticket] = []

        async def wait(scope: anyio.CancelScope) -> None:
            with scope:
                admitted.append(await purse.admit(MODEL, DIME))

        async with anyio.create_task_group() as group:
            scope = anyio.CancelScope()
            group.start_soon(wait, scope)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            purse.refund(ticket)  # admits the other one before it hears that it is cancelled
        assert not admitted
        await settled(purse)
        return purse

    assert run(main).spent.calls == 1


def test_an_attempt_that_was_never_made_lets_the_next_one_go() -> None:
    async def main() -> int:
        purse = Purse(Limits(max_calls=1))
        ticket = await purse.admit(MODEL, DIME)
        async with anyio.create_task_group() as group:
            group.start_soon(settled, purse)
            await anyio.wait_all_tasks_blocked()
            purse.refund(ticket)
        return purse.spent.calls

    assert run(main) == 1


def test_a_call_that_is_cut_counts_with_its_estimate() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=1.0))
        await settled(purse)
        budget = Budget(FakeExecutor(hold_until=2), purse, prices=CENTS)
        async with anyio.create_task_group() as group:
            group.start_soon(budget.execute, call())
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await settled(purse)  # nothing is in flight any more
        return purse

    spent = run(main).spent
    assert (spent.calls, spent.guessed_calls) == (3, 1)
    assert (spent.cost_usd, spent.guessed_usd, spent.tokens) == (pytest.approx(0.3), pytest.approx(0.1), 300)


def test_a_crash_of_an_executor_leaves_nothing_in_flight() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_calls=2))
        with pytest.raises(RuntimeError):
            await Budget(FakeExecutor(RuntimeError("bug")), purse, prices=CENTS).execute(call())
        await settled(purse)
        return purse

    assert run(main).spent.calls == 2


def test_the_wait_for_money_is_no_part_of_the_call() -> None:
    async def main() -> tuple[Reply, NoReply, int]:
        clock, waits = Clock(), 0
        purse = Purse(Limits(max_cost_usd=9), clock=clock)

        class Waiting:
            def __enter__(self) -> None:
                nonlocal waits
                waits += 1

            def __exit__(self, *_: object) -> None:
                pass

        inner = Gated()
        budget = Budget(inner, purse, prices=CENTS, waiting=Waiting)
        late = Budget(FakeExecutor(TimedOut("late")), purse, prices=CENTS)
        found: list[Any] = []

        async def ask(executor: Executor) -> None:
            found.extend(await ask_all(executor, call("x")))

        async with anyio.create_task_group() as group:
            group.start_soon(budget.execute, call("first"))
            await anyio.wait_all_tasks_blocked()
            inner.let_go("x")
            group.start_soon(ask, budget)
            group.start_soon(ask, late)
            await anyio.wait_all_tasks_blocked()
            clock.now += 7
            inner.let_go("first")
        answered, failed = sorted(found, key=lambda each: isinstance(each, NoReply))
        return answered, failed, waits

    answered, failed, waits = run(main)
    assert (answered.queued_s, failed.queued_s, failed.duration_s, waits) == (7.0, 7.0, -7.0, 2)


# --- shares of workers


@pytest.mark.parametrize("of", [1, 2, 3, 7])
def test_the_shares_of_workers_are_together_what_the_run_may_spend(of: int) -> None:
    whole = Limits(max_cost_usd=1.0, max_calls=5, max_tokens=1_000, max_time_s=60)
    shares = [whole.share(index, of) for index in range(of)]
    assert sum(each.max_cost_usd or 0 for each in shares) == pytest.approx(1.0)
    assert sum(each.max_calls or 0 for each in shares) == 5
    assert sum(each.max_tokens or 0 for each in shares) == 1_000
    assert {each.max_time_s for each in shares} == {60}
    assert shares[0].max_calls == -(-5 // of)


def test_a_worker_that_replaces_a_crashed_one_may_spend_nothing() -> None:
    share = Limits(max_cost_usd=1.0, max_calls=5, max_tokens=10).share(2, 2)
    assert (share.max_cost_usd, share.max_calls, share.max_tokens) == (0, 0, 0)
    assert share
    assert not Limits().share(2, 2)
