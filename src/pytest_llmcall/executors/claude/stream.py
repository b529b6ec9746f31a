"""What the CLI writes, line by line: frames it, parses it, and collects a transcript. Judges nothing.

Unknown types are kept and ignored, lines that are no JSON objects are noise, and the order of keys means nothing.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pytest_llmcall.reply import ToolUse

MOST_LINE_BYTES: Final = 64 * 1024 * 1024
NOISE_LINES: Final = 20
SYNTHETIC: Final = "<synthetic>"  # the CLI's own error texts, dressed as answers of a model

# What the CLI itself says to the model, as if it were the user, when an answer was cut off.
_RESUME: Final = re.compile(r"Resume directly")
_CUT: Final = re.compile(r"cut off mid-stream")

Event = Mapping[str, Any]


class LineTooLongError(Exception):
    """A line that grew past the limit; nothing after it can be framed."""


class LineFramer:
    """Cuts chunks of bytes into lines, in linear time, with a bound on the length of a line."""

    def __init__(self, most: int = MOST_LINE_BYTES) -> None:
        self._most = most
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that a chunk completes, without their ends.

        Raises:
            LineTooLongError: A line is longer than the limit.
        """
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            self._keep(part)
            lines.append(self.rest())
        self._keep(rest)
        return lines

    def rest(self) -> bytes:
        """Return, and forget, what came after the last end of a line."""
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._most:
            raise LineTooLongError(f"a line is longer than {self._most} bytes")
        if part:
            self._parts.append(part)


def parse_line(line: bytes) -> Event | None:
    """Return the event of a line, or None if the line is none."""
    text = line.strip()
    if not text.startswith(b"{"):
        return None
    try:
        event = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


