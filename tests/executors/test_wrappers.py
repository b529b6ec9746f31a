"""Limit, Retry, StopOnConfiguration, Router: each has the interface of an executor and does one thing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from pytest_llmcall import (
    Call,
    ConfigurationError,
    InfrastructureError,
    Message,
    NoReply,
    NotAsked,
    Reply,
    SettingsError,
    TimedOut,
)
from pytest_llmcall.executors.limit import Limit, Slots
from pytest_llmcall.executors.models import parse_model
from pytest_llmcall.executors.retry import Retry
from pytest_llmcall.executors.routing import AnsweredBy, Router, Unavailable
from pytest_llmcall.executors.stop import StopOnConfiguration
from pytest_llmcall.testing import FakeExecutor, reply

BOUND_S = 10.0


def call(prompt: str = "hello", model: str = "max/default") -> Call:
    return Call(messages=(Message(role="user", content=prompt),), model=model, timeout=5)


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        with anyio.fail_after(BOUND_S):
            return await main()

    return anyio.run(bounded)


def test_the_limit_lets_all_slots_be_used_and_no_more() -> None:
    async def main() -> tuple[int, int]:
        slots = Slots(3)
        inner = FakeExecutor(hold_until=3)
        async with anyio.create_task_group() as group:
            for _ in range(9):
                group.start_soon(Limit(inner, slots).execute, call())
        return inner.peak_in_flight, slots.peak

    assert run(main) == (3, 3)


def test_two_executors_share_the_slots_of_a_run() -> None:
    async def main() -> int:
        slots = Slots(2)
        one, other = FakeExecutor(), FakeExecutor()
        async with anyio.create_task_group() as group:
            for inner in (one, other) * 5:
                group.start_soon(Limit(inner, slots).execute, call())
        return slots.peak

    assert run(main) == 2


def test_a_slot_is_given_back_after_a_failure() -> None:
    async def main() -> Reply:
        limit = Limit(FakeExecutor(InfrastructureError("gone"), "ok"), Slots(1))
        with pytest.raises(InfrastructureError):
            await limit.execute(call())
        return await limit.execute(call())

    assert run(main).text == "ok"


def test_an_infrastructure_failure_is_asked_once_more() -> None:
    async def main() -> tuple[Reply, int]:
        inner = FakeExecutor(InfrastructureError("overloaded"), "ok")
        answer = await Retry(inner, pause_s=0).execute(call())
        return answer, len(inner.calls)

    answer, calls = run(main)
    assert (answer.text, answer.attempts, calls) == ("ok", 2, 2)


def test_a_second_infrastructure_failure_is_final_and_counted() -> None:
    async def main() -> tuple[int, int]:
        inner = FakeExecutor(InfrastructureError("overloaded"))
        with pytest.raises(InfrastructureError) as caught:
            await Retry(inner, pause_s=0).execute(call())
        return caught.value.attempts, len(inner.calls)

    assert run(main) == (2, 2)


@pytest.mark.parametrize("error", [TimedOut("late"), ConfigurationError("no key"), NotAsked("stop"), NoReply("odd")])
def test_nothing_else_is_asked_again(error: NoReply) -> None:
    async def main() -> int:
        inner = FakeExecutor(error)
        with pytest.raises(type(error)):
            await Retry(inner, pause_s=0).execute(call())
        return len(inner.calls)

    assert run(main) == 1


def test_each_attempt_takes_a_slot_of_its_own() -> None:
    async def main() -> int:
        slots = Slots(1)
        inner = FakeExecutor(InfrastructureError("gone"), "ok")
        retry = Retry(Limit(inner, slots), pause_s=0)
        async with anyio.create_task_group() as group:
            group.start_soon(retry.execute, call("first"))
            group.start_soon(retry.execute, call("second"))
        return len(inner.calls)

    assert run(main) == 3


def test_a_configuration_error_stops_the_executor_once_with_its_remedy() -> None:
    async def main() -> FakeExecutor:
        inner = FakeExecutor(ConfigurationError("not logged in", remedy="run claude and /login"), "ok")
        stop = StopOnConfiguration(inner, name="Claude")
        with pytest.raises(ConfigurationError, match="not logged in"):
            await stop.execute(call())
        for _ in range(2):
            with pytest.raises(NotAsked, match=r"not asked: .* the Claude executor: not logged in"):
                await stop.execute(call())
        return inner

    assert len(run(main).calls) == 1


def test_calls_on_their_way_with_the_same_error_are_reported_as_not_asked() -> None:
    async def main() -> list[str]:
        stop = StopOnConfiguration(FakeExecutor(ConfigurationError("bad key"), hold_until=4), name="Claude")
        kinds: list[str] = []

        async def ask() -> None:
            try:
                await stop.execute(call())
            except NoReply as error:
                kinds.append(error.kind)

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(ask)
        return sorted(kinds)

    assert run(main) == ["configuration", "not asked", "not asked", "not asked"]


def test_an_unknown_model_stops_that_model_alone() -> None:
    async def main() -> Reply:
        inner = FakeExecutor(ConfigurationError("no such model", scope="model"), "ok")
        stop = StopOnConfiguration(inner, name="Claude")
        with pytest.raises(ConfigurationError):
            await stop.execute(call(model="max/opus"))
        with pytest.raises(NotAsked, match="this model"):
            await stop.execute(call(model="max/opus"))
        return await stop.execute(call(model="max/haiku"))

    assert run(main).text == "ok"


def test_an_error_of_one_call_stops_nothing() -> None:
    async def main() -> Reply:
        stop = StopOnConfiguration(FakeExecutor(ConfigurationError("bad schema", scope="call"), "ok"), name="Claude")
        with pytest.raises(ConfigurationError):
            await stop.execute(call())
        return await stop.execute(call())

    assert run(main).text == "ok"


def test_the_router_asks_claude_for_its_two_prefixes() -> None:
    async def main() -> list[str]:
        router = Router(claude=FakeExecutor(reply("claude")), litellm=FakeExecutor(reply("litellm")))
        names = ("max/default", "claude/opus", "gpt-4o-mini", "ollama/llama3")
        return [(await router.execute(call(model=name))).text for name in names]

    assert run(main) == ["claude", "claude", "litellm", "litellm"]


def test_a_model_without_an_executor_is_an_error_that_says_what_to_write() -> None:
    async def main() -> str:
        with pytest.raises(ConfigurationError) as caught:
            await Router(claude=FakeExecutor()).execute(call(model="gpt-4o"))
        return f"{caught.value} {caught.value.remedy} {caught.value.scope}"

    assert run(main) == "no executor for the model 'gpt-4o' write max/<model> for a Claude model call"


def test_an_executor_that_could_not_be_made_says_why_to_all_who_ask() -> None:
    async def main() -> str:
        with pytest.raises(ConfigurationError) as caught:
            await Unavailable(ConfigurationError("no claude CLI", remedy="install it")).execute(call())
        return caught.value.remedy

    assert run(main) == "install it"


def test_the_embedded_model_is_named_as_what_answers() -> None:
    async def main() -> Reply:
        return await AnsweredBy(FakeExecutor(reply("x", model="claude-x", cost_usd=1.0)), "SmolLM2").execute(call())

    answer = run(main)
    assert (answer.model, answer.cost_usd) == ("SmolLM2", 0.0)


@pytest.mark.parametrize("name", ["max/claude-sonnet-4-5", "claude/claude-opus-4-1-20250805"])
def test_a_full_id_is_one_model_exactly(name: str) -> None:
    assert parse_model(name).full_id


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("max/opsu", r"unknown model 'max/opsu'. Did you mean max/opus\? Known: max/default, "),
        ("claude/", r"unknown model 'claude/'\. Known: claude/default"),
        ("max/text-general", "or a full id such as max/claude-"),
        ("", "the model name is empty"),
    ],
)
def test_an_unknown_label_is_an_error_that_names_the_known_ones(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_model(name)
