"""What people read of one case and of a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall import (
    BrokenValidator,
    Call,
    InfrastructureError,
    Message,
    NotAsked,
    Outcome,
    Status,
    TimedOut,
    ToolUse,
    Usage,
    Verdict,
)
from pytest_llmcall.errors import Source
from pytest_llmcall.outcome import Exchange
from pytest_llmcall.reports.record import record, summary
from pytest_llmcall.reports.terminal import RunSummary, case_text, cost_text, summary_lines
from pytest_llmcall.testing import reply

CALL = Call(messages=(Message(role="user", content="What is 2 + 2?"),), model="max/opus", timeout=60)
NO = Verdict(validator="contains", passed=False, reason="wanted '4', found 'five'")
YES = Verdict(validator="not_empty", passed=True, reason="4 characters")


def ended(status: Status, *, call: Call = CALL, **fields: Any) -> Outcome:
    exchange = Exchange(call=call, reply=fields.pop("reply", None), no_reply=fields.pop("no_reply", None))
    return Outcome(status=status, exchanges=(exchange,), **fields)


def failed(**fields: Any) -> Outcome:
    known: dict[str, Any] = {"text": "five", "model": "claude-opus", "duration_s": 2.14, "cost_usd": 0.5}
    answer = reply(**known | {"usage": Usage(input_tokens=3)} | fields)
    return ended(Status.FAILED, reply=answer, verdicts=(YES, NO))


def test_a_failed_case_shows_every_verdict_and_what_was_asked_and_answered() -> None:
    text = case_text(failed(tool_uses=(ToolUse(id="1", name="Bash", arguments={}, is_error=True),), tape=Path("/t")))
    assert text.splitlines() == [
        "NO  contains: wanted '4', found 'five'",
        "yes not_empty: 4 characters",
        "  model:  max/opus",
        "  prompt: What is 2 + 2?",
        "  reply: five",
        "  tools:  Bash (error)",
        "  answered by claude-opus in 2.1 s, 3 tokens, $0.5000",
        "  evidence: /t",
    ]


def test_a_long_reply_is_cut_and_says_where_the_whole_is() -> None:
    text = case_text(failed(text="x" * 5000, tape=Path("/whole")))
    assert "… 3000 more characters; all of it in /whole" in text
    assert "x" * 2001 not in text


def test_no_reply_shows_what_was_received_and_what_to_do() -> None:
    error = TimedOut("no reply within 60 s", received="The capi", remedy="raise timeout", detail="last stderr line")
    text = case_text(ended(Status.NO_REPLY, no_reply=error))
    assert text.splitlines()[:4] == [
        "no reply (timeout): no reply within 60 s",
        "  what to do: raise timeout",
        "  detail: last stderr line",
        "  received so far: The capi",
    ]


def test_retries_are_said() -> None:
    error = InfrastructureError("overloaded", attempts=2)
    assert "asked 2 times" in case_text(ended(Status.NO_REPLY, no_reply=error))


def test_a_broken_validator_stands_above_the_verdicts() -> None:
    outcome = ended(
        Status.BROKEN_VALIDATOR,
        reply=reply(),
        verdicts=(NO,),
        broken=(BrokenValidator("polite", "returned None: a forgotten return?"),),
    )
    assert case_text(outcome).splitlines()[0] == "broken validator 'polite': returned None: a forgotten return?"


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (failed(), "contains: wanted '4', found 'five'"),
        (ended(Status.PASSED, reply=reply(), verdicts=(YES,)), ""),
        (ended(Status.NOT_ASKED, no_reply=NotAsked("not asked: stopped")), "not asked: stopped"),
    ],
)
def test_an_outcome_is_summed_up_in_one_line(outcome: Outcome, line: str) -> None:
    assert summary(outcome) == line


def test_an_unknown_cost_is_never_shown_as_nothing() -> None:
    assert cost_text(None) == "cost unknown"
    assert cost_text(0.0) == "$0.0000"


def test_a_record_is_json_and_tells_all() -> None:
    kept = record(failed(), nodeid="a::b", started=10.0, ended=12.5)
    assert json.loads(json.dumps(kept)) == kept
    assert kept["status"] == "failed"
    assert (kept["model"], kept["asked_model"], kept["tokens"], kept["cost_usd"]) == ("claude-opus", "max/opus", 3, 0.5)
    assert [each["passed"] for each in kept["verdicts"]] == [True, False]


def lines(*outcomes: Outcome, everything: bool = False) -> list[str]:
    records = [
        record(outcome, nodeid=f"f::{number}", started=100.0, ended=102.0) for number, outcome in enumerate(outcomes)
    ]
    return list(summary_lines(records, RunSummary(peak=3, evidence=".llmcall/x"), everything=everything))


def test_the_closing_section_sets_the_calls_time_against_the_wall_time() -> None:
    shown = lines(
        failed(duration_s=1.0),
        failed(duration_s=3.0, cost_usd=None, attempts=2),
        ended(Status.NOT_ASKED, no_reply=NotAsked("stopped")),
    )
    assert shown == [
        "   3.0 s       3 tok       $ ?  failed           f::1",
        "   1.0 s       3 tok   $0.5000  failed           f::0",
        "       -       - tok         -  not asked        f::2",
        "2 calls: 4.0 s of calls in 2.0 s, at most 3 in flight, 1 retry, 6 tokens, $0.5000 and 1 of unknown cost",
        "evidence: .llmcall/x",
    ]


def test_skipped_cases_are_remarks_and_not_lines() -> None:
    skipped = ended(Status.SKIPPED, reason="later")
    assert [line for line in lines(failed(), skipped) if "f::1" in line] == []


def test_a_call_that_was_cut_counts_as_a_call_of_unknown_cost() -> None:
    assert "1 call: 0.0 s of calls in 2.0 s" in lines(ended(Status.CUT))[1]
    assert "1 of unknown cost" in lines(ended(Status.CUT))[1]


def test_how_a_reply_ended_is_the_first_reason() -> None:
    how = Verdict(validator="completed", passed=False, reason="wanted a completed reply, found 'refusal'")
    outcome = ended(Status.FAILED, reply=reply(""), verdicts=(NO, how))
    assert summary(outcome).startswith("completed: wanted a completed reply")
    assert case_text(outcome).startswith("NO  completed:")


def test_a_broken_validator_is_summed_up_without_its_path() -> None:
    broken = BrokenValidator("polite", "returned None", source=Source(Path("/a/very/long/path"), 3))
    outcome = ended(Status.BROKEN_VALIDATOR, reply=reply(), broken=(broken,))
    assert summary(outcome) == "broken validator 'polite': returned None"


def test_earlier_turns_and_the_system_prompt_are_shown() -> None:
    turns = (("user", "Hi"), ("assistant", "Hello"), ("user", "What is 2 + 2?"))
    call = Call(messages=tuple(Message(role=role, content=text) for role, text in turns), system="Be brief.")  # type: ignore[arg-type]
    shown = case_text(ended(Status.NO_REPLY, call=call, no_reply=TimedOut("late")))
    assert [line.strip() for line in shown.splitlines()[-4:]] == [
        "system: Be brief.",
        "user: Hi",
        "assistant: Hello",
        "prompt: What is 2 + 2?",
    ]


def test_many_cases_are_cut_unless_asked_for() -> None:
    outcomes = [failed() for _ in range(60)]
    assert "… 10 faster cases are not shown; -v shows all" in lines(*outcomes)
    assert len(lines(*outcomes, everything=True)) == 62