class Transcript:
    """What has arrived from one process.

    Attributes:
        events: Every event in order, without the pieces of answers that whole answers repeat.
        noise: The last lines that were no events.
        init: How the CLI had set itself up.
        result: The last `result`; the end of a turn, not of the process.
        fault: Why waiting for more is pointless, or None.

    Args:
        check_init: Looks at the set-up and says what is wrong with it.
    """

    def __init__(self, check_init: Callable[[Event], BaseException | None] = lambda _: None) -> None:
        self.fault: BaseException | None = None
        self._check_init = check_init
        self.events: list[Event] = []
        self.noise: deque[str] = deque(maxlen=NOISE_LINES)
        self.init: Event | None = None
        self.result: Event | None = None
        self._pieces: list[str] = []
        self._began: dict[str, None] = {}

    def add(self, event: Event) -> None:
        """Take one event."""
        kind = event.get("type")
        if kind == "stream_event":
            self._add_piece(event)
            return
        self.events.append(event)
        if kind == "result":
            self.result = event
        elif kind == "system" and event.get("subtype") == "init":
            self.init = event
            self.fault = self._check_init(event)
        elif kind == "assistant" and _mapping(event.get("message")).get("model") != SYNTHETIC:
            self._pieces.clear()

    def add_noise(self, line: bytes) -> None:
        """Take one line that is no event."""
        if line.strip():
            self.noise.append(line[:2000].decode("utf-8", "replace"))

    @property
    def answers(self) -> Iterator[Event]:
        """The messages of the model itself, without subagents and without the CLI's own texts."""
        for event in self._own_events():
            if event.get("type") == "assistant":
                yield _mapping(event.get("message"))

    @property
    def errors(self) -> list[tuple[str, str]]:
        """The CLI's error messages: their kind and their text, in order."""
        return [
            (str(event["error"]), text_of(_mapping(event.get("message")).get("content")))
            for event in self._assistant_events()
            if event.get("error")
        ]

    @property
    def ends_in_error(self) -> bool:
        """Whether the last thing that was said is an error message of the CLI."""
        last = None
        for event in self._assistant_events():
            last = event
        return last is not None and bool(last.get("error"))

    @property
    def text(self) -> str:
        """What the model said last, the piece of an unfinished answer included."""
        return self.last_answer + "".join(self._pieces)

    @property
    def last_answer(self) -> str:
        """The text of the model's last message, with the messages that it goes on from after a cut."""
        return "".join(text_of(message.get("content")) for messages in self._last_messages() for message in messages)

    @property
    def was_resumed(self) -> bool:
        """Whether the last answer was cut off, and the CLI had the model go on in another message."""
        return len(self._last_messages()) > 1

    @property
    def was_broken(self) -> bool:
        """Whether the last answer goes on from one that broke off on its way here, so that the seam is uncertain."""
        broken = False
        for event in self._own_events():
            if event.get("type") == "user":
                broken = (broken and bool(_RESUME.search(_said(event)))) or bool(_CUT.search(_said(event)))
        return broken

    @property
    def all_text(self) -> str:
        """Everything that the model said, over all its messages."""
        return "".join(text_of(message.get("content")) for message in self.answers) + "".join(self._pieces)

    @property
    def model(self) -> str | None:
        """The model that answered last."""
        return next(reversed(self.models), None)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answered; an answer without any content begins, but is no message."""
        named = [message["model"] for message in self.answers if isinstance(message.get("model"), str)]
        return tuple(named or self._began)

    @property
    def was_answered(self) -> bool:
        """Whether the model was asked and answered, be it with nothing."""
        return bool(self._began) or any(True for _ in self.answers)

    def tool_uses(self) -> tuple[ToolUse, ...]:
        """Return every tool use in order, with what it gave back."""
        results = dict(self._tool_results())
        return tuple(
            _tool_use(block, results.get(str(block.get("id"))))
            for event in self._assistant_events()
            for block in _blocks(event)
            if block.get("type") == "tool_use"
        )

    def of_type(self, kind: str, subtype: str | None = None) -> Iterator[Event]:
        """Return the events of a type, and subtype."""
        for event in self.events:
            if event.get("type") == kind and (subtype is None or event.get("subtype") == subtype):
                yield event

    def _last_messages(self) -> list[list[Event]]:
        """Return the parts of the model's last answer; a message comes in several events with one id."""
        messages: list[list[Event]] = []
        goes_on = False
        for event in self._own_events():
            message = _mapping(event.get("message"))
            if event.get("type") == "user":
                goes_on = bool(_RESUME.search(_said(event)))
            elif messages and messages[-1][0].get("id") == message.get("id"):
                messages[-1].append(message)
            else:
                messages = [*(messages if goes_on else ()), [message]]
        return messages

    def _own_events(self) -> Iterator[Event]:
        """Return what the model and the user said to each other, without subagents and the CLI's own texts."""
        for event in self.events:
            own = event.get("type") in ("assistant", "user") and not event.get("parent_tool_use_id")
            if own and _mapping(event.get("message")).get("model") != SYNTHETIC:
                yield event

    def _assistant_events(self) -> Iterator[Event]:
        return self.of_type("assistant")

    def _tool_results(self) -> Iterator[tuple[str, Event]]:
        for event in self.of_type("user"):
            for block in _blocks(event):
                if block.get("type") == "tool_result":
                    yield str(block.get("tool_use_id")), block

    def _add_piece(self, event: Event) -> None:
        if event.get("parent_tool_use_id"):
            return
        inner = _mapping(event.get("event"))
        if inner.get("type") == "message_start":
            self._pieces.clear()
            self._began[str(_mapping(inner.get("message")).get("model"))] = None
        delta = _mapping(inner.get("delta"))
        if delta.get("type") == "text_delta":
            self._pieces.append(str(delta.get("text", "")))


def text_of(content: object) -> str:
    """Return the text of a message's content: a string, or blocks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(block.get("text", "")) for block in content if _mapping(block).get("type") == "text")


def _said(event: Event) -> str:
    """Return what the CLI itself says as the user; a person's words may be the same and mean nothing."""
    return text_of(_mapping(event.get("message")).get("content")) if event.get("isSynthetic") else ""


def _tool_use(block: Event, result: Event | None) -> ToolUse:
    return ToolUse(
        id=str(block.get("id", "")),
        name=str(block.get("name", "")),
        arguments=_mapping(block.get("input")),
        result=None if result is None else text_of(result.get("content")),
        is_error=bool(result and result.get("is_error")),
    )


def _blocks(event: Event) -> Iterator[Event]:
    content = _mapping(event.get("message")).get("content")
    for block in content if isinstance(content, list) else ():
        yield _mapping(block)


def _mapping(value: object) -> Event:
    return value if isinstance(value, dict) else {}
