"""Validators of the reply's text: what it contains, equals and matches, and how long it is.

Texts are compared in Unicode's composed form (NFC), patterns and texts that they search included, so that an accent
matches however it was written. Lengths are counted as the text came.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from pytest_llmcall.reply import MISSING, Reply
from pytest_llmcall.validators.base import (
    PARAMETERS,
    BuiltIn,
    Count,
    Flag,
    Kind,
    ParameterError,
    ParameterProblem,
    Text,
)
from pytest_llmcall.validators.patterns import Pattern, comparable, compile_pattern, matches_everything
from pytest_llmcall.validators.wording import EXCERPT, quote, show
from pytest_llmcall.validators.words import Words, can_be_seen, count_words
from pytest_llmcall.verdict import Verdict

_Several = Annotated[list[Text], Field(min_length=1)] | Annotated[tuple[Text, ...], Field(min_length=1)]
Texts = Annotated[Text | _Several, Kind("a text that is not empty, or a list of such texts")]


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class Contains(BuiltIn):
    """The text contains a text, or all of several texts."""

    name: ClassVar[str] = "contains"

    text: Texts
    _: KW_ONLY
    ignore_case: Flag = False
    whole_word: Flag = False

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if every text is there."""
        text = comparable(reply.text, ignore_case=self.ignore_case)
        missing = [each for each in _listed(self.text) if _find(text, self, each) is None]
        if missing:
            return self.verdict(False, f"wanted {_quoted(missing)}{_options(self)}, found {quote(reply.text)}")
        return self.verdict(True, f"found {_quoted(_listed(self.text))}{_options(self)}")


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class NotContains(BuiltIn):
    """The text contains a text not, or none of several texts."""

    name: ClassVar[str] = "not_contains"

    text: Texts
    _: KW_ONLY
    ignore_case: Flag = False
    whole_word: Flag = False

    def judge(self, reply: Reply) -> Verdict:
        """Say no if one of the texts is there, and show where."""
        text = comparable(reply.text, ignore_case=self.ignore_case)
        found = [(each, at) for each in _listed(self.text) if (at := _find(text, self, each)) is not None]
        if not found:
            return self.verdict(True, f"found no {_quoted(_listed(self.text), ' and no ')}{_options(self)}")
        places = "; ".join(f"found {quote(each)} at character {at + 1}: {_around(text, at)}" for each, at in found)
        return self.verdict(False, f"wanted no {_quoted([each for each, _ in found], ' and no ')}, {places}")


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class Equals(BuiltIn):
    """The text is exactly this one."""

    name: ClassVar[str] = "equals"

    text: Annotated[str, Kind("a text")]
    _: KW_ONLY
    ignore_case: Flag = False
    strip: Flag = False

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if the texts are the same."""
        found, wanted = (comparable(each, ignore_case=self.ignore_case) for each in (reply.text, self.text))
        if self.strip:
            found, wanted = found.strip(), wanted.strip()
        if found == wanted:
            return self.verdict(True, f"is {quote(self.text)}")
        if found.strip() == wanted.strip():
            hint = "; only white space around it differs (`strip: true` ignores that)"
        elif len(found) > EXCERPT and len(wanted) > EXCERPT:
            hint = f"; they differ from character {_first_difference(found, wanted) + 1} on"
        else:
            hint = ""
        return self.verdict(False, f"wanted {quote(self.text)}, found {quote(reply.text)}{hint}")


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class Regex(BuiltIn):
    """The text matches a regular expression of Python's, anywhere or (`full`) as a whole."""

    name: ClassVar[str] = "regex"

    pattern: Pattern
    _: KW_ONLY
    ignore_case: Flag = False
    multiline: Flag = False
    dotall: Flag = False
    full: Flag = False

    def __post_init__(self) -> None:
        """Refuse a pattern that cannot say no."""
        if matches_everything(self.pattern, self._flags, full=self.full):
            remedy = "" if self.full else "; anchor it or ask for `full: true`"
            message = f"{self.pattern!r} matches every text, so it cannot say no{remedy}"
            raise ParameterError(self.name, [ParameterProblem(path=("pattern",), message=message)])

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if the pattern matches."""
        pattern = compile_pattern(self.pattern, self._flags)
        text = comparable(reply.text)
        match = pattern.fullmatch(text) if self.full else pattern.search(text)
        whole = "the whole text to match" if self.full else "a match of"
        if match is None:
            return self.verdict(False, f"wanted {whole} {quote(self.pattern)}, found {quote(reply.text)}")
        return self.verdict(True, f"{quote(self.pattern)} matches {quote(match[0])} at character {match.start() + 1}")

    @property
    def _flags(self) -> re.RegexFlag:
        chosen = {re.IGNORECASE: self.ignore_case, re.MULTILINE: self.multiline, re.DOTALL: self.dotall}
        return re.RegexFlag(sum(flag for flag, on in chosen.items() if on))


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class MinWords(BuiltIn):
    """The text has at least so many words."""

    name: ClassVar[str] = "min_words"

    count: Count

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if there are enough words."""
        return _bounded(self, reply, count_words(reply.text), "word", at_least=self.count)


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class MaxWords(BuiltIn):
    """The text has at most so many words."""

    name: ClassVar[str] = "max_words"

    count: Count

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if there are not too many words."""
        return _bounded(self, reply, count_words(reply.text), "word", at_most=self.count)


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class MinLength(BuiltIn):
    """The text has at least so many characters."""

    name: ClassVar[str] = "min_length"

    count: Count

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if there are enough characters."""
        return _bounded(self, reply, len(reply.text), "character", at_least=self.count)


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class MaxLength(BuiltIn):
    """The text has at most so many characters."""

    name: ClassVar[str] = "max_length"

    count: Count

    def judge(self, reply: Reply) -> Verdict:
        """Say yes if there are not too many characters."""
        return _bounded(self, reply, len(reply.text), "character", at_most=self.count)


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class NotEmpty(BuiltIn):
    """The reply says something: its text holds something visible, or structured data came that is not empty."""

    name: ClassVar[str] = "not_empty"

    def judge(self, reply: Reply) -> Verdict:
        """Say no to white space, blanks and invisible characters alone."""
        if can_be_seen(reply.text):
            return self.verdict(True, f"found {quote(reply.text)}")
        if reply.data not in (MISSING, None, "", [], {}):
            return self.verdict(True, f"the text is empty, the structured data is {show(reply.data)}")
        found = "an empty reply" if not reply.text else f"nothing that can be seen: {quote(reply.text)}"
        return self.verdict(False, f"wanted a reply that is not empty, found {found}")


