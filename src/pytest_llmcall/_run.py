"""The whole pipeline of one case, without pytest: ask, judge, conclude. Read this file first."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from pytest_llmcall.call import Call
from pytest_llmcall.errors import BrokenValidator, NoReply, NotAsked
from pytest_llmcall.executors import Executor
from pytest_llmcall.outcome import Exchange, Outcome, Status
from pytest_llmcall.reply import Reply
from pytest_llmcall.validators.judging import judge_all
from pytest_llmcall.verdict import Validator

T = TypeVar("T")
Wait = Callable[[Coroutine[Any, Any, T]], T]


def run_case(
    call: Call,
    validators: Sequence[Validator],
    *,
    executor: Executor,
    wait: Wait[Any],
    keep: Callable[[Outcome], None],
) -> Outcome:
    """Ask a call, let every validator judge the reply, and return what became of it.

    Args:
        call: What to ask, with its model and deadline.
        validators: The judges; each one is heard, whatever the others say.
        executor: Who is asked.
        wait: Runs a coroutine to its end; validators run outside of any event loop.
        keep: Is given the outcome as soon as it is known, also if Ctrl-C or a skip cuts the case short.
    """
    outcome = Outcome(status=Status.CUT, exchanges=(Exchange(call=call),))
    try:
        reply: Reply = wait(executor.execute(call))
        exchange = Exchange(call=call, reply=reply)
        outcome = Outcome(status=Status.NOT_JUDGED, exchanges=(exchange,))
        verdicts, broken = judge_all(validators, reply, wait, timeout=call.timeout)
        status = _status(broken, failed=not all(verdict.passed for verdict in verdicts))
        outcome = Outcome(status=status, exchanges=(exchange,), verdicts=verdicts, broken=broken)
    except NoReply as error:
        exchange = Exchange(call=call, no_reply=error)
        outcome = Outcome(status=_status_without_reply(error), exchanges=(exchange,))
    finally:
        keep(outcome)
    return outcome


def _status_without_reply(error: NoReply) -> Status:
    return Status.NOT_ASKED if isinstance(error, NotAsked) else Status.NO_REPLY


def _status(broken: Sequence[BrokenValidator], *, failed: bool) -> Status:
    if broken:
        return Status.BROKEN_VALIDATOR
    return Status.FAILED if failed else Status.PASSED
