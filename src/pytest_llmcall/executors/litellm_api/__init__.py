"""The executor for every model that is not asked through the Claude CLI: LiteLLM, in this process.

`LiteLLMAPI` in `client.py` is the way of one call. LiteLLM itself is imported at the first call, see `library.py`.
"""

from __future__ import annotations

from pytest_llmcall.executors.litellm_api.client import LiteLLMAPI

__all__ = ["LiteLLMAPI"]
