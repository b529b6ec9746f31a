"""Which tests are LLM items by their fixtures. Cheap to import: every pytest run does."""

from __future__ import annotations

from typing import Any

import pytest


def uses_llm(item: pytest.Item) -> bool:
    """Return whether an item's fixtures lead to the `llm` of this plugin, not to another one of that name."""
    if "llm" not in getattr(item, "fixturenames", ()):
        return False
    info: Any = getattr(item, "_fixtureinfo", None)
    for fixture in reversed(info.name2fixturedefs.get("llm", ()) if info else ()):
        if fixture.func.__module__ == "pytest_llmcall.plugin":
            return True
        if "llm" not in fixture.argnames:
            return False
    return False
