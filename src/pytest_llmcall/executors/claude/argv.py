"""The launch line: the same neutral situation for the model, whatever the user's settings and login are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError

# Linux takes 128 KiB in one argument and fails with a bare E2BIG above.
MOST_ARGUMENT_BYTES: Final = 100 * 1024
# Not `--bare`: it never reads a subscription's login, so the model's input would depend on the kind of login.
NEUTRAL: Final = (
    "-p",
    "--input-format=stream-json",
    "--output-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--no-session-persistence",
    "--setting-sources=",
    "--strict-mcp-config",
    "--disable-slash-commands",
    "--permission-mode=dontAsk",
)
_RULE: Final = re.compile(r"([A-Za-z_][\w-]*)(\(.*\))?", re.DOTALL)


def launch_line(
    binary: Path,
    call: Call,
    *,
    model: str | None,
    system_file: Path | None = None,
    mcp_file: Path | None = None,
    session_file: Path | None = None,
    login_file: Path | None = None,
) -> list[str]:
    """Return the argument vector of one call.

    Args:
        binary: The CLI.
        call: What is asked. Prompt, system prompt and servers come by stdin and files: arguments are world-readable.
        model: What the CLI calls the model; None leaves it to the CLI.
        system_file: Holds the system prompt, if one is asked.
        mcp_file: Holds the MCP configuration, if servers are asked.
        session_file: Holds the turns before the last one, if there are any.
        login_file: Holds how the user logs in, if that stands in a settings file.

    Raises:
        ConfigurationError: A tool rule or the schema cannot be passed on.
    """
    line = [os.fspath(binary), *NEUTRAL]
    # An empty prompt of our own; without the option Claude Code sends its own one of several thousand tokens.
    line += [f"--system-prompt-file={system_file}"] if system_file else ["--system-prompt", ""]
    if model is not None:
        line.append(f"--model={model}")
    if call.max_turns is not None:
        line.append(f"--max-turns={call.max_turns}")
    if call.max_cost_usd is not None:
        line.append(f"--max-budget-usd={call.max_cost_usd}")
    if call.schema is not None:
        line.append(f"--json-schema={_schema_text(call.schema)}")
    if mcp_file:
        line.append(f"--mcp-config={mcp_file}")
    if session_file:
        line.append(f"--resume={session_file}")
    if login_file:
        line.append(f"--settings={login_file}")
    line += ["--tools", ",".join(built_in_tools(call))]
    rules = allowed_rules(call)
    if rules:
        line += ["--allowedTools", *rules]
    return line


def built_in_tools(call: Call) -> tuple[str, ...]:
    """Return the names of Claude Code's own tools that a call asks for, without their rules.

    Raises:
        ConfigurationError: Something that is no tool rule.
    """
    names = (_tool_name(rule) for rule in call.tools)
    return tuple(dict.fromkeys(name for name in names if not name.startswith("mcp__")))


def allowed_rules(call: Call) -> tuple[str, ...]:
    """Return the permission rules: what the call names, and all tools of the servers that it names."""
    servers = (tool_prefix(server.name).removesuffix("__") for server in call.mcp)
    return tuple(dict.fromkeys((*call.tools, *servers)))


def tool_prefix(server: str) -> str:
    """Return how the names of a server's tools begin."""
    return f"mcp__{re.sub('[^A-Za-z0-9_-]', '_', server)}__"


def missing_tools(call: Call, existing: Iterable[str]) -> tuple[str, ...]:
    """Return the built-in tools that a call asks for and that a CLI does not have; it drops them silently."""
    return tuple(sorted({*built_in_tools(call)} - {*existing}))


def _tool_name(rule: str) -> str:
    found = _RULE.fullmatch(rule)
    if found is None:
        raise ConfigurationError(
            f"{rule!r} is not a tool of Claude Code", scope="call", remedy="write for example Read or Bash(git:*)"
        )
    return found.group(1)


def _schema_text(schema: Mapping[str, object]) -> str:
    text = json.dumps(schema, separators=(",", ":"), default=dict)
    if len(text) > MOST_ARGUMENT_BYTES:
        reason = f"the schema has {len(text)} bytes; the CLI takes at most {MOST_ARGUMENT_BYTES}"
        raise ConfigurationError(reason, scope="call", remedy="leave out descriptions or split the schema")
    return text
