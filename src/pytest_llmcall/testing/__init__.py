"""Stand-ins for testing LLM suites and plugins: a scripted model behind real clients, and a fake executor.

Give `ScriptedModel().environment` to a real `claude` process, or its `url` and `/v1` to a client of OpenAI's API,
tell it what to say with `script(Text("Paris"))`, and read what was asked from `requests`.
"""

from __future__ import annotations

from pytest_llmcall.testing.fake_executor import FakeExecutor, reply
from pytest_llmcall.testing.scripted_model import Request, ScriptedModel
from pytest_llmcall.testing.turns import (
    BAD_KEY,
    NO_CREDIT,
    OVERLOADED,
    RATE_LIMITED,
    UNKNOWN_MODEL,
    CutStream,
    Delay,
    Gate,
    Hang,
    Overlong,
    Refusal,
    Status,
    Text,
    Turn,
    UseTool,
)

__all__ = [
    "BAD_KEY",
    "NO_CREDIT",
    "OVERLOADED",
    "RATE_LIMITED",
    "UNKNOWN_MODEL",
    "CutStream",
    "Delay",
    "FakeExecutor",
    "Gate",
    "Hang",
    "Overlong",
    "Refusal",
    "Request",
    "ScriptedModel",
    "Status",
    "Text",
    "Turn",
    "UseTool",
    "reply",
]
