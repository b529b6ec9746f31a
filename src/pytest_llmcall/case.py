"""A Case: an id, a Call, its Validators, and the place in a file that it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_llmcall.call import Call
from pytest_llmcall.errors import Source
from pytest_llmcall.verdict import Validator


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A pytest mark of a case, by name; the plugin turns it into a real one."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomCheck:
    """A check that a pytest fixture of the same name provides when the case runs."""

    name: str
    params: Mapping[str, Any]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of a case file.

    Attributes:
        checks: Validators in the order of the file; a CustomCheck stands for a fixture's validator.
        needs: What must be there for the case to make sense: `tools`, `judge`, `capable-model`, `network`,
            `env:NAME`, `command:NAME`.
    """

    id: str
    call: Call
    source: Source
    description: str = ""
    checks: tuple[Validator | CustomCheck, ...] = ()
    marks: tuple[Mark, ...] = ()
    needs: tuple[str, ...] = ()
