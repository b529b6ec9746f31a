"""A Call: everything that is asked of a model, and nothing about checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class McpServer:
    """An MCP server of a call: a command that speaks stdio, or a URL that speaks streamable HTTP."""

    name: str
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFile:
    """A file that lies in the call's working folder when it starts; `path` is relative to that folder."""

    path: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked: model, conversation, tools, deadline.

    Attributes:
        messages: The conversation; the last one is the user's.
        model: A name with its provider, for example `max/opus`, or None for the run's own model.
        system: The system prompt; None asks for none of our own.
        tools: Claude Code's built-in tools that exist and are allowed, rules such as `Bash(git:*)` too.
        functions: Tools that are only offered, as JSON: name, description, parameters (a JSON Schema). What a model
            asks of them stands in the reply's tool uses; nobody runs them. For models through LiteLLM only.
        mcp: Servers whose tools exist and are allowed.
        schema: A JSON Schema that the reply's structured data must follow.
        files: What the call's own fresh working folder starts with.
        max_turns: The most model turns that an agent may take.
        timeout: Seconds that one attempt may take, from its start; None for the run's own deadline.
        max_cost_usd: US dollars that one attempt may cost where its executor can stop it; None for no bound.
        sample: Tells repeated calls with the same content apart.
    """

    messages: tuple[Message, ...]
    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] = ()
    functions: tuple[Mapping[str, Any], ...] = ()
    mcp: tuple[McpServer, ...] = ()
    schema: Mapping[str, Any] | None = None
    files: tuple[WorkFile, ...] = ()
    max_turns: int | None = None
    timeout: float | None = None
    max_cost_usd: float | None = None
    sample: int = 0

    @property
    def prompt(self) -> str:
        """The text of the last user message."""
        return self.messages[-1].content

    def resolved(self, *, model: str, timeout: float) -> Self:
        """Return the call with the run's model and deadline where it named none."""
        return replace(
            self,
            model=self.model if self.model is not None else model,
            timeout=self.timeout if self.timeout is not None else timeout,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the call as plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(self, default=_plain))
        return plain

    def fingerprint(self) -> str:
        """Return the key of the call's tape: a digest of all that can change the reply (no limit of time or money)."""
        return fingerprint_of(self.as_json())


def fingerprint_of(plain: Mapping[str, Any]) -> str:
    """Return the fingerprint of a call that `as_json` made plain."""
    content = {key: value for key, value in plain.items() if key not in {"timeout", "max_cost_usd"}}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (Call, Message, McpServer, WorkFile)):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Path):
        return str(value)
    msg = f"a call holds {type(value).__name__}, which is not JSON"
    raise TypeError(msg)
