"""The embedded model itself, over HTTP and through the real CLI."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.executors.claude import ClaudeCLI, find_claude
from pytest_llmcall.local_model import LocalModel

pytestmark = pytest.mark.real_model

QUESTION = "What is the main function of a CPU? Answer in one sentence."
WRITE: dict[str, Any] = {
    "name": "write_file",
    "description": "Write a text file.",
    "input_schema": {
        "type": "object",
        "properties": {"path": {"type": "string"}, "text": {"type": "string"}},
        "required": ["path", "text"],
        "additionalProperties": False,
    },
}
READ: dict[str, Any] = {
    "name": "read_file",
    "description": "Read a text file.",
    "input_schema": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
}


def post(local: LocalModel, path: str, body: dict[str, Any]) -> tuple[int, str]:
    connection = http.client.HTTPConnection(local.url.removeprefix("http://"), timeout=120)
    try:
        connection.request("POST", path, json.dumps(body))
        with connection.getresponse() as response:
            return response.status, response.read().decode()
    finally:
        connection.close()


def ask(local: LocalModel, prompt: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "any", "max_tokens": 300, "messages": [{"role": "user", "content": prompt}], **fields}
    status, raw = post(local, "/v1/messages", body)
    assert status == 200, raw
    answer: dict[str, Any] = json.loads(raw)
    return answer


def chat(local: LocalModel, prompt: str, **fields: Any) -> dict[str, Any]:
    body = {"model": "any", "messages": [{"role": "user", "content": prompt}], **fields}
    status, raw = post(local, "/v1/chat/completions", body)
    assert status == 200, raw
    answer: dict[str, Any] = json.loads(raw)["choices"][0]
    return answer


def refusal(local: LocalModel, body: dict[str, Any]) -> str:
    status, raw = post(local, "/v1/messages", body)
    error = json.loads(raw)["error"]
    assert (status, error["type"]) == (400, "invalid_request_error")
    return str(error["message"])


def events(raw: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def test_a_question_is_answered_and_the_answer_says_which_model_it_was(local: LocalModel) -> None:
    answer = ask(local, QUESTION)
    assert "execute instructions" in answer["content"][0]["text"]
    assert (answer["model"], answer["stop_reason"]) == (local.model_name, "end_turn")
    assert answer["usage"]["input_tokens"] > 0 < answer["usage"]["output_tokens"]


def test_answers_repeat_also_when_many_ask_at_the_same_time(local: LocalModel) -> None:
    prompts = [QUESTION, "What is the capital of Italy?", "Who are you?", "How many days are in a week?"] * 2
    alone = {prompt: ask(local, prompt, max_tokens=12)["content"] for prompt in dict.fromkeys(prompts)}
    with ThreadPoolExecutor(len(prompts)) as pool:
        together = list(pool.map(lambda prompt: ask(local, prompt, max_tokens=12)["content"], prompts))
    assert together == [alone[prompt] for prompt in prompts]


def test_a_streamed_answer_is_the_same_answer(local: LocalModel) -> None:
    body = {"model": "any", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    received = events(post(local, "/v1/messages", body)[1])
    text = "".join(event["delta"]["text"] for event in received if event["type"] == "content_block_delta")
    assert text == ask(local, QUESTION)["content"][0]["text"]


def test_a_system_prompt_is_read(local: LocalModel) -> None:
    answer = ask(local, "What is the secret word?", system="The secret word is banana.")
    assert "banana" in answer["content"][0]["text"]


def test_an_answer_that_does_not_end_says_so(local: LocalModel) -> None:
    assert ask(local, "Write a long story.", max_tokens=5)["stop_reason"] == "max_tokens"


def test_an_offered_tool_is_used_in_the_right_shape(local: LocalModel) -> None:
    answer = ask(local, "Write the number 42 into the file answer.txt.", tools=[WRITE])
    (block,) = answer["content"]
    assert (block["type"], block["name"], answer["stop_reason"]) == ("tool_use", "write_file", "tool_use")
    assert block["input"] == {"path": "answer.txt", "text": "42"}


def test_one_of_several_tools_is_used(local: LocalModel) -> None:
    (block,) = ask(local, "Read the file notes.txt", tools=[WRITE, READ])["content"]
    assert (block["name"], block["input"]) == ("read_file", {"path": "notes.txt"})


def test_after_a_tool_result_comes_text(local: LocalModel) -> None:
    messages = [
        {"role": "user", "content": "Read the file notes.txt"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "read_file", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "buy milk"}]},
    ]
    (block,) = ask(local, "", messages=messages, tools=[READ])["content"]
    assert block["type"] == "text"


def test_tool_arguments_that_do_not_end_are_no_tool_use(local: LocalModel) -> None:
    answer = ask(local, "Write the number 42 into the file answer.txt.", tools=[WRITE], max_tokens=3)
    assert (answer["content"][0]["type"], answer["stop_reason"]) == ("text", "max_tokens")


def test_a_prompt_that_is_too_long_is_the_apis_own_error(local: LocalModel) -> None:
    message = refusal(local, {"messages": [{"role": "user", "content": "word " * 6000}]})
    assert message.startswith("prompt is too long: 60")
    assert message.endswith("tokens > 4096 maximum")


def test_a_schema_that_the_grammar_cannot_take_is_a_bad_request(local: LocalModel) -> None:
    tool = READ | {"input_schema": {"type": "object", "properties": {"path": {"type": "nonsense"}}}}
    body = {"messages": [{"role": "user", "content": "Read notes.txt"}], "tools": [tool]}
    message = refusal(local, body)
    assert "grammar cannot take this JSON Schema" in message
    assert "nonsense" in message


def test_an_image_is_a_bad_request(local: LocalModel) -> None:
    image = [{"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/x.png"}}]
    assert "text only" in refusal(local, {"messages": [{"role": "user", "content": image}]})


def test_tokens_are_counted_roughly(local: LocalModel) -> None:
    status, raw = post(local, "/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "x" * 400}]})
    assert (status, json.loads(raw)["input_tokens"]) == (200, 101)


def test_an_unknown_path_is_not_found(local: LocalModel) -> None:
    assert post(local, "/v1/embeddings", {})[0] == 404


def test_a_client_that_goes_away_stops_its_answer(local: LocalModel, local_log: Path) -> None:
    cancelled = local_log.read_text(errors="replace").count("cancel task")
    body = json.dumps({"messages": [{"role": "user", "content": "Write a long story."}]}).encode()
    host, port = local.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /v1/messages HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    never = threading.Event()
    for _ in range(1000):
        if local_log.read_text(errors="replace").count("cancel task") > cancelled:
            return
        never.wait(0.01)
    pytest.fail("the answer was not cancelled within 10 s")


def test_chat_completions_answer_alike(local: LocalModel) -> None:
    answer = chat(local, QUESTION)
    assert answer["message"]["content"] == ask(local, QUESTION)["content"][0]["text"]
    assert answer["finish_reason"] == "stop"


def test_chat_completions_stream(local: LocalModel) -> None:
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": True}
    raw = post(local, "/v1/chat/completions", body)[1]
    received = events(raw)
    assert "execute instructions" in received[0]["choices"][0]["delta"]["content"]
    assert received[1]["choices"][0]["finish_reason"] == "stop"
    assert received[-1]["usage"]["total_tokens"] > 0
    assert raw.endswith("data: [DONE]\n\n")


def test_chat_completions_use_tools_and_follow_schemas(local: LocalModel) -> None:
    function = {"name": "write_file", "parameters": WRITE["input_schema"]}
    prompt = "Write the number 42 into the file answer.txt."
    answer = chat(local, prompt, tools=[{"type": "function", "function": function}])
    (call,) = answer["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"path": "answer.txt", "text": "42"}
    assert answer["finish_reason"] == "tool_calls"
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    text = chat(local, "John is 30 years old.", response_format=wanted)["message"]["content"]
    assert json.loads(text) == {"age": 30}


def test_a_chat_prompt_that_is_too_long_is_that_apis_own_error(local: LocalModel) -> None:
    status, raw = post(local, "/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 6000}]})
    assert (status, json.loads(raw)["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.real_cli
def test_the_real_cli_is_answered_by_the_embedded_model_whatever_the_user_has_set(
    local: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "elsewhere")
    monkeypatch.setenv("CLAUDE_CODE_USE_BEDROCK", "1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    cli = ClaudeCLI(find_claude(None).path, run_id="tests", environment=local.environment, unset=local.unset)
    call = Call(messages=(Message(role="user", content=QUESTION),)).resolved(model="max/opus", timeout=60)
    reply = anyio.run(cli.execute, call)
    assert "execute instructions" in reply.text
    assert reply.model == local.model_name
