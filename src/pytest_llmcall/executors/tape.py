"""A tape is the evidence of one attempt: a file of JSON lines, written as they arrive, and readable after a crash.

The first line says what was asked, the last one how it ended; between them stands everything that arrived.
It knows no executor.
"""

from __future__ import annotations

import errno
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

from pytest_llmcall.call import Call, fingerprint_of
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply, TimedOut
from pytest_llmcall.reply import MISSING, Ending, Reply, ToolUse, Usage

FORMAT: Final = 1
MASK: Final = "***"
MOST_STDERR: Final = 1024 * 1024  # a flood must not fill the disk; the head says what is wrong
_KINDS: Final = {each.__name__: each for each in (NoReply, TimedOut, InfrastructureError, ConfigurationError)}
_NOT_ON_LAST_LINE: Final = {"transcript", "tape"}


class Tape:
    """The file of one attempt, while it runs. A failure to write is kept until `check`, so that reading goes on."""

    def __init__(self, file: FileIO | None, path: Path | None) -> None:
        self.path = path
        self._file = file
        self._began = time.monotonic()
        self._stderr_size = 0
        self._error: OSError | None = None

    @classmethod
    def nowhere(cls) -> Self:
        """Return a tape that keeps nothing."""
        return cls(None, None)

    def header(self, content: Mapping[str, Any]) -> None:
        """Write the first line."""
        self._write(json.dumps({"tape": FORMAT, **content}).encode())

    def event(self, line: bytes) -> None:
        """Take an event: a line that is one JSON object."""
        self._raw("event", line.decode("utf-8", "replace").strip())

    def line(self, line: bytes) -> None:
        """Take a line that is no event."""
        self._raw("line", json.dumps(line.decode("utf-8", "replace")))

    def stderr(self, chunk: bytes) -> None:
        """Take some bytes of stderr; what comes after the first MiB is not kept."""
        room = MOST_STDERR - self._stderr_size
        self._stderr_size += len(chunk)
        if room > 0:
            self._raw("stderr", json.dumps(chunk[:room].decode("utf-8", "replace")))

    def end_with_reply(self, reply: Reply) -> None:
        """Write the last line of an attempt that was answered.

        Raises:
            ConfigurationError: The tape could not be written.
        """
        self._raw("reply", json.dumps(reply_as_json(reply)))
        self.check()

    def end_without_reply(self, none: NoReply) -> None:
        """Write the last line of an attempt that was not answered."""
        self._raw("no_reply", json.dumps(_none_as_json(none)))

    def check(self) -> None:
        """Raise what kept the tape from being written.

        Raises:
            ConfigurationError: The disk is full, or the folder is gone.
        """
        if self._error is not None:
            raise _unwritable(self._error) from self._error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _raw(self, key: str, value: str) -> None:
        self._write(f'{{"at":{time.monotonic() - self._began:.4f},"{key}":{value}}}'.encode("utf-8", "replace"))

    def _write(self, line: bytes) -> None:
        if self._file is None or self._error is not None:
            return
        view = memoryview(line + b"\n")
        try:
            while view:
                view = view[self._file.write(view) or 0 :]
        except OSError as error:
            self._error = error


