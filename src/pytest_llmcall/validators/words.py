"""Words and numbers in texts: where one ends and the next begins, what can be seen, how many there are."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

_SIGN: Final = "\\-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
_POINT: Final = ".\uff0e"
_COMMA: Final = re.compile("[,\uff0c]")
_JOINT: Final = f"[{_POINT},\uff0c'\u2019\u02bc\u00b7\u066b\u066c/\u2044\u2215]"
_SPACE_BEFORE_THREE_DIGITS: Final = r"[\u00a0\u2007\u2009\u202f](?=\d{3}(?!\d))"
_NUMBER: Final = re.compile(
    # A sign after a word is a hyphen (`file-42`, `40-42`), unless that is an exponent (`1e-42`); two signs are a dash.
    rf"(?:(?<![\w{_SIGN}])[{_SIGN}]|(?<=\d[eE])[{_SIGN}])?"
    rf"(?:(?<![\w{_POINT}])[{_POINT}])?"
    rf"\d+(?:(?:{_JOINT}|{_SPACE_BEFORE_THREE_DIGITS})\d+)*"
)
_IN_GROUPS: Final = re.compile(r"\D*\d{1,3}(?:[,\uff0c]\d{2,3})*[,\uff0c]\d{3}(?:\.\d+)?")
_BETWEEN_WORDS: Final = re.compile("[\\s\u200b\u2013\u2014\u2015\u2e3a\u2e3b]+|--+")

# Letters and symbols by their category, blanks by their looks.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")


def count_words(text: str) -> int:
    """Return how many words a text has: what stands between white space or dashes and holds a letter or a digit."""
    return sum(any(map(str.isalnum, piece)) for piece in _BETWEEN_WORDS.split(text))


def can_be_seen(text: str) -> bool:
    """Tell whether a text holds anything visible: a letter, digit, sign or symbol that is no blank."""
    return any(unicodedata.category(char)[0] in "LNPS" and char not in _BLANK for char in text)


class Words:
    """The words of a text, to ask whether a piece of it stands alone or is part of a longer word or number."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._numbers: list[tuple[int, int]] | None = None

    def stands_alone(self, start: int, end: int) -> bool:
        """Tell whether neither a word nor a number goes on over the edges of a piece."""
        text = self._text
        if _is_word_character(text[start - 1 : start]) or _is_word_character(text[end : end + 1]):
            return False
        if text[start].isdecimal() and self._number_at(start)[0] < start:
            return False
        return not (text[end - 1].isdecimal() and self._number_at(end - 1)[1] > end)

    def _number_at(self, at: int) -> tuple[int, int]:
        if self._numbers is None:
            self._numbers = list(_numbers(self._text))
        return self._numbers[bisect_right(self._numbers, at, key=lambda number: number[0]) - 1]


def _numbers(text: str) -> Iterator[tuple[int, int]]:
    for match in _NUMBER.finditer(text):
        commas = [each.start() for each in _COMMA.finditer(text, match.start(), match.end())]
        if len(commas) < 2 or _IN_GROUPS.fullmatch(match[0]):
            yield match.span()
            continue
        # `1,2,3` is a list; `1,2` may be a number with a decimal comma.
        starts = [match.start(), *(at + 1 for at in commas)]
        yield from zip(starts, [*commas, match.end()], strict=True)


def _is_word_character(char: str) -> bool:
    # Marks belong to the letter before them: without them a vowel sign would end a word of Hindi.
    return char != "" and (char.isalnum() or char == "_" or unicodedata.category(char).startswith("M"))
