"""StopOnConfiguration: what cannot work until somebody changes something is asked once, not once per case."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, NotAsked
from pytest_llmcall.executors import Executor, preparation
from pytest_llmcall.reply import Reply


class StopOnConfiguration:
    """Stops an executor, or one model of it, at the first configuration error.

    The first error is raised as it is, with its remedy. Calls that come later are not made; calls that were on
    their way and end with the same error are reported as not asked too, since no model saw them.
    """

    def __init__(self, inner: Executor, *, name: str) -> None:
        self._inner = inner
        self._name = name
        self._stopped: ConfigurationError | None = None
        self._stopped_models: dict[str | None, ConfigurationError] = {}

    async def execute(self, call: Call) -> Reply:
        """Return the reply.

        Raises:
            NotAsked: An earlier call met a configuration error that concerns this one.
        """
        if stopped := self._why_stopped(call):
            raise self._not_asked(stopped)
        try:
            return await self._inner.execute(call)
        except ConfigurationError as error:
            if error.scope == "call":
                raise
            if stopped := self._why_stopped(call):
                raise self._not_asked(stopped) from error
            self._stop(call, error)
            raise

    def prepare(self, call: Call) -> AbstractAsyncContextManager[object]:
        """Get a call ready, unless it will not be asked."""
        return nullcontext() if self._why_stopped(call) else preparation(self._inner, call)

    def _why_stopped(self, call: Call) -> ConfigurationError | None:
        return self._stopped or self._stopped_models.get(call.model)

    def _stop(self, call: Call, error: ConfigurationError) -> None:
        if error.scope == "model":
            self._stopped_models[call.model] = error
        else:
            self._stopped = error

    def _not_asked(self, error: ConfigurationError) -> NotAsked:
        what = "this model" if error.scope == "model" else f"the {self._name} executor"
        return NotAsked(f"not asked: an earlier case stopped {what}: {error.reason}")
