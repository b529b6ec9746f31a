"""The scripted model is asked over plain HTTP here; the tests of the Claude executor drive the real CLI against it."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.errors import InfrastructureError
from pytest_llmcall.testing import (
    OVERLOADED,
    CutStream,
    Delay,
    FakeExecutor,
    Gate,
    Hang,
    Overlong,
    Refusal,
    Request,
    ScriptedModel,
    Status,
    Text,
    UseTool,
    reply,
)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


def ask(
    model: ScriptedModel, prompt: str, *, stream: bool = False, session: str = "", path: str = "/v1/messages?beta=true"
) -> tuple[int, str]:
    connection = http.client.HTTPConnection(model.url.removeprefix("http://"), timeout=10)
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    headers = {"x-claude-code-session-id": session} if session else {}
    try:
        connection.request("POST", path, json.dumps(body), headers)
        with connection.getresponse() as response:
            return response.status, response.read().decode()
    finally:
        connection.close()


def said(model: ScriptedModel, prompt: str, *, session: str = "") -> str:
    status, raw = ask(model, prompt, session=session)
    assert status == 200, raw
    text: str = json.loads(raw)["content"][0]["text"]
    return text


def events(raw: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in raw.splitlines() if line.startswith("data: ")]


def wait_for(condition: Callable[[], bool]) -> None:
    never = threading.Event()
    for _ in range(1000):
        if condition():
            return
        never.wait(0.01)
    pytest.fail("the condition did not come true within 10 s")


def test_scripted_turns_are_taken_in_order_and_then_the_default_answers(model: ScriptedModel) -> None:
    model.script(Text("one"), Text("two"))
    model.default(Text("default"))
    assert [said(model, "hi") for _ in range(4)] == ["one", "two", "default", "default"]


def test_a_request_that_nothing_answers_gets_an_error_that_says_so(model: ScriptedModel) -> None:
    status, raw = ask(model, "unexpected prompt")
    assert status == 400
    assert "no turn for: unexpected prompt" in raw


def test_a_rule_answers_only_the_prompts_that_contain_its_text(model: ScriptedModel) -> None:
    model.on("France", Text("Paris"))
    model.on(lambda request: "Italy" in request.user_text, Text("Rome"))
    model.default(Text("?"))
    assert [said(model, f"Capital of {name}") for name in ("Italy", "France", "Chad")] == ["Rome", "Paris", "?"]


def test_each_conversation_takes_the_turns_of_a_rule_from_the_start_and_the_last_one_stays(
    model: ScriptedModel,
) -> None:
    model.on("hi", Text("first"), Text("last"))
    asked = ["a", "b", "a", "b", "a"]
    assert [said(model, "hi", session=name) for name in asked] == ["first", "first", "last", "last", "last"]


def test_a_rule_without_turns_is_refused(model: ScriptedModel) -> None:
    with pytest.raises(ValueError, match="at least one turn"):
        model.on("hi")


def test_a_rule_that_crashes_is_raised_at_the_end() -> None:
    def crash(_: Request) -> bool:
        raise KeyError("typo")

    answers = []
    with pytest.raises(KeyError, match="typo"), ScriptedModel() as model:  # noqa: PT012 - raised at the block's end
        model.on(crash, Text("never"))
        answers.append(ask(model, "hi"))
    assert answers[0][0] == 400
    assert "crashed" in answers[0][1]


def test_a_streamed_text_comes_in_pieces_that_add_up(model: ScriptedModel) -> None:
    text = "The capital of France is Paris, on the Seine. " * 3
    model.script(Text(text))
    received = events(ask(model, "hi", stream=True)[1])
    pieces = [event["delta"]["text"] for event in received if event["type"] == "content_block_delta"]
    assert len(pieces) > 1
    assert "".join(pieces) == text
    assert (received[0]["type"], received[-1]["type"]) == ("message_start", "message_stop")
    assert received[-2]["delta"]["stop_reason"] == "end_turn"


def test_a_tool_use_says_its_text_first_and_stops_for_the_tool(model: ScriptedModel) -> None:
    model.script(UseTool("add", {"a": 20, "b": 22}, text="Let me see"))
    answer = json.loads(ask(model, "hi")[1])
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]
    assert (answer["content"][1]["name"], answer["content"][1]["input"]) == ("add", {"a": 20, "b": 22})
    assert answer["stop_reason"] == "tool_use"


def test_streamed_tool_arguments_come_as_json(model: ScriptedModel) -> None:
    model.script(UseTool("add", {"a": 20}))
    received = events(ask(model, "hi", stream=True)[1])
    assert received[1]["content_block"]["input"] == {}
    assert json.loads(received[2]["delta"]["partial_json"]) == {"a": 20}


@pytest.mark.parametrize(
    ("turn", "stop_reason"), [(Overlong(), "max_tokens"), (Refusal("no"), "refusal"), (Refusal(), "refusal")]
)
def test_bad_endings_have_their_own_stop_reason(
    model: ScriptedModel, turn: Overlong | Refusal, stop_reason: str
) -> None:
    model.script(turn)
    assert json.loads(ask(model, "hi")[1])["stop_reason"] == stop_reason


def test_an_error_has_the_apis_body_and_the_given_headers(model: ScriptedModel) -> None:
    model.script(OVERLOADED, Status(429, type="custom", message="later", headers={"retry-after": "7"}))
    assert ask(model, "hi")[0] == 529
    status, raw = ask(model, "hi")
    assert status == 429
    assert json.loads(raw)["error"] == {"type": "custom", "message": "later"}


@pytest.mark.parametrize("after", [0, 10])
def test_a_cut_stream_ends_without_its_end(model: ScriptedModel, after: int) -> None:
    model.script(CutStream(after))
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(model, "hi", stream=True)


def test_a_gate_holds_requests_until_it_is_released(model: ScriptedModel) -> None:
    gate = Gate(Text("through"))
    model.default(gate)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(said, model, "hi") for _ in range(4)]
        gate.wait_until_held(4)
        assert (gate.held, model.in_flight, model.peak_in_flight) == (4, 4, 4)
        gate.release()
        assert [answer.result(10) for answer in answers] == ["through"] * 4
    assert gate.held == 0


def test_a_gate_opens_by_itself_when_enough_requests_are_held(model: ScriptedModel) -> None:
    model.default(Gate(Text("through"), opens_at=8))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: said(model, "hi"), range(8))) == ["through"] * 8
    assert model.peak_in_flight == 8


def test_waiting_for_held_requests_that_never_come_is_bounded() -> None:
    with pytest.raises(TimeoutError, match="0 of 1"):
        Gate(Text("ok")).wait_until_held(1, timeout=0.01)


def test_a_delayed_turn_comes_in_the_end(model: ScriptedModel) -> None:
    model.script(Delay(0.01, Text("late")))
    assert said(model, "hi") == "late"


@pytest.mark.parametrize("turn", [Hang(), Hang("Par"), Gate(Text("never")), Delay(3600, Text("never"))])
def test_closing_cuts_what_hangs(turn: Hang | Gate | Delay) -> None:
    with ThreadPoolExecutor(1) as pool:
        with ScriptedModel() as model:
            model.default(turn)
            answer = pool.submit(ask, model, "hi", stream=True)
            wait_for(lambda: model.in_flight == 1)
        assert isinstance(answer.exception(10), http.client.HTTPException | ConnectionError)


def test_closing_does_not_wait_for_idle_connections() -> None:
    with ScriptedModel() as model:
        host, port = model.url.removeprefix("http://").split(":")
        idle = socket.create_connection((host, int(port)), timeout=10)
        idle.sendall(b"HEAD / HTTP/1.1\r\n\r\n")
        assert idle.recv(1000).startswith(b"HTTP/1.1 200")
    with idle:
        assert idle.recv(1) == b""


def test_a_client_that_goes_away_counts_no_more_as_in_flight(model: ScriptedModel) -> None:
    gate = Gate(Text("never"))
    model.default(gate)
    host, port = model.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}")
        gate.wait_until_held(1)
        assert model.in_flight == 1
    wait_for(lambda: model.in_flight == 0)


def test_requests_are_recorded_as_they_came(model: ScriptedModel) -> None:
    model.default(Text("ok"))
    ask(model, "what is asked", session="s1")
    (request,) = model.requests
    assert (request.user_text, request.conversation, request.tools, request.system_text) == (
        "what is asked",
        "s1",
        (),
        "",
    )
    assert request.body["model"] == "m"
    assert request.at > 0


def test_the_environment_leads_here_and_nowhere_else(model: ScriptedModel) -> None:
    assert model.environment["ANTHROPIC_BASE_URL"] == model.url
    assert model.environment["NO_PROXY"] == "127.0.0.1"
    assert {"ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"} <= set(model.unset)


def test_probes_and_token_counts_are_answered_and_take_no_turn(model: ScriptedModel) -> None:
    connection = http.client.HTTPConnection(model.url.removeprefix("http://"), timeout=10)
    seen = []
    for method, path in (("HEAD", "/"), ("GET", "/api/hello"), ("GET", "/nothing")):
        connection.request(method, path)
        response = connection.getresponse()
        response.read()
        seen.append(response.status)
    connection.close()
    assert seen == [200, 200, 404]
    assert ask(model, "hi", path="/v1/messages/count_tokens")[0] == 200
    assert ask(model, "hi", path="/v1/other")[0] == 404
    assert model.requests == ()


@pytest.mark.parametrize("body", [b"{", b"[]"])
def test_a_body_that_is_no_json_object_is_a_bad_request(model: ScriptedModel, body: bytes) -> None:
    connection = http.client.HTTPConnection(model.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/v1/messages", body)
    with connection.getresponse() as response:
        assert response.status == 400
    connection.close()


def call(prompt: str) -> Call:
    return Call(messages=(Message(role="user", content=prompt),))


def test_a_fake_executor_answers_in_order_by_prompt_and_by_function() -> None:
    executor = FakeExecutor("one", reply("two", turns=3))
    executor.on("echo", lambda call: call.prompt.upper())

    async def run() -> None:
        assert (await executor.execute(call("a"))).text == "one"
        assert (await executor.execute(call("echo"))).text == "ECHO"
        assert (await executor.execute(call("b"))).turns == 3
        assert (await executor.execute(call("c"))).turns == 3

    anyio.run(run)
    assert [each.prompt for each in executor.calls] == ["a", "echo", "b", "c"]


def test_a_fake_executor_raises_what_it_is_told_to() -> None:
    executor = FakeExecutor(InfrastructureError("overloaded"), "then fine")

    async def run() -> None:
        with pytest.raises(InfrastructureError, match="overloaded"):
            await executor.execute(call("a"))
        assert (await executor.execute(call("a"))).text == "then fine"

    anyio.run(run)


def test_a_fake_executor_holds_calls_until_enough_are_in_flight() -> None:
    executor = FakeExecutor(hold_until=5)

    async def run() -> None:
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for number in range(5):
                    group.start_soon(executor.execute, call(str(number)))

    anyio.run(run)
    assert executor.peak_in_flight == 5
    assert executor.in_flight == 0


def test_a_fake_executor_notes_calls_that_are_cancelled() -> None:
    executor = FakeExecutor(hold_until=2)

    async def run() -> None:
        with anyio.move_on_after(0.01):
            await executor.execute(call("alone"))

    anyio.run(run)
    assert [each.prompt for each in executor.cancelled] == ["alone"]


CHAT = "/v1/chat/completions"


def chat(model: ScriptedModel, prompt: str) -> dict[str, Any]:
    status, raw = ask(model, prompt, path=CHAT)
    assert status == 200, raw
    choice: dict[str, Any] = json.loads(raw)["choices"][0]
    return choice


def test_the_same_turns_are_spoken_as_chat_completions(model: ScriptedModel) -> None:
    model.script(Text("Paris"), UseTool("add", {"a": 1}), Overlong("and so"), Refusal())
    assert chat(model, "x")["message"]["content"] == "Paris"
    [use] = chat(model, "x")["message"]["tool_calls"]
    assert (use["function"]["name"], json.loads(use["function"]["arguments"])) == ("add", {"a": 1})
    assert [chat(model, "x")["finish_reason"] for _ in range(2)] == ["length", "content_filter"]


def test_a_streamed_chat_completion_adds_up_and_says_that_it_is_done(model: ScriptedModel) -> None:
    model.script(Text("It is Paris."))
    _, raw = ask(model, "x", stream=True, path=CHAT)
    *chunks, done = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    assert done == "[DONE]"
    deltas = [choice["delta"] for chunk in map(json.loads, chunks) for choice in chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == "It is Paris."


def test_an_error_of_the_chat_completions_api_has_its_own_shape(model: ScriptedModel) -> None:
    model.script(Status(404, type="model_not_found", message="no such model"))
    status, raw = ask(model, "x", path=CHAT)
    assert status == 404
    assert json.loads(raw)["error"]["code"] == "model_not_found"
    assert json.loads(raw)["error"]["message"] == "no such model"


@pytest.mark.parametrize("path", ["/v1/messages", CHAT])
@pytest.mark.parametrize("stream", [True, False])
def test_a_cut_answer_breaks_off_in_its_body(model: ScriptedModel, path: str, *, stream: bool) -> None:
    model.script(CutStream(after=10))
    with pytest.raises(http.client.IncompleteRead):
        ask(model, "x", path=path, stream=stream)


def test_what_a_chat_request_says_can_be_read() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    body = {"messages": messages, "tools": [{"type": "function", "function": {"name": "add"}}]}
    request = Request(path=CHAT, body=body, headers={}, at=0.0)
    assert (request.system_text, request.user_text, request.tools) == ("Be brief.", "Who?", ("add",))
