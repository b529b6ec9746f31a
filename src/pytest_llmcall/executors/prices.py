"""What tokens cost, from the price file that LiteLLM carries; LiteLLM itself is not imported, which takes seconds.

Used to estimate a call before it is made, and where a client says no cost. What is not known is None, never 0.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from pytest_llmcall.errors import SettingsError
from pytest_llmcall.executors.models import parse_model
from pytest_llmcall.reply import Usage

_FILE: Final = "model_prices_and_context_window_backup.json"
_INPUT: Final = "input_cost_per_token"
_OUTPUT: Final = "output_cost_per_token"
_CACHE_READ: Final = "cache_read_input_token_cost"
_CACHE_WRITE: Final = "cache_creation_input_token_cost"
_THRESHOLD: Final = re.compile(rf"{_INPUT}_above_(\d+)k_tokens")
_LONG_CONTEXT: Final = "[1m]"
_OWN_MACHINE: Final = ("ollama", "ollama_chat", "lemonade")  # their 0 means free; elsewhere it means that nobody knows
_KINDS_OF_ONE_PROVIDER: Final = ("vertex_ai", "fireworks_ai", "bedrock")  # vertex_ai-language-models, bedrock_converse
_VERSIONED: Final = ("vertex_ai", "gemini")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for one token of each kind.

    Attributes:
        cache_read: For a token that was read from the cache; that of an input token where the provider names none.
        cache_write: As `cache_read`, for a token that was written to the cache.
        above: Prices of calls whose prompt is longer than so many tokens, by rising numbers of tokens.
    """

    input: float
    output: float
    cache_read: float
    cache_write: float
    above: tuple[tuple[int, Price], ...] = ()

    def cost(self, usage: Usage) -> float:
        """Return US dollars for what a provider counted."""
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        price = next((price for tokens, price in reversed(self.above) if prompt > tokens), self)
        return (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * price.cache_read
            + usage.cache_write_tokens * price.cache_write
        )


class Prices:
    """The prices of a file, which is read when the first one is asked for.

    Args:
        file: LiteLLM's price file. If it is None or cannot be used, no price is known.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file

    def of(self, model: str) -> Price | None:
        """Return the price of a model by the name that calls use, or None if it is not known.

        `max/opus` and the other labels mean whatever the account gives them today: their price is the dearest of
        that family which is not past its end, rather too high than too low. `max/default` has none.
        """
        try:
            name = parse_model(model)
        except SettingsError:
            return None
        if name.provider == "litellm":
            return self._litellm(model)
        if name.model is None:
            return None
        if name.full_id:
            return self._of_provider(name.model.removesuffix(_LONG_CONTEXT), "anthropic")
        return self._dearest(f"claude-{name.model}-")

    def _litellm(self, model: str) -> Price | None:
        if (row := self._row(model)) is not None:
            return _price(row, model)
        provider, _, rest = model.partition("/")
        return self._of_provider(rest, provider) if rest else self._of_provider(model, None)

    def _of_provider(self, model: str, provider: str | None) -> Price | None:
        for name in _spellings(model, provider):
            row = self._row(name)
            if row is not None and (provider is None or _is_of(row, provider)):
                return _price(row, name)
        return None

    def _dearest(self, prefix: str) -> Price | None:
        today = datetime.now(UTC).date().isoformat()
        rows = {name: row for name, row in self._rows.items() if name.startswith(prefix) and _is_of(row, "anthropic")}
        current = {name: row for name, row in rows.items() if str(row.get("deprecation_date") or today) >= today}
        prices = [price for name, row in current.items() if (price := _price(row, name)) is not None]
        return max(prices, key=lambda price: (price.output, price.input), default=None)

    def _row(self, name: str) -> Row | None:
        found = self._rows.get(name)
        return found if found is not None else self._rows.get(self._lower_case.get(name.lower(), name))

    @cached_property
    def _lower_case(self) -> Mapping[str, str]:
        return {name.lower(): name for name in self._rows}

    @cached_property
    def _rows(self) -> Mapping[str, Row]:
        if self._file is None:
            return {}
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {name: row for name, row in content.items() if isinstance(row, dict) and name != "sample_spec"}


@cache
def load_prices() -> Prices:
    """Return the prices that the installed LiteLLM knows; cheap until the first price is asked for."""
    return Prices(_price_file())


def _price_file() -> Path | None:
    try:
        package = importlib.util.find_spec("litellm")
    except (ImportError, ValueError):  # ValueError: somebody put a module without a spec into sys.modules
        return None
    folders = (package.submodule_search_locations if package else None) or ()
    return next((path for path in (Path(folder, _FILE) for folder in folders) if path.is_file()), None)


def _spellings(model: str, provider: str | None) -> Iterator[str]:
    """Yield the names under which LiteLLM looks a model up, without its provider's prefix."""
    yield model
    if provider in _VERSIONED:
        stable = re.sub(r"-\d+$", "", model)  # gemini-1.5-flash-001
        yield f"{provider}/{stable}"
        yield stable
    if model.startswith("ft:"):  # ft:gpt-4o-mini-2024-07-18:organisation:suffix:id
        yield ":".join(model.split(":")[:2])


def _is_of(row: Row, provider: str) -> bool:
    owner = str(row.get("litellm_provider") or provider)
    return owner == provider or any(
        owner.startswith(each) and provider.startswith(each) for each in _KINDS_OF_ONE_PROVIDER
    )


def _price(row: Row, name: str) -> Price | None:
    base = _price_at(row, "")
    if base is None or (base.input == base.output == 0 and not _runs_here(row, name)):
        return None
    thresholds = sorted(int(found[1]) for key in row if (found := _THRESHOLD.fullmatch(key)))
    longer = ((each * 1000, _price_at(row, f"_above_{each}k_tokens")) for each in thresholds)
    above = tuple((tokens, price) for tokens, price in longer if price is not None)
    return Price(
        input=base.input,
        output=base.output,
        cache_read=base.cache_read,
        cache_write=base.cache_write,
        above=above,
    )


def _price_at(row: Row, suffix: str) -> Price | None:
    def number(key: str) -> float | None:
        value = row.get(key + suffix, row.get(key))
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None

    of_input, of_output = number(_INPUT), number(_OUTPUT)
    if of_input is None or of_output is None:
        return None
    read, write = number(_CACHE_READ), number(_CACHE_WRITE)
    return Price(
        input=of_input,
        output=of_output,
        cache_read=of_input if read is None else read,
        cache_write=of_input if write is None else write,
    )


def _runs_here(row: Row, name: str) -> bool:
    return row.get("litellm_provider") in _OWN_MACHINE and not name.endswith("cloud")
