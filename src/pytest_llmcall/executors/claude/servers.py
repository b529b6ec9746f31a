"""What is wrong with the MCP servers of a call: when the CLI has set itself up, during the run, at the deadline.

What an event cannot tell for certain, the CLI's log of a server (`traces.py`) has to confirm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from pytest_llmcall.call import Call, McpServer
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply
from pytest_llmcall.executors.claude.argv import tool_prefix
from pytest_llmcall.executors.claude.stream import Event
from pytest_llmcall.executors.claude.traces import ServerLog, complaints, log_name
from pytest_llmcall.reply import ToolUse

BY_HAND: Final = "start the server's command by hand and see what it says"
MORE_TIME: Final = "a slow one gets more time from a longer timeout of the call, or from MCP_TIMEOUT (ms)"
_GONE: Final = re.compile(r"(MCP error -?\d+: )?Connection closed|MCP server .* is not connected", re.DOTALL)


def start_fault(call: Call, init: Event) -> NoReply | None:
    """Return why a call cannot be answered with the servers that the CLI reports, before the model is paid."""
    return _not_connected(call, init) or _without_tools(call, init)


def death(call: Call, tool_uses: Iterable[ToolUse], logs: Sequence[ServerLog]) -> NoReply | None:
    """Return which servers have died under a tool call, as one error.

    A server may answer with the very words that the CLI has for a lost connection, so its log must know of a
    connection that nobody had asked to end.
    """
    failed = [use for use in tool_uses if use.is_error and _GONE.fullmatch(use.result or "")]
    ended = {log.name for log in logs if log.lost}
    dead = [
        server
        for server in call.mcp
        if log_name(server.name) in ended and any(use.name.startswith(tool_prefix(server.name)) for use in failed)
    ]
    if not dead:
        return None
    # Not for another try: it would hide the crash of what is tested.
    return ConfigurationError(
        f"{_listed(dead)} died during the run",
        scope="call",
        detail="\n".join(filter(None, (complaints(logs), *(f"{use.name}: {use.result}" for use in failed)))),
        remedy=f"{BY_HAND} when the tool is called",
    )


def silent_servers(call: Call, logs: Sequence[ServerLog]) -> str:
    """Return the servers that have not answered so far, as words of a message; empty if all have."""
    answered = {log.name for log in logs if log.connected}
    silent = [server for server in call.mcp if log_name(server.name) not in answered]
    return f"{_listed(silent)} had not answered yet" if silent else ""


def _not_connected(call: Call, init: Event) -> NoReply | None:
    statuses = {str(each.get("name")): str(each.get("status")) for each in init.get("mcp_servers") or ()}
    bad = {server.name: statuses.get(server.name, "missing") for server in call.mcp}
    bad = {name: status for name, status in bad.items() if status != "connected"}
    if not bad:
        return None
    listed = ", ".join(f"{name!r} ({status})" for name, status in bad.items())
    errors = "\n".join(str(each.get("message", each)) for each in init.get("mcp_server_errors") or ())
    reason = f"MCP server not connected: {listed}"
    if "pending" in bad.values():
        return InfrastructureError(reason, detail=errors, remedy=MORE_TIME)
    return ConfigurationError(reason, scope="call", detail=errors, remedy=f"{BY_HAND}; {MORE_TIME}")


def _without_tools(call: Call, init: Event) -> NoReply | None:
    tools = [str(name) for name in init.get("tools") or ()]
    empty = [server for server in call.mcp if not any(name.startswith(tool_prefix(server.name)) for name in tools)]
    if not empty:
        return None
    are, offer = ("is", "offers") if len(empty) == 1 else ("are", "offer")
    reason = f"{_listed(empty)} {are} connected but {offer} no tools"
    return ConfigurationError(reason, scope="call", remedy=f"{BY_HAND} to tools/list")


def _listed(servers: Sequence[McpServer]) -> str:
    names = ", ".join(repr(server.name) for server in servers)
    return f"the MCP server{'' if len(servers) == 1 else 's'} {names}"
