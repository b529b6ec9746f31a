"""Calls cross from any loop to the executors' thread, with their context, their end and their cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar

import anyio
import anyio.lowlevel
import pytest

from pytest_llmcall import Call, InfrastructureError, Message, NotAsked, Reply
from pytest_llmcall._handover import ElsewhereExecutor, ExecutorThread
from pytest_llmcall._ledger import QueueClock
from pytest_llmcall.executors.limit import Limit, Slots
from pytest_llmcall.testing import FakeExecutor, reply

CALL = Call(messages=(Message(role="user", content="Hi"),))
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Asks:
    """Answers with what a function of the executors' thread returns."""

    def __init__(self, answer: Callable[[], Awaitable[str]]) -> None:
        self.answer = answer

    async def execute(self, _: Call) -> Reply:
        return reply(await self.answer())


@pytest.fixture
def thread() -> Iterator[ExecutorThread]:
    with ExecutorThread.start() as started:
        yield started


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_call_runs_on_the_other_thread_in_the_context_of_who_asks(thread: ExecutorThread, backend: str) -> None:
    async def answer() -> str:
        with anyio.CancelScope():  # anyio has to know that this is asyncio
            await anyio.lowlevel.checkpoint()
        who = WHO.get()
        WHO.set("the executor")
        return f"{who} on {threading.current_thread() is threading.main_thread()}"

    async def ask() -> str:
        WHO.set("the test")
        text = (await ElsewhereExecutor(thread, Asks(answer)).execute(CALL)).text
        return f"{text}, back in {WHO.get()}"

    assert anyio.run(ask, backend=backend) == "the test on False, back in the test"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_an_executor_raises_is_raised_where_it_was_asked(thread: ExecutorThread, backend: str) -> None:
    executor = ElsewhereExecutor(thread, FakeExecutor(InfrastructureError("overloaded"), "ok"))

    async def ask() -> str:
        with pytest.raises(InfrastructureError, match="overloaded"):
            await executor.execute(CALL)
        return (await executor.execute(CALL)).text

    assert anyio.run(ask, backend=backend) == "ok"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_giving_up_cancels_the_call_which_may_still_clean_up(thread: ExecutorThread, backend: str) -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def answer() -> str:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                cleaned.set()
        return "never"

    async def ask() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(ElsewhereExecutor(thread, Asks(answer)).execute, CALL)
            assert await anyio.to_thread.run_sync(begun.wait, 10)
            group.cancel_scope.cancel()

    anyio.run(ask, backend=backend)
    assert cleaned.wait(10)


def test_the_end_of_the_thread_cancels_what_is_under_way_and_takes_no_more() -> None:
    begun, cleaned = threading.Event(), threading.Event()

    async def answer() -> str:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.set()
        return "never"

    async def never_asked() -> str:
        raise AssertionError("asked after the end")

    with ExecutorThread.start() as thread:
        future = thread.submit(Asks(answer).execute, CALL)
        assert begun.wait(10)
    assert cleaned.is_set()
    assert future.cancelled()
    with pytest.raises(NotAsked, match="the run is ending"):
        asyncio.run(ElsewhereExecutor(thread, Asks(never_asked)).execute(CALL))


def test_one_call_that_fails_leaves_the_thread_to_the_others(thread: ExecutorThread) -> None:
    async def crash() -> str:
        raise ZeroDivisionError

    async def fine() -> str:
        return "fine"

    async def ask() -> str:
        with pytest.raises(ZeroDivisionError):
            await ElsewhereExecutor(thread, Asks(crash)).execute(CALL)
        return (await ElsewhereExecutor(thread, Asks(fine)).execute(CALL)).text

    assert asyncio.run(ask()) == "fine"


def test_a_queue_clock_counts_while_any_call_of_its_item_waits() -> None:
    clock = QueueClock()
    with clock.waiting(), clock.waiting():
        assert clock.take() == 0.0
    assert clock.take() > 0.0
    assert clock.take() == 0.0


def test_a_call_is_said_to_wait_until_it_has_its_slot_and_no_longer() -> None:
    waiting: list[str] = []

    class Note:
        def __enter__(self) -> None:
            waiting.append("waits")

        def __exit__(self, *_: object) -> None:
            waiting.append("goes")

    class Inner:
        async def execute(self, _: Call) -> Reply:
            waiting.append("asks")
            return reply()

    async def ask() -> None:
        slots, other = Slots(1), object()
        await slots.acquire(other)
        limited = Limit(Inner(), slots, waiting=Note)
        async with anyio.create_task_group() as group:
            group.start_soon(limited.execute, CALL)
            while not waiting:
                await anyio.lowlevel.checkpoint()
            slots.release(other)
        await limited.execute(CALL)

    anyio.run(ask)
    assert waiting == ["waits", "goes", "asks", "asks"]
