"""The two APIs that a scripted model speaks: how an answer and an error look on each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from pytest_llmcall.local_model.chat_api import DONE, as_chunks, as_completion, chat_error, encode_chunk
from pytest_llmcall.local_model.messages_api import Answer, as_events, as_message, encode_event, error_body


class Wire(Protocol):
    """One API."""

    def body(self, answer: Answer) -> Mapping[str, Any]:
        """Return the body of a response that does not stream."""
        ...

    def pieces(self, answer: Answer) -> Iterator[bytes]:
        """Yield a streamed response."""
        ...

    def beginning(self, answer: Answer) -> Iterator[bytes]:
        """Yield a streamed response up to the end of its text, and nothing that would end it."""
        ...

    def error(self, status: int, message: str, kind: str | None) -> Mapping[str, Any]:
        """Return the body of an error."""
        ...


class MessagesWire:
    """Anthropic's Messages API."""

    def body(self, answer: Answer) -> Mapping[str, Any]:
        """Return a message."""
        return as_message(answer)

    def pieces(self, answer: Answer) -> Iterator[bytes]:
        """Yield server-sent events."""
        return map(encode_event, as_events(answer))

    def beginning(self, answer: Answer) -> Iterator[bytes]:
        """Yield the events before the end of the first block."""
        for event in as_events(answer):
            if event["type"] == "content_block_stop":
                return
            yield encode_event(event)

    def error(self, status: int, message: str, kind: str | None) -> Mapping[str, Any]:
        """Return an error with its `type`."""
        return error_body(status, message, kind=kind)


class ChatWire:
    """OpenAI's chat completions API."""

    def body(self, answer: Answer) -> Mapping[str, Any]:
        """Return a chat completion."""
        return as_completion(answer)

    def pieces(self, answer: Answer) -> Iterator[bytes]:
        """Yield chunks, and the word that ends them."""
        yield from map(encode_chunk, as_chunks(answer))
        yield DONE

    def beginning(self, answer: Answer) -> Iterator[bytes]:
        """Yield the chunk that holds the text."""
        yield encode_chunk(next(as_chunks(answer)))

    def error(self, status: int, message: str, kind: str | None) -> Mapping[str, Any]:
        """Return an error; `kind` is its `type` and its `code`."""
        body = chat_error(status, message)
        if kind is not None:
            body["error"].update(type=kind, code=kind)
        return body


WIRES: Final[Mapping[str, Wire]] = {
    "/v1/messages": MessagesWire(),
    "/v1/chat/completions": ChatWire(),
    "/chat/completions": ChatWire(),
}


def half_of(body: Mapping[str, Any]) -> tuple[int, bytes]:
    """Return the length of a body that does not stream, and its first half."""
    raw = json.dumps(body).encode()
    return len(raw), raw[: len(raw) // 2]
