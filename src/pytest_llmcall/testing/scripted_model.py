"""A model on loopback that says what a test tells it, so that real clients can be tested without an account.

It speaks Anthropic's Messages API, for the Claude CLI, and OpenAI's chat completions, for LiteLLM.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from pytest_llmcall.local_model.http_api import ApiHandler, LoopbackServer
from pytest_llmcall.local_model.messages_api import Answer, TextBlock, ToolUseBlock, error_body, text_of, user_text
from pytest_llmcall.local_model.process import ELSEWHERE
from pytest_llmcall.testing.turns import (
    CutStream,
    Delay,
    Gate,
    Hang,
    Overlong,
    Refusal,
    Status,
    Text,
    Turn,
    UseTool,
)
from pytest_llmcall.testing.wires import WIRES, Wire, half_of

_SESSION_HEADER: Final = "x-claude-code-session-id"
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked.

    Attributes:
        body: The request's JSON, as it came.
        headers: With lower-case names.
        at: When it came, on the clock of `time.monotonic`.
    """

    path: str
    body: Mapping[str, Any]
    headers: Mapping[str, str]
    at: float

    @property
    def user_text(self) -> str:
        """Everything that the user's turns say."""
        return user_text(self.body)

    @property
    def system_text(self) -> str:
        """The system prompt."""
        said = [text_of(each.get("content")) for each in self.body.get("messages", ()) if each.get("role") == "system"]
        return "\n".join([text for text in (text_of(self.body.get("system")), *said) if text])

    @property
    def tools(self) -> tuple[str, ...]:
        """The names of the tools that the model may use."""
        return tuple(tool.get("function", tool)["name"] for tool in self.body.get("tools") or ())

    @property
    def conversation(self) -> str:
        """What tells this request's conversation from others: the CLI's session id, empty for other clients."""
        return self.headers.get(_SESSION_HEADER, "")


class _Rule:
    """Turns for some requests. Each conversation takes them in order, and the last one stays."""

    def __init__(self, matches: Callable[[Request], bool], turns: tuple[Turn, ...]) -> None:
        self.matches = matches
        self._turns = turns
        self._taken: defaultdict[str, int] = defaultdict(int)

    def take(self, conversation: str) -> Turn:
        position = self._taken[conversation]
        self._taken[conversation] += 1
        return self._turns[min(position, len(self._turns) - 1)]


