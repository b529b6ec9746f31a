"""A Verdict: one validator's yes or no. Also the Validator protocol, and how verdicts become one failure."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from pytest_llmcall.reply import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One validator's answer.

    Attributes:
        validator: The name of the validator.
        passed: Yes or no.
        reason: What it wanted and what it found, in one sentence or a few lines.
        score: Between 0 and 1, for validators that grade.
        evidence: Whatever else helps to understand the answer, as JSON values.
    """

    validator: str
    passed: bool
    reason: str
    score: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.passed


@runtime_checkable
class Validator(Protocol):
    """Judges a reply. It never raises to say no: an exception from `judge` means that the validator is broken."""

    @property
    def name(self) -> str:
        """The name under which its verdicts stand."""
        ...

    def judge(self, reply: Reply) -> Verdict | Awaitable[Verdict]:
        """Return the verdict, or an awaitable of it if something has to be asked first."""
        ...


class CheckFailed(AssertionError):
    """A reply that at least one validator rejected; lists every verdict, so that one no hides no other."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        self.verdicts = tuple(verdicts)
        super().__init__("\n".join(map(describe, self.verdicts)))


def describe(verdict: Verdict) -> str:
    """Return a verdict as one entry of a list that people read."""
    mark = "yes" if verdict.passed else "NO "
    return f"{mark} {verdict.validator}: {verdict.reason}"
