"""The purse of a run: what may be spent, what is spent, and which call may start next.

A call starts only if what is spent, what the calls in flight are expected to take, and what this one is expected to
take fit each limit together. If that would fit once others turn out cheaper, the call waits for their ends, which
their deadlines bound. Belongs to the executors' loop; `spent` and `peak` may be read from any thread.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio

from pytest_llmcall.errors import OverBudget
from pytest_llmcall.executors.estimates import ASSUMED_ANSWER_TOKENS, Guess
from pytest_llmcall.executors.spending import Limits, Spent

_ROUNDING: Final = 1e-9  # sums of equal costs differ in the last digits
_CALLS: Final = "{spent} of {limit} calls made (--llm-max-calls)"
_COST: Final = "${spent:.4f} of ${limit:g} spent (--llm-max-cost), and this call was expected to cost ${needed:.4f}"
_TOKENS: Final = "{spent} of {limit} tokens spent (--llm-max-tokens), and this call was expected to take {needed}"
_TIME: Final = "{spent:.1f} of {limit:g} s gone (--llm-max-time), and this call was expected to take {needed:.1f} s"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ticket:
    """The admission of one attempt.

    Attributes:
        guess: What it was thought to take before others of its model had ended.
        cost_usd: What it is expected to cost; so much is set aside for it.
        tokens: The same for tokens.
        started: When it was admitted, on the purse's clock.
        waited_s: Seconds that it waited to be admitted.
    """

    model: str
    guess: Guess
    cost_usd: float
    tokens: int
    started: float
    waited_s: float


class Purse:
    """Admits calls and keeps the account of one process."""

    def __init__(self, limits: Limits | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits or Limits()
        self.spent = Spent()
        self.peak = 0
        self._clock = clock
        self._began: float | None = None
        self._in_flight: set[Ticket] = set()
        self._waiting: deque[_Waiter] = deque()
        self._seen: dict[str, _Seen] = {}
        self._durations = _Mean()

    async def admit(self, model: str, guess: Guess) -> Ticket:
        """Return the admission of an attempt, which must come back through `settle` or `refund`.

        Raises:
            OverBudget: The limits do not allow it, whatever becomes of the calls in flight.
        """
        waiter = _Waiter(model=model, guess=guess, since=self._clock())
        self._waiting.append(waiter)
        self._serve()
        if not waiter.served.is_set():
            try:
                await waiter.served.wait()
            except BaseException:
                self._leave(waiter)
                raise
        if waiter.ticket is None:
            raise OverBudget(waiter.refusal)
        return waiter.ticket

    def settle(
        self,
        ticket: Ticket,
        *,
        cost_usd: float | None = None,
        tokens: int | None = None,
        counted: bool = True,
        typical: bool = False,
    ) -> None:
        """Book what an attempt took.

        Args:
            ticket: Its admission.
            cost_usd: US dollars; None books what was expected, and notes that.
            tokens: None books what was expected, and notes that.
            counted: Whether the provider has counted the tokens; a guess is noted.
            typical: Whether later calls of the model are expected to take as much.
        """
        self._in_flight.remove(ticket)
        self._durations.add(self._clock() - ticket.started)
        cost = ticket.cost_usd if cost_usd is None else cost_usd
        count = ticket.tokens if tokens is None else tokens
        guessed = cost_usd is None or tokens is None or not counted
        self.spent = Spent(
            calls=self.spent.calls + 1,
            cost_usd=self.spent.cost_usd + cost,
            tokens=self.spent.tokens + count,
            seconds=self._elapsed(),
            guessed_calls=self.spent.guessed_calls + guessed,
            guessed_usd=self.spent.guessed_usd + (cost if cost_usd is None else 0.0),
        )
        if typical:
            self._seen.setdefault(ticket.model, _Seen()).add(cost, count, ticket.guess.prompt_tokens)
        self._serve()

    def refund(self, ticket: Ticket) -> None:
        """Take back the admission of an attempt that was never made."""
        self._in_flight.remove(ticket)
        self._serve()

    def left_usd(self, ticket: Ticket) -> float:
        """Return what an attempt in flight may cost, if the others cost what is expected; infinite without a limit."""
        if self.limits.max_cost_usd is None:
            return math.inf
        others = sum(each.cost_usd for each in self._in_flight if each is not ticket)
        return max(0.0, self.limits.max_cost_usd - self.spent.cost_usd - others)

    def _serve(self) -> None:
        """Decide on all that wait, in their order.

        Who waits for the first call of a model lets others pass; who waits for room does not, or a large call would
        starve behind small ones.
        """
        full = False
        for waiter in list(self._waiting):
            claims = self._claims(waiter)
            refusal = next((claim.refusal for claim in claims if not claim.fits(in_flight=False)), "")
            if refusal:
                self._answer(waiter, refusal=refusal)
            elif full or self._is_learning(waiter.model):
                continue
            elif all(claim.fits(in_flight=True) for claim in claims):
                self._answer(waiter, ticket=self._start(waiter))
            else:
                full = True

    def _answer(self, waiter: _Waiter, *, ticket: Ticket | None = None, refusal: str = "") -> None:
        waiter.ticket, waiter.refusal = ticket, refusal
        self._waiting.remove(waiter)
        waiter.served.set()

    def _leave(self, waiter: _Waiter) -> None:
        """Let a caller go who was cancelled while it waited, perhaps after it had been admitted."""
        if waiter.ticket is not None:
            self.refund(waiter.ticket)
        elif waiter in self._waiting:
            self._waiting.remove(waiter)
            self._serve()

    def _start(self, waiter: _Waiter) -> Ticket:
        now = self._clock()
        self._began = now if self._began is None else self._began
        cost, tokens = self._expected(waiter)
        ticket = Ticket(
            model=waiter.model,
            guess=waiter.guess,
            cost_usd=cost,
            tokens=tokens,
            started=now,
            waited_s=now - waiter.since,
        )
        self._in_flight.add(ticket)
        self.peak = max(self.peak, len(self._in_flight))
        return ticket

    def _is_learning(self, model: str) -> bool:
        """Return whether to wait for the first call of a model: a wave of N could spend N times the limit."""
        if self.limits.max_cost_usd is None and self.limits.max_tokens is None:
            return False
        return model not in self._seen and any(each.model == model for each in self._in_flight)

    def _expected(self, waiter: _Waiter) -> tuple[float, int]:
        """Return the US dollars and the tokens that a call is expected to take."""
        seen = self._seen.get(waiter.model)
        if seen is not None:
            return seen.mean(waiter.guess.prompt_tokens)
        if waiter.guess.priced or self.limits.max_cost_usd is None:
            return waiter.guess.cost_usd, waiter.guess.tokens
        # An assumed price is no reason to refuse a call while anything is left for it.
        left = self.limits.max_cost_usd - self.spent.cost_usd
        some_left = left > self.limits.max_cost_usd * _ROUNDING
        return min(waiter.guess.cost_usd, left) if some_left else waiter.guess.cost_usd, waiter.guess.tokens

    def _claims(self, waiter: _Waiter) -> Sequence[_Claim]:
        """Return what a call would take of each limit that is set."""
        limits, spent, flying = self.limits, self.spent, self._in_flight
        cost, tokens = self._expected(waiter)
        claims = (
            _Claim(_CALLS, limits.max_calls, spent.calls, len(flying), 1),
            _Claim(_COST, limits.max_cost_usd, spent.cost_usd, sum(each.cost_usd for each in flying), cost),
            _Claim(_TOKENS, limits.max_tokens, spent.tokens, sum(each.tokens for each in flying), tokens),
            _Claim(_TIME, limits.max_time_s, self._elapsed(), 0.0, self._durations.value),
        )
        return [claim for claim in claims if claim.limit is not None]

    def _elapsed(self) -> float:
        return 0.0 if self._began is None else self._clock() - self._began


@dataclass(slots=True, kw_only=True, eq=False)
class _Waiter:
    """A call that waits to be admitted."""

    model: str
    guess: Guess
    since: float
    served: anyio.Event = field(default_factory=anyio.Event)
    ticket: Ticket | None = None
    refusal: str = ""


class _Claim(NamedTuple):
    """What one call would take of one limit."""

    text: str
    limit: float | None
    spent: float
    held: float
    needed: float

    def fits(self, *, in_flight: bool) -> bool:
        """Return whether it fits; without the calls in flight, whether it could ever fit."""
        if self.limit is None:
            return True
        total = self.spent + self.needed + (self.held if in_flight else 0.0)
        return total <= self.limit * (1 + _ROUNDING)

    @property
    def refusal(self) -> str:
        """Why a call that does not fit is not asked."""
        return "budget: " + self.text.format(spent=self.spent, limit=self.limit, needed=self.needed)


class _Mean:
    """The mean of what was added, 0 before."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, value: float) -> None:
        self._sum += value
        self._count += 1

    @property
    def value(self) -> float:
        return self._sum / self._count if self._count else 0.0


class _Seen:
    """What the calls of one model took."""

    def __init__(self) -> None:
        self._cost, self._tokens, self._prompt = _Mean(), _Mean(), _Mean()

    def add(self, cost: float, tokens: int, prompt: int) -> None:
        for mean, value in ((self._cost, cost), (self._tokens, tokens), (self._prompt, prompt)):
            mean.add(value)

    def mean(self, prompt: int) -> tuple[float, int]:
        """Return the means; more for a prompt much longer than those before, since a wave of such would cost more."""
        longer = max(1.0, prompt / (2 * self._prompt.value + ASSUMED_ANSWER_TOKENS))
        return self._cost.value * longer, math.ceil(self._tokens.value * longer)
