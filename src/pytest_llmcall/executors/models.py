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


@dataclass(frozen=True, slots=True)
class Misfit:
    """What a model cannot do: the field of the call that asks for it, and why not."""

    key: str
    reason: str


def find_misfit(call: Call) -> Misfit | None:
    """Return what the model of a call cannot do, or None; a call without a model fits any.

    Raises:
        SettingsError: The model's name is not known.
    """
    if call.model is None:
        return None
    return _misfit_of_claude(call) if parse_model(call.model).provider == "claude" else _misfit_of_litellm(call)


def unsupported(call: Call) -> str | None:
    """Return why the model of a call cannot do what it asks, or None.

    Raises:
        SettingsError: The model's name is not known.
    """
    misfit = find_misfit(call)
    return misfit.reason if misfit else None


def unsupported_by_claude(call: Call) -> str | None:
    """Return why no Claude model can answer a call, or None."""
    misfit = _misfit_of_claude(call)
    return misfit.reason if misfit else None


def unsupported_by_litellm(call: Call) -> str | None:
    """Return why no model through LiteLLM can answer a call, or None."""
    misfit = _misfit_of_litellm(call)
    return misfit.reason if misfit else None


def _misfit_of_claude(call: Call) -> Misfit | None:
    if call.functions:
        return Misfit("functions", "`functions` are for models through LiteLLM; a Claude model takes `tools` and `mcp`")
    return None


def _misfit_of_litellm(call: Call) -> Misfit | None:
    if call.tools:
        reason = "`tools` are Claude Code's own; a model through LiteLLM can be offered `functions`"
        return Misfit("tools", reason)
    if call.mcp:
        return Misfit("mcp", "`mcp` servers are for Claude models; a model through LiteLLM can be offered `functions`")
    if call.files:
        return Misfit("files", "`files` are for Claude models; a model through LiteLLM has no working folder")
    if call.max_turns is not None and call.max_turns > 1:
        return Misfit("max_turns", "a model through LiteLLM takes one turn; leave `max_turns` out")
    return None


def _unknown_label(name: str, prefix: str, label: str) -> str:
    known = ", ".join(prefix + each for each in CLAUDE_LABELS)
    nearest = difflib.get_close_matches(label, CLAUDE_LABELS, n=1)
    hint = f" Did you mean {prefix}{nearest[0]}?" if nearest else ""
    return f"unknown model {name!r}.{hint} Known: {known}, or a full id such as {prefix}claude-sonnet-4-5"
