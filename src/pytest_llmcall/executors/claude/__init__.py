"""The Claude executor: one call is one process of the real `claude` CLI. One attempt; retry and limits are wrappers.

Read `client.py` first: it is the way of a call on one screen.
"""

from __future__ import annotations

from pytest_llmcall.executors.claude.client import ClaudeCLI
from pytest_llmcall.executors.claude.find import ClaudeBinary, claude_version, find_claude
from pytest_llmcall.executors.claude.guardian import Guardian

__all__ = ["ClaudeBinary", "ClaudeCLI", "Guardian", "claude_version", "find_claude"]
