"""What the fixture `llm` is: asks from a Python test, hands out replies that can be checked, and books it all."""

from pytest_llmcall._asking.llm import LLM, Options
from pytest_llmcall._asking.replies import Desk, unseen_ending

__all__ = ["LLM", "Desk", "Options", "unseen_ending"]
