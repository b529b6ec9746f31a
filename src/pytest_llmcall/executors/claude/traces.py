"""What the CLI puts outside of a call's folder: logs of MCP servers in the user's cache.

They are the only place that says why a server did not start or that it died, so they are read before they go.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_MOST_LOG_BYTES: Final = 1024 * 1024
_MOST_LINES: Final = 20
_PREFIX: Final = "mcp-logs-"
_STDERR: Final = "stderr of the stdio server before restarting it:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLog:
    """What the CLI has noted of one server.

    Attributes:
        name: The server's name, as `log_name` writes it.
        errors: What the server and its connection complained about.
        connected: Whether it has answered.
        lost: Whether its connection ended without having been asked to.
    """

    name: str
    errors: tuple[str, ...] = ()
    connected: bool = False
    lost: bool = False


def log_folder(work: Path, environment: Mapping[str, str]) -> Path:
    """Return where the CLI logs what the MCP servers of a working folder do."""
    home = Path(environment.get("HOME") or Path.home())
    cache = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    if sys.platform != "darwin" and environment.get("XDG_CACHE_HOME"):
        cache = Path(environment["XDG_CACHE_HOME"])
    return cache / "claude-cli-nodejs" / log_name(str(work))


def log_name(name: str) -> str:
    """Return what the CLI makes of a name, to name a log by it."""
    return re.sub(r"[^A-Za-z0-9]", "-", name)


def read_logs(logs: Path) -> tuple[ServerLog, ...]:
    """Return what the CLI has noted of each server."""
    folders = sorted(path for path in logs.glob(f"{_PREFIX}*") if path.is_dir())
    return tuple(_read(folder) for folder in folders)


def complaints(logs: Iterable[ServerLog]) -> str:
    """Return what servers and connections complained about, a line each, with the name of the server."""
    lines = [f"{log.name}: {error}" for log in logs for error in log.errors]
    return "\n".join(dict.fromkeys(lines[-_MOST_LINES:]))


def remove_logs(logs: Path) -> None:
    """Remove the logs of a working folder."""
    shutil.rmtree(logs, ignore_errors=True)


def _read(folder: Path) -> ServerLog:
    errors: list[str] = []
    connected = lost = open_ = False
    for entry in _entries(folder):
        error, note = str(entry.get("error") or "").strip(), str(entry.get("debug") or "")
        if note.startswith(_STDERR):
            error = note.removeprefix(_STDERR).strip()
        if error:
            errors.append(error)
        if note.startswith("Successfully connected"):
            connected = open_ = True
        elif note.startswith("Sending SIG"):
            open_ = False  # what closes from here on was asked to
        elif "connection closed after" in note:
            lost, open_ = lost or open_, False
    return ServerLog(name=folder.name.removeprefix(_PREFIX), errors=tuple(errors), connected=connected, lost=lost)


def _entries(folder: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as file:
            content = file.read(_MOST_LOG_BYTES)
        for line in content.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # a line that was cut, by us or by the end of the CLI
                continue
            if isinstance(entry, dict):
                yield entry
