"""An MCP server with two tools, for the essential cases: write a text file, and read it back.

JSON-RPC over stdio with the standard library alone, so that any python3 can run it. It works in its working folder,
which is the case's own, and nowhere else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path.cwd().resolve()
PATH = {"type": "string", "description": "a file name"}
TOOLS = [
    {
        "name": "write_file",
        "description": "Write a text file.",
        "inputSchema": {
            "type": "object",
            "properties": {"path": PATH, "text": {"type": "string"}},
            "required": ["path", "text"],
            "additionalProperties": False,
        },
    },
    {
        "name": "read_file",
        "description": "Read a text file.",
        "inputSchema": {
            "type": "object",
            "properties": {"path": PATH},
            "required": ["path"],
            "additionalProperties": False,
        },
    },
]


def main() -> None:
    """Answer requests until stdin ends. The arguments name the tools that are offered; with none, all are."""
    offered = [tool for tool in TOOLS if not sys.argv[1:] or tool["name"] in sys.argv[1:]]
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], **respond(message, offered)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def respond(message: dict[str, Any], offered: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the result or the error of a request."""
    params = message.get("params", {})
    match message["method"]:
        case "initialize":
            server = {"name": "files", "version": "1"}
            return {
                "result": {
                    "protocolVersion": params["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": server,
                }
            }
        case "tools/list":
            return {"result": {"tools": offered}}
        case "tools/call":
            return {"result": call(params["name"], params.get("arguments", {}))}
        case "ping":
            return {"result": {}}
        case other:
            return {"error": {"code": -32601, "message": f"no method {other}"}}


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Use a tool; what goes wrong is told to the model."""
    try:
        text, failed = use(name, arguments), False
    except (OSError, ValueError, KeyError) as error:
        text, failed = f"{type(error).__name__}: {error}", True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def use(name: str, arguments: dict[str, str]) -> str:
    """Do what a tool is for, and return what it says."""
    path = (FOLDER / arguments["path"]).resolve()
    if not path.is_relative_to(FOLDER):
        raise ValueError(f"{path} is outside of the working folder")
    if name == "write_file":
        path.write_text(arguments["text"], encoding="utf-8")
        return f"The file {path.name} now holds: {arguments['text']}"
    if name == "read_file":
        return path.read_text(encoding="utf-8")
    raise KeyError(name)


if __name__ == "__main__":
    main()
