"""Text validators: tables of (validator, reply, verdict, a part of the reason)."""

from __future__ import annotations

import pytest

from pytest_llmcall import Reply, Validator
from pytest_llmcall import validators as v

YES, NO = True, False
Row = tuple[Validator, str, bool, str]


def check(row: Row) -> None:
    validator, text, passed, reason = row
    verdict = validator.judge(Reply(text=text, model="m"))
    assert not hasattr(verdict, "__await__")
    assert verdict.passed is passed, verdict
    assert verdict.validator == validator.name
    assert reason in verdict.reason


CONTAINS: list[Row] = [
    (v.contains("Paris"), "It is Paris.", YES, "'Paris'"),
    (v.contains("Paris"), "It is paris.", NO, "wanted 'Paris', found 'It is paris.'"),
    (v.contains("Paris"), "", NO, "found ''"),
    (v.contains("paris", ignore_case=True), "PARIS", YES, "in any case"),
    (v.contains("straße", ignore_case=True), "STRASSE", YES, "in any case"),
    (v.contains("paris", ignore_case=True), "London", NO, "in any case"),
    (v.contains(["a", "b"]), "a b", YES, "'a' and 'b'"),
    (v.contains(["a", "b", "c"]), "a", NO, "wanted 'b' and 'c'"),
    (v.contains("caf\u00e9"), "cafe\u0301", YES, ""),
    (v.contains("cafe"), "cafe\u0301", NO, ""),
    (v.contains("4", whole_word=True), "2 + 2 = 4.", YES, "as a whole word"),
    (v.contains("4", whole_word=True), "1,2,3,4", YES, ""),
    (v.contains("4", whole_word=True), "14", NO, "as a whole word"),
    (v.contains("4", whole_word=True), "4th", NO, ""),
    (v.contains("4", whole_word=True), "x_4", NO, ""),
    (v.contains("42", whole_word=True), "42.5", NO, ""),
    (v.contains("42", whole_word=True), "1.42", NO, ""),
    (v.contains("42", whole_word=True), "42,000", NO, ""),
    (v.contains("42", whole_word=True), "it is -42", NO, ""),
    (v.contains("42", whole_word=True), "-42", NO, ""),
    (v.contains("42", whole_word=True), "it is \u221242", NO, ""),
    (v.contains("42", whole_word=True), "41-42", YES, ""),
    (v.contains("42", whole_word=True), "142, then 42", YES, ""),
    (v.contains("-42", whole_word=True), "it is -42", YES, ""),
    (v.contains("C++", whole_word=True), "C++, of course", YES, ""),
    (v.contains("C++", whole_word=True), "C++20", NO, ""),
    (v.contains(".NET", whole_word=True), "use .NET!", YES, ""),
    (v.contains(".NET", whole_word=True), "ASP.NET", NO, ""),
    (v.contains("élan", whole_word=True), "mélange", NO, ""),
    (v.contains("हिन्द", whole_word=True), "हिन्दी", NO, ""),
    (v.contains("Ő", whole_word=True), "az Ő.", YES, ""),
]

LONGER = [
    ("500", "12,500"),
    ("000", "42,000"),
    ("5", "it is .5"),
    ("5", "-.5"),
    ("42", "42,5"),
    ("42", "42\u202f000"),
    ("000", "42\u202f000"),
    ("42", "42\u00a0000"),
    ("42", "42'000"),
    ("42", "42\u2019000"),
    ("42", "42/7"),
    ("7", "42/7"),
    ("42", "42\uff0e5"),
    ("42", "\u201342"),
    ("42", "\u221242"),
    ("42", "it is \u201342"),
    ("42", "(-42)"),
    ("42", "x=-42"),
    ("42", "1e-42"),
    ("42", "1E\u221242"),
    ("42", "42e5"),
    ("42", "42,0001"),
    ("42", "42.5"),
    ("1", "1.2.3"),
    ("2", "1.2.3"),
    ("234", "1,234,567"),
    ("34", "12,34,567"),
    ("1", "1,234,567.89"),
    ("42", "42,43"),
    ("42", "42\u00bd"),
    ("42 km", "1,42 km"),
    ("about 42", "about 42.5"),
    ("42", "42\u066b5"),
]

