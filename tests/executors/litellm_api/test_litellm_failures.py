"""What goes wrong is one of three kinds, judged by what real servers send and not by the classes of LiteLLM."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, McpServer, WorkFile
from pytest_llmcall.errors import ConfigurationError, InfrastructureError
from pytest_llmcall.executors.models import unsupported, unsupported_by_claude, unsupported_by_litellm
from pytest_llmcall.executors.routing import Router
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import CutStream, FakeExecutor, ScriptedModel, Status, Text

OPENAI = "openai/gpt-4o-mini"
ANTHROPIC = "anthropic/claude-sonnet-4-5"
BOTH = pytest.mark.parametrize("name", [OPENAI, ANTHROPIC])

Ask = Callable[..., Reply]
MakeCall = Callable[..., Call]


@BOTH
@pytest.mark.parametrize(
    ("status", "scope"),
    [(400, "call"), (401, "model"), (402, "model"), (403, "model"), (404, "model"), (413, "call"), (422, "call")],
)
def test_what_somebody_must_change_is_a_configuration_error(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, status: int, scope: str
) -> None:
    model.script(Status(status, message="because of this"))
    with pytest.raises(ConfigurationError) as caught:
        ask(call(model=name))
    assert caught.value.scope == scope
    assert caught.value.remedy
    assert "because of this" in caught.value.detail
    assert len(model.requests) == 1


@BOTH
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
def test_what_may_work_later_is_an_infrastructure_error_and_is_asked_once(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, status: int
) -> None:
    model.default(Status(status))
    with pytest.raises(InfrastructureError):
        ask(call(model=name))
    assert len(model.requests) == 1


@BOTH
@pytest.mark.parametrize("turn", [CutStream(), CutStream(after=20)])
def test_a_connection_that_is_cut_is_an_infrastructure_error(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, turn: CutStream
) -> None:
    model.default(turn)
    with pytest.raises(InfrastructureError):
        ask(call(model=name))
    assert len(model.requests) == 1


@BOTH
@pytest.mark.parametrize("body", [b"", b"<html>oops</html>", {}, [1], b"null", b"\xff\xfe"])
def test_a_body_of_nonsense_is_an_infrastructure_error(
    sent: Callable[..., Reply], call: MakeCall, name: str, body: Any
) -> None:
    with pytest.raises(InfrastructureError) as caught:
        sent(call(model=name), body)
    assert "Traceback" not in caught.value.detail


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": [{}]}, {"error": {"message": "broken", "code": 500}}])
def test_an_answer_without_a_message_is_an_infrastructure_error(
    sent: Callable[..., Reply], call: MakeCall, body: dict[str, Any]
) -> None:
    head = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
    with pytest.raises(InfrastructureError):
        sent(call(), head | body)


@BOTH
def test_an_error_page_of_a_gateway_is_an_infrastructure_error(
    sent: Callable[..., Reply], call: MakeCall, name: str
) -> None:
    with pytest.raises(InfrastructureError):
        sent(call(model=name), b"<html>502 Bad Gateway</html>", status=502)


@BOTH
def test_an_address_where_nobody_listens_is_an_infrastructure_error(ask: Ask, call: MakeCall, name: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InfrastructureError):
            ask(call(model=name), api_base=base)


@BOTH
def test_a_host_that_does_not_exist_is_an_infrastructure_error(ask: Ask, call: MakeCall, name: str) -> None:
    with pytest.raises(InfrastructureError):
        ask(call(model=name), api_base="http://no-such-host.invalid/v1")


@pytest.mark.parametrize(("name", "variable"), [(OPENAI, "OPENAI_API_KEY"), (ANTHROPIC, "ANTHROPIC_API_KEY")])
def test_a_missing_key_names_its_variable(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, variable: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ask(call(model=name), api_key=None)
    assert caught.value.scope == "model"
    assert variable in caught.value.remedy
    assert model.requests == ()


@pytest.mark.parametrize(("name", "variable"), [(OPENAI, "OPENAI_API_KEY"), (ANTHROPIC, "ANTHROPIC_API_KEY")])
def test_a_rejected_key_names_its_variable(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, variable: str
) -> None:
    model.script(Status(401))
    with pytest.raises(ConfigurationError, match="rejected the key") as caught:
        ask(call(model=name))
    assert variable in caught.value.remedy


@pytest.mark.parametrize("name", ["no-such-model", "acme/some-model"])
def test_an_unknown_provider_shows_how_to_write_one(ask: Ask, call: MakeCall, name: str) -> None:
    with pytest.raises(ConfigurationError, match="who provides the model") as caught:
        ask(call(model=name), api_base=None, api_key=None)
    assert caught.value.scope == "model"
    assert f"openai/{name}" in caught.value.remedy
    assert "max/" in caught.value.remedy


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, None, "Your credit balance is too low to access the API."),
        (429, "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."),
    ],
)
@BOTH
def test_an_account_without_credit_is_no_rate_limit(
    model: ScriptedModel, ask: Ask, call: MakeCall, name: str, status: int, kind: str | None, message: str
) -> None:
    model.script(Status(status, type=kind, message=message))
    with pytest.raises(ConfigurationError, match="no credit") as caught:
        ask(call(model=name))
    assert caught.value.scope == "model"


def test_an_unknown_model_that_is_told_with_a_400_stops_that_model(
    model: ScriptedModel, ask: Ask, call: MakeCall
) -> None:
    model.script(Status(400, type="model_not_found", message="The model `gpt-9` does not exist"))
    with pytest.raises(ConfigurationError, match="no model") as caught:
        ask(call())
    assert caught.value.scope == "model"


def test_what_the_provider_does_not_take_stops_that_call(ask: Ask, call: MakeCall) -> None:
    functions = ({"name": "f"},)
    with pytest.raises(ConfigurationError) as caught:
        ask(call(model="petals/petals-team/StableBeluga2", functions=functions))
    assert caught.value.scope == "call"


def test_no_key_is_repeated_to_the_reader(
    model: ScriptedModel, ask: Ask, call: MakeCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "sk-of-the-environment")
    model.script(Status(401, message="Incorrect API key provided: sk-scripted-key or sk-of-the-environment."))
    with pytest.raises(ConfigurationError) as caught:
        ask(call())
    assert "Incorrect API key provided: *** or ***." in caught.value.detail


@pytest.mark.parametrize("schema", [{"type": "objekt"}, {"type": "object", "required": "name"}])
def test_a_wrong_schema_is_found_before_anything_is_asked(
    model: ScriptedModel, ask: Ask, call: MakeCall, schema: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="schema") as caught:
        ask(call(schema=schema))
    assert (caught.value.scope, caught.value.attempts, model.requests) == ("call", 0, ())


def test_a_schema_that_points_elsewhere_fetches_nothing(model: ScriptedModel, ask: Ask, call: MakeCall) -> None:
    model.script(Text('{"a": 1}'))
    with pytest.raises(ConfigurationError, match="schema") as caught:
        ask(call(schema={"$ref": f"{model.url}/schema.json"}))
    assert caught.value.scope == "call"
    assert len(model.requests) == 1


IMPOSSIBLE = [
    {"tools": ("Read",)},
    {"mcp": (McpServer(name="s", command="x"),)},
    {"files": (WorkFile(path="a", content=""),)},
    {"max_turns": 2},
]


@pytest.mark.parametrize("fields", IMPOSSIBLE)
def test_what_litellm_cannot_do_is_refused_before_anything_is_asked(
    model: ScriptedModel, ask: Ask, call: MakeCall, fields: dict[str, Any]
) -> None:
    impossible = call(**fields)
    assert unsupported_by_litellm(impossible)
    assert unsupported(impossible) == unsupported_by_litellm(impossible)
    with pytest.raises(ConfigurationError) as caught:
        ask(impossible)
    assert (caught.value.scope, caught.value.attempts, model.requests) == ("call", 0, ())
    assert "max/" in caught.value.remedy


@pytest.mark.parametrize("fields", IMPOSSIBLE)
def test_a_claude_model_can_do_what_litellm_cannot(call: MakeCall, fields: dict[str, Any]) -> None:
    assert unsupported(call(model="max/opus", **fields)) is None
    assert unsupported(call(model=None, **fields)) is None


def test_functions_are_refused_for_claude_and_taken_by_litellm(call: MakeCall) -> None:
    functions = ({"name": "f"},)
    assert unsupported(call(model="max/opus", functions=functions)) is not None
    assert unsupported_by_claude(call(functions=functions)) is not None
    assert unsupported(call(functions=functions, max_turns=1)) is None


@pytest.mark.parametrize("fields", [{"model": "max/opus", "functions": ({"name": "f"},)}, {"tools": ("Read",)}])
def test_the_router_asks_no_model_for_what_it_cannot_do(call: MakeCall, fields: dict[str, Any]) -> None:
    claude, litellm = FakeExecutor(), FakeExecutor()
    with pytest.raises(ConfigurationError) as caught:
        anyio.run(Router(claude=claude, litellm=litellm).execute, call(**fields))
    assert (caught.value.scope, caught.value.attempts) == ("call", 0)
    assert claude.calls == litellm.calls == []


def test_a_function_without_a_name_is_refused(ask: Ask, call: MakeCall) -> None:
    with pytest.raises(ConfigurationError, match="no name") as caught:
        ask(call(functions=({"description": "?"},)))
    assert caught.value.attempts == 0
