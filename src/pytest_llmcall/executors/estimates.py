"""What a call is expected to take before anybody has counted it: from the length of its prompt and a price.

The purse uses these guesses until it knows what calls of a model took; a dry run shows them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Protocol

from pytest_llmcall.call import Call
from pytest_llmcall.executors.prices import Price
from pytest_llmcall.reply import Usage

CHARACTERS_PER_TOKEN: Final = 4  # about right for English text, too few for code: rather too many tokens than too few
ASSUMED_ANSWER_TOKENS: Final = 500  # a page of text; most answers to test prompts are shorter, those of agents longer
FREE: Final = Price(input=0.0, output=0.0, cache_read=0.0, cache_write=0.0)


class PriceList(Protocol):
    """Knows what models cost."""

    def of(self, model: str) -> Price | None:
        """Return the price of a model by the name that calls use, or None if it is not known."""
        ...


class FreeOfCharge:
    """The price list of a model on the own machine."""

    def of(self, model: str) -> Price | None:  # noqa: ARG002 - the protocol's signature
        """Return the price of nothing."""
        return FREE


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """What a call may take.

    Attributes:
        prompt_tokens: Of all that is sent.
        tokens: With the answer.
        cost_usd: US dollars.
        priced: Whether the cost comes from the model's own price, and not from an assumed one.
    """

    prompt_tokens: int
    tokens: int
    cost_usd: float = 0.0
    priced: bool = True


def guess(call: Call, price: Price | None, *, assumed: Price = FREE) -> Guess:
    """Return what a call may take, with the assumed price where its own is unknown."""
    prompt = prompt_tokens(call)
    cost = (price or assumed).cost(Usage(input_tokens=prompt, output_tokens=ASSUMED_ANSWER_TOKENS))
    return Guess(prompt_tokens=prompt, tokens=prompt + ASSUMED_ANSWER_TOKENS, cost_usd=cost, priced=price is not None)


def prompt_tokens(call: Call) -> int:
    """Return about how many tokens are sent; what an agent reads later is not among them."""
    offered = json.dumps([dict(each) for each in (*call.functions, call.schema or {}) if each], default=dict)
    texts = (call.system or "", offered, *(message.content for message in call.messages))
    return text_tokens(*texts)


def text_tokens(*texts: str) -> int:
    """Return about how many tokens texts have."""
    return max(1, sum(map(len, texts)) // CHARACTERS_PER_TOKEN)
