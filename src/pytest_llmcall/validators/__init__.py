"""Validators judge a reply: the built-in ones by name, for case files and for Python alike.

In Python: `from pytest_llmcall import validators as v`, then `v.contains("42", whole_word=True)`.
To add one: derive a class from `base.BuiltIn` (see `text.py`), and list it in `registry.py`. A fixture needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmcall.validators.base import BuiltIn, ParameterError, ParameterProblem
    from pytest_llmcall.validators.registry import (
        BUILT_IN,
        build,
        contains,
        equals,
        field,
        json,
        json_schema,
        max_length,
        max_words,
        min_length,
        min_words,
        names,
        nearest,
        not_contains,
        not_empty,
        regex,
    )

__all__ = [
    "BUILT_IN",
    "BuiltIn",
    "ParameterError",
    "ParameterProblem",
    "build",
    "contains",
    "equals",
    "field",
    "json",
    "json_schema",
    "max_length",
    "max_words",
    "min_length",
    "min_words",
    "names",
    "nearest",
    "not_contains",
    "not_empty",
    "regex",
]

if not TYPE_CHECKING:  # a type checker would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        """Load the validators when one is first named: their parameters are checked by pydantic, which takes long."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.registry"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
