"""The real CLI where calls may overlap: failing MCP servers and tools that resist. Each scene runs once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_llmcall.call import McpServer
from pytest_llmcall.errors import ConfigurationError, NoReply, TimedOut
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import Hang, Text, UseTool

pytestmark = pytest.mark.real_cli
FAULTY = Path(__file__).parents[2] / "children" / "faulty_server.py"
RESISTING = {"command": "trap '' TERM; setsid sleep 600"}
PATIENT = {"MCP_TIMEOUT": "30000", "MCP_CONNECT_TIMEOUT_MS": "30000"}
Outcomes = dict[str, Reply | NoReply]
T = TypeVar("T", bound=Reply | NoReply)

WITHOUT_TOOLS = {
    "dies_on_list": "faulty: Failed to fetch tools: Connection closed",
    "refuses_to_list": "faulty: Failed to fetch tools: the list is locked",
    "lists_nothing": "",
    "has_no_tools": "",
}
DYING = {"dies_in_call": "mcp__faulty__ask: Connection closed", "dies_for_good": "Server stderr: I was here before"}
SPEAKING = ("refuses_a_call", "fails_a_call", "dies_after_call")
SILENT = ("hangs", "talks_garbage")


def make_scenes(scene: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    servers = (server("hangs"), server("works", name="quick"))
    ask = UseTool("mcp__faulty__ask", {})
    waiting = {
        "resists": scene(UseTool("Bash", RESISTING), tools=("Bash",), timeout=8),
        "never answers": scene(Hang(), mcp=servers, timeout=8, environment=PATIENT),
        "refuses_to_list": scene(Hang(), mcp=(server("refuses_to_list"),)),
        **{how: scene(Hang(), mcp=(server(how),), timeout=12) for how in SILENT},
    }
    working = {
        **{how: scene(Hang(), mcp=(server(how),)) for how in WITHOUT_TOOLS if how not in waiting},
        **{how: scene(ask, Text("The tool says 42."), mcp=(server(how),)) for how in (*DYING, *SPEAKING)},
    }
    return waiting, working


@pytest.mark.parametrize("how", WITHOUT_TOOLS)
def test_a_server_without_tools_is_no_reply(scenes: Outcomes, how: str) -> None:
    none = ended_with(ConfigurationError, scenes[how])
    assert none.reason == "the MCP server 'faulty' is connected but offers no tools"
    assert none.scope == "call"
    assert WITHOUT_TOOLS[how] in none.detail


@pytest.mark.parametrize("how", DYING)
def test_a_server_that_dies_under_a_tool_call_is_no_reply(scenes: Outcomes, how: str) -> None:
    none = ended_with(ConfigurationError, scenes[how])
    assert none.reason == "the MCP server 'faulty' died during the run"
    assert none.scope == "call"
    assert none.received == "The tool says 42."
    assert DYING[how] in none.detail


@pytest.mark.parametrize("how", SPEAKING)
def test_a_server_that_only_speaks_of_a_lost_connection_has_not_died(scenes: Outcomes, how: str) -> None:
    reply = ended_with(Reply, scenes[how])
    assert reply.text == "The tool says 42."
    assert "Connection closed" in (reply.tool_uses[0].result or "")


@pytest.mark.parametrize("how", SILENT)
def test_a_server_that_does_not_answer_is_named_before_the_deadline(scenes: Outcomes, how: str) -> None:
    none = ended_with(ConfigurationError, scenes[how])
    assert none.reason == "MCP server not connected: 'faulty' (failed)"
    assert "CONNECT_TIMEOUT" in none.detail
    assert "longer timeout" in none.remedy


def test_a_deadline_that_passes_before_a_server_has_answered_names_it(scenes: Outcomes) -> None:
    none = ended_with(TimedOut, scenes["never answers"])
    assert none.reason == "no reply within 8 s: the MCP server 'faulty' had not answered yet"
    assert "by hand" in none.remedy


def test_a_deadline_ends_a_tool_that_resists(scenes: Outcomes) -> None:
    ended_with(TimedOut, scenes["resists"])  # that nothing is left, the fixture has seen


def ended_with(kind: type[T], outcome: Reply | NoReply) -> T:
    """Return an outcome that is of a kind; fail with all that it says if it is not."""
    assert type(outcome) is kind, getattr(outcome, "detail", "") or outcome
    return outcome


def server(how: str, name: str = "faulty") -> McpServer:
    return McpServer(name=name, command=sys.executable, args=("-IS", str(FAULTY), how))
