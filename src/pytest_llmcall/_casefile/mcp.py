"""Reads the `mcp` key: first its shape, then, once the case's needs are known, its texts with all values filled."""

from __future__ import annotations

import re
from typing import Final

from pytest_llmcall._casefile.expansion import Expansion
from pytest_llmcall._casefile.nodes import ListNode, MapNode, Node, Scalar
from pytest_llmcall._casefile.problems import Code, Problems
from pytest_llmcall._casefile.reading import check_keys, read_list, read_map, read_text
from pytest_llmcall.call import McpServer

_KEYS: Final = ("command", "args", "env", "url", "headers")
_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHAPE: Final = "{command, args, env} for a program or {url, headers} for an address"


def read_mcp(node: Node, problems: Problems) -> MapNode | None:
    """Return the servers whose shape is right; their texts are not filled yet."""
    servers = read_map(node, "mcp", problems)
    if servers is None:
        return None
    sound = {name: each for name, each in servers.entries.items() if _check_server(name, servers, problems)}
    return MapNode(line=servers.line, column=servers.column, entries=sound, keys=servers.keys)


def fill_servers(servers: MapNode, expansion: Expansion, problems: Problems) -> tuple[McpServer, ...]:
    """Return the servers of a mapping that `read_mcp` found right."""
    return tuple(_server(name, node, expansion, problems) for name, node in servers.entries.items())


def _check_server(name: str, servers: MapNode, problems: Problems) -> bool:
    if not _NAME.fullmatch(name):
        problems.add(Code.MCP, servers.keys[name], f"the server name {name!r} may only hold letters, digits, _ and -")
        return False
    server = read_map(servers.entries[name], f"the MCP server {name!r}", problems)
    if server is None:
        return False
    check_keys(server, f"the MCP server {name!r}", _KEYS, problems)
    if not server.entries.keys() <= set(_KEYS):
        return False
    return _check_kind(name, server, problems) and _check_texts(name, server, problems)


def _check_kind(name: str, server: MapNode, problems: Problems) -> bool:
    has_command, has_url = "command" in server.entries, "url" in server.entries
    if has_command == has_url:
        problems.add(Code.MCP, server, f"the MCP server {name!r} needs exactly one of command and url: {_SHAPE}")
        return False
    stray = [key for key in (("args", "env") if has_url else ("headers",)) if key in server.entries]
    for key in stray:
        kind = "url" if has_url else "command"
        problems.add(Code.MCP, server.keys[key], f"{key} does not go with {kind}: {_SHAPE}")
    return not stray


def _check_texts(name: str, server: MapNode, problems: Problems) -> bool:
    found: list[str | None] = []
    for key, node in server.entries.items():
        what = f"{key} of the MCP server {name!r}"
        if key in ("command", "url"):
            found.append(read_text(node, what, problems))
        elif key == "args":
            items = read_list(node, what, problems)
            found.append("" if isinstance(node, ListNode) else None)
            found.extend(read_text(item, f"an argument in {what}", problems, may_be_empty=True) for item in items)
        elif key in ("env", "headers"):
            mapping = read_map(node, what, problems)
            entries = mapping.entries if mapping else {}
            found.append("" if mapping else None)
            found.extend(
                read_text(each, f"{at} in {what}", problems, may_be_empty=True) for at, each in entries.items()
            )
    return None not in found


def _server(name: str, node: Node, expansion: Expansion, problems: Problems) -> McpServer:
    entries = node.entries if isinstance(node, MapNode) else {}

    def fill(each: Node) -> str:
        text = str(each.value) if isinstance(each, Scalar) else ""
        filled = expansion.fill(text, lambda message: problems.add(Code.EXPANSION, each, message))
        if "\0" in filled:
            problems.add(
                Code.MCP, each, f"a text of the MCP server {name!r} holds a NUL, which no process can be given"
            )
        return filled

    def fill_map(key: str) -> dict[str, str]:
        mapping = entries.get(key)
        return {at: fill(each) for at, each in mapping.entries.items()} if isinstance(mapping, MapNode) else {}

    args = entries.get("args")
    url = fill(entries["url"]) if "url" in entries else None
    if url is not None and "${" not in url and not re.match(r"https?://[^/\s]", url):
        problems.add(Code.MCP, entries["url"], f"url must start with http:// or https://, found {url!r}")
    return McpServer(
        name=name,
        command=fill(entries["command"]) if "command" in entries else None,
        args=tuple(map(fill, args.items)) if isinstance(args, ListNode) else (),
        env=fill_map("env"),
        url=url,
        headers=fill_map("headers"),
    )
