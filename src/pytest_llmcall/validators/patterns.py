"""Regular expressions as parameters: compiled when the validator is made, and searched for those that cannot say no."""

from __future__ import annotations

import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import AfterValidator

from pytest_llmcall.validators.base import Kind, ParameterProblem, Text, unfit

_LOOKS_AROUND: Final = re.compile(r"[\^$]|\\[AZbB]|\(\?(?:[=!]|<[=!])")
_FORBIDS: Final = re.compile(r"\(\?<?!")
_LIMITS: Final = re.compile(r"\{\d*,?\d+\}")
_ANCHOR: Final = re.compile(r"\^|\\A")

_CHARACTERS: Final = (
    *map(chr, range(128)),
    *"\u00a0\u00e9\u00df\u0142\u0301\u03a9\u0416\u05d0\u0627\u0905\u0e01\u1e00\u200b\u2014\u20ac\u2192\u2260\u2800",
    *"\u3042\u30a2\u4e2d\uac00\ud800\ue000\uff21\ufffd\U0001f600\U00020000",
)
_PAIRED: Final = 30


def compile_pattern(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Return the compiled pattern.

    Raises:
        re.error: It is no regular expression.
    """
    with warnings.catch_warnings():
        # "Possible nested set": a hint at some later Python, which a suite with `-W error` would take for a crash.
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(pattern, flags)


def comparable(text: str, *, ignore_case: bool = False) -> str:
    """Return a text in the form in which texts are compared."""
    composed = unicodedata.normalize("NFC", text)
    return unicodedata.normalize("NFC", composed.casefold()) if ignore_case else composed


def matches_everything(pattern: str, flags: re.RegexFlag = re.NOFLAG, *, full: bool = False) -> bool:
    r"""Tell whether a pattern fits every text, where that is certain or has been tried with many unlike texts.

    Without anything that looks around itself (`^ $ \b (?=`), a pattern that matches the empty text is found at the end
    of every text. What forbids a text (`(?!`) or limits the length (`^.{0,500}$`) is not tried: it may say no to that.
    """
    compiled = compile_pattern(pattern, flags)
    fits = compiled.fullmatch if full else compiled.search
    if fits("") is None:
        return False
    rest = _ANCHOR.sub("", pattern, count=1) if _ANCHOR.match(pattern) else pattern
    if not full and not _LOOKS_AROUND.search(rest.replace("[^", "[")):
        return True
    if _FORBIDS.search(pattern) or (_LIMITS.search(pattern) and (full or _ANCHOR.search(pattern))):
        return False
    return all(fits(text) for text in _trials(pattern))


def _trials(pattern: str) -> Iterator[str]:
    # All of them short: a pattern may backtrack without end on a long one, which nobody may ever send.
    own = _own_characters(pattern)
    yield from (*_CHARACTERS, *own)
    yield from ("a\n", "\na", "a\nb", "\n\n", "a b", " a ", "a1", "1a", "aa", "42", "!?")
    yield from (one + other for one in own[:_PAIRED] for other in own[:_PAIRED])
    yield pattern


def _own_characters(pattern: str) -> list[str]:
    escaped = re.findall(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))", pattern)
    codes = [int("".join(each), 16) for each in escaped]
    return list(dict.fromkeys((*pattern, *(chr(code) for code in codes if code <= sys.maxunicode))))


def _compilable(pattern: str) -> str:
    pattern = comparable(pattern)
    try:
        compile_pattern(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        message = f"{pattern!r} is not a regular expression: {error.msg}{where}"
    except (OverflowError, RecursionError) as error:
        message = f"{pattern!r} is not a usable regular expression: {error}"
    else:
        return pattern
    raise unfit(ParameterProblem(path=(), message=message))


Pattern = Annotated[Text, AfterValidator(_compilable), Kind("a regular expression that is not empty")]
