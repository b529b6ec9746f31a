"""What the tests of purse and budget share: calls, prices, time that a test moves, and ways to ask many at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import anyio

from pytest_llmcall import Call, Message, Reply
from pytest_llmcall.errors import NoReply
from pytest_llmcall.executors import Executor
from pytest_llmcall.executors.estimates import ASSUMED_ANSWER_TOKENS, Guess
from pytest_llmcall.executors.prices import Price
from pytest_llmcall.executors.purse import Purse
from pytest_llmcall.reply import Usage
from pytest_llmcall.testing import reply

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
