"""How a conversation reaches the model as turns: the last one on stdin, those before as a session to resume.

The CLI's stdin takes user messages alone in an order that it keeps; a session file keeps every turn and its role.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_llmcall.call import Call, Message
from pytest_llmcall.errors import ConfigurationError


def stdin_lines(call: Call) -> bytes:
    """Return what is written to the CLI: the last turn, which the CLI must not expand (`@path`, `/command`).

    Raises:
        ConfigurationError: The last turn is not the user's.
    """
    last = call.messages[-1]
    if last.role != "user":
        raise ConfigurationError("the last message is not the user's", scope="call", remedy="end with a user message")
    message = {"role": "user", "content": last.content}
    line = {"type": "user", "message": message, "client_composed": True, "parent_tool_use_id": None}
    # ASCII keeps lone surrogates, which a YAML file can hold, from breaking the encoding.
    return json.dumps(line).encode() + b"\n"


def session_lines(turns: Sequence[Message], *, cwd: Path) -> str:
    """Return a session file, as the CLI writes them, that holds some turns."""
    session = str(uuid.uuid4())
    parent: str | None = None
    lines = []
    for turn in turns:
        entry = str(uuid.uuid4())
        lines.append(
            {
                "parentUuid": parent,
                "isSidechain": False,
                "userType": "external",
                "cwd": str(cwd),
                "sessionId": session,
                "type": turn.role,
                "message": _message(turn, entry),
                "uuid": entry,
                "timestamp": "2026-01-01T00:00:00.000Z",
            }
        )
        parent = entry
    return "".join(json.dumps(line) + "\n" for line in lines)


def _message(turn: Message, entry: str) -> dict[str, Any]:
    if turn.role == "user":
        return {"role": "user", "content": turn.content}
    return {
        "id": f"msg_{entry}",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": turn.content}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }
