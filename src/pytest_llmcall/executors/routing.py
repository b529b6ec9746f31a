"""Router: sends a call to the executor that its model's name says."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import replace

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, SettingsError
from pytest_llmcall.executors import Executor, preparation
from pytest_llmcall.executors.models import parse_model, unsupported
from pytest_llmcall.reply import Reply


class Router:
    """Knows an executor for each provider; `calls` must name their model."""

    def __init__(self, *, claude: Executor, litellm: Executor | None = None) -> None:
        self._executors = {"claude": claude, "litellm": litellm}

    async def execute(self, call: Call) -> Reply:
        """Return the reply of the executor that the model's name says."""
        try:
            provider, reason = parse_model(call.model or "").provider, unsupported(call)
        except SettingsError as error:
            raise ConfigurationError(str(error), scope="call", attempts=0) from error
        executor = self._executors[provider]
        if executor is None:
            raise ConfigurationError(
                f"no executor for the model {call.model!r}",
                scope="call",
                attempts=0,
                remedy="write max/<model> for a Claude model",
            )
        if reason:
            remedy = "leave it out, or ask a model that can"
            raise ConfigurationError(reason, scope="call", attempts=0, remedy=remedy)
        return await executor.execute(call)


class Unavailable:
    """Stands where an executor could not be made, and says why to whoever asks."""

    def __init__(self, error: ConfigurationError) -> None:
        self._error = error

    async def execute(self, call: Call) -> Reply:  # noqa: ARG002 - the protocol's signature
        """Raise why there is no executor."""
        error = self._error
        raise ConfigurationError(error.reason, scope=error.scope, detail=error.detail, remedy=error.remedy, attempts=0)


class AnsweredBy:
    """Names the model that truly answers, where a client believes that it talks to another one."""

    def __init__(self, inner: Executor, model: str) -> None:
        self._inner = inner
        self._model = model

    async def execute(self, call: Call) -> Reply:
        """Return the reply under the true model's name; it costs nothing."""
        return replace(await self._inner.execute(call), model=self._model, cost_usd=0.0)

    def prepare(self, call: Call) -> AbstractAsyncContextManager[object]:
        """Get a call ready."""
        return preparation(self._inner, call)
