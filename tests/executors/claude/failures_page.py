"""docs/failures.md, read: each row of its tables says how a failure is shown and names the tests that cause it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "failures.md"
ROW = re.compile(r"^\| (?P<number>[\d, ]+|-) \| (?P<ends>\w[\w ]*) \| (?P<line>.+?) \| .+? \| .+? \| (?P<tests>.+) \|$")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the page."""

    numbers: tuple[int, ...]
    ends: str
    line: str
    tests: tuple[str, ...]

    @property
    def pattern(self) -> str:
        """The line as a pattern: `…` stands for anything."""
        shown = "" if self.line == "nothing" else self.line.removeprefix("`").removesuffix("`")
        return ".*".join(map(re.escape, shown.split("…")))


def rows() -> list[Row]:
    """Return the rows of all tables of the page."""
    found = map(ROW.match, PAGE.read_text(encoding="utf-8").splitlines())
    return [
        Row(
            tuple(int(number) for number in re.findall(r"\d+", each["number"])),
            each["ends"],
            each["line"],
            tuple(re.findall(r"`([^`]+)`", each["tests"])),
        )
        for each in found
        if each
    ]
