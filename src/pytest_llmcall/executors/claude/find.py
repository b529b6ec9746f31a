"""Finds the `claude` binary before anything is asked, and says which version it is. Starts no call."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_llmcall.errors import ConfigurationError

INSTALL: Final = (
    "install it with `pip install 'pytest-llmcall[claude-cli]'` or `npm install -g @anthropic-ai/claude-code`, "
    "or name it with --llm-claude=PATH"
)
# What `claude install`, npm and Homebrew use; pytest started by an IDE often lacks them on PATH.
KNOWN_PLACES: Final = (
    "~/.local/bin/claude",
    "~/.claude/local/claude",
    "~/.npm-global/bin/claude",
    "/usr/local/bin/claude",
    "/opt/homebrew/bin/claude",
)
VERSION_S: Final = 20.0  # a cold start from a slow disk takes seconds, never this long


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaudeBinary:
    """The CLI that a run uses.

    Attributes:
        path: Absolute; not resolved, since shims of version managers look at their own name.
        how: Where it came from, for the report's header.
    """

    path: Path
    how: str


def find_claude(explicit: str | None = None) -> ClaudeBinary:
    """Return the CLI: the named one, else from PATH, a known install place, or the `claude-cli` extra.

    Raises:
        ConfigurationError: There is none, or the named one cannot be run.
    """
    if explicit is not None:
        return _named(explicit)
    on_path = shutil.which("claude")
    if on_path is not None:
        return ClaudeBinary(path=Path(on_path).absolute(), how="on PATH")
    for place in KNOWN_PLACES:
        path = Path(place).expanduser()
        if path.is_file() and os.access(path, os.X_OK):
            return ClaudeBinary(path=path, how=f"found at {place}")
    bundled = bundled_claude()
    if bundled is not None:
        return ClaudeBinary(path=bundled, how="from the claude-cli extra")
    raise ConfigurationError("the claude CLI is not installed", remedy=INSTALL)


def bundled_claude() -> Path | None:
    """Return the binary that PyPI's claude-agent-sdk carries, without importing that package."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "_bundled", "claude.exe" if sys.platform == "win32" else "claude")
        if path.is_file():
            return path
    return None


def claude_version(path: Path) -> str:
    """Return the version that a CLI reports, for example "2.1.330". Waits for a process; not for an event loop.

    Raises:
        ConfigurationError: It does not start, does not end, or does not report a version.
    """
    try:
        done = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_S,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"{path} --version did not end within {VERSION_S:g} s"
        raise ConfigurationError(reason, remedy=INSTALL) from error
    except OSError as error:
        raise ConfigurationError(f"{path} does not start: {error.strerror}", remedy=INSTALL) from error
    output = done.stdout.decode(errors="replace")
    found = re.match(r"\s*(\d+\.\d+\.\d+\S*)", output)
    if done.returncode != 0 or found is None:
        detail = (output + done.stderr.decode(errors="replace")).strip()[-1000:]
        raise ConfigurationError(f"{path} is not a working claude CLI", detail=detail, remedy=INSTALL)
    return found.group(1)


def _named(explicit: str) -> ClaudeBinary:
    path = Path(explicit).expanduser()
    if os.sep not in explicit:
        on_path = shutil.which(explicit)
        path = Path(on_path) if on_path is not None else path
    problem = _problem(path)
    if problem:
        raise ConfigurationError(f"the claude CLI {explicit!r} {problem[0]}", remedy=problem[1])
    return ClaudeBinary(path=path.absolute(), how="named by --llm-claude")


def _problem(path: Path) -> tuple[str, str] | None:
    if path.is_dir():
        return "is a directory", f"name the program itself, for example {path / 'claude'}"
    if not path.exists():
        return "does not exist", "name the program with --llm-claude=PATH, or leave it out to have it found"
    if not path.is_file():
        return "is not a file", "name the program with --llm-claude=PATH, or leave it out to have it found"
    if not os.access(path, os.X_OK):
        return "is not executable", f"run `chmod +x {path}`"
    return None