ALONE = [
    ("42", "It is 42."),
    ("42", "42, 43"),
    ("42", "(42)"),
    ("42", "42%"),
    ("42", "$42"),
    ("42", "x=42"),
    ("42", "is 42!"),
    ("42", "40-42"),
    ("40", "40-42"),
    ("42", "40\u201342"),
    ("42", "- 42"),
    ("42", "the answer--42"),
    ("42", "file-42"),
    ("42", "12:42"),
    ("42", "wait...42"),
    ("42", "No.42"),
    ("42", "41,42,43"),
    ("2.5", "1.5,2.5,3.5"),
    ("43", "41,42,43"),
    ("12,500", "it is 12,500."),
    ("-42", "it is -42"),
    ("42", "142 or 4.2 or 42"),
    ("42", "42 000"),
    ("42", "in\u00a042\u00a0days"),
    (".5", "it is .5"),
    ("42", "42\u00a02023"),
]

NUMBERS: list[tuple[str, str, bool]] = [
    *((wanted, text, NO) for wanted, text in LONGER),
    *((wanted, text, YES) for wanted, text in ALONE),
]

NOT_CONTAINS: list[Row] = [
    (v.not_contains("sorry"), "Sure.", YES, "found no 'sorry'"),
    (v.not_contains("sorry"), "", YES, ""),
    (v.not_contains("sorry"), "I am sorry.", NO, "found 'sorry' at character 6: 'I am sorry.'"),
    (v.not_contains(["a", "b"]), "cd", YES, ""),
    (v.not_contains(["a", "b"]), "c b", NO, "wanted no 'b'"),
    (v.not_contains("Sorry", ignore_case=True), "so SORRY", NO, ""),
    (v.not_contains("\n"), "one\ntwo", NO, ""),
    (v.not_contains("as", whole_word=True), "was", YES, ""),
    (v.not_contains("as", whole_word=True), "as it is", NO, ""),
]

EQUALS: list[Row] = [
    (v.equals("Paris"), "Paris", YES, "is 'Paris'"),
    (v.equals(""), "", YES, ""),
    (v.equals(""), " ", NO, ""),
    (v.equals("Paris"), "Paris.", NO, "wanted 'Paris', found 'Paris.'"),
    (v.equals("Paris"), "Paris\n", NO, "`strip: true`"),
    (v.equals("Paris", strip=True), " Paris\n", YES, ""),
    (v.equals("Paris"), "paris", NO, ""),
    (v.equals("Paris", ignore_case=True), "PARIS", YES, ""),
    (v.equals("\u00e9"), "e\u0301", YES, ""),
    (v.equals("a" * 300 + "b"), "a" * 300 + "c", NO, "from character 301 on"),
]

REGEX: list[Row] = [
    (v.regex(r"\d+"), "it is 42", YES, "matches '42' at character 7"),
    (v.regex(r"\d+"), "no number", NO, "found 'no number'"),
    (v.regex(r"^\d+$"), "it is 42", NO, ""),
    (v.regex(r"\d+", full=True), "42", YES, ""),
    (v.regex(r"\d+", full=True), "42 ", NO, "the whole text"),
    (v.regex("paris", ignore_case=True), "PARIS", YES, ""),
    (v.regex("paris"), "PARIS", NO, ""),
    (v.regex("^b", multiline=True), "a\nb", YES, ""),
    (v.regex("^b"), "a\nb", NO, ""),
    (v.regex("a.b", dotall=True), "a\nb", YES, ""),
    (v.regex("a.b"), "a\nb", NO, ""),
    (v.regex("^(?!.*sorry)"), "so sorry", NO, ""),
    (v.regex("[[a]b"), "[b", YES, ""),
    (v.regex("^caf\u00e9$"), "cafe\u0301", YES, ""),
    (v.regex("^cafe\u0301$"), "caf\u00e9", YES, ""),
    (v.regex("caf.", full=True), "cafe\u0301", YES, ""),
]

