"""What a request asks of the embedded model: turns of plain text, and the tool that has to be used now, if any.

Both APIs arrive here. What the Claude CLI adds of its own (billing header, identity, reminders) is left out: a small
model would answer it instead of the user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pytest_llmcall.local_model.messages_api import text_of

STRUCTURED_OUTPUT: Final = "StructuredOutput"
_REMINDER: Final = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_OWN_SYSTEM: Final = ("x-anthropic-billing-header:", "You are a Claude agent, built on", "You are Claude Code,")
# Beside the system prompt, the CLI also sends a turn of the role "system" that describes the machine.
_ENVIRONMENT: Final = "# Environment\n"
_MOST_TOKENS: Final = 256


class BadRequest(Exception):
    """A request that the embedded model cannot take; the text goes to the client with the status."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn as the model reads it."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that the request offers."""

    name: str
    description: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """What is asked.

    Attributes:
        due: The tools of which one has to be used in this turn; with none, the turn is text.
        schema: What the text has to be JSON of, if anything.
    """

    turns: tuple[Turn, ...]
    due: tuple[Tool, ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int = _MOST_TOKENS


def from_messages(body: Mapping[str, Any]) -> Dialogue:
    """Return what a request to `/v1/messages` asks.

    Raises:
        BadRequest: The request is malformed, or holds what this model cannot read.
    """
    messages = _messages(body)
    system = _own_words(body.get("system"))
    turns = [Turn(role="system", text=system)] if system else []
    turns += [Turn(role=str(message["role"]), text=_spoken(message["content"])) for message in messages]
    choice = body.get("tool_choice") or {}
    due = _due(_offered(body), messages, kind=choice.get("type", "auto"), name=choice.get("name"))
    return Dialogue(turns=_joined(turns), due=due, max_tokens=_tokens(body.get("max_tokens")))


def from_chat(body: Mapping[str, Any]) -> Dialogue:
    """Return what a request to `/v1/chat/completions` asks.

    Raises:
        BadRequest: The request is malformed, or holds what this model cannot read.
    """
    messages = _messages(body)
    turns = [Turn(role=_chat_role(message), text=_chat_text(message)) for message in messages]
    functions = [tool["function"] for tool in body.get("tools") or () if tool.get("type") == "function"]
    tools = tuple(
        Tool(name=each["name"], description=each.get("description", ""), schema=each.get("parameters") or {})
        for each in functions
    )
    choice = body.get("tool_choice") or "auto"
    kind, name = (choice, None) if isinstance(choice, str) else ("tool", choice.get("function", {}).get("name"))
    used = any(message.get("role") == "tool" for message in messages)
    due = () if used else _chosen(tools, kind=kind, name=name)
    most = body.get("max_completion_tokens") or body.get("max_tokens")
    return Dialogue(turns=_joined(turns), due=due, schema=_wanted_schema(body), max_tokens=_tokens(most))


def _messages(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages: at least one message is required")
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or "role" not in message:
            raise BadRequest(f"messages.{number}: a message needs a role and a content")
        message.setdefault("content", "")
    return messages


def _offered(body: Mapping[str, Any]) -> tuple[Tool, ...]:
    """Return the tools of a request, without those that are placeholders for tools that come later."""
    return tuple(
        Tool(name=tool["name"], description=tool.get("description", ""), schema=tool.get("input_schema") or {})
        for tool in body.get("tools") or ()
        if isinstance(tool, dict) and isinstance(tool.get("name"), str) and not tool.get("defer_loading")
    )


def _due(
    tools: tuple[Tool, ...], messages: Sequence[Mapping[str, Any]], *, kind: str, name: str | None
) -> tuple[Tool, ...]:
    """Return the tools of which one has to be used now: first a real one, then the structured output."""
    results = list(_blocks(messages, "tool_result"))
    real = tuple(tool for tool in tools if tool.name != STRUCTURED_OUTPUT)
    if real and not results:
        return _chosen(real, kind=kind, name=name)
    structured = tuple(tool for tool in tools if tool.name == STRUCTURED_OUTPUT)
    given = {block.get("id") for block in _blocks(messages, "tool_use") if block.get("name") == STRUCTURED_OUTPUT}
    accepted = any(block.get("tool_use_id") in given and not block.get("is_error") for block in results)
    return () if accepted else structured


def _chosen(tools: tuple[Tool, ...], *, kind: str, name: str | None) -> tuple[Tool, ...]:
    if kind == "none":
        return ()
    if kind != "tool":
        return tools
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        raise BadRequest(f"tool_choice: no tool is called {name!r}")
    return named


def _blocks(messages: Iterable[Mapping[str, Any]], kind: str) -> Iterable[Mapping[str, Any]]:
    for message in messages:
        content = message["content"]
        if isinstance(content, list):
            yield from (block for block in content if isinstance(block, dict) and block.get("type") == kind)


def _own_words(system: object) -> str:
    """Return the system prompt without what the CLI puts before it."""
    blocks = [system] if isinstance(system, str) else [text_of([block]) for block in _as_list(system)]
    kept = [block for block in blocks if not block.startswith(_OWN_SYSTEM)]
    return _REMINDER.sub("", "\n".join(kept)).strip()


def _spoken(content: object) -> str:
    """Return a message's content as the model reads it: text, tool uses and their results."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else _as_list(content)
    texts = [text for text in map(_block_text, blocks) if not text.startswith(_ENVIRONMENT)]
    return "\n".join(text for text in texts if text)


def _block_text(block: Any) -> str:
    match block:
        case {"type": "text", "text": str(text)}:
            return _REMINDER.sub("", text).strip()
        case {"type": "tool_use", "name": name, "input": arguments}:
            return f"{name}({json.dumps(arguments)})"
        case {"type": "tool_result"}:
            content = block.get("content", "")
            return "Result: " + (content if isinstance(content, str) else text_of(content))
        case {"type": "thinking" | "redacted_thinking"}:
            return ""
        case {"type": str(kind)}:
            raise BadRequest(f"the embedded model reads text only, and this message holds: {kind}")
        case _:
            raise BadRequest("a block of a message has no type")


def _joined(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """Return the turns without empty ones; neighbours of one role become one turn, as chat templates want it."""
    joined: list[Turn] = []
    for turn in turns:
        if not turn.text:
            continue
        if joined and joined[-1].role == turn.role:
            joined[-1] = Turn(role=turn.role, text=f"{joined[-1].text}\n{turn.text}")
        else:
            joined.append(turn)
    if not joined:
        raise BadRequest("messages: all of them are empty")
    return tuple(joined)


def _chat_role(message: Mapping[str, Any]) -> str:
    role = str(message["role"])
    return {"tool": "user", "developer": "system"}.get(role, role)


def _chat_text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") != "text":
            raise BadRequest(f"the embedded model reads text only, and this message holds: {part.get('type')}")
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    text = text_of(content) or "\n".join(f"{call['name']}({call['arguments']})" for call in calls)
    return f"Result: {text}" if message["role"] == "tool" else text


def _wanted_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return schema
        case {"type": "json_object"}:
            return {"type": "object"}
        case _:
            return None


def _tokens(asked: object) -> int:
    """Return how many tokens the answer may have: a small model that rambles must come to an end."""
    return min(asked, _MOST_TOKENS) if isinstance(asked, int) and asked > 0 else _MOST_TOKENS


def _as_list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list) else []
