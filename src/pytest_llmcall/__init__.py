"""pytest-llmcall: run LLM test cases concurrently in pytest.

The words, one module each: a Call is asked of an Executor, which returns a Reply; a Validator judges it and gives
a Verdict; a Case is a call with its validators, and an Outcome is what became of it. `_run.py` shows the flow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmcall._asking import LLM
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
    "LLM",
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

_HOMES = {
    "BrokenValidator": "errors",
    "Call": "call",
    "Case": "case",
    "CaseFileError": "errors",
    "CheckFailed": "verdict",
    "ConfigurationError": "errors",
    "Ending": "reply",
    "EvidenceLost": "errors",
    "Exchange": "outcome",
    "InfrastructureError": "errors",
    "LLM": "_asking",
    "LLMCallError": "errors",
    "MISSING": "reply",
    "McpServer": "call",
    "Message": "call",
    "Misuse": "errors",
    "NoReply": "errors",
    "NotAsked": "errors",
    "Outcome": "outcome",
    "OverBudget": "errors",
    "Reply": "reply",
    "SettingsError": "errors",
    "Status": "outcome",
    "TimedOut": "errors",
    "ToolUse": "reply",
    "Usage": "reply",
    "Validator": "verdict",
    "Verdict": "verdict",
    "WorkFile": "call",
}


if not TYPE_CHECKING:  # a type checker would take every misspelt word for Any

    def __getattr__(name: str) -> Any:
        """Load a word when it is first used: every pytest run imports this package, few need its records."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
