"""The way of one call through LiteLLM: a request, its ending, the reply; and the tape of all that."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import anyio

from pytest_llmcall.call import Call
from pytest_llmcall.errors import NoReply, TimedOut
from pytest_llmcall.executors.litellm_api.answer import Event, Shape, reply_from, usage_of
from pytest_llmcall.executors.litellm_api.dispatch import Threads, closing_what_is_not_awaited
from pytest_llmcall.executors.litellm_api.failures import bad_ending, no_reply, readable, status_of
from pytest_llmcall.executors.litellm_api.library import Library, version
from pytest_llmcall.executors.litellm_api.request import arguments_for, check_call
from pytest_llmcall.executors.prices import Prices, load_prices
from pytest_llmcall.executors.tape import Tape, TapeFolder
from pytest_llmcall.reply import Reply

_NO_KEY: Final = "none-needed"
_THREADS: Final = 32


class LiteLLMAPI:
    """Asks any model that LiteLLM knows, one attempt per call. Belongs to one event loop.

    Args:
        tapes: Where the evidence goes; None keeps none.
        api_base: The API to ask instead of the model's own.
        api_key: The key for it instead of the environment's.
        answered_by: The model that truly answers every call at `api_base`, in OpenAI's API; it costs nothing.
        prices: What tokens cost where LiteLLM does not say it.
    """

    def __init__(
        self,
        *,
        tapes: TapeFolder | None = None,
        api_base: str | None = None,
        api_key: str | None = None,
        answered_by: str | None = None,
        prices: Prices | None = None,
    ) -> None:
        self._tapes = tapes
        self._api_base = api_base
        self._api_key = api_key or (_NO_KEY if answered_by else None)
        self._answered_by = answered_by
        self._prices = prices or load_prices()
        self._library = Library()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def execute(self, call: Call) -> Reply:
        """Return what came back for a call, after one attempt.

        Raises:
            NoReply: One of its subclasses; only InfrastructureError is worth another try.
        """
        check_call(call)
        schema = _shape(call.schema) if call.schema is not None else None
        library = await self._library.load()
        self._use_threads()
        tape = self._open_tape(call)
        try:
            reply = replace(await self._ask(library, call, schema, tape), tape=tape.path)
            tape.end_with_reply(reply)
        except NoReply as none:
            none.evidence = tape.path
            tape.end_without_reply(none)
            raise
        finally:
            tape.close()
        return reply

    async def aclose(self) -> None:
        """End what LiteLLM keeps open on this loop; a later call starts anew."""
        self._loop = None
        await self._library.close()

    async def _ask(self, library: Any, call: Call, schema: Shape | None, tape: Tape) -> Reply:
        started = time.monotonic()
        try:
            response = await self._response(library, call)
        except NoReply:
            raise
        except Exception as error:  # whatever a provider's client raises
            reply = self._without_response(call, error, tape)
        else:
            event = _as_json(response)
            tape.event(json.dumps(event).encode())
            tape.check()
            reply = self._with_response(call, response, event, schema)
        return replace(reply, duration_s=time.monotonic() - started)

    async def _response(self, library: Any, call: Call) -> Any:
        arguments = arguments_for(call, model=self._model(call), api_base=self._api_base, api_key=self._api_key)
        with anyio.move_on_after(call.timeout) as deadline, closing_what_is_not_awaited():
            try:
                return await library.acompletion(**arguments)
            except Exception:
                if not deadline.cancel_called:  # some clients make an error of their own of the cancellation
                    raise
        raise TimedOut(f"no reply within {call.timeout:g} s", remedy="give the call a longer timeout")

    def _with_response(self, call: Call, response: Any, event: Event, schema: Shape | None) -> Reply:
        cost = self._cost(call, response, event)
        try:
            reply = reply_from(call, event, schema=schema)
        except NoReply as none:
            usage = usage_of(event)
            none.cost_usd, none.tokens = cost, usage.total if usage else None
            raise
        return replace(reply, cost_usd=cost)

    def _without_response(self, call: Call, error: Exception, tape: Tape) -> Reply:
        secrets = (self._api_key,) if self._api_key else ()
        detail = readable(error, secrets=secrets)
        event = {"object": "error", "type": type(error).__name__, "status": status_of(error), "message": detail}
        tape.event(json.dumps(event).encode())
        tape.check()
        ending = bad_ending(error)
        if ending is None:
            raise no_reply(call, error, secrets=secrets) from error
        model = self._answered_by or call.model or ""
        return Reply(text="", model=model, ending=ending, ending_detail=detail, transcript=(event,))

    def _cost(self, call: Call, response: Any, event: Event) -> float | None:
        if self._answered_by is not None:
            return 0.0
        usage = usage_of(event)
        if usage is None:  # LiteLLM then computes 0
            return None
        cost = (getattr(response, "_hidden_params", None) or {}).get("response_cost")
        if isinstance(cost, int | float) and cost > 0:
            return float(cost)
        price = self._prices.of(call.model or "")
        return None if price is None else price.cost(usage)

    def _model(self, call: Call) -> str:
        return f"openai/{self._answered_by}" if self._answered_by else call.model or ""

    def _use_threads(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            loop.set_default_executor(Threads(_THREADS, thread_name_prefix="llmcall litellm"))
            self._loop = loop

    def _open_tape(self, call: Call) -> Tape:
        if self._tapes is None:
            return Tape.nowhere()
        return self._tapes.open(call, executor="litellm", version=version())


def _shape(schema: Mapping[str, Any]) -> Shape:
    from pytest_llmcall.executors.litellm_api.structured import Schema  # noqa: PLC0415 - jsonschema takes 0.1 s

    return Schema(schema)


def _as_json(response: Any) -> dict[str, Any]:
    """Return a response as JSON values; what is not JSON in it stands as text."""
    # Without warnings: providers send more and other things than LiteLLM's types say.
    plain = response.model_dump(warnings=False) if hasattr(response, "model_dump") else {"response": response}
    event: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return event
