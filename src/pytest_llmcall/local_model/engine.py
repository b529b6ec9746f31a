"""llama.cpp in this process, one call for one text. Only the endpoint's own process imports xllamacpp."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pytest_llmcall.local_model.dialogue import BadRequest, Turn

SLOTS: Final = 4
_CONTEXT: Final = 4096
_SEED: Final = 1


class ClientGone(Exception):
    """Nobody waits for the text any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the model said, and whether it came to an end by itself."""

    text: str
    complete: bool
    input_tokens: int
    output_tokens: int


class Engine:
    """A loaded model. Several threads may ask at the same time.

    Raises:
        RuntimeError: The file is no model that llama.cpp can load.
    """

    def __init__(self, model_file: Path) -> None:
        import xllamacpp  # noqa: PLC0415 - an extra, and heavy

        params = xllamacpp.CommonParams()
        params.model.path = str(model_file)
        params.n_parallel = SLOTS
        params.n_ctx = SLOTS * _CONTEXT
        # llama.cpp's threads wait for each other by spinning: beside busy CLI processes, as many threads as cores
        # were five times slower than half of them.
        params.cpuparams.n_threads = max(1, min((os.cpu_count() or 1) // 2, 8))
        params.warmup = False
        params.hostnames = ["127.0.0.1"]
        params.port = 0
        self._server = xllamacpp.Server(params)

    def say(
        self,
        turns: Sequence[Turn],
        *,
        max_tokens: int,
        gone: Callable[[], bool],
        schema: Mapping[str, Any] | None = None,
    ) -> Said:
        """Return what the model says next, bound to a JSON Schema if one is given.

        Raises:
            BadRequest: The prompt is too long, or the grammar cannot take the schema.
            ClientGone: `gone` became true; the model stopped.
        """
        request: dict[str, Any] = {
            "messages": [{"role": turn.role, "content": turn.text} for turn in turns],
            "max_tokens": max_tokens,
            "temperature": 0,
            "seed": _SEED,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if schema is not None:
            request["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
        collector = _Collector(gone)
        try:
            self._server.handle_chat_completions(request, collector.take)
        except ValueError as error:
            raise BadRequest(f"the embedded model's grammar cannot take this JSON Schema: {error}") from error
        return collector.said()


class _Collector:
    """Takes the pieces of one answer. llama.cpp swallows what `take` raises, so it keeps problems for later."""

    def __init__(self, gone: Callable[[], bool]) -> None:
        self._gone = gone
        self._was_gone = False
        self._texts: list[str] = []
        self._finish: str | None = None
        self._usage: Mapping[str, int] = {}
        self._error: Mapping[str, Any] | None = None

    def take(self, piece: Mapping[str, Any]) -> bool:
        """Note a piece; true tells llama.cpp to stop."""
        self._error = piece.get("error", self._error)
        self._usage = piece.get("usage") or self._usage
        for choice in piece.get("choices", ()):
            self._texts.append(choice["delta"].get("content") or "")
            self._finish = choice["finish_reason"] or self._finish
        self._was_gone = self._gone()
        return self._was_gone

    def said(self) -> Said:
        if self._error is not None:
            raise _bad_request(self._error)
        if self._finish is None:
            if self._was_gone:
                raise ClientGone
            raise BadRequest("the embedded model stopped in the middle of its answer", status=500)
        return Said(
            text="".join(self._texts).strip(),
            complete=self._finish == "stop",
            input_tokens=self._usage.get("prompt_tokens", 0),
            output_tokens=self._usage.get("completion_tokens", 0),
        )


def _bad_request(error: Mapping[str, Any]) -> BadRequest:
    if error.get("type") == "exceed_context_size_error":
        # The Claude CLI knows a prompt that is too long by these words.
        return BadRequest(f"prompt is too long: {error['n_prompt_tokens']} tokens > {error['n_ctx']} maximum")
    return BadRequest(f"llama.cpp: {error.get('message')}", status=int(error.get("code", 500)))
