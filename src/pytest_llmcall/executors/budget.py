"""Budget: asks only what the run's purse admits, and books what each attempt took.

Stands inside of Limit and Retry: each attempt is paid for, a failed one too. StopOnConfiguration stands inside of it:
what waited for its admission has to see that its executor was stopped meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, CutByBudget, NoReply, NotAsked
from pytest_llmcall.executors import Executor, preparation
from pytest_llmcall.executors.estimates import FREE, Guess, PriceList, guess, prompt_tokens, text_tokens
from pytest_llmcall.executors.prices import Price
from pytest_llmcall.executors.purse import Purse, Ticket
from pytest_llmcall.reply import Ending, Reply

DEAREST_LABEL: Final = "max/opus"  # what a Claude model of unknown price is taken for until a reply tells its cost
DEAREST: Final = Price(input=15e-6, output=75e-6, cache_read=1.5e-6, cache_write=18.75e-6)  # if that is unknown too


class Budget:
    """Wraps an executor; all executors of a process share one purse.

    Args:
        inner: Who is asked.
        purse: What may be spent.
        prices: What its models cost.
        tells_cost: Whether its replies say what they cost, so that a model without a price may be asked once.
        on_start: Hears of every call that is admitted.
        waiting: Is entered while a call waits to be admitted, in the context of who asked.
    """

    def __init__(
        self,
        inner: Executor,
        purse: Purse,
        *,
        prices: PriceList,
        tells_cost: bool = False,
        on_start: Callable[[Call], None] | None = None,
        waiting: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._inner = inner
        self._purse = purse
        self._prices = prices
        self._tells_cost = tells_cost
        self._on_start = on_start
        self._waiting = waiting
        self._unpriced: set[str] = set()
        self._explained: set[str] = set()

    async def execute(self, call: Call) -> Reply:
        """Return the reply.

        Raises:
            OverBudget: The run's limits do not allow the call.
            CutByBudget: The call was stopped because it had used up what was left.
            ConfigurationError: Nobody knows what the model costs, so that no limit of cost can be kept.
            NotAsked: The same, once it has been said.
        """
        price = self._price(call)
        with self._waiting():
            ticket = await self._purse.admit(call.model or "", self._guess(call, price))
        try:
            reply = await self._ask(call, price, ticket)
        except NoReply as error:
            # Limit counts from the slot on, and takes the wait in here for a part of the call.
            error.queued_s += ticket.waited_s
            error.duration_s -= ticket.waited_s if error.attempts else 0.0
            raise
        return replace(reply, queued_s=reply.queued_s + ticket.waited_s)

    def prepare(self, call: Call) -> AbstractAsyncContextManager[object]:
        """Get a call ready, unless it will be asked with a bound that is not known yet."""
        may_be_bounded = self._purse.limits.max_cost_usd is not None and _goes_on(call)
        return nullcontext() if may_be_bounded else preparation(self._inner, call)

    async def _ask(self, call: Call, price: Price | None, ticket: Ticket) -> Reply:
        bounded = self._bounded(call, price, ticket)
        try:
            self._check_priced(call)
            if self._on_start:
                self._on_start(call)
            reply = await self._inner.execute(bounded)
        except NoReply as error:
            self._book_failure(ticket, error)
            raise
        except BaseException:
            self._purse.settle(ticket)  # cut, and perhaps paid for
            raise
        self._book(call, price, ticket, reply)
        if reply.ending is Ending.MAX_BUDGET and bounded.max_cost_usd != call.max_cost_usd:
            raise _cut(reply, bounded.max_cost_usd or 0.0)
        return reply

    def _price(self, call: Call) -> Price | None:
        if self._purse.limits.max_cost_usd is None:
            return FREE  # no cost is asked for, so the price file need not be read
        price = self._prices.of(call.model or "")
        if price is None and not self._tells_cost:
            self._unpriced.add(call.model or "")
            self._check_priced(call)
        return price

    def _check_priced(self, call: Call) -> None:
        """Refuse a call if its model has shown, perhaps while this one waited, that nobody knows what it costs.

        Says so with its remedy once, and is short for the calls that follow, as StopOnConfiguration is.
        """
        model = call.model or ""
        if model not in self._unpriced:
            return
        reason = f"nobody says what {model} costs, so --llm-max-cost cannot be kept"
        if model in self._explained:
            raise NotAsked(f"not asked: an earlier case stopped this model: {reason}")
        self._explained.add(model)
        raise ConfigurationError(
            reason,
            scope="model",
            attempts=0,
            remedy="bound it with --llm-max-calls or --llm-max-tokens, or ask a model whose price LiteLLM knows",
        )

    def _guess(self, call: Call, price: Price | None) -> Guess:
        assumed = FREE if price else self._prices.of(DEAREST_LABEL) or DEAREST
        return guess(call, price, assumed=assumed)

    def _bounded(self, call: Call, price: Price | None, ticket: Ticket) -> Call:
        """Return the call with the most that it may cost, where it can go on for long.

        A call without tools or schema ends with its first answer. The CLI looks at the money after an answer has been
        paid for: it could save nothing, and would withhold the answer.
        """
        left = self._purse.left_usd(ticket)
        if price == FREE or not _goes_on(call) or not 0 < left < math.inf:
            return call
        if call.max_cost_usd is not None and call.max_cost_usd <= left:
            return call
        return replace(call, max_cost_usd=left)

    def _book(self, call: Call, price: Price | None, ticket: Ticket, reply: Reply) -> None:
        cost = reply.cost_usd
        if cost is None and price is not None and reply.usage is not None:
            cost = price.cost(reply.usage)
        if cost is None and price is None:
            self._unpriced.add(call.model or "")
        counted = reply.usage is not None
        tokens = reply.usage.total if reply.usage else prompt_tokens(call) + text_tokens(reply.text)
        self._purse.settle(ticket, cost_usd=cost, tokens=tokens, counted=counted, typical=True)

    def _book_failure(self, ticket: Ticket, error: NoReply) -> None:
        if error.attempts == 0:
            self._purse.refund(ticket)
        else:
            self._purse.settle(ticket, cost_usd=error.cost_usd, tokens=error.tokens)


def _goes_on(call: Call) -> bool:
    """Return whether a call may take more than one answer."""
    return bool(call.tools or call.mcp or call.schema)


def _cut(reply: Reply, bound: float) -> CutByBudget:
    cost = "an unknown sum" if reply.cost_usd is None else f"${reply.cost_usd:.4f}"
    error = CutByBudget(
        f"the run's budget was used up in this call: it was stopped when it had cost {cost}, and ${bound:.4f} was left",
        received=reply.text,
        detail=reply.ending_detail,
        remedy="raise --llm-max-cost, or let the call take fewer turns",
        evidence=reply.tape,
    )
    error.cost_usd = reply.cost_usd
    error.tokens = reply.usage.total if reply.usage else None
    return error
