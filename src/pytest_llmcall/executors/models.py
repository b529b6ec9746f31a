"""Model names: `max/<model>` and `claude/<model>` go to the Claude CLI, everything else to LiteLLM."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final, Literal

from pytest_llmcall.call import Call
from pytest_llmcall.errors import SettingsError

CLAUDE_PREFIXES: Final = ("max/", "claude/")
DEFAULT_LABEL: Final = "default"
CLAUDE_LABELS: Final = (DEFAULT_LABEL, "opus", "sonnet", "haiku")
_FULL_ID: Final = re.compile(r"claude-[a-z0-9][a-z0-9.\-]*(\[1m\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model name, understood.

    Attributes:
        provider: Which executor it goes to.
        model: What that executor passes on; None is the Claude CLI's own default.
        full_id: Whether the name says one model exactly, so that another one that answers is an error.
    """

    provider: Literal["claude", "litellm"]
    model: str | None
    full_id: bool = False


def parse_model(name: str) -> ModelName:
    """Return what a model name means.

    Raises:
        SettingsError: A Claude label that the CLI does not know, or an empty name.
    """
    prefix = next((prefix for prefix in CLAUDE_PREFIXES if name.startswith(prefix)), None)
    if prefix is None:
        if not name.strip():
            raise SettingsError("the model name is empty; write for example max/sonnet")
        return ModelName(provider="litellm", model=name)
    label = name.removeprefix(prefix)
    if label == DEFAULT_LABEL:
        return ModelName(provider="claude", model=None)
    if label in CLAUDE_LABELS:
        return ModelName(provider="claude", model=label)
    if _FULL_ID.fullmatch(label):
        return ModelName(provider="claude", model=label, full_id=True)
    raise SettingsError(_unknown_label(name, prefix, label))


def unsupported(call: Call) -> str | None:
    """Return why the executor of a call's model cannot make that call, or None; a call without a model fits any."""
    if call.model is None:
        return None
    if parse_model(call.model).provider == "claude":
        return unsupported_by_claude(call)
    return unsupported_by_litellm(call)


def unsupported_by_claude(call: Call) -> str | None:
    """Return why the Claude CLI cannot make a call, or None."""
    if call.functions:
        return "`functions` are for models through LiteLLM; a Claude model takes `tools` and `mcp`"
    return None


def unsupported_by_litellm(call: Call) -> str | None:
    """Return why LiteLLM cannot make a call, or None."""
    if call.tools:
        return "`tools` are Claude Code's own, and a model through LiteLLM has none; it can be offered `functions`"
    if call.mcp:
        return "`mcp` servers are for Claude models; a model through LiteLLM can be offered `functions`"
    if call.files:
        return "`files` lie in the working folder of a Claude model; a model through LiteLLM has no folder"
    if call.max_turns is not None and call.max_turns > 1:
        return "a model through LiteLLM answers in one turn, so it cannot take `max_turns` of more than 1"
    return None


def _unknown_label(name: str, prefix: str, label: str) -> str:
    known = ", ".join(prefix + each for each in CLAUDE_LABELS)
    nearest = difflib.get_close_matches(label, CLAUDE_LABELS, n=1)
    hint = f" Did you mean {prefix}{nearest[0]}?" if nearest else ""
    return f"unknown model {name!r}.{hint} Known: {known}, or a full id such as {prefix}claude-sonnet-4-5"
