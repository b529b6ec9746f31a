"""An Outcome: what became of a case or a test, with every reply and verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pytest_llmcall.call import Call
from pytest_llmcall.errors import BrokenValidator, NoReply
from pytest_llmcall.reply import Reply
from pytest_llmcall.verdict import Verdict


class Status(StrEnum):
    """The endings of a case or test. Only PASSED and FAILED speak about the model.

    NOT_JUDGED is a reply that a check left without a verdict, by `pytest.skip()` for example. CUT is a call that was
    under way when the run stopped: it may have cost money. MISUSED is a test that cannot work as it is written.
    """

    PASSED = "passed"
    FAILED = "failed"
    NO_REPLY = "no reply"
    BROKEN_VALIDATOR = "broken validator"
    MISUSED = "misused"
    NOT_ASKED = "not asked"
    NOT_JUDGED = "not judged"
    CUT = "cut"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One call and what came of it: a reply, or why there is none; neither if it was cut short, or never made.

    Attributes:
        call: What was asked, with the run's model and deadline filled in.
        was_cut: It was under way when the test or the run gave it up: it may have cost money.
    """

    call: Call
    reply: Reply | None = None
    no_reply: NoReply | None = None
    was_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one case or test.

    Attributes:
        exchanges: Every call in the order of asking; a case has one, a test any number.
        verdicts: One per check that could answer, in the order of the checks.
        broken: The checks that could not.
        reason: Why it was skipped or not asked, or how a test failed, where no error or verdict says it.
    """

    status: Status
    exchanges: tuple[Exchange, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    broken: tuple[BrokenValidator, ...] = ()
    reason: str = ""

    @property
    def no_reply(self) -> NoReply | None:
        """Why the first call that brought nothing did so, or None."""
        return next((each.no_reply for each in self.exchanges if each.no_reply is not None), None)

    @property
    def reply(self) -> Reply | None:
        """What came back for the first call that brought anything, or None."""
        return next((each.reply for each in self.exchanges if each.reply is not None), None)
