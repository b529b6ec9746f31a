"""What comes back from real HTTP endpoints, OpenAI's kind and Anthropic's, becomes a Reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.errors import InfrastructureError
from pytest_llmcall.executors.prices import Prices, load_prices
from pytest_llmcall.reply import MISSING, Ending, Reply, Usage
from pytest_llmcall.testing import Overlong, Refusal, ScriptedModel, Status, Text, UseTool

OPENAI = "openai/gpt-4o-mini"
ANTHROPIC = "anthropic/claude-sonnet-4-5"
BOTH = pytest.mark.parametrize("name", [OPENAI, ANTHROPIC])
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADD = {"name": "add", "description": "Add.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}

Ask = Callable[..., Reply]
MakeCall = Callable[..., Call]


def completion(**message: Any) -> dict[str, Any]:
    finish = message.pop("finish_reason", "stop")
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}}],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "prompt_tokens_details": {"cached_tokens": 40},
        },
    }


def tool_call(arguments: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "add", "arguments": arguments}}


@BOTH
def test_a_text_comes_back(model: ScriptedModel, ask: Ask, call: MakeCall, name: str) -> None:
    model.script(Text("Paris"))
    reply = ask(call("Capital of France?", model=name))
    assert (reply.text, reply.ending, reply.data) == ("Paris", Ending.COMPLETED, MISSING)
    assert reply.model == name.partition("/")[2]
    assert reply.usage is not None
    assert reply.duration_s > 0
    assert [request.user_text for request in model.requests] == ["Capital of France?"]


@BOTH
def test_turns_and_system_prompt_reach_the_model(model: ScriptedModel, ask: Ask, name: str) -> None:
    model.script(Text("Rome"))
    turns = (
        Message(role="user", content="France?"),
        Message(role="assistant", content="Paris"),
        Message(role="user", content="Italy?"),
    )
    ask(Call(messages=turns, model=name, timeout=20, system="Be brief."))
    [request] = model.requests
    assert request.system_text == "Be brief."
    said = [each["role"] for each in request.body["messages"] if each["role"] != "system"]
    assert said == ["user", "assistant", "user"]
    assert "Italy?" in request.user_text


def test_without_a_system_prompt_none_is_sent(model: ScriptedModel, ask: Ask, call: MakeCall) -> None:
    model.script(Text("ok"))
    ask(call())
    assert model.requests[0].system_text == ""


def test_structured_output_is_parsed_and_the_schema_is_sent(model: ScriptedModel, ask: Ask, call: MakeCall) -> None:
    model.script(Text('{"name": "Ada", "age": 36}'))
    reply = ask(call(schema=PERSON))
    assert reply.data == {"name": "Ada", "age": 36}
    assert reply.ending is Ending.COMPLETED
    wanted = model.requests[0].body["response_format"]["json_schema"]
    assert wanted["schema"] == PERSON
    assert wanted["strict"] is True


def test_a_schema_that_no_strict_mode_takes_is_sent_as_a_wish(model: ScriptedModel, ask: Ask, call: MakeCall) -> None:
    model.script(Text('{"name": "Ada"}'))
    reply = ask(call(schema={"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}}))
    assert model.requests[0].body["response_format"]["json_schema"]["strict"] is False
    assert reply.data == {"name": "Ada"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Ada is 36.", "no JSON"),
        ('{"name": "Ada", "age": "36"}', "$.age: '36' is not of type 'integer'"),
        ('{"name": "Ada"}', "'age' is a required property"),
        ('```json\n{"name": "Ada", "age": 36}\n```', "no JSON"),
        ('{"name": "Ada", "age": NaN}', "NaN is no JSON"),
    ],
)
def test_what_does_not_follow_the_schema_is_no_structured_output(
    model: ScriptedModel, ask: Ask, call: MakeCall, text: str, why: str
) -> None:
    model.script(Text(text))
    reply = ask(call(schema=PERSON))
    assert reply.ending is Ending.NO_STRUCTURED_OUTPUT
    assert reply.data is MISSING
    assert reply.text == text
    assert why in reply.ending_detail


@BOTH
def test_what_the_model_asks_of_a_function_stands_in_the_tool_uses(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str
) -> None:
    model.script(UseTool("add", {"a": 1}))
    reply = ask(call(model=name, functions=(ADD,)))
    [use] = reply.tool_uses
    assert (use.name, use.arguments, use.result, use.is_error) == ("add", {"a": 1}, None, False)
    assert use.id
    assert reply.ending is Ending.COMPLETED
    assert model.requests[0].tools == ("add",)


def test_a_function_without_parameters_takes_none(model: ScriptedModel, ask: Ask, call: MakeCall) -> None:
    model.script(UseTool("now"))
    reply = ask(call(functions=({"name": "now"},)))
    assert reply.tool_uses[0].arguments == {}
    offered = model.requests[0].body["tools"][0]["function"]
    assert offered == {"name": "now", "parameters": {"type": "object", "properties": {}}}


@pytest.mark.parametrize("arguments", ['{"a": 1', "[1]", "many"])
def test_arguments_that_are_no_json_object_stay_visible(
    sent: Callable[..., Reply], call: MakeCall, arguments: str
) -> None:
    body = completion(content=None, tool_calls=[tool_call(arguments)], finish_reason="tool_calls")
    [use] = sent(call(functions=(ADD,)), body).tool_uses
    assert use.arguments == {"malformed": arguments}
    assert use.is_error


@BOTH
@pytest.mark.parametrize(
    ("turn", "ending"),
    [(Overlong("and so on"), Ending.MAX_TOKENS), (Refusal("No."), Ending.REFUSAL), (Refusal(), Ending.REFUSAL)],
)
def test_a_bad_ending_is_a_reply(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, turn: Overlong | Refusal, ending: Ending
) -> None:
    model.script(turn)
    reply = ask(call(model=name, schema=PERSON))
    assert (reply.ending, reply.text, reply.data) == (ending, turn.text, MISSING)
    assert reply.ending_detail


def test_a_refusal_in_its_own_field_is_one(sent: Callable[..., Reply], call: MakeCall) -> None:
    reply = sent(call(), completion(content=None, refusal="I cannot help with that."))
    assert reply.ending is Ending.REFUSAL
    assert reply.text == reply.ending_detail == "I cannot help with that."


@pytest.mark.parametrize(
    ("name", "message", "ending"),
    [
        (OPENAI, "This model's maximum context length is 128000 tokens.", Ending.PROMPT_TOO_LONG),
        (ANTHROPIC, "prompt is too long: 210000 tokens > 200000 maximum", Ending.PROMPT_TOO_LONG),
        (OPENAI, "prompt is too long: 210000 tokens > 200000 maximum", Ending.PROMPT_TOO_LONG),
        (OPENAI, "Your request was rejected as a result of our safety system.", Ending.REFUSAL),
    ],
)
def test_an_error_that_stands_for_an_ending_is_a_reply(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, message: str, ending: Ending
) -> None:
    model.script(Status(400, message=message))
    reply = ask(call(model=name))
    assert reply.ending is ending
    assert reply.text == ""
    assert message in reply.ending_detail
    assert reply.transcript[0]["object"] == "error"


def test_cached_tokens_are_counted_by_themselves(sent: Callable[..., Reply], call: MakeCall) -> None:
    reply = sent(call(), completion(content="hi"))
    assert reply.usage == Usage(input_tokens=60, output_tokens=10, cache_read_tokens=40)
    assert reply.model == "gpt-4o-mini-2024-07-18"


def test_tokens_that_anthropic_cached_are_counted_by_themselves(sent: Callable[..., Reply], call: MakeCall) -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 50}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5"}
    said = {"content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": usage}
    reply = sent(call(model=ANTHROPIC), head | said)
    assert reply.usage == Usage(input_tokens=3, output_tokens=2, cache_read_tokens=100, cache_write_tokens=50)
    price = load_prices().of(ANTHROPIC)
    assert price is not None
    assert reply.cost_usd == pytest.approx(price.cost(reply.usage))


@BOTH
def test_a_known_model_costs_what_the_price_file_says(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str
) -> None:
    model.script(Text("Paris is the capital of France, and has been for a long time."))
    reply = ask(call(model=name))
    price = load_prices().of(name)
    assert price is not None
    assert reply.usage is not None
    assert reply.cost_usd == pytest.approx(price.cost(reply.usage))
    assert reply.cost_usd != 0


def test_the_cost_of_an_unknown_model_is_unknown(model: ScriptedModel, ask: Ask, call: MakeCall) -> None:
    model.script(Text("hi"))
    reply = ask(call(model="openai/our-own-model"))
    assert reply.usage is not None
    assert reply.cost_usd is None


def test_prices_that_litellm_does_not_know_may_be_given(
    model: ScriptedModel, ask: Ask, call: MakeCall, tmp_path: Any
) -> None:
    path = tmp_path / "prices.json"
    path.write_text('{"openai/our-own-model": {"input_cost_per_token": 1.0, "output_cost_per_token": 10.0}}')
    model.script(Text("hi"))
    reply = ask(call(model="openai/our-own-model"), prices=Prices(path))
    assert reply.usage is not None
    assert reply.cost_usd == reply.usage.input_tokens + 10 * reply.usage.output_tokens


def test_where_nothing_was_counted_neither_tokens_nor_cost_are_known(
    sent: Callable[..., Reply], call: MakeCall
) -> None:
    body = completion(content="hi")
    del body["usage"]
    reply = sent(call(), body)
    assert (reply.text, reply.usage, reply.cost_usd) == ("hi", None, None)


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_model_that_said_nothing_is_no_reply_but_has_cost_something(
    sent: Callable[..., Reply], call: MakeCall, content: str | None
) -> None:
    with pytest.raises(InfrastructureError, match="said nothing") as caught:
        sent(call(), completion(content=content))
    assert caught.value.tokens == 110
    assert caught.value.cost_usd


def test_the_transcript_is_what_came_back(sent: Callable[..., Reply], call: MakeCall) -> None:
    [event] = sent(call(), completion(content="hi")).transcript
    assert event["id"] == "x"
    assert event["choices"][0]["message"]["content"] == "hi"


def test_the_model_that_truly_answers_is_named_and_costs_nothing(
    model: ScriptedModel, ask: Ask, call: MakeCall
) -> None:
    model.script(Text("hi"))
    reply = ask(call(model="gemini/gemini-2.5-pro"), api_base=f"{model.url}/v1", answered_by="small")
    assert (reply.model, reply.cost_usd) == ("small", 0.0)
    assert model.requests[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "name",
    [
        OPENAI,
        ANTHROPIC,
        "gpt-4o",
        "gemini/gemini-2.5-pro",
        "mistral/mistral-large-latest",
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
@pytest.mark.parametrize("prompt", [1000, 300_000])
def test_prices_from_the_file_are_those_that_litellm_computes_with(name: str, prompt: int) -> None:
    import litellm

    price = load_prices().of(name)
    assert price is not None
    computed = litellm.cost_per_token(model=name, prompt_tokens=prompt, completion_tokens=500)
    assert price.cost(Usage(input_tokens=prompt, output_tokens=500)) == pytest.approx(sum(computed))
