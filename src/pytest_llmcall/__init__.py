"""pytest-llmcall: run LLM test cases concurrently in pytest.

The words, one module each: a Call is asked of an Executor, which returns a Reply; a Validator judges it and gives
a Verdict; a Case is a call with its validators, and an Outcome is what became of it. `_run.py` shows the flow.
"""

from pytest_llmcall.call import Call, McpServer, Message, WorkFile
from pytest_llmcall.case import Case
from pytest_llmcall.errors import (
    BrokenValidator,
    CaseFileError,
    ConfigurationError,
    EvidenceLost,
    InfrastructureError,
    LLMCallError,
    Misuse,
    NoReply,
    NotAsked,
    OverBudget,
    SettingsError,
    TimedOut,
)
from pytest_llmcall.outcome import Exchange, Outcome, Status
from pytest_llmcall.reply import MISSING, Ending, Reply, ToolUse, Usage
from pytest_llmcall.verdict import CheckFailed, Validator, Verdict

__all__ = [
    "MISSING",
    "BrokenValidator",
    "Call",
    "Case",
    "CaseFileError",
    "CheckFailed",
    "ConfigurationError",
    "Ending",
    "EvidenceLost",
    "Exchange",
    "InfrastructureError",
    "LLMCallError",
    "McpServer",
    "Message",
    "Misuse",
    "NoReply",
    "NotAsked",
    "Outcome",
    "OverBudget",
    "Reply",
    "SettingsError",
    "Status",
    "TimedOut",
    "ToolUse",
    "Usage",
    "Validator",
    "Verdict",
    "WorkFile",
]