class ScriptedModel:
    """A model on loopback that does what a test tells it. Use it as a context manager.

    `environment` sends the Claude CLI to it; other clients ask `url`/v1/messages or `url`/v1/chat/completions.

    A request is answered by the first rule of `on` that matches it, else by the next turn of `script`, else by the
    `default`; else with an error that says so, which the test then sees.

    Attributes:
        unset: Variables that could send the CLI elsewhere: another provider, login or model.
    """

    unset: Final = ELSEWHERE

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._rules: list[_Rule] = []
        self._script: list[Turn] = []
        self._default: Turn | None = None
        self._in_flight = self._peak = 0
        self._crash: Exception | None = None
        self._closing = threading.Event()
        self._server = LoopbackServer(_handler(self))

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
        if self._crash is not None and error is None:
            raise self._crash

    def close(self) -> None:
        """End, and cut whatever hangs."""
        self._closing.set()
        self._server.close()

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._server.url

    @property
    def environment(self) -> dict[str, str]:
        """What sends the Claude CLI here; add it to the child's environment, and drop `unset` from that."""
        direct = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        return {"ANTHROPIC_BASE_URL": self.url, "ANTHROPIC_API_KEY": "sk-ant-scripted", **direct}

    def script(self, *turns: Turn) -> None:
        """Answer the coming requests with these turns, each once, in order."""
        with self._lock:
            self._script.extend(turns)

    def on(self, asked: str | Callable[[Request], bool], *turns: Turn) -> None:
        """Answer some requests with these turns, whatever else is asked at the same time.

        Each conversation with the Claude CLI takes the turns in order, and the last one answers all that follow.

        Args:
            asked: A text that the user's turns contain, or a function that recognises the request.
            turns: At least one.
        """
        if not turns:
            raise ValueError("a rule needs at least one turn")
        matches = asked if callable(asked) else _contains(asked)
        with self._lock:
            self._rules.append(_Rule(matches, turns))

    def default(self, turn: Turn) -> None:
        """Answer with this turn whatever nothing else answers."""
        with self._lock:
            self._default = turn

    @property
    def requests(self) -> tuple[Request, ...]:
        """What was asked so far."""
        with self._lock:
            return tuple(self._requests)

    @property
    def in_flight(self) -> int:
        """Requests that are being answered now; one whose client has gone counts no more."""
        with self._lock:
            return self._in_flight

    @property
    def peak_in_flight(self) -> int:
        """The most requests that were being answered at the same time."""
        with self._lock:
            return self._peak

    @property
    def closing(self) -> threading.Event:
        """Set when everything that hangs has to end."""
        return self._closing

    def take(self, request: Request) -> Turn:
        """Note a request and return the turn that answers it."""
        with self._lock:
            self._requests.append(request)
            try:
                rule = next((rule for rule in self._rules if rule.matches(request)), None)
            except Exception as error:
                self._crash = self._crash or error
                return Status(400, message=f"a rule of the ScriptedModel crashed: {error!r}")
            if rule is not None:
                return rule.take(request.conversation)
            if self._script:
                return self._script.pop(0)
            return self._default or Status(400, message=f"the ScriptedModel has no turn for: {request.user_text[:200]}")

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request as being answered."""
        with self._lock:
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1


def _contains(text: str) -> Callable[[Request], bool]:
    return lambda request: text in request.user_text


def _handler(model: ScriptedModel) -> type[ApiHandler]:
    class Handler(_ScriptedHandler):
        script = model

    return Handler


class _ScriptedHandler(ApiHandler):
    script: ScriptedModel

    def post(self, path: str, body: dict[str, Any]) -> None:
        if path == "/v1/messages/count_tokens":
            self.send_json(200, {"input_tokens": max(1, len(user_text(body)) // 4)})
        elif wire := WIRES.get(path):
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(path=path, body=body, headers=headers, at=time.monotonic())
            with self.script.counted():
                self._act(self.script.take(request), request, wire)
        else:
            self.send_json(404, error_body(404, f"nothing at {path}"))

    def _act(self, turn: Turn, request: Request, wire: Wire) -> None:
        match turn:
            case Status():
                self.send_json(turn.status, wire.error(turn.status, turn.message, turn.type), turn.headers)
            case Delay():
                self._wait(lambda: False, seconds=turn.seconds)
                self._act_unless_gone(turn.then, request, wire)
            case Gate():
                turn.enter()
                try:
                    self._wait(lambda: turn.is_open)
                finally:
                    turn.leave()
                self._act_unless_gone(turn.then, request, wire)
            case Hang():
                self._say_part(turn.text, request, wire)
                self._wait(lambda: False)
                self.hang_up()
            case CutStream():
                self._say_part(turn.text[: turn.after], request, wire)
                self.hang_up()
            case _:
                self._answer(answer_for(turn, request), wire, stream=bool(request.body.get("stream")))

    def _act_unless_gone(self, turn: Turn, request: Request, wire: Wire) -> None:
        if self.client_gone() or self.script.closing.is_set():
            self.hang_up()
        else:
            self._act(turn, request, wire)

    def _wait(self, ready: Callable[[], bool], *, seconds: float = float("inf")) -> None:
        end = time.monotonic() + seconds
        while not ready() and not self.client_gone():
            left = end - time.monotonic()
            if left <= 0 or self.script.closing.wait(min(_LOOK_S, left)):
                return

    def _say_part(self, text: str, request: Request, wire: Wire) -> None:
        """Send an answer up to the end of its text, and nothing that would end the answer."""
        if not text:
            return
        answer = answer_for(Text(text), request)
        if request.body.get("stream"):
            self.start_stream()
            for piece in wire.beginning(answer):
                self.send_chunk(piece)
        else:
            self.send_part(*half_of(wire.body(answer)))

    def _answer(self, answer: Answer, wire: Wire, *, stream: bool) -> None:
        if not stream:
            self.send_json(200, wire.body(answer))
            return
        self.start_stream()
        for piece in wire.pieces(answer):
            self.send_chunk(piece)
        self.send_chunk(b"")


def answer_for(turn: Text | UseTool | Overlong | Refusal, request: Request) -> Answer:
    """Return the API's answer for a turn that has one."""
    said: tuple[TextBlock | ToolUseBlock, ...] = (TextBlock(turn.text),) if turn.text else ()
    stop_reason = "end_turn"
    match turn:
        case UseTool():
            said, stop_reason = (*said, ToolUseBlock(turn.name, turn.arguments)), "tool_use"
        case Overlong():
            stop_reason = "max_tokens"
        case Refusal():
            stop_reason = "refusal"
    return Answer(
        blocks=said,
        model=str(request.body.get("model", "scripted")),
        stop_reason=stop_reason,
        input_tokens=max(1, len(request.user_text) // 4),
        output_tokens=max(1, len(turn.text) // 4),
    )
