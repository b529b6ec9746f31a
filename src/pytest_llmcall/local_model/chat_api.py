"""The OpenAI chat completions API on the wire: an answer as JSON and as a stream. Knows no sockets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pytest_llmcall.local_model.messages_api import Answer, ToolUseBlock

DONE: Final = b"data: [DONE]\n\n"
_FINISH: Final = {"end_turn": "stop", "tool_use": "tool_calls", "max_tokens": "length", "refusal": "content_filter"}


def as_completion(answer: Answer) -> dict[str, Any]:
    """Return an answer as the body of a response that does not stream."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if calls := _tool_calls(answer):
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": _FINISH.get(answer.stop_reason, "stop")}
    return _head(answer, "chat.completion") | {"choices": [choice], "usage": _usage(answer)}


def as_chunks(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield an answer as the chunks of a streamed response, usage last."""
    head = _head(answer, "chat.completion.chunk")
    delta: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if calls := _tool_calls(answer):
        delta["tool_calls"] = [{"index": index} | call for index, call in enumerate(calls)]
    yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    finish = _FINISH.get(answer.stop_reason, "stop")
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    yield head | {"choices": [], "usage": _usage(answer)}


def encode_chunk(chunk: Mapping[str, Any]) -> bytes:
    """Return a chunk as it stands on the wire."""
    return f"data: {json.dumps(chunk)}\n\n".encode()


def chat_error(status: int, message: str) -> dict[str, Any]:
    """Return the API's body for an error."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    code = "context_length_exceeded" if message.startswith("prompt is too long") else None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": answer.id.replace("msg_", "chatcmpl-"), "object": kind, "created": int(time.time())} | {
        "model": answer.model
    }


def _tool_calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": block.id,
            "type": "function",
            "function": {"name": block.name, "arguments": json.dumps(dict(block.arguments))},
        }
        for block in answer.blocks
        if isinstance(block, ToolUseBlock)
    ]


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
