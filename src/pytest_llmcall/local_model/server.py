"""The embedded model's endpoint: `python -m pytest_llmcall.local_model.server FILE.gguf`, a process of its own.

Its process is not pytest's, because llama.cpp's threads and crashes must not be. When it is ready it prints one line
of JSON; with `--until-stdin-closes` it ends with the process that holds its stdin, however that one ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from pytest_llmcall.local_model.answering import answer
from pytest_llmcall.local_model.chat_api import DONE, as_chunks, as_completion, chat_error, encode_chunk
from pytest_llmcall.local_model.dialogue import BadRequest, Dialogue, from_chat, from_messages
from pytest_llmcall.local_model.engine import ClientGone, Engine
from pytest_llmcall.local_model.http_api import ApiHandler, LoopbackServer
from pytest_llmcall.local_model.messages_api import (
    Answer,
    as_events,
    as_message,
    encode_event,
    error_body,
    text_of,
    user_text,
)


class Endpoint(ApiHandler):
    """Answers both APIs with one engine."""

    engine: Engine
    model: str

    def post(self, path: str, body: dict[str, Any]) -> None:
        """Answer a request of either API."""
        if path == "/v1/messages":
            self._answer(body, from_messages, self._send_message, error_body)
        elif path in {"/v1/chat/completions", "/chat/completions"}:
            self._answer(body, from_chat, self._send_completion, chat_error)
        elif path == "/v1/messages/count_tokens":
            self.send_json(200, {"input_tokens": (len(text_of(body.get("system"))) + len(user_text(body))) // 4 + 1})
        else:
            self.send_json(404, error_body(404, f"nothing at {path}"))

    def _answer(
        self,
        body: dict[str, Any],
        parse: Callable[[dict[str, Any]], Dialogue],
        send: Callable[[dict[str, Any], Answer], None],
        error: Callable[[int, str], dict[str, Any]],
    ) -> None:
        try:
            said = answer(self.engine, parse(body), model=self.model, gone=self.client_gone)
        except BadRequest as bad:
            self.send_json(bad.status, error(bad.status, str(bad)))
        except ClientGone:
            self.hang_up()
        else:
            send(body, said)

    def _send_message(self, body: dict[str, Any], said: Answer) -> None:
        if not body.get("stream"):
            self.send_json(200, as_message(said))
            return
        self.start_stream()
        for event in as_events(said):
            self.send_chunk(encode_event(event))
        self.send_chunk(b"")

    def _send_completion(self, body: dict[str, Any], said: Answer) -> None:
        if not body.get("stream"):
            self.send_json(200, as_completion(said))
            return
        self.start_stream()
        for chunk in as_chunks(said):
            self.send_chunk(encode_chunk(chunk))
        self.send_chunk(DONE)
        self.send_chunk(b"")


def serve(model_file: Path, *, port: int = 0, ready: Callable[[str, str], None]) -> None:
    """Load a model and serve it until the process ends.

    Args:
        model_file: A GGUF file.
        port: A loopback port; 0 takes a free one.
        ready: Called with the URL and the model's name when requests can come.

    Raises:
        OSError: The port is taken.
        RuntimeError: llama.cpp cannot load the file.
    """
    model = model_file.stem
    server = LoopbackServer(Endpoint, port=port)
    try:
        Endpoint.engine, Endpoint.model = Engine(model_file), model
        ready(server.url, model)
        server.serve_forever()
    finally:
        server.server_close()


def main() -> int:
    """Run as a child of the process that started it."""
    parser = argparse.ArgumentParser(prog="python -m pytest_llmcall.local_model.server")
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-stdin-closes", action="store_true")
    options = parser.parse_args()
    if options.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    # llama.cpp may print as it likes; the line of JSON goes where nothing else does.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as parent:
        os.dup2(2, 1)
        return _serve_for(parent, options.model, options.port)


def _serve_for(parent: TextIO, model_file: Path, port: int) -> int:
    def announce(url: str, model: str) -> None:
        with parent:
            parent.write(json.dumps({"url": url, "model": model}) + "\n")

    try:
        serve(model_file, port=port, ready=announce)
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end_with_stdin() -> None:
    # Not sys.stdin, whose lock this thread would hold when the interpreter ends for another reason.
    while os.read(0, 4096):
        pass
    # At once: llama.cpp's threads may be deep in an answer that nobody will read.
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main())