COUNTS: list[Row] = [
    (v.max_words(3), "apple, banana, cherry", YES, "wanted at most 3 words, found 3 words"),
    (v.max_words(3), "- apple\n- banana\n- cherry", YES, "found 3 words"),
    (v.max_words(3), "one two three four", NO, "found 4 words: 'one two three four'"),
    (v.max_words(1), "one two", NO, "wanted at most 1 word, found 2 words"),
    (v.min_words(3), "one two three", YES, ""),
    (v.min_words(3), "one two -", NO, "wanted at least 3 words, found 2 words"),
    (v.max_words(1), "one\u2014two\u2014three", NO, "found 3 words"),
    (v.max_words(1), "one\u2013two", NO, "found 2 words"),
    (v.max_words(1), "one--two", NO, "found 2 words"),
    (v.max_words(1), "one\u200btwo", NO, "found 2 words"),
    (v.max_words(1), "well-known", YES, "found 1 word"),
    (v.min_words(1), "", NO, "found 0 words"),
    (v.min_words(1), " … ", NO, ""),
    (v.min_length(3), "abc", YES, "found 3 characters"),
    (v.min_length(3), "ab", NO, "wanted at least 3 characters, found 2 characters: 'ab'"),
    (v.max_length(3), "äöü", YES, ""),
    (v.max_length(3), "abc\n", NO, "found 4 characters"),
]

BLANKS = (
    "\u2800",
    "\u3164",
    "\uffa0",
    "\u115f",
    "\u1160",
    "\ufe0f",
    "\u200b",
    "\u200d",
    "\u2060",
    "\u00ad",
    "\u00a0\u3000",
    "\u034f",
    "\U000e0061",
)

NOT_EMPTY: list[Row] = [
    (v.not_empty(), "x", YES, "found 'x'"),
    (v.not_empty(), " . ", YES, ""),
    (v.not_empty(), "", NO, "an empty reply"),
    (v.not_empty(), " \n\t", NO, "nothing that can be seen"),
    (v.not_empty(), "\u200b\ufeff", NO, "nothing that can be seen"),
    *((v.not_empty(), blank, NO, "nothing that can be seen") for blank in BLANKS),
    *((v.not_empty(), seen, YES, "") for seen in ("\u4e2d", "\U0001f600", "\u2764\ufe0f", "\u2801", "$", "e\u0301")),
]


@pytest.mark.parametrize("row", [*CONTAINS, *NOT_CONTAINS, *EQUALS, *REGEX, *COUNTS, *NOT_EMPTY], ids=repr)
def test_text_is_judged_as_the_table_says(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(("wanted", "text", "passed"), NUMBERS)
def test_a_number_is_no_part_of_a_longer_one(wanted: str, text: str, *, passed: bool) -> None:
    reply = Reply(text=text, model="m")
    assert v.contains(wanted, whole_word=True).judge(reply).passed is passed
    assert v.not_contains(wanted, whole_word=True).judge(reply).passed is not passed
    assert v.contains(wanted).judge(reply).passed


def test_a_long_text_of_numbers_is_searched_once() -> None:
    assert not v.contains("5", whole_word=True).judge(Reply(text="5." * 300_000 + "5", model="m")).passed


def test_structured_data_alone_is_not_empty() -> None:
    assert v.not_empty().judge(Reply(text="", model="m", data={"a": 1})).passed


@pytest.mark.parametrize("data", [None, "", [], {}])
def test_empty_structured_data_is_empty(data: object) -> None:
    assert not v.not_empty().judge(Reply(text="", model="m", data=data)).passed


def test_a_long_text_is_cut_and_the_cut_is_said() -> None:
    reason = v.contains("x").judge(Reply(text="a" * 5000, model="m")).reason
    assert "(cut: the first 200 of 5,000 characters)" in reason
    assert len(reason) < 400


@pytest.mark.parametrize(
    ("wanted", "found", "reason"),
    [
        ("Paris", "paris", "wanted 'Paris', found 'paris'"),
        ("Paris", "b" * 201, None),
        ("a" * 200, "b" * 201, None),
        ("a" * 201, "b" * 200, None),
    ],
)
def test_only_two_long_texts_need_the_place_where_they_differ(wanted: str, found: str, reason: str | None) -> None:
    verdict = v.equals(wanted).judge(Reply(text=found, model="m"))
    assert "they differ from" not in verdict.reason
    assert reason in (None, verdict.reason)


def test_the_place_of_a_forbidden_text_is_shown_out_of_a_long_one() -> None:
    verdict = v.not_contains("sorry").judge(Reply(text="a" * 5000 + "sorry" + "b" * 5000, model="m"))
    assert "at character 5001" in verdict.reason
    assert "sorrybbb" in verdict.reason
    assert len(verdict.reason) < 400
