"""Fills `${NAME}` (the environment) and `{{name}}` (our own values) in a text; `$${` stands for `${` itself."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pytest_llmcall.validators.wording import unknown

_SPOT: Final = re.compile(r"\$\$\{|\$\{(?P<variable>[^}]*)\}|\{\{\s*(?P<value>[^{}]*?)\s*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """What texts are filled with.

    Attributes:
        values: Our own values by name.
        may_be_unset: Variables that the case names in `needs: [env:NAME]`. Without them it is skipped, so that an
            unset one is no problem.
    """

    values: Mapping[str, str]
    may_be_unset: frozenset[str] = frozenset()

    def fill(self, text: str, on_problem: Callable[[str], None]) -> str:
        """Return a text with everything filled; a spot that cannot be filled is told, and stays."""

        def fill_spot(spot: re.Match[str]) -> str:
            if spot["variable"] is not None:
                return self._variable(spot, on_problem)
            if spot["value"] is None:
                return "${"
            if spot["value"] not in self.values:
                on_problem(unknown("value", spot[0], ["{{" + name + "}}" for name in self.values]))
            return self.values.get(spot["value"], spot[0])

        return _SPOT.sub(fill_spot, text)

    def _variable(self, spot: re.Match[str], on_problem: Callable[[str], None]) -> str:
        name = spot["variable"]
        if name not in os.environ and name not in self.may_be_unset:
            needs = f"set it, or let the case say `needs: [env:{name}]` to be skipped without it"
            on_problem(f"the environment variable {name} is not set; {needs}" if name else "${} names no variable")
        return os.environ.get(name, spot[0])


def values_for(path: Path) -> dict[str, str]:
    """Return our own values for a case file: `python`, this interpreter, and `dir`, the file's folder."""
    return {"python": sys.executable, "dir": str(path.absolute().parent)}
