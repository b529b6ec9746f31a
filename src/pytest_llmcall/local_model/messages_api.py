"""The Anthropic Messages API on the wire: answers as JSON and as server-sent events, and what a request says.

Used by the embedded model's endpoint and by the scripted model of `pytest_llmcall.testing`. Knows no sockets.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_PIECE: Final = 24


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Text that the model says."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A tool that the model wants to use."""

    name: str
    arguments: Mapping[str, Any]
    id: str = field(default_factory=lambda: f"toolu_{uuid.uuid4().hex[:24]}")


Block = TextBlock | ToolUseBlock


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One turn of a model.

    Attributes:
        stop_reason: The API's word: `end_turn`, `tool_use`, `max_tokens`, `refusal`, `stop_sequence`.
    """

    blocks: tuple[Block, ...]
    model: str
    stop_reason: str = "end_turn"
    input_tokens: int = 0
    output_tokens: int = 0
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex[:24]}")

    @property
    def text(self) -> str:
        """All text of the turn."""
        return "".join(block.text for block in self.blocks if isinstance(block, TextBlock))


def as_message(answer: Answer) -> dict[str, Any]:
    """Return an answer as the body of a response that does not stream."""
    return {
        "id": answer.id,
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [_block_as_json(block) for block in answer.blocks],
        "stop_reason": answer.stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens},
    }


def as_events(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield an answer as the events of a streamed response, text in small pieces."""
    started = as_message(answer) | {"content": [], "stop_reason": None}
    started["usage"] = {"input_tokens": answer.input_tokens, "output_tokens": 1}
    yield {"type": "message_start", "message": started}
    for index, block in enumerate(answer.blocks):
        yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
        for delta in _deltas(block):
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": answer.stop_reason, "stop_sequence": None},
        "usage": {"output_tokens": answer.output_tokens},
    }
    yield {"type": "message_stop"}


def encode_event(event: Mapping[str, Any]) -> bytes:
    """Return an event as it stands on the wire."""
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def error_body(status: int, message: str, *, kind: str | None = None) -> dict[str, Any]:
    """Return the API's body for an error; `kind` is its `type`, by default the usual one of the status."""
    error = {"type": kind or ERROR_TYPES.get(status, "api_error"), "message": message}
    return {"type": "error", "error": error, "request_id": f"req_{uuid.uuid4().hex[:24]}"}


def text_of(content: object) -> str:
    """Return the text in a message's content or in a system prompt: a string, or blocks of which some are text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    texts = [block.get("text") for block in content if isinstance(block, Mapping) and block.get("type") == "text"]
    return "\n".join(text for text in texts if isinstance(text, str))


def user_text(request: Mapping[str, Any]) -> str:
    """Return everything that the user's turns of a request say."""
    messages = request.get("messages", [])
    return "\n".join(text_of(message.get("content")) for message in messages if message.get("role") == "user")


def _block_as_json(block: Block) -> dict[str, Any]:
    if isinstance(block, TextBlock):
        return {"type": "text", "text": block.text}
    return {"type": "tool_use", "id": block.id, "name": block.name, "input": dict(block.arguments)}


def _empty(block: Block) -> dict[str, Any]:
    cleared: dict[str, Any] = {"text": ""} if isinstance(block, TextBlock) else {"input": {}}
    return _block_as_json(block) | cleared


def _deltas(block: Block) -> Iterator[dict[str, Any]]:
    if isinstance(block, ToolUseBlock):
        yield {"type": "input_json_delta", "partial_json": json.dumps(dict(block.arguments))}
        return
    for start in range(0, len(block.text), _PIECE):
        yield {"type": "text_delta", "text": block.text[start : start + _PIECE]}
