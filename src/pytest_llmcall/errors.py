"""The error tree. Three kinds are never mixed: the user's mistake, no reply, and a broken check.

LLMCallError
├── SettingsError            an option, ini key or environment that cannot be used (shown as a usage error)
├── CaseFileError            every problem of one case file, found before anything is asked
├── NoReply                  nothing came back that can be judged: ERROR, never FAILED
│   ├── TimedOut             the deadline of the call passed
│   ├── InfrastructureError  the provider, the network or a process failed; worth one more try
│   ├── ConfigurationError   cannot work until somebody changes something; stops what it concerns
│   ├── CutByBudget          asked and paid for, but stopped because the run's budget was used up in this call
│   └── NotAsked             the call was never made, because the executor had stopped
│       └── OverBudget       ... because the run's budget does not allow it: SKIPPED, and the run is no success
├── Misuse                   a test uses `llm` in a way that cannot work, a forgotten `await` say: ERROR
├── EvidenceLost             an outcome that is known, but not on disk: ERROR
└── BrokenValidator          a check crashed or gave no answer: ERROR, never FAILED
CheckFailed (AssertionError) a bad reply; composed from verdicts, see `verdict.py`
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class LLMCallError(Exception):
    """The root of what this package raises, but for `CheckFailed`."""


class SettingsError(LLMCallError):
    """An option, an ini key or the machine's set-up cannot be used; the text says what to do."""


class Source(NamedTuple):
    """Where something stands in a file; lines and columns count from 1, and 0 means unknown.

    A named tuple, as is `Problem`: every pytest run loads this module, and making data classes takes longer.
    """

    path: Path
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


class Problem(NamedTuple):
    """One thing that is wrong in a case file, with a code that stays the same over releases."""

    source: Source
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.code} {self.message}"


class CaseFileError(LLMCallError):
    """All problems of one case file at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{count}, found before anything was asked:", *map(str, self.problems)]))


class NoReply(LLMCallError):
    """Nothing came back that a validator could judge.

    Args:
        reason: One sentence that a user reads first, for example "no reply within 60 s".
        received: The text that had arrived before the end, possibly empty.
        detail: Further lines: the end of stderr, an API message.
        remedy: What to do about it, possibly empty.
        evidence: The file that holds everything that was received, if it was kept.
        attempts: How many times the call was made.

    `duration_s` is how many seconds its attempts took, and `queued_s` how many it waited for slots. `cost_usd` and
    `tokens` are what the last attempt took, None if nobody knows; an error with no attempts has cost nothing.
    """

    kind = "no reply"
    duration_s = 0.0
    queued_s = 0.0
    cost_usd: float | None = None
    tokens: int | None = None

    def __init__(
        self,
        reason: str,
        *,
        received: str = "",
        detail: str = "",
        remedy: str = "",
        evidence: Path | None = None,
        attempts: int = 1,
    ) -> None:
        self.reason = reason
        self.received = received
        self.detail = detail
        self.remedy = remedy
        self.evidence = evidence
        self.attempts = attempts
        super().__init__(reason)


class TimedOut(NoReply):
    """The deadline of the call passed; everything that it had started was ended."""

    kind = "timeout"


class InfrastructureError(NoReply):
    """The provider, the network or a process failed: overload, rate limit, a cut stream, a crash."""

    kind = "infrastructure"


class ConfigurationError(NoReply):
    """The call cannot work until somebody changes something; the remedy says what.

    Args:
        scope: What it stops: "executor" (not logged in), "model" (unknown model) or "call" (bad schema).
    """

    kind = "configuration"

    def __init__(
        self,
        reason: str,
        *,
        scope: str = "executor",
        received: str = "",
        detail: str = "",
        remedy: str = "",
        evidence: Path | None = None,
        attempts: int = 1,
    ) -> None:
        self.scope = scope
        super().__init__(reason, received=received, detail=detail, remedy=remedy, evidence=evidence, attempts=attempts)


class CutByBudget(NoReply):
    """A call that was under way when it had used up what the run may spend; says nothing about the model."""

    kind = "budget used up"


class NotAsked(NoReply):
    """The call was never made: its executor had stopped, or the run was ending."""

    kind = "not asked"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, attempts=0)


class OverBudget(NotAsked):
    """The call was never made: what the run may spend would not have covered it."""

    kind = "budget"


class Misuse(LLMCallError):
    """A test uses `llm` in a way that cannot work; says nothing about any reply."""


class BrokenValidator(LLMCallError):
    """A check that crashed, gave no answer or cannot be called; says nothing about the reply."""

    def __init__(self, validator: str, reason: str, *, source: Source | None = None) -> None:
        self.validator = validator
        self.reason = reason
        self.source = source
        where = f" ({source})" if source else ""
        super().__init__(f"broken validator {validator!r}{where}: {reason}")


class EvidenceLost(LLMCallError):
    """An outcome is known, but not on disk; it must not look like one that is."""

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        super().__init__(
            f"the outcome cannot be written to {path}: {why}; make room, or name another folder with --llm-evidence=DIR"
        )
