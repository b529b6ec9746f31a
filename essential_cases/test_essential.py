"""The same grounds as Python tests: a coroutine, plain functions, and one reply that several tests share."""

from __future__ import annotations

import pytest

from pytest_llmcall import LLM, Reply
from pytest_llmcall import validators as v

pytestmark = pytest.mark.llm(timeout=90)


@pytest.fixture(scope="module")
def librarian(llm: LLM) -> Reply:
    """Asked once, for all tests below that look at it."""
    return llm.sync("Who are you?", system="You are Ada, a librarian.")


async def test_conversation(llm: LLM) -> None:
    reply = await llm(
        messages=[
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "The capital of France is Paris."},
            {"role": "user", "content": "And of Italy?"},
        ]
    )
    reply.check(v.contains("Rome", whole_word=True), v.not_contains("Paris", whole_word=True))


def test_name(librarian: Reply) -> None:
    assert "Ada" in librarian.text


async def test_profession(librarian: Reply, llm: LLM) -> None:
    await llm.check(librarian, v.contains("librarian", ignore_case=True))
