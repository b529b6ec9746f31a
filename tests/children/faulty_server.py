"""An MCP server on stdio that goes wrong in the way that its argument names. Plain JSON-RPC: no SDK does this."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

FOREVER = 600
TOOL = {"name": "ask", "description": "Ask.", "inputSchema": {"type": "object", "properties": {}}}


def say(message: dict[str, Any], **fields: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **fields}) + "\n")
    sys.stdout.flush()


def die(words: str) -> None:
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
    os._exit(3)


def initialize(how: str, message: dict[str, Any]) -> None:
    if how == "hangs":
        time.sleep(FOREVER)
    version = message["params"]["protocolVersion"]
    capabilities: dict[str, Any] = {} if how == "has_no_tools" else {"tools": {}}
    say(
        message,
        result={
            "protocolVersion": version,
            "capabilities": capabilities,
            "serverInfo": {"name": "faulty", "version": "1"},
        },
    )


def list_tools(how: str, message: dict[str, Any]) -> None:
    if how == "dies_on_list":
        die("the tools cannot be loaded")
    if how == "refuses_to_list":
        say(message, error={"code": -32603, "message": "the list is locked"})
    else:
        say(message, result={"tools": [] if how == "lists_nothing" else [TOOL]})
    if how == "dies_for_good":
        Path("gone").touch()
        die("nobody wants me")


def call_tool(how: str, message: dict[str, Any]) -> None:
    if how == "dies_in_call":
        die("the disk broke")
    if how == "refuses_a_call":
        say(message, error={"code": -32000, "message": "Connection closed"})
        return
    say(
        message,
        result={
            "content": [{"type": "text", "text": "MCP error -32000: Connection closed"}],
            "isError": how == "fails_a_call",
        },
    )
    if how == "dies_after_call":
        die("I have done enough")


def resist() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def main(how: str) -> None:
    if how == "does_not_end":
        resist()
    if Path("gone").exists():
        die("I was here before")
    if how == "talks_garbage":
        sys.stdout.write("Welcome to the server!\n" * 3)
        sys.stdout.flush()
        time.sleep(FOREVER)
    known = {"initialize": initialize, "tools/list": list_tools, "tools/call": call_tool}
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") in known:
            known[message["method"]](how, message)
        elif "id" in message:
            say(message, result={})
    if how == "does_not_end":
        time.sleep(FOREVER)


main(sys.argv[1])
