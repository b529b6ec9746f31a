"""The folders of one call: `work`, which the model sees; `private`, for our files; `scratch`, for the CLI's own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from pytest_llmcall.call import Call, McpServer
from pytest_llmcall.errors import ConfigurationError, NoReply
from pytest_llmcall.executors.claude.conversation import session_lines
from pytest_llmcall.executors.tape import too_many_files

MOST_FILES: Final = 200
MOST_FILE_BYTES: Final = 64 * 1024
PREFIX: Final = "pytest-llmcall-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """What lies on disk while a call runs."""

    root: Path
    work: Path
    scratch: Path
    system_file: Path | None = None
    mcp_file: Path | None = None
    session_file: Path | None = None
    login_file: Path | None = None


def make_workspace(call: Call, *, run_id: str, login: Mapping[str, Any] | None = None) -> Workspace:
    """Make the folders of a call.

    Args:
        call: What is asked.
        run_id: Stands in the name of the folder.
        login: The user's settings for logging in.

    Raises:
        ConfigurationError: A file of the call would lie outside of its folder, or nothing can be written here.
        InfrastructureError: This process has too many open files.
    """
    try:
        root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{run_id[:8]}-")).resolve()
    except OSError as error:
        raise _unwritable(error) from error
    try:
        return _fill(root, call, login)
    except OSError as error:
        remove_folder(root)
        raise _unwritable(error) from error
    except BaseException:
        remove_folder(root)
        raise


def has_files(folder: Path) -> bool:
    """Return whether anything lies in a folder; most calls leave none, which takes no thread to see."""
    try:
        return bool(os.listdir(folder))  # noqa: PTH208 - the names are enough
    except OSError:
        return False


def read_files(folder: Path) -> dict[str, str | None]:
    """Return what lies in a folder: paths relative to it, with the text of those that are text and not large."""
    found: dict[str, str | None] = {}
    for path in _files_below(folder):
        if len(found) == MOST_FILES:
            break
        found[path.relative_to(folder).as_posix()] = _text_of(path)
    return found


def remove_folder(root: Path) -> None:
    """Remove a folder, also where a tool took our permission away; what cannot be removed is left to the guardian."""
    shutil.rmtree(root, ignore_errors=True)
    if not root.exists():
        return
    for folder, names, _ in os.walk(root):
        for path in (Path(folder), *(Path(folder, name) for name in names)):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)


def _fill(root: Path, call: Call, login: Mapping[str, Any] | None) -> Workspace:
    work, private, scratch = (root / name for name in ("work", "private", "scratch"))
    earlier = call.messages[:-1]
    for folder in (work, private, scratch):
        folder.mkdir(mode=0o700)
    for file in call.files:
        _write_work_file(work, file.path, file.content)
    return Workspace(
        root=root,
        work=work,
        scratch=scratch,
        system_file=_private_file(private / "system.txt", call.system) if call.system else None,
        mcp_file=_private_file(private / "mcp.json", _mcp_text(call)) if call.mcp else None,
        session_file=_private_file(private / "session.jsonl", session_lines(earlier, cwd=work)) if earlier else None,
        login_file=_private_file(private / "login.json", json.dumps(login)) if login else None,
    )


def _write_work_file(work: Path, name: str, content: str) -> None:
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        reason = f"the file {name!r} would lie outside of the call's folder"
        raise ConfigurationError(reason, scope="call", remedy="write a path relative to the call's folder")
    path = work / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8", "surrogatepass"))


def _private_file(path: Path, text: str) -> Path:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(text.encode("utf-8", "surrogatepass"))
    return path


def _mcp_text(call: Call) -> str:
    return json.dumps({"mcpServers": {server.name: _mcp_entry(server) for server in call.mcp}})


def _mcp_entry(server: McpServer) -> Mapping[str, Any]:
    if server.command is not None:
        return {"type": "stdio", "command": server.command, "args": list(server.args), "env": dict(server.env)}
    return {"type": "http", "url": server.url, "headers": dict(server.headers)}


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _text_of(path: Path) -> str | None:
    # A link may point anywhere, and a pipe would never end.
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST_FILE_BYTES:
            return None
        content = path.read_bytes()
        return content.decode() if len(content) <= MOST_FILE_BYTES and b"\0" not in content else None
    except (OSError, UnicodeDecodeError):
        return None


def _unwritable(error: OSError) -> NoReply:
    return too_many_files(error) or ConfigurationError(
        f"the call's folder cannot be written: {error.strerror} ({error.filename})",
        remedy="make room in the folder for temporary files, or point TMPDIR to another one",
    )
