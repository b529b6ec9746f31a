"""What the CLI puts outside of a call's folder: logs of MCP servers in the user's cache.

They are the only place that says why a server did not start, so they are read before they go.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_MOST_LOG_BYTES: Final = 1024 * 1024
_MOST_LINES: Final = 20


def log_folder(work: Path, environment: Mapping[str, str]) -> Path:
    """Return where the CLI logs what the MCP servers of a working folder do."""
    home = Path(environment.get("HOME") or Path.home())
    cache = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    if sys.platform != "darwin" and environment.get("XDG_CACHE_HOME"):
        cache = Path(environment["XDG_CACHE_HOME"])
    return cache / "claude-cli-nodejs" / re.sub(r"[^A-Za-z0-9]", "-", str(work))


def server_errors(logs: Path) -> str:
    """Return what servers and connections complained about, a line each, with the name of the server."""
    lines = [
        f"{log.parent.name.removeprefix('mcp-logs-')}: {error}"
        for log in sorted(logs.glob("mcp-logs-*/*.jsonl"))
        for error in _errors(log)
    ]
    return "\n".join(dict.fromkeys(lines[-_MOST_LINES:]))


def remove_logs(logs: Path) -> None:
    """Remove the logs of a working folder."""
    shutil.rmtree(logs, ignore_errors=True)


def _errors(log: Path) -> Iterator[str]:
    with log.open("rb") as file:
        content = file.read(_MOST_LOG_BYTES)
    for line in content.splitlines():
        try:
            error = json.loads(line).get("error")
        except (ValueError, AttributeError):  # a line that was cut, by us or by the end of the CLI
            continue
        if error:
            yield str(error).strip()
