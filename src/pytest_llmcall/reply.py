"""A Reply: what came back from one call, complete enough to be judged again later without asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final


class Ending(StrEnum):
    """How a reply ended. Only `COMPLETED` is a good ending; the others fail unless a validator asks for them."""

    COMPLETED = "completed"
    REFUSAL = "refusal"
    MAX_TURNS = "turns used up"
    MAX_BUDGET = "budget of the call used up"
    MAX_TOKENS = "cut at the most output tokens"
    PROMPT_TOO_LONG = "prompt too long"
    NO_STRUCTURED_OUTPUT = "structured output missing"


class _Missing:
    """The type of MISSING, since None is a value that JSON has."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens that the provider counted, over all turns of the call."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def total(self) -> int:
        """All tokens, cached ones included."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """One use of a tool, with what it gave back; `result` is None if the call ended before there was one."""

    id: str
    name: str
    arguments: Mapping[str, Any]
    result: str | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Attributes:
        text: The final text of the model.
        data: The structured output, or MISSING where no schema was asked or none came.
        model: The model that answered, as the provider names it.
        ending: How it ended, with `ending_detail` in the provider's words.
        tool_uses: Every tool use in order.
        transcript: Every event, as the provider sent it.
        usage: Tokens, or None where the provider counted none.
        cost_usd: US dollars as the provider or its client estimates them; None if unknown.
        duration_s: Seconds of the attempt that answered, from its start.
        queued_s: Seconds that the call waited for a slot before; no part of the duration.
        turns: Model turns taken.
        attempts: How many times the call was made, the answering attempt included.
        denied: Tools that the model asked for and was not allowed to use.
        stderr: The head and tail of what the executor's process wrote to stderr.
        tape: The file that holds all of this, if it was kept.
        files: The paths that lay in the call's working folder at the end, relative to it, with their content
            where it is text of moderate size.
    """

    text: str
    model: str
    data: Any = MISSING
    ending: Ending = Ending.COMPLETED
    ending_detail: str = field(default="", repr=False)
    tool_uses: tuple[ToolUse, ...] = ()
    transcript: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    usage: Usage | None = field(default=None, repr=False)
    cost_usd: float | None = field(default=None, repr=False)
    duration_s: float = field(default=0.0, repr=False)
    queued_s: float = field(default=0.0, repr=False)
    turns: int = field(default=1, repr=False)
    attempts: int = field(default=1, repr=False)
    denied: tuple[str, ...] = field(default=(), repr=False)
    stderr: str = field(default="", repr=False)
    tape: Path | None = field(default=None, repr=False)
    files: Mapping[str, str | None] = field(default_factory=dict, repr=False)
