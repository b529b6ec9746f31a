"""The embedded model answers what is asked through LiteLLM, whatever model was named."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.executors.litellm_api import LiteLLMAPI
from pytest_llmcall.local_model import LocalModel
from pytest_llmcall.reply import Ending, Reply

pytestmark = pytest.mark.real_model

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
INTEGERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}


@pytest.fixture
def ask(local: LocalModel) -> Any:
    def ask(prompt: str, *, model: str = "gpt-4o-mini", **fields: Any) -> Reply:
        async def main() -> Reply:
            api = LiteLLMAPI(api_base=f"{local.url}/v1", answered_by=local.model_name)
            try:
                messages = (Message(role="user", content=prompt),)
                return await api.execute(Call(messages=messages, model=model, timeout=60, **fields))
            finally:
                await api.aclose()

        return anyio.run(main)

    return ask


@pytest.mark.parametrize("model", ["gpt-4o-mini", "anthropic/claude-sonnet-4-5", "bedrock/amazon.nova-lite-v1:0"])
def test_every_model_is_answered_by_the_embedded_one_and_costs_nothing(local: LocalModel, ask: Any, model: str) -> None:
    reply = ask("What is 2 + 2? Answer with the number only.", model=model)
    assert "4" in reply.text
    assert (reply.model, reply.cost_usd) == (local.model_name, 0.0)
    assert reply.usage is not None
    assert reply.usage.output_tokens


def test_structured_output_follows_its_schema(ask: Any) -> None:
    reply = ask("John Doe is 30 years old.", system="Return the person as JSON.", schema=PERSON)
    assert reply.ending is Ending.COMPLETED
    assert reply.data == {"name": "John Doe", "age": 30}


def test_a_function_is_asked_for_with_the_right_arguments(ask: Any) -> None:
    function = {"name": "add", "description": "Add two integers.", "parameters": INTEGERS}
    reply = ask("What is 20 + 22?", functions=(function,))
    [use] = reply.tool_uses
    assert (use.name, use.arguments, use.result) == ("add", {"a": 20, "b": 22}, None)