def _listed(text: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def _find(text: str, asked: Contains | NotContains, wanted: str) -> int | None:
    wanted = comparable(wanted, ignore_case=asked.ignore_case)
    words = Words(text)
    at = text.find(wanted)
    while at >= 0:
        if not asked.whole_word or words.stands_alone(at, at + len(wanted)):
            return at
        at = text.find(wanted, at + 1)
    return None


def _around(text: str, at: int) -> str:
    start = max(0, at - EXCERPT // 4)
    piece = text[start : start + EXCERPT]
    return f"{'…' if start else ''}{piece!r}{'…' if start + EXCERPT < len(text) else ''}"


def _quoted(texts: list[str] | tuple[str, ...], joint: str = " and ") -> str:
    return joint.join(map(quote, texts))


def _options(asked: Contains | NotContains) -> str:
    chosen = {"as a whole word": asked.whole_word, "in any case": asked.ignore_case}
    words = " ".join(words for words, on in chosen.items() if on)
    return f" {words}" if words else ""


def _first_difference(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _bounded(
    asked: MinWords | MaxWords | MinLength | MaxLength,
    reply: Reply,
    found: int,
    unit: str,
    *,
    at_least: int = 0,
    at_most: float = float("inf"),
) -> Verdict:
    wanted = f"at least {at_least:,}" if at_least else f"at most {at_most:,}"
    passed = at_least <= found <= at_most
    plural = "" if found == 1 else "s"
    reason = f"wanted {wanted} {unit}{'' if asked.count == 1 else 's'}, found {found:,} {unit}{plural}"
    return asked.verdict(passed, reason if passed else f"{reason}: {quote(reply.text)}")
