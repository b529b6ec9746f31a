"""An Outcome: what became of a case or a test, with every reply and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_llmcall.call import Call
from pytest_llmcall.errors import BrokenValidator, NoReply
from pytest_llmcall.reply import Reply
from pytest_llmcall.verdict import Verdict


class Status(StrEnum):
    """The endings of a case. Only PASSED and FAILED speak about the model.

    NOT_JUDGED is a reply that a check left without a verdict, by `pytest.skip()` for example. CUT is a call that was
    under way when the run stopped: it may have cost money.
    """

    PASSED = "passed"
    FAILED = "failed"
    NO_REPLY = "no reply"
    BROKEN_VALIDATOR = "broken validator"
    NOT_ASKED = "not asked"
    NOT_JUDGED = "not judged"
    CUT = "cut"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one case.

    Attributes:
        call: What was asked, with the run's model and deadline filled in.
        reply: What came back, or None.
        verdicts: One per check that could answer, in the order of the checks.
        broken: The checks that could not.
        no_reply: Why nothing came back, or None.
        reason: Why the case was skipped or not asked, where no error says it.
    """

    status: Status
    call: Call
    reply: Reply | None = None
    verdicts: tuple[Verdict, ...] = ()
    broken: tuple[BrokenValidator, ...] = ()
    no_reply: NoReply | None = None
    reason: str = ""
