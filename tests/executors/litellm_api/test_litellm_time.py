"""Deadlines and cancellation end a request at once, and nothing of it is left: the server sees its client go."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Callable

import anyio
import pytest

from pytest_llmcall.call import Call
from pytest_llmcall.errors import TimedOut
from pytest_llmcall.executors.litellm_api import LiteLLMAPI
from pytest_llmcall.testing import Gate, Hang, ScriptedModel, Text

OPENAI = "openai/gpt-4o-mini"
ANTHROPIC = "anthropic/claude-sonnet-4-5"
BOTH = pytest.mark.parametrize("name", [OPENAI, ANTHROPIC])

MakeCall = Callable[..., Call]


def api_for(model: ScriptedModel, name: str = OPENAI) -> LiteLLMAPI:
    return LiteLLMAPI(api_base=model.url if name == ANTHROPIC else f"{model.url}/v1", api_key="sk-scripted-key")


async def nothing_in_flight(model: ScriptedModel) -> None:
    with anyio.fail_after(10):
        while model.in_flight:  # noqa: ASYNC110 - the server is in another thread
            await anyio.sleep(0.01)


@BOTH
@pytest.mark.parametrize("turn", [Hang(), Hang("The beginning of")])
def test_a_deadline_ends_the_request_and_the_server_sees_it(
    model: ScriptedModel, call: MakeCall, name: str, turn: Hang
) -> None:
    async def main() -> None:
        api = api_for(model, name)
        model.script(Text("warm"), turn)
        await api.execute(call(model=name))
        with anyio.fail_after(10), pytest.raises(TimedOut, match=r"no reply within 0.3 s"):
            await api.execute(call(model=name, timeout=0.3))
        await nothing_in_flight(model)
        await api.aclose()

    anyio.run(main)
    assert len(model.requests) == 2


@BOTH
def test_a_cancelled_call_ends_its_request_and_the_server_sees_it(
    model: ScriptedModel, call: MakeCall, name: str
) -> None:
    gate = Gate(Text("too late"))

    async def main() -> None:
        api = api_for(model, name)
        model.script(gate)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.execute, call(model=name))
            await anyio.to_thread.run_sync(lambda: gate.wait_until_held(1, timeout=30))
            tasks.cancel_scope.cancel()
        await nothing_in_flight(model)
        await api.aclose()

    anyio.run(main)
    assert gate.held == 0


def test_calls_overlap(model: ScriptedModel, call: MakeCall) -> None:
    model.default(Gate(Text("ok"), opens_at=20))

    async def main() -> None:
        api = api_for(model)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(api.execute, call())
        await api.aclose()

    anyio.run(main)
    assert model.peak_in_flight == 20


def test_a_call_that_is_cut_at_any_moment_leaves_no_coroutine_behind(model: ScriptedModel, call: MakeCall) -> None:
    model.default(Text("ok"))

    async def main() -> None:
        api = api_for(model)
        await api.execute(call())
        for steps in range(40):
            task = asyncio.ensure_future(api.execute(call()))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        await api.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    anyio.run(main)
    gc.collect()  # a coroutine that was never awaited is reported here, which pytest makes a failure


def test_after_closing_no_task_and_no_connection_is_left_and_the_next_call_works(
    model: ScriptedModel, call: MakeCall
) -> None:
    model.default(Text("ok"))

    async def main() -> None:
        api = api_for(model)
        for _ in range(2):
            assert (await api.execute(call())).text == "ok"
            await api.aclose()
            assert asyncio.all_tasks() == {asyncio.current_task()}
        await api.aclose()

    anyio.run(main)
    gc.collect()


def test_an_executor_that_was_never_asked_closes_without_importing_anything() -> None:
    async def main() -> None:
        with anyio.fail_after(1):
            await LiteLLMAPI().aclose()

    anyio.run(main)


def test_executors_on_two_loops_do_not_disturb_each_other(model: ScriptedModel, call: MakeCall) -> None:
    model.default(Text("ok"))
    texts = []

    async def main() -> None:
        api = api_for(model)
        texts.append((await api.execute(call())).text)
        await api.aclose()

    threads = [threading.Thread(target=anyio.run, args=(main,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == ["ok", "ok"]


def test_callbacks_of_the_users_have_run_when_the_executor_is_closed(
    model: ScriptedModel, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    import litellm
    from litellm.integrations.custom_logger import CustomLogger

    heard = []

    class Slow(CustomLogger):
        async def async_log_success_event(self, *args: object, **kwargs: object) -> None:
            await anyio.sleep(0.7)
            heard.append((args, kwargs))

    monkeypatch.setattr(litellm, "callbacks", [Slow()])
    for name in ("success_callback", "_async_success_callback", "failure_callback", "_async_failure_callback"):
        monkeypatch.setattr(litellm, name, [])
    model.script(Text("ok"))

    async def main() -> None:
        api = api_for(model)
        await api.execute(call())
        await api.aclose()

    anyio.run(main)
    assert len(heard) == 1


def test_its_loggers_say_nothing_that_is_raised_as_well(model: ScriptedModel, call: MakeCall) -> None:
    model.script(Text("ok"))

    async def main() -> None:
        api = api_for(model)
        await api.execute(call())
        await api.aclose()

    anyio.run(main)
    assert not logging.getLogger("LiteLLM").isEnabledFor(logging.ERROR)
