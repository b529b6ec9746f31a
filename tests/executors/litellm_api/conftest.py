from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import anyio
import pytest

from pytest_llmcall.call import Call, Message
from pytest_llmcall.executors.litellm_api import LiteLLMAPI
from pytest_llmcall.local_model.http_api import ApiHandler, LoopbackServer
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import ScriptedModel

OPENAI = "openai/gpt-4o-mini"
ANTHROPIC = "anthropic/claude-sonnet-4-5"

Ask = Callable[..., Reply]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.endswith(("_API_KEY", "_AUTH_TOKEN", "_API_BASE", "_BASE_URL")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel() as model:
        yield model


@pytest.fixture
def call() -> Callable[..., Call]:
    def call(prompt: str = "Hi", **fields: Any) -> Call:
        given: dict[str, Any] = {"model": OPENAI, "timeout": 20.0} | fields
        return Call(messages=(Message(role="user", content=prompt),), **given)

    return call


@pytest.fixture
def ask(model: ScriptedModel) -> Ask:
    """Ask the scripted model once, each time on a loop of its own."""

    def ask(call: Call, **settings: Any) -> Reply:
        base = model.url if (call.model or "").startswith("anthropic/") else f"{model.url}/v1"
        return ask_once(call, **({"api_base": base, "api_key": "sk-scripted-key"} | settings))

    return ask


@pytest.fixture
def sent() -> Iterator[Callable[..., Reply]]:
    """Ask a server that sends exactly these bytes or this JSON, whatever is asked."""
    servers: list[LoopbackServer] = []

    def sent(call: Call, body: bytes | Mapping[str, Any] | list[Any], *, status: int = 200) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        server = LoopbackServer(_sending(raw, status))
        server.start()
        servers.append(server)
        base = server.url if (call.model or "").startswith("anthropic/") else f"{server.url}/v1"
        return ask_once(call, api_base=base, api_key="sk-scripted-key")

    yield sent
    for server in servers:
        server.close()


def ask_once(call: Call, **settings: Any) -> Reply:
    async def main() -> Reply:
        api = LiteLLMAPI(**settings)
        try:
            return await api.execute(call)
        finally:
            await api.aclose()

    return anyio.run(main)


def _sending(raw: bytes, status: int) -> type[ApiHandler]:
    class Handler(ApiHandler):
        def post(self, path: str, body: dict[str, Any]) -> None:  # noqa: ARG002 - the base class's signature
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    return Handler
