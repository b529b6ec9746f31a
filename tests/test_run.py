"""The pipeline of one case: ask, judge, conclude, and keep what became of it whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from pytest_llmcall import (
    BrokenValidator,
    Call,
    Ending,
    InfrastructureError,
    Message,
    NotAsked,
    Outcome,
    Reply,
    Status,
    Validator,
    Verdict,
)
from pytest_llmcall import validators as v
from pytest_llmcall._run import run_case
from pytest_llmcall.testing import FakeExecutor, reply
from pytest_llmcall.testing.fake_executor import Answer

CALL = Call(messages=(Message(role="user", content="Hi"),), model="max/default", timeout=0.2)


class Judge:
    """A validator that does what it is told."""

    name = "judge"

    def __init__(self, judge: Callable[[Reply], Verdict]) -> None:
        self.judge = judge


class Never:
    """A validator that waits for ever."""

    name = "never"

    async def judge(self, _: Reply) -> Verdict:
        await asyncio.Event().wait()
        raise AssertionError


def run(answer: Answer, *validators: Validator) -> Outcome:
    kept: list[Outcome] = []
    outcome = run_case(CALL, validators, executor=FakeExecutor(answer), wait=asyncio.run, keep=kept.append)
    assert kept == [outcome]
    return outcome


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ("Paris", Status.PASSED),
        ("Rome", Status.FAILED),
        (reply("Paris", ending=Ending.MAX_TOKENS), Status.FAILED),
        (InfrastructureError("gone"), Status.NO_REPLY),
        (NotAsked("stopped"), Status.NOT_ASKED),
    ],
)
def test_an_answer_means_one_status(answer: Answer, status: Status) -> None:
    assert run(answer, v.contains("Paris")).status is status


def test_all_validators_are_heard() -> None:
    outcome = run("Rome", v.contains("Paris"), v.max_words(3), v.contains("Oslo"))
    assert [verdict.passed for verdict in outcome.verdicts] == [False, True, False]


def test_a_crash_in_a_validator_is_a_broken_validator_beside_the_verdicts() -> None:
    def crash(_: Reply) -> Verdict:
        raise KeyError("x")

    outcome = run("Rome", Judge(crash), v.contains("Rome"))
    assert outcome.status is Status.BROKEN_VALIDATOR
    assert [type(each) for each in outcome.broken] == [BrokenValidator]
    assert [verdict.passed for verdict in outcome.verdicts] == [True]


def test_a_broken_validator_outweighs_a_no() -> None:
    assert run("Rome", Never(), v.contains("Paris")).status is Status.BROKEN_VALIDATOR


def test_a_validator_that_waits_has_the_deadline_of_the_call() -> None:
    [broken] = run("Rome", Never()).broken
    assert "0.2 s" in broken.reason


def interrupted(answer: Answer, raised: type[BaseException], *validators: Validator) -> Outcome:
    kept: list[Outcome] = []
    with pytest.raises(raised):
        run_case(CALL, validators, executor=FakeExecutor(answer), wait=asyncio.run, keep=kept.append)
    [outcome] = kept
    return outcome


def test_ctrl_c_during_the_call_is_kept_as_cut() -> None:
    assert interrupted(KeyboardInterrupt(), KeyboardInterrupt, v.not_empty()).status is Status.CUT


def test_ctrl_c_during_the_judging_keeps_the_reply_that_was_paid_for() -> None:
    def interrupt(_: Reply) -> Verdict:
        raise KeyboardInterrupt

    outcome = interrupted("Paris", KeyboardInterrupt, Judge(interrupt))
    assert outcome.status is Status.NOT_JUDGED
    assert outcome.reply is not None
    assert outcome.reply.text == "Paris"
