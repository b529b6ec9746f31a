"""Every validator runs; what is broken stops no other; a bad ending is a no."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import unittest
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_llmcall import MISSING, BrokenValidator, Ending, Reply, ToolUse, Verdict
from pytest_llmcall import validators as v
from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import Source
from pytest_llmcall.validators.custom import bind_custom
from pytest_llmcall.validators.judging import Judgement, judge_all

REPLY = Reply(text="Paris", model="m")
SKIPS = [pytest.skip.Exception("x"), pytest.xfail.Exception("x"), unittest.SkipTest("x")]
ENDINGS = [pytest.exit.Exception("x"), KeyboardInterrupt()]


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
@pytest.mark.parametrize("error", [*SKIPS, *ENDINGS])
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


class Odd(BaseException):
    """No Exception, and nothing that anybody knows."""


class bool_:  # noqa: N801 - numpy's name
    """Looks like numpy's bool: true, but not True."""

    def __bool__(self) -> bool:
        return True


async def yes() -> bool:
    return True


def verdict(**fields: Any) -> Verdict:
    return Verdict(**{"validator": "a", "passed": True, "reason": "", **fields})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"passed": "False"}, "passed must be True or False, not builtins.str"),
        ({"passed": 1}, "builtins.int"),
        ({"passed": None}, "builtins.NoneType"),
        ({"passed": bool_()}, r"bool_: write bool\(…\)"),
        ({"reason": None}, "reason must be a text, not builtins.NoneType"),
        ({"validator": 3}, "validator must be a text"),
        ({"score": "high"}, "score must be a number or None, not 'high'"),
        ({"score": True}, "score must be a number"),
        ({"score": float("nan")}, "score must be a number"),
        ({"evidence": None}, "evidence must be a mapping"),
        ({"evidence": [1]}, "evidence must be a mapping, not builtins.list"),
        ({"evidence": {"at": Path()}}, "evidence must be JSON values: .*Path"),
        ({"evidence": {"at": float("inf")}}, "evidence must be JSON values"),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_a_verdict_whose_fields_are_not_what_they_claim_is_broken(
    fields: dict[str, Any], why: str, *, waits: bool
) -> None:
    judgement = judge_all([Fake("a", lambda: verdict(**fields), waits), says("b")], REPLY, run)
    assert names(judgement) == (["b"], ["a"])
    assert re.search(why, judgement.broken[0].reason), judgement.broken[0].reason


def test_a_coroutine_that_nobody_awaited_is_no_yes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [broken] = judge_all([Fake("a", lambda: verdict(passed=yes()))], REPLY, never).broken
    assert "coroutine: a forgotten await?" in broken.reason


def test_a_custom_check_is_broken_with_its_place() -> None:
    source = Source(Path("a.llm.yaml"), 7, 9)
    custom = bind_custom(CustomCheck(name="a", params={}, source=source), lambda _reply, params: verdict(passed=params))
    [broken] = judge_all([custom], REPLY, never).broken
    assert broken.source == source


CRASHES = [GeneratorExit(), asyncio.CancelledError(), Odd("x"), SystemExit(0), BaseExceptionGroup("x", [Odd()])]


@pytest.mark.parametrize("error", CRASHES, ids=repr)
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("is_custom", [False, True])
def test_whatever_else_a_check_raises_is_a_crash_of_this_check_alone(
    error: BaseException, *, waits: bool, is_custom: bool
) -> None:
    crashing: Any = crashes("b", error, waits=waits)
    if is_custom:
        check = CustomCheck(name="b", params={}, source=Source(Path("a")))
        function = crashing.judge
        crashing = bind_custom(check, lambda reply, **_params: function(reply))
    judgement = judge_all([says("a", waits=True), crashing, says("c", waits=True), says("d")], REPLY, run)
    assert names(judgement) == (["a", "c", "d"], ["b"])
    assert type(error).__name__ in judgement.broken[0].reason


@pytest.mark.parametrize("waits", [False, True])
def test_ctrl_c_in_a_group_of_a_check_is_ctrl_c(*, waits: bool) -> None:
    with pytest.raises(KeyboardInterrupt):
        judge_all([crashes("a", BaseExceptionGroup("x", [KeyboardInterrupt()]), waits=waits)], REPLY, run)


