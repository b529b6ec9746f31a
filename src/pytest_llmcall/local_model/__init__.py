"""The embedded model: a small real model on this machine, behind an Anthropic- and an OpenAI-compatible endpoint.

`pull` fetches it once, `LocalModel.start` runs it in a process of its own. Read `server.py` and `answering.py` next.
"""

from __future__ import annotations

from pytest_llmcall.local_model.download import model_path, pull
from pytest_llmcall.local_model.process import LocalModel

__all__ = ["LocalModel", "model_path", "pull"]