class TapeFolder:
    """A folder of tapes, whose names sort in the order in which the attempts started.

    Which attempt of which case a tape holds is not on it: two cases may ask the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._numbers = itertools.count(1)

    def open(self, call: Call, *, executor: str = "", version: str = "") -> Tape:
        """Start the tape of an attempt.

        Raises:
            ConfigurationError: The folder cannot be written.
            InfrastructureError: This process has too many open files.
        """
        plain = call.as_json()
        key = fingerprint_of(plain)
        try:
            file, path, started = self._new_file(key[:16])
        except OSError as error:
            raise _unwritable(error) from error
        tape = Tape(file, path)
        about = {"executor": executor, "version": version, "started": started}
        tape.header({**about, "fingerprint": key, "call": masked(plain)})
        return tape

    def _new_file(self, key: str) -> tuple[FileIO, Path, str]:
        while True:
            now = datetime.now(UTC)
            path = self.path / f"{now:%Y%m%dT%H%M%S.%fZ}-{next(self._numbers):06}-{key}.jsonl"
            try:
                # Unbuffered: what has arrived is on disk when this process is killed.
                return FileIO(path, "xb"), path, now.isoformat()
            except FileExistsError:
                continue  # of another process of the run
            except FileNotFoundError:
                self.path.mkdir(parents=True, exist_ok=True)  # fails where the path leads nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedTape:
    """What a tape holds.

    Attributes:
        header: What was asked, by whom, when.
        events: Everything that arrived, in order.
        offsets: When each event arrived, in seconds from the start.
        stderr: What the process wrote there.
        ending: The reply, or why there is none; None if the attempt was cut off.
    """

    path: Path
    header: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...]
    offsets: tuple[float, ...]
    stderr: str
    ending: Reply | NoReply | None


def load_tape(path: Path) -> LoadedTape:
    """Read a tape, also one whose end was cut off.

    Raises:
        ValueError: It is not a tape of a format that is known here.
        OSError: It cannot be read.
    """
    lines = [line for line in map(_parse, path.read_bytes().split(b"\n")) if line is not None]
    if not lines or lines[0].get("tape") != FORMAT:
        raise ValueError(f"{path} is not a tape of format {FORMAT}")
    header, *rest = lines
    events = tuple(line["event"] for line in rest if "event" in line)
    return LoadedTape(
        path=path,
        header=header,
        events=events,
        offsets=tuple(float(line["at"]) for line in rest if "event" in line),
        stderr="".join(line["stderr"] for line in rest if "stderr" in line),
        ending=_ending(rest, events, path),
    )


def masked(plain: dict[str, Any]) -> dict[str, Any]:
    """Take what may be secret out of a call as JSON values, and return it: values of MCP environments and headers."""
    for server in plain["mcp"]:
        for group in ("env", "headers"):
            server[group] = dict.fromkeys(server[group], MASK)
        server["url"] = _masked_url(server["url"])
    return plain


def reply_as_json(reply: Reply) -> dict[str, Any]:
    """Return a reply as JSON values, without its transcript, which a tape holds as events."""
    shallow = {each.name: getattr(reply, each.name) for each in fields(reply) if each.name not in _NOT_ON_LAST_LINE}
    if reply.data is MISSING:
        del shallow["data"]
    shallow["tool_uses"] = [asdict(use) for use in reply.tool_uses]
    shallow["usage"] = asdict(reply.usage) if reply.usage else None
    return shallow


def reply_from_json(plain: Mapping[str, Any], *, transcript: tuple[Mapping[str, Any], ...], tape: Path) -> Reply:
    """Return the reply that `reply_as_json` made plain."""
    known = {each.name for each in fields(Reply)}
    kept = {name: value for name, value in plain.items() if name in known}
    kept["ending"] = Ending(kept["ending"])
    kept["tool_uses"] = tuple(ToolUse(**use) for use in kept["tool_uses"])
    kept["usage"] = Usage(**kept["usage"]) if kept["usage"] else None
    kept["denied"] = tuple(kept["denied"])
    return Reply(**kept, transcript=transcript, tape=tape)


def _ending(rest: list[dict[str, Any]], events: tuple[Mapping[str, Any], ...], path: Path) -> Reply | NoReply | None:
    last = rest[-1] if rest else {}
    if "reply" in last:
        return reply_from_json(last["reply"], transcript=events, tape=path)
    if "no_reply" in last:
        plain = dict(last["no_reply"])
        return _KINDS.get(plain.pop("type"), NoReply)(**plain, evidence=path)
    return None


def _none_as_json(none: NoReply) -> dict[str, Any]:
    names = ("reason", "received", "detail", "remedy", "attempts")
    scope = {"scope": none.scope} if isinstance(none, ConfigurationError) else {}
    return {"type": type(none).__name__, **{name: getattr(none, name) for name in names}, **scope}


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:  # the torn last line of an attempt that was killed
        return None
    return value if isinstance(value, dict) else None


def _masked_url(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")
    netloc = f"{MASK}@{place[2]}" if place[1] else parts.netloc
    return urlunsplit((parts.scheme, netloc, parts.path, MASK if parts.query else "", ""))


def too_many_files(error: OSError) -> InfrastructureError | None:
    """Return what it means that no file can be opened just now, or None if an error says something else."""
    if error.errno not in {errno.EMFILE, errno.ENFILE}:
        return None
    reason = f"too many open files: {error.strerror}"
    return InfrastructureError(reason, remedy="raise the limit with `ulimit -n`, or lower --llm-concurrency")


def _unwritable(error: OSError) -> NoReply:
    return too_many_files(error) or ConfigurationError(
        f"the evidence cannot be written: {error.strerror} ({error.filename})",
        remedy="make room, or name another folder with --llm-evidence DIR",
    )
