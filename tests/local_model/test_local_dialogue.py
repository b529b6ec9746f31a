from __future__ import annotations

from typing import Any

import pytest

from pytest_llmcall.local_model.dialogue import BadRequest, Tool, Turn, from_chat, from_messages

ADD: dict[str, Any] = {"name": "add", "description": "Add.", "input_schema": {"type": "object"}}
STRUCTURED: dict[str, Any] = {"name": "StructuredOutput", "input_schema": {"type": "object"}}
PLACEHOLDER: dict[str, Any] = {"name": "DeferredToolPlaceholder", "input_schema": {}, "defer_loading": True}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def used(name: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "tool_use", "id": name, "name": name, "input": {"a": 1}}]}


def result(name: str, **fields: Any) -> dict[str, Any]:
    return user([{"type": "tool_result", "tool_use_id": name, "content": "42", **fields}])


def due(*messages: dict[str, Any], tools: list[dict[str, Any]], **fields: Any) -> list[str]:
    return [tool.name for tool in from_messages({"messages": list(messages), "tools": tools, **fields}).due]


def test_what_the_cli_adds_is_left_out() -> None:
    body = {
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.4f9; cc_entrypoint=sdk-cli;"},
            {"type": "text", "text": "You are a Claude agent, built on Anthropic's Claude Agent SDK."},
            {"type": "text", "text": "Answer in French."},
        ],
        "messages": [
            user("<system-reminder>\nToday is Monday.\n</system-reminder>\nWhat is this?"),
            {"role": "system", "content": [{"type": "text", "text": "# Environment\nPlatform: linux"}]},
        ],
    }
    assert from_messages(body).turns == (
        Turn(role="system", text="Answer in French."),
        Turn(role="user", text="What is this?"),
    )


def test_without_a_system_prompt_of_the_users_there_is_none() -> None:
    body = {"system": "You are a Claude agent, built on Anthropic's Claude Agent SDK.", "messages": [user("hi")]}
    assert from_messages(body).turns == (Turn(role="user", text="hi"),)


def test_turns_of_one_role_become_one_turn() -> None:
    body = {"messages": [user("one"), user([{"type": "text", "text": "two"}]), user("")]}
    assert from_messages(body).turns == (Turn(role="user", text="one\ntwo"),)


def test_tool_uses_and_results_are_read_as_text() -> None:
    turns = from_messages({"messages": [user("20 + 22?"), used("add"), result("add")]}).turns
    assert [turn.text for turn in turns] == ["20 + 22?", 'add({"a": 1})', "Result: 42"]


def test_a_tool_is_due_until_there_is_a_result() -> None:
    assert due(user("20 + 22?"), tools=[ADD]) == ["add"]
    assert due(user("20 + 22?"), used("add"), result("add"), tools=[ADD]) == []


def test_structured_output_is_due_after_the_other_tools_and_until_it_was_accepted() -> None:
    tools = [ADD, STRUCTURED]
    asked = (user("20 + 22?"), used("add"), result("add"))
    structured = (used("StructuredOutput"), result("StructuredOutput", is_error=True))
    assert due(asked[0], tools=tools) == ["add"]
    assert due(*asked, tools=tools) == ["StructuredOutput"]
    assert due(*asked, *structured, tools=tools) == ["StructuredOutput"]
    assert due(*asked, used("StructuredOutput"), result("StructuredOutput"), tools=tools) == []


def test_placeholders_of_tools_that_come_later_are_not_offered() -> None:
    assert due(user("John"), tools=[PLACEHOLDER, STRUCTURED]) == ["StructuredOutput"]


def test_a_tool_choice_decides() -> None:
    other = ADD | {"name": "other"}
    assert due(user("x"), tools=[ADD, other], tool_choice={"type": "any"}) == ["add", "other"]
    assert due(user("x"), tools=[ADD, other], tool_choice={"type": "tool", "name": "other"}) == ["other"]
    assert due(user("x"), tools=[ADD, other], tool_choice={"type": "none"}) == []
    with pytest.raises(BadRequest, match="no tool is called 'nothing'"):
        due(user("x"), tools=[ADD], tool_choice={"type": "tool", "name": "nothing"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "at least one message"),
        ({"messages": []}, "at least one message"),
        ({"messages": ["hi"]}, "messages.0"),
        ({"messages": [{"content": "hi"}]}, "messages.0"),
        ({"messages": [user("  ")]}, "all of them are empty"),
        ({"messages": [user([{"type": "image", "source": {}}])]}, "text only, and this message holds: image"),
        ({"messages": [user([{"text": "hi"}])]}, "has no type"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(body: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        from_messages(body)


@pytest.mark.parametrize(("asked", "given"), [(5, 5), (128_000, 256), (None, 256), ("many", 256), (-1, 256)])
def test_answers_are_bounded_so_that_rambling_ends(asked: object, given: int) -> None:
    assert from_messages({"messages": [user("hi")], "max_tokens": asked}).max_tokens == given


def test_thinking_is_not_read_again() -> None:
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "4"}]}
    assert from_messages({"messages": [user("2 + 2"), thought, user("sure?")]}).turns[1].text == "4"


def test_a_chat_request_is_read_alike() -> None:
    function = {"name": "add", "description": "Add.", "parameters": {"type": "object"}}
    body = {
        "messages": [{"role": "developer", "content": "Be brief."}, user("20 + 22?")],
        "tools": [{"type": "function", "function": function}],
        "max_completion_tokens": 9,
    }
    dialogue = from_chat(body)
    assert dialogue.turns[0] == Turn(role="system", text="Be brief.")
    assert dialogue.due == (Tool(name="add", description="Add.", schema={"type": "object"}),)
    assert dialogue.max_tokens == 9
    assert from_chat(body | {"tool_choice": "none"}).due == ()
    chosen = {"type": "function", "function": {"name": "add"}}
    assert len(from_chat(body | {"tool_choice": chosen}).due) == 1


def test_a_chat_tool_result_makes_text_due() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        user("20 + 22?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    dialogue = from_chat({"messages": messages, "tools": [{"type": "function", "function": {"name": "add"}}]})
    assert dialogue.due == ()
    assert [turn.text for turn in dialogue.turns] == ["20 + 22?", "add({})", "Result: 42"]


def test_a_chat_response_format_binds_the_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert from_chat({"messages": [user("x")], "response_format": wanted}).schema == schema
    assert from_chat({"messages": [user("x")], "response_format": {"type": "json_object"}}).schema == {"type": "object"}
    assert from_chat({"messages": [user("x")]}).schema is None


def test_a_chat_image_is_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="image_url"):
        from_chat({"messages": [user([{"type": "image_url", "image_url": {}}])]})
