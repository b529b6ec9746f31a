from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall.executors.prices import Price, Prices, load_prices
from pytest_llmcall.reply import Usage

PLAIN = {"input_cost_per_token": 2e-6, "output_cost_per_token": 1e-5}


@pytest.fixture
def priced(tmp_path: Path) -> Any:
    def prices(**rows: dict[str, Any]) -> Prices:
        path = tmp_path / "prices.json"
        path.write_text(json.dumps(rows), encoding="utf-8")
        return Prices(path)

    return prices


def test_the_installed_file_has_prices_and_litellm_is_not_imported() -> None:
    code = """
import sys
from pytest_llmcall.executors.prices import load_prices
assert load_prices().of("gpt-4o") is not None
assert load_prices().of("max/claude-sonnet-4-5") is not None
assert load_prices().of("max/opus") is not None
assert load_prices().of("sample_spec") is None
assert "litellm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_prices_are_loaded_once() -> None:
    assert load_prices() is load_prices()


def test_a_cost_counts_every_kind_of_token() -> None:
    price = Price(input=1.0, output=10.0, cache_read=0.1, cache_write=2.0)
    usage = Usage(input_tokens=1, output_tokens=2, cache_read_tokens=10, cache_write_tokens=4)
    assert price.cost(usage) == pytest.approx(1 + 20 + 1 + 8)


def test_cached_tokens_cost_as_others_where_no_price_is_named(priced: Any) -> None:
    price = priced(m=PLAIN).of("m")
    assert price == Price(input=2e-6, output=1e-5, cache_read=2e-6, cache_write=2e-6)


def test_a_long_prompt_costs_more_where_the_provider_says_so(priced: Any) -> None:
    row = {**PLAIN, "input_cost_per_token_above_200k_tokens": 4e-6, "output_cost_per_token_above_200k_tokens": 2e-5}
    price = priced(m=row).of("m")
    assert price.cost(Usage(input_tokens=200_000, output_tokens=1)) == pytest.approx(0.4 + 1e-5)
    assert price.cost(Usage(input_tokens=100_000, cache_read_tokens=100_001)) == pytest.approx(200_001 * 4e-6)


@pytest.mark.parametrize("name", ["openai/gpt-x", "gpt-x", "GPT-X", "ft:gpt-x:org::id"])
def test_a_model_is_found_by_the_names_that_litellm_takes(priced: Any, name: str) -> None:
    row = {**PLAIN, "litellm_provider": "openai"}
    assert priced(**{"gpt-x": row, "ft:gpt-x": row}).of(name) is not None


def test_a_whole_name_with_its_provider_is_found(priced: Any) -> None:
    assert priced(**{"openrouter/openai/gpt-x": PLAIN}).of("openrouter/openai/gpt-x") is not None


def test_another_providers_price_is_not_taken(priced: Any) -> None:
    assert priced(**{"gpt-x": {**PLAIN, "litellm_provider": "openai"}}).of("groq/gpt-x") is None


@pytest.mark.parametrize("name", ["max/claude-opus-7", "claude/claude-opus-7", "max/claude-opus-7[1m]"])
def test_full_ids_of_claude_are_found(priced: Any, name: str) -> None:
    assert priced(**{"claude-opus-7": {**PLAIN, "litellm_provider": "anthropic"}}).of(name) is not None


def test_a_label_costs_what_the_dearest_current_model_of_its_family_costs(priced: Any) -> None:
    def model(output: float, **more: str) -> dict[str, Any]:
        return {**PLAIN, "output_cost_per_token": output, "litellm_provider": "anthropic", **more}

    prices = priced(
        **{
            "claude-opus-6": model(2e-5),
            "claude-opus-7": model(3e-5, deprecation_date="2999-01-01"),
            "claude-opus-1": model(9e-5, deprecation_date="2024-01-01"),
            "claude-opus-8": model(8e-5, litellm_provider="bedrock"),
            "claude-sonnet-6": model(7e-5),
        }
    )
    assert prices.of("max/opus").output == 3e-5
    assert prices.of("max/haiku") is None
    assert prices.of("max/default") is None


def test_a_zero_is_unknown_unless_the_model_runs_on_this_machine(priced: Any) -> None:
    zero = {"input_cost_per_token": 0.0, "output_cost_per_token": 0}
    prices = priced(
        **{
            "hosted": zero,
            "ollama/here": {**zero, "litellm_provider": "ollama"},
            "ollama/there-cloud": {**zero, "litellm_provider": "ollama"},
        }
    )
    assert prices.of("hosted") is None
    assert prices.of("ollama/there-cloud") is None
    assert prices.of("ollama/here").cost(Usage(input_tokens=5)) == 0


@pytest.mark.parametrize("row", [{}, {"input_cost_per_token": 1e-6}, {**PLAIN, "output_cost_per_token": "cheap"}])
def test_a_model_without_both_prices_is_unknown(priced: Any, row: dict[str, Any]) -> None:
    assert priced(m=row).of("m") is None


@pytest.mark.parametrize("name", ["", "max/nonsense", "nobody/knows"])
def test_what_is_no_known_model_has_no_price(priced: Any, name: str) -> None:
    assert priced(m=PLAIN).of(name) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b'{"m": 3}'])
def test_a_file_that_cannot_be_used_knows_no_price(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(content)
    assert Prices(path).of("m") is None


def test_without_a_file_no_price_is_known(tmp_path: Path) -> None:
    assert Prices(None).of("gpt-4o") is None
    assert Prices(tmp_path / "missing.json").of("gpt-4o") is None
