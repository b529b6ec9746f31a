"""The purse admits only what fits, in order, and the budget books what every attempt took."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import anyio
import pytest

from pytest_llmcall import Call, ConfigurationError, InfrastructureError, Message, NotAsked, Reply, TimedOut
from pytest_llmcall.call import McpServer
from pytest_llmcall.errors import CutByBudget, NoReply, OverBudget
from pytest_llmcall.executors import Executor
from pytest_llmcall.executors.budget import Budget
from pytest_llmcall.executors.estimates import ASSUMED_ANSWER_TOKENS, FREE, FreeOfCharge, Guess, guess
from pytest_llmcall.executors.limit import Limit, Slots
from pytest_llmcall.executors.prices import Price
from pytest_llmcall.executors.purse import Purse, Ticket
from pytest_llmcall.executors.retry import Retry
from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.executors.stop import StopOnConfiguration
from pytest_llmcall.reply import Ending, Usage
from pytest_llmcall.testing import FakeExecutor, reply

BOUND_S = 10.0
MODEL = "max/sonnet"
DIME = Guess(prompt_tokens=10, tokens=100, cost_usd=0.1)


class PriceList:
    """Prices of a test; a cent for a token of the answer, nothing for the prompt."""

    def __init__(self, known: Mapping[str, Price] | None = None) -> None:
        self._known = known or {}

    def of(self, model: str) -> Price | None:
        return self._known.get(model)


CENT = Price(input=0.0, output=0.01 / ASSUMED_ANSWER_TOKENS, cache_read=0.0, cache_write=0.0)
CENTS = PriceList({MODEL: CENT})


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Gated:
    """Holds every call until the test lets it go, so that a test decides on the order of the ends."""

    def __init__(self, cost: float | None = 0.1, usage: Usage | None = None) -> None:
        self.cost = cost
        self.usage = usage or Usage(output_tokens=100)
        self.started: list[str] = []
        self._gates: dict[str, anyio.Event] = {}

    async def execute(self, call: Call) -> Reply:
        self.started.append(call.prompt)
        await self._gate(call.prompt).wait()
        return reply("ok", cost_usd=self.cost, usage=self.usage)

    def let_go(self, *prompts: str) -> None:
        for prompt in prompts:
            self._gate(prompt).set()

    def _gate(self, prompt: str) -> anyio.Event:
        return self._gates.setdefault(prompt, anyio.Event())


def call(prompt: str = "hello", **fields: Any) -> Call:
    given: dict[str, Any] = {"model": MODEL, "timeout": 5.0} | fields
    return Call(messages=(Message(role="user", content=prompt),), **given)


def paid(cost: float | None = 0.1, tokens: int = 100, **fields: Any) -> Reply:
    return reply("ok", cost_usd=cost, usage=Usage(output_tokens=tokens), **fields)


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        with anyio.fail_after(BOUND_S):
            return await main()

    return anyio.run(bounded)


async def settled(purse: Purse, taken: Guess = DIME, *, model: str = MODEL, times: int = 1) -> None:
    """Let some calls come and go."""
    for _ in range(times):
        purse.settle(await purse.admit(model, taken), cost_usd=taken.cost_usd, tokens=taken.tokens, typical=True)


async def ask_all(executor: Executor, *calls: Call) -> list[Reply | NoReply]:
    """Return what becomes of calls that are made at the same time, in the order of asking."""
    found: dict[int, Reply | NoReply] = {}

    async def ask(at: int) -> None:
        try:
            found[at] = await executor.execute(calls[at])
        except NoReply as error:
            found[at] = error

    async with anyio.create_task_group() as group:
        for at in range(len(calls)):
            group.start_soon(ask, at)
    return [found[at] for at in range(len(calls))]


# --- what fits each limit


def test_a_call_that_the_money_does_not_cover_is_refused_with_the_figures() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_cost_usd=0.35))
        await settled(purse, times=3)
        with pytest.raises(OverBudget) as caught:
            await purse.admit(MODEL, DIME)
        assert str(caught.value) == (
            "budget: $0.3000 of $0.3500 spent (--llm-max-cost), and this call was expected to cost $0.1000"
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
    ("limits", "peak"),
    [
        (Limits(max_tokens=100_000), 1),
        (Limits(max_cost_usd=100.0), 1),
        (Limits(max_calls=9, max_time_s=99), 3),
    ],
)
def test_only_limits_of_money_and_tokens_make_the_first_call_go_alone(limits: Limits, peak: int) -> None:
    async def main() -> int:
        purse = Purse(limits)
        budget = Budget(FakeExecutor(TimedOut("late"), hold_until=peak), purse, prices=CENTS)
        await ask_all(budget, *[call()] * 3)  # a failure says nothing of what a call costs
        return purse.peak

    assert run(main) == peak


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
        limited = Limit(StopOnConfiguration(budget, name="fake"), Slots(1))
        return await ask_all(Retry(limited, pause_s=0), call(), call()), len(inner.calls)

    ended, asked = run(main)
    assert asked == 3
    assert sorted(each.attempts for each in ended) == [1, 2]
    (once,) = (each for each in ended if each.attempts == 1)
    assert isinstance(once, InfrastructureError)  # it was asked, so it is not "not asked"
    assert once.detail == "not asked again: budget: 3 of 3 calls made (--llm-max-calls)"


def test_a_reply_without_usage_counts_by_its_length() -> None:
    async def main() -> Purse:
        purse = Purse(Limits(max_tokens=5_000))
        await ask_all(Budget(FakeExecutor("x" * 4_000), purse, prices=CENTS), call("y" * 400))
        return purse

    assert run(main).spent == Spent(calls=1, tokens=1_100, guessed_calls=1)


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
        stop = StopOnConfiguration(budget, name="LiteLLM")
        ended = await ask_all(stop, call(model="odd/model"), call(model="odd/model"))
        assert not inner.calls
        return ended

    first, second = run(main)
    assert isinstance(first, ConfigurationError)
    assert (first.scope, first.attempts) == ("model", 0)
    for part in ("odd/model", "--llm-max-cost", "--llm-max-calls", "--llm-max-tokens"):
        assert part in first.reason + first.remedy
    assert isinstance(second, NotAsked)


@pytest.mark.parametrize("limits", [Limits(max_calls=5), Limits(max_tokens=9_999), Limits()])
def test_without_a_limit_of_cost_no_price_is_needed(limits: Limits) -> None:
    async def main() -> Any:
        return await ask_all(Budget(FakeExecutor(paid(None)), Purse(limits), prices=PriceList()), call(), call())

    assert [type(each) for each in run(main)] == [Reply, Reply]


def test_a_model_of_unknown_price_is_asked_once_where_replies_tell_their_cost() -> None:
    async def main() -> tuple[int, list[Reply | NoReply], Purse]:
        purse = Purse(Limits(max_cost_usd=1.0))
        inner = FakeExecutor(paid(None))
        ended = await ask_all(Budget(inner, purse, prices=PriceList(), tells_cost=True), *[call()] * 3)
        return len(inner.calls), ended, purse

    asked, ended, purse = run(main)
    assert asked == 1
    assert [type(each) for each in ended] == [Reply, ConfigurationError, ConfigurationError]
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


# --- calls that can go on for long

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


def test_only_what_is_admitted_counts_as_asked() -> None:
    async def main() -> tuple[list[Call], list[Call]]:
        heard: list[Call] = []
        budget = Budget(FakeExecutor(), Purse(Limits(max_calls=1)), prices=CENTS, on_start=heard.append)
        calls = [call("a", tools=("Bash",)), call("b")]
        await ask_all(budget, *calls)
        return heard, calls

    heard, calls = run(main)
    assert [id(each) for each in heard] == [id(calls[0])]


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