@pytest.mark.parametrize("error", SKIPS, ids=repr)
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("other_waits", [False, True])
def test_a_skip_hides_no_other_no_and_nothing_broken(error: BaseException, *, waits: bool, other_waits: bool) -> None:
    skipping = crashes("a", error, waits=waits)
    no = says("b", passed=False, waits=other_waits)
    broken = crashes("c", ValueError("x"), waits=other_waits)
    refusal = Reply(text="", model="m", ending=Ending.REFUSAL)
    try:
        for others in ([skipping, no], [no, skipping]):
            assert [each.passed for each in judge_all(others, REPLY, run).verdicts] == [False]
        for others in ([skipping, broken], [broken, skipping]):
            assert names(judge_all(others, REPLY, run)) == ([], ["c"])
        assert names(judge_all([skipping], refusal, run)) == (["completed"], [])
    except type(error):
        raise AssertionError("the skip passed through, which would skip this test too") from None


@pytest.mark.parametrize("error", ENDINGS, ids=repr)
@pytest.mark.parametrize("waits", [False, True])
def test_what_ends_the_run_waits_for_no_other_check(error: BaseException, *, waits: bool) -> None:
    forever = Fake("c", anyio.sleep_forever, waits=True)
    fakes = [says("a", passed=False), crashes("b", error, waits=waits), forever]
    with pytest.raises(type(error)):
        judge_all(fakes, REPLY, run)


def test_cancelling_the_waiting_task_comes_out_as_cancelling() -> None:
    async def cancelled(coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(coroutine)
        await anyio.lowlevel.checkpoint()
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        judge_all([Fake("a", anyio.sleep_forever, waits=True)], REPLY, lambda each: anyio.run(cancelled, each))


def test_an_awaited_check_that_takes_too_long_is_broken_and_stops_no_other() -> None:
    async def stubborn() -> Verdict:
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            return verdict()
        raise AssertionError

    fakes = [Fake("a", anyio.sleep_forever, waits=True), Fake("b", stubborn, waits=True), says("c", waits=True)]
    judgement = judge_all(fakes, REPLY, run, timeout=0.05)
    assert names(judgement) == (["c"], ["a", "b"])
    assert {each.reason for each in judgement.broken} == {"no verdict within 0.05 s"}


def changeable() -> Reply:
    use = ToolUse(id="1", name="add", arguments={"a": [1]})
    event = {"type": "text", "content": [{"text": "x"}]}
    return Reply(text="", model="m", data={"age": [29]}, files={"a": "b"}, tool_uses=(use,), transcript=(event,))


def test_what_a_check_changes_is_not_seen_by_the_next_one() -> None:
    @dataclass
    class Vandal:
        name: str = "vandal"

        def judge(self, reply: Reply) -> Verdict:
            same = reply == changeable()
            files: Any = reply.files
            reply.data["age"].append(30)
            files["c"] = "d"
            reply.tool_uses[0].arguments["a"].append(2)
            reply.transcript[0]["content"][0]["text"] = "y"
            return verdict(passed=same)

    reply = changeable()
    assert all(each.passed for each in judge_all([Vandal(), Vandal()], reply, never).verdicts)
    assert reply == changeable()


def test_a_copy_of_a_reply_is_whole_at_any_depth_and_with_cycles() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    cycle: list[Any] = []
    cycle.append(cycle)
    seen: list[Any] = []

    def judge(reply: Reply) -> Verdict:
        seen.append(reply.data)
        return verdict()

    for data in (deep, cycle, MISSING, None):
        looks = says("a")
        looks.judge = judge  # type: ignore[method-assign]
        assert judge_all([looks], Reply(text="", model="m", data=data), never).verdicts[0].passed
    assert seen[1][0] is seen[1]
    assert seen[1] is not cycle
    assert seen[2] is MISSING


@pytest.mark.parametrize("passed", [True, False])
def test_what_utf8_cannot_hold_is_kept_as_an_escape(*, passed: bool) -> None:
    lone = "a\ud83d"
    says_so = Fake("a", lambda: verdict(passed=passed, reason=lone, evidence={lone: [lone, 3]}))
    [found] = judge_all([says_so], REPLY, never).verdicts
    assert (found.passed, found.reason, found.evidence) == (passed, r"a\ud83d", {r"a\ud83d": [r"a\ud83d", 3]})
    for error in (ValueError(lone), BrokenValidator("a", lone)):
        [broken] = judge_all([crashes("a", error)], REPLY, never).broken
        assert r"a\ud83d" in broken.reason
        str(broken).encode()


def test_an_exception_whose_text_crashes_is_a_crash_of_its_check() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert "Mute" in judge_all([crashes("a", Mute())], REPLY, never).broken[0].reason
