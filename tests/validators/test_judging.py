"""Every validator runs; what is broken stops no other; a bad ending is a no."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from pytest_llmcall import BrokenValidator, Ending, Reply, Verdict
from pytest_llmcall import validators as v
from pytest_llmcall.validators.judging import Judgement, judge_all

REPLY = Reply(text="Paris", model="m")


@dataclass
class Fake:
    """A validator that does what it is told."""

    name: str
    act: Callable[[], Any]
    waits: bool = False
    accepts: Callable[[Ending], bool] = field(default=lambda _ending: False)

    def judge(self, reply: Reply) -> Any:  # noqa: ARG002 - the protocol's
        return self._later() if self.waits else self.act()

    async def _later(self) -> Any:
        await anyio.lowlevel.checkpoint()
        answer = self.act()
        return await answer if isinstance(answer, Awaitable) else answer

    def accepts_ending(self, ending: Ending) -> bool:
        return self.accepts(ending)


def says(name: str, *, passed: bool = True, waits: bool = False) -> Fake:
    return Fake(name, lambda: Verdict(validator=name, passed=passed, reason=""), waits)


def crashes(name: str, error: BaseException, *, waits: bool = False) -> Fake:
    def act() -> Any:
        raise error

    return Fake(name, act, waits)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        with anyio.fail_after(5):
            await coroutine

    anyio.run(bounded)


def never(_coroutine: Coroutine[Any, Any, None]) -> None:
    pytest.fail("nothing has to be waited for")


def names(judgement: Judgement) -> tuple[list[str], list[str]]:
    return [each.validator for each in judgement.verdicts], [each.validator for each in judgement.broken]


def test_synchronous_validators_need_no_loop() -> None:
    judgement = judge_all([v.contains("Paris"), v.max_words(1)], REPLY, never)
    assert names(judgement) == (["contains", "max_words"], [])


def test_order_is_kept_whatever_waits_and_whatever_breaks() -> None:
    fakes = [
        says("a", waits=True),
        crashes("b", ValueError("x")),
        says("c", passed=False),
        crashes("d", ValueError("y"), waits=True),
        says("e", waits=True),
    ]
    judgement = judge_all(fakes, REPLY, run)
    assert names(judgement) == (["a", "c", "e"], ["b", "d"])
    assert [each.reason for each in judgement.broken] == ["ValueError: x", "ValueError: y"]
    assert all(isinstance(each.__cause__, ValueError) for each in judgement.broken)


def test_awaitables_are_resolved_together() -> None:
    async def meet() -> Verdict:
        arrived.append(None)
        if len(arrived) == 2:
            both.set()
        await both.wait()
        return Verdict(validator="x", passed=True, reason="")

    arrived: list[None] = []
    both = anyio.Event()
    judgement = judge_all([Fake("a", meet, waits=True), Fake("b", meet, waits=True)], REPLY, run)
    assert len(judgement.verdicts) == 2


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("answer", [None, True, "yes"])
def test_an_answer_that_is_no_verdict_is_broken(answer: object, *, waits: bool) -> None:
    judgement = judge_all([Fake("a", lambda: answer, waits), says("b")], REPLY, run)
    assert names(judgement) == (["b"], ["a"])
    assert "wanted a Verdict" in judgement.broken[0].reason


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", [AssertionError("no"), pytest.fail.Exception("no"), RecursionError("deep")])
def test_a_validator_that_raises_is_broken_whatever_it_raises(error: BaseException, *, waits: bool) -> None:
    assert names(judge_all([crashes("a", error, waits=waits), says("b")], REPLY, run)) == (["b"], ["a"])


@pytest.mark.parametrize("waits", [False, True])
def test_a_broken_validator_that_says_so_is_kept_as_it_is(*, waits: bool) -> None:
    broken = BrokenValidator("a", "no answer")
    assert judge_all([crashes("a", broken, waits=waits)], REPLY, run).broken == (broken,)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("error", [pytest.skip.Exception("x"), pytest.exit.Exception("x"), KeyboardInterrupt()])
def test_what_means_the_test_or_the_run_passes_through_bare(error: BaseException, *, waits: bool) -> None:
    fakes = [says("a", waits=True), crashes("b", error, waits=waits), says("c", waits=True)]
    with pytest.raises(type(error)) as caught:
        judge_all(fakes, REPLY, run)
    assert caught.value is error


@pytest.mark.parametrize("waits", [False, True])
def test_sys_exit_in_a_check_is_a_crash_of_the_check(*, waits: bool) -> None:
    fakes = [says("a", waits=True), crashes("b", SystemExit(0), waits=waits), says("c", waits=True)]
    verdicts, broken = judge_all(fakes, REPLY, run)
    assert [each.validator for each in verdicts] == ["a", "c"]
    assert [each.validator for each in broken] == ["b"]


def test_cancelling_from_outside_comes_out_as_cancelling() -> None:
    def cancelled(coroutine: Coroutine[Any, Any, None]) -> None:
        async def bounded() -> None:
            with anyio.move_on_after(0):
                await coroutine
                pytest.fail("was not cancelled")

        anyio.run(bounded)

    async def forever() -> None:
        await anyio.sleep_forever()

    judgement = judge_all([Fake("a", forever, waits=True)], REPLY, cancelled)
    assert names(judgement) == ([], ["a"])


def test_what_was_never_awaited_is_broken() -> None:
    judgement = judge_all([says("a", waits=True)], REPLY, lambda coroutine: coroutine.close())
    assert names(judgement) == ([], ["a"])


@pytest.mark.parametrize("ending", [each for each in Ending if each is not Ending.COMPLETED])
def test_a_bad_ending_is_a_no_although_every_validator_says_yes(ending: Ending) -> None:
    reply = Reply(text="Paris", model="m", ending=ending, ending_detail="in the provider's words")
    verdicts = judge_all([v.contains("Paris")], reply, never).verdicts
    assert [(each.validator, each.passed) for each in verdicts] == [("contains", True), ("completed", False)]
    assert ending.value in verdicts[1].reason
    assert "in the provider's words" in verdicts[1].reason


def test_a_validator_may_ask_for_the_very_ending() -> None:
    asks = says("ended")
    asks.accepts = lambda ending: ending is Ending.REFUSAL
    refusal, turns = (Reply(text="", model="m", ending=each) for each in (Ending.REFUSAL, Ending.MAX_TURNS))
    assert names(judge_all([asks], refusal, never)) == (["ended"], [])
    assert names(judge_all([asks], turns, never)) == (["ended", "completed"], [])


def test_a_validator_that_crashes_over_the_ending_is_broken_and_accepts_nothing() -> None:
    def crash(_ending: Ending) -> bool:
        raise ValueError("x")

    asks = says("ended")
    asks.accepts = crash
    judgement = judge_all([asks], Reply(text="", model="m", ending=Ending.REFUSAL), never)
    assert names(judgement) == (["ended", "completed"], ["ended"])


def test_judging_imports_no_pytest() -> None:
    modules = "pytest_llmcall.validators.judging, pytest_llmcall.validators.custom"
    code = f"import sys, {modules}; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
