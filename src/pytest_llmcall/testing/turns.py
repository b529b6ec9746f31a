"""What a scripted model can be told to do when it is asked: answer, use a tool, fail, hang, wait."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Text:
    """Say something."""

    text: str


@dataclass(frozen=True, slots=True)
class UseTool:
    """Use a tool, after saying `text`. Structured output is the tool `StructuredOutput`."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, slots=True)
class Overlong:
    """Say something that is cut at the most output tokens."""

    text: str = "and so on, and so"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refuse to answer."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Answer with an error of the API; `type` is the usual one of the status if not given."""

    status: int
    type: str | None = None
    message: str = "scripted error"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hang:
    """Never finish: say `text`, if any, then hold the request until it is cut or the model is closed."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class CutStream:
    """Drop the connection after that many characters of the text, before the answer is complete."""

    after: int = 0
    text: str = "this answer will not be complete"


@dataclass(frozen=True, slots=True)
class Delay:
    """Take that many seconds, then do something."""

    seconds: float
    then: Turn


class Gate:
    """Hold every request that comes here until the gate is released, then do something.

    Proves that calls overlap: `Gate(Text("ok"), opens_at=8)` opens by itself once eight are held at the same
    time, so seven calls would wait for ever.

    Args:
        then: What is done after the gate.
        opens_at: How many held requests open it; None leaves that to `release`.
    """

    def __init__(self, then: Turn, *, opens_at: int | None = None) -> None:
        self.then = then
        self._opens_at = opens_at
        self._changed = threading.Condition()
        self._held = 0
        self._open = False

    @property
    def held(self) -> int:
        """Requests that wait here now."""
        with self._changed:
            return self._held

    @property
    def is_open(self) -> bool:
        """Whether requests pass."""
        with self._changed:
            return self._open

    def release(self) -> None:
        """Let everything pass, what waits and what comes."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def wait_until_held(self, count: int, *, timeout: float = 10.0) -> None:
        """Wait until that many requests are held at the same time.

        Raises:
            TimeoutError: They were not, within `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._held >= count, timeout):
                raise TimeoutError(f"{self._held} of {count} requests were held within {timeout:g} s")

    def enter(self) -> None:
        """Count a request as held; the server calls this."""
        with self._changed:
            self._held += 1
            if self._opens_at is not None and self._held >= self._opens_at:
                self._open = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Count a request as held no more; the server calls this."""
        with self._changed:
            self._held -= 1
            self._changed.notify_all()


Turn = Text | UseTool | Overlong | Refusal | Status | Hang | CutStream | Delay | Gate

OVERLOADED: Final = Status(529, message="Overloaded")
RATE_LIMITED: Final = Status(429, message="Number of requests has exceeded your rate limit")
BAD_KEY: Final = Status(401, message="invalid x-api-key")
UNKNOWN_MODEL: Final = Status(404, message="model: no-such-model")
NO_CREDIT: Final = Status(400, message="Your credit balance is too low to access the Anthropic API.")
