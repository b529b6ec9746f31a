"""What LiteLLM is asked for a call: the arguments of `acompletion`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError
from pytest_llmcall.executors.models import unsupported_by_litellm

ASK_CLAUDE: Final = "leave it out, or ask a Claude model: max/<model>"
_BACKSTOP_S: Final = 30.0
_LONGEST_S: Final = 3600.0
# What every API that has a strict mode takes there.
_STRICT_KEYWORDS: Final = {
    *("$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "description", "enum", "items"),
    *("properties", "required", "title", "type"),
}


def check_call(call: Call) -> None:
    """Refuse what LiteLLM cannot do, before anything is paid.

    Raises:
        ConfigurationError: The call cannot be made.
    """
    if reason := unsupported_by_litellm(call):
        raise ConfigurationError(reason, scope="call", attempts=0, remedy=ASK_CLAUDE)
    for function in call.functions:
        if not isinstance(function.get("name"), str) or not function["name"]:
            raise ConfigurationError(
                f"a function of the call has no name: {dict(function)!r}",
                scope="call",
                attempts=0,
                remedy="write {name: …, description: …, parameters: a JSON Schema}",
            )


def arguments_for(call: Call, *, model: str, api_base: str | None, api_key: str | None) -> dict[str, Any]:
    """Return what `litellm.acompletion` is called with; nobody below us asks a second time."""
    system = [{"role": "system", "content": call.system}] if call.system is not None else []
    arguments: dict[str, Any] = {
        "model": model,
        "messages": [*system, *({"role": each.role, "content": each.content} for each in call.messages)],
        "num_retries": 0,
        "max_retries": 0,
        # The deadline is ours; this only bounds a request that somehow outlives its call.
        "timeout": _LONGEST_S if call.timeout is None else call.timeout + _BACKSTOP_S,
    }
    if api_base is not None:
        arguments["api_base"] = api_base
    if api_key is not None:
        arguments["api_key"] = api_key
    if call.functions:
        arguments["tools"] = [_offered(each) for each in call.functions]
    if call.schema is not None:
        wanted = {"name": "answer", "schema": dict(call.schema), "strict": _fits_strict_mode(call.schema)}
        arguments["response_format"] = {"type": "json_schema", "json_schema": wanted}
    return arguments


def _offered(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _fits_strict_mode(schema: object) -> bool:
    """Return whether an API that binds its output to schemas can take this one: it refuses others with an error."""
    if isinstance(schema, list):
        return all(map(_fits_strict_mode, schema))
    if not isinstance(schema, Mapping):
        return True
    if not set(schema) <= _STRICT_KEYWORDS:
        return False
    if schema.get("type") == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties):
            return False
    named = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    return all(map(_fits_strict_mode, [*named, schema.get("items"), schema.get("anyOf")]))
