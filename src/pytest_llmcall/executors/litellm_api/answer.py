"""From what LiteLLM gives back, as JSON, to a Reply. Knows neither LiteLLM nor sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

from pytest_llmcall.call import Call
from pytest_llmcall.errors import InfrastructureError
from pytest_llmcall.reply import MISSING, Ending, Reply, ToolUse, Usage

MALFORMED: Final = "malformed"
"""The one argument of a tool use whose arguments were no JSON object: the text that the model wrote."""

_ENDINGS: Final = {"length": Ending.MAX_TOKENS, "content_filter": Ending.REFUSAL, "refusal": Ending.REFUSAL}

Event = Mapping[str, Any]


class NotFittingError(Exception):
    """A text is no JSON, or does not follow the schema; says how."""


class Shape(Protocol):
    """What structured output must look like."""

    def data(self, text: str) -> Any:
        """Return the data that a text holds.

        Raises:
            NotFittingError: It holds none that follows the schema.
        """
        ...


def reply_from(call: Call, response: Event, *, schema: Shape | None) -> Reply:
    """Return the reply that a response holds, without what only the executor knows: cost, duration, tape.

    A response that says nothing at all and gives no reason is no reply: a check for what a reply must not say would
    pass on it, and another try may bring one.

    Raises:
        InfrastructureError: The response holds no answer.
    """
    choice = _first_choice(response)
    message = choice.get("message") or {}
    finish = str(choice.get("finish_reason") or "")
    refusal = _refusal(message)
    text = _text(message.get("content")) or refusal
    uses = tuple(_tool_use(each) for each in message.get("tool_calls") or ())
    ending = Ending.REFUSAL if refusal else _ENDINGS.get(finish, Ending.COMPLETED)
    detail = refusal or (finish if ending is not Ending.COMPLETED else "")
    data: Any = MISSING
    if ending is Ending.COMPLETED and not uses:
        if not text.strip():
            raise InfrastructureError("the model said nothing", detail=f"finish_reason: {finish or 'none'}")
        if schema is not None:
            try:
                data = schema.data(text)
            except NotFittingError as error:
                ending, detail = Ending.NO_STRUCTURED_OUTPUT, str(error)
    return Reply(
        text=text,
        data=data,
        model=str(response.get("model") or call.model or ""),
        ending=ending,
        ending_detail=detail,
        tool_uses=uses,
        transcript=(response,),
        usage=usage_of(response),
    )


def usage_of(response: Event) -> Usage | None:
    """Return the tokens that the provider counted; LiteLLM writes zeros where it counted none."""
    counted = response.get("usage")
    if not isinstance(counted, Mapping):
        return None
    details = counted.get("prompt_tokens_details") or {}
    read = _number(counted.get("cache_read_input_tokens")) or _number(details.get("cached_tokens"))
    write = _number(counted.get("cache_creation_input_tokens")) or _number(details.get("cache_creation_tokens"))
    prompt, completion = _number(counted.get("prompt_tokens")), _number(counted.get("completion_tokens"))
    if not prompt and not completion:
        return None
    return Usage(
        input_tokens=max(0, prompt - read - write),  # LiteLLM's prompt tokens include the cached ones
        output_tokens=completion,
        cache_read_tokens=read,
        cache_write_tokens=write,
    )


def _first_choice(response: Event) -> Mapping[str, Any]:
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise InfrastructureError("the provider's answer holds no message", detail=json.dumps(response)[:1000])
    return choices[0]


def _refusal(message: Mapping[str, Any]) -> str:
    specific = message.get("provider_specific_fields") or {}
    return str(message.get("refusal") or specific.get("refusal") or "")


def _text(content: object) -> str:
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _tool_use(asked: Mapping[str, Any]) -> ToolUse:
    function = asked.get("function") or {}
    raw = function.get("arguments") or "{}"
    try:
        arguments = json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        arguments = None
    readable = isinstance(arguments, dict)
    return ToolUse(
        id=str(asked.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=arguments if readable else {MALFORMED: raw},
        is_error=not readable,
    )


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
