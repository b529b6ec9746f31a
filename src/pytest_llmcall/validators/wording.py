"""The words of reasons and problems: values are quoted and cut, an unknown name comes with the nearest known one."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from typing import Final

EXCERPT: Final = 200
"""Characters of a text that a reason shows at most."""


def nearest_of(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like another, or None if none is like it."""
    by_folded = {each.casefold(): each for each in known}
    matches = difflib.get_close_matches(word.casefold(), by_folded, n=1)
    return by_folded[matches[0]] if matches else None


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """Return the message for a word that is not known, with the nearest one and all known ones."""
    known = tuple(known)
    near = nearest_of(word, known)
    hint = f" Did you mean {near!r}?" if near else ""
    listed = f"Known: {', '.join(known)}" if known else "There are none"
    return f"unknown {what} {word!r}.{hint} {listed}"


def quote(text: str) -> str:
    """Return a text in quotes, cut to `EXCERPT` characters; a cut is said."""
    return repr(text) if len(text) <= EXCERPT else f"{text[:EXCERPT]!r} {_cut_note(text)}"


def cut(text: str) -> str:
    """Return a text without quotes, cut like `quote`."""
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]} {_cut_note(text)}"


def show(value: object) -> str:
    """Return a value as JSON, cut like `quote`; what is not JSON is shown as Python does."""
    try:
        return cut(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return cut(repr(value))
    except RecursionError:
        return "a value that is nested too deeply to be shown"


def _cut_note(text: str) -> str:
    return f"(cut: the first {EXCERPT} of {len(text):,} characters)"
