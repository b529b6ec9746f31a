"""JSON validators: tables of (validator, reply, verdict, a part of the reason)."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmcall import Reply
from pytest_llmcall import validators as v
from pytest_llmcall.validators.base import BuiltIn
from pytest_llmcall.validators.paths import format_path, parse_path

YES, NO = True, False
Row = tuple[BuiltIn, str, bool, str]
FENCED = "```json\n{}\n```"

JSON: list[Row] = [
    (v.json(), '{"a": 1}', YES, 'is JSON: {"a": 1}'),
    (v.json(), " [1]\n", YES, ""),
    (v.json(), "null", YES, ""),
    (v.json(), "", NO, "empty"),
    (v.json(), "Here it is: {}", NO, "not JSON"),
    (v.json(), "{} and more", NO, "Extra data"),
    (v.json(), FENCED, NO, "`fenced: true`"),
    (v.json(), "{'a': 1}", NO, "line 1, column 2"),
    (v.json(), "[NaN]", NO, "NaN is not a JSON value"),
    (v.json(), "[-Infinity]", NO, "-Infinity"),
    (v.json(), '{"a": 1, "a": 2}', NO, "'a' stands twice"),
    (v.json(), "{} // comment", NO, ""),
    (v.json(), "[1,]", NO, ""),
    (v.json(), "\ufeff{}", NO, ""),
    (v.json(), "[" * 100_000, NO, ""),
    (v.json(fenced=True), FENCED, YES, ""),
    (v.json(fenced=True), "```\n{}\n```\n", YES, ""),
    (v.json(fenced=True), "```json\r\n{}\r\n```\r\n", YES, ""),
    (v.json(fenced=True), "~~~JSON\n{}\n~~~", YES, ""),
    (v.json(fenced=True), "{}", YES, ""),
    (v.json(fenced=True), '{"a": "```"}', YES, ""),
    (v.json(fenced=True), f"Sure!\n{FENCED}", NO, "more than the fenced block: 'Sure!'"),
    (v.json(fenced=True), f"{FENCED}\n{FENCED}", NO, "2 fenced blocks"),
    (v.json(fenced=True), "```python\n{}\n```", NO, "marked 'python'"),
    (v.json(fenced=True), "```json\n{", NO, ""),
    (v.json(fenced=True), "```json\nprose\n```", NO, ""),
    (v.json(fenced=True), "```json\n```", NO, "empty"),
]

PERSON = {
    "type": "object",
    "required": ["name", "age"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "mail": {"format": "email"}},
    "additionalProperties": False,
}

TREE = {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"multipleOf": 0.1}}}

SCHEMA: list[Row] = [
    (v.json_schema(PERSON), '{"name": "John", "age": 30}', YES, "follows the schema"),
    (v.json_schema(PERSON), '{"name": "John", "age": 30.0}', YES, ""),
    (v.json_schema(PERSON), '{"name": "John", "age": true}', NO, "at age: True is not of type 'integer'"),
    (v.json_schema(PERSON), '{"name": 1, "age": "x"}', NO, "at name: 1 is not of type 'string'"),
    (v.json_schema(PERSON), '{"name": 1, "age": "x"}', NO, "at age: 'x' is not of type 'integer'"),
    (v.json_schema(PERSON), "{}", NO, "at $: 'name' is a required property"),
    (v.json_schema(PERSON), "[]", NO, "at $"),
    (v.json_schema(PERSON), "prose", NO, "not JSON"),
    (v.json_schema(PERSON), '{"name": "J", "age": 3, "mail": "at home"}', NO, "at mail: 'at home' is not a 'email'"),
    (v.json_schema(PERSON), '{"name": "J", "age": 3, "x": 1}', NO, "'x' was unexpected"),
    (v.json_schema(PERSON, fenced=True), '```json\n{"name": "J", "age": 3}\n```', YES, ""),
    (v.json_schema({"type": "array", "items": {"type": "integer"}}), "[1, 2]", YES, ""),
    (v.json_schema({"type": "array", "items": {"type": "integer"}}), '[1, "b"]', NO, "at [1]"),
    (v.json_schema({"anyOf": [{"type": "string"}, {"minimum": 3}]}), "2", NO, "branch 1, at $"),
    (v.json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}), '"x"', YES, ""),
    (v.json_schema({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}), "1", NO, ""),
    (
        v.json_schema({"$schema": "http://json-schema.org/draft-04/schema#", "maximum": 3, "exclusiveMaximum": True}),
        "3",
        NO,
        "",
    ),
    (v.json_schema({"enum": [1]}), "true", NO, ""),
    (v.json_schema({"multipleOf": 0.01}), "19.99", YES, ""),
    (v.json_schema({"multipleOf": 0.01}), "19.999", NO, "19.999 is not a multiple of 0.01"),
    (v.json_schema({"multipleOf": 0.01}), "1e308", YES, ""),
    (v.json_schema({"multipleOf": 0.01}), "1e400", NO, "too large"),
    (v.json_schema({"multipleOf": 2}), "1e400", NO, "too large"),
    (v.json_schema({"multipleOf": 2}), "6.0", YES, ""),
    (v.json_schema({"multipleOf": 2}), "7", NO, ""),
    (v.json_schema({"multipleOf": 2}), '"7"', YES, ""),
    (v.json_schema({"uniqueItems": True}), "[1, true, 0, false]", YES, ""),
    (v.json_schema({"uniqueItems": True}), "[1, 1.0]", NO, "not unique"),
    (v.json_schema({"uniqueItems": True}), "[true, true]", NO, ""),
    (v.json_schema({"uniqueItems": True}), "[[1], [true]]", YES, ""),
    (v.json_schema({"uniqueItems": True}), "[[1], [true], [1]]", NO, ""),
    (v.json_schema({"uniqueItems": True}), '[{"a": 1, "b": 2}, {"b": 2, "a": 1.0}]', NO, ""),
    (v.json_schema({"uniqueItems": True}), '["1", 1, null]', YES, ""),
    (v.json_schema({"pattern": r"^\d+$"}), '"12"', YES, ""),
    (v.json_schema({"pattern": r"^\d+$"}), '"12\\n"', NO, "does not match"),
    (v.json_schema({"pattern": r"^\d+$"}), '"\u0664\u0662"', NO, ""),
    (v.json_schema({"pattern": r"^[\d$]+$"}), '"1$"', YES, ""),
    (v.json_schema({"pattern": r"^[\d$]+$"}), '"\u0664"', NO, ""),
    (v.json_schema({"pattern": r"^[]$]$"}), '"$"', YES, ""),
    (v.json_schema({"pattern": r"^[^]$]\[$"}), '"a["', YES, ""),
    (v.json_schema({"pattern": r"^[^]$]\[$"}), '"$["', NO, ""),
    (v.json_schema({"pattern": r"^[[]\d$"}), '"[1\\n"', NO, ""),
    (v.json_schema({"pattern": r"^\$\w$"}), '"$a"', YES, ""),
    (v.json_schema({"pattern": r"^\W\D$"}), '"\u00e9\u0664"', YES, ""),
    (v.json_schema({"patternProperties": {"^a$": {"type": "string"}}}), '{"a": 1}', NO, "at a: 1 is not"),
    (v.json_schema({"patternProperties": {"^a$": {"type": "string"}}}), '{"a\\n": 1}', YES, ""),
    (
        v.json_schema({**TREE, "$schema": "https://json-schema.org/draft/2020-12/schema"}),
        '{"a": {"a": {"b": 0.3}}}',
        YES,
        "",
    ),
    (v.json_schema(TREE), '{"a": {"b": 0.35}}', NO, "at a.b: 0.35 is not a multiple of 0.1"),
]

FORMATS: list[tuple[str, str, bool]] = [
    ("date", "2024-02-29", YES),
    ("date", "2023-02-29", NO),
    ("date", "20240229", NO),
    ("date-time", "2024-02-29T12:00:00Z", YES),
    ("date-time", "2024-02-29T12:00:00.5+02:00", YES),
    ("date-time", "2024-02-29 12:00", NO),
    ("date-time", "2024-02-29T12:00:00", NO),
    ("date-time", "2024-02-30T12:00:00Z", NO),
    ("time", "12:00:00Z", YES),
    ("time", "25:00:00Z", NO),
    ("duration", "P1DT2H", YES),
    ("duration", "P", NO),
    ("duration", "PT", NO),
    ("email", "a.b@example.com", YES),
    ("email", "a@", NO),
    ("email", "a b@c", NO),
    ("hostname", "example.com", YES),
    ("hostname", "-example.com", NO),
    ("hostname", f"{'a' * 63}." * 3 + "a" * 61, YES),
    ("hostname", f"{'a' * 63}." * 3 + "a" * 62, NO),
    ("ipv4", "127.0.0.1", YES),
    ("ipv4", "127.0.0.256", NO),
    ("ipv6", "::1", YES),
    ("ipv6", "::g", NO),
    ("uri", "https://example.com/a?b#c", YES),
    ("uri", "mailto:a@b.c", YES),
    ("uri", "example.com", NO),
    ("uri", "https://exa mple.com", NO),
    ("uri", "https://example.com:port/", NO),
    ("uuid", "12345678-1234-1234-1234-123456789abc", YES),
    ("uuid", "12345678123412341234123456789abc", NO),
    ("regex", "a+", YES),
    ("regex", "(", NO),
    ("json-pointer", "/a/b~1c", YES),
    ("json-pointer", "a/b", NO),
]

PERSONS = '{"people": [{"name": "John", "age": 30, "tags": ["a", 1], "ok": true, "none": null, "a.b": 7}]}'


def field(path: str, **conditions: Any) -> BuiltIn:
    return v.field(f"people[0].{path}", **conditions)


FIELD: list[Row] = [
    (field("age"), PERSONS, YES, "is 30 (integer)"),
    (field("city"), PERSONS, NO, "people[0] holds none such"),
    (field("none"), PERSONS, YES, "null"),
    (v.field("people[1]"), PERSONS, NO, "people holds none such"),
    (v.field("people[-1].age"), PERSONS, YES, ""),
    (v.field("people[-2].age"), PERSONS, NO, ""),
    (v.field("people.0.age"), PERSONS, NO, ""),
    (v.field("people"), "prose", NO, "not JSON"),
    (v.field("people", exists=False), "prose", NO, "not JSON"),
    (v.field("a"), "3", NO, "$ holds none such: 3"),
    (v.field("$", type="object"), "{}", YES, ""),
    (v.field("$", type="object"), "[]", NO, "wanted '$' of type object, found [] (array)"),
    (field('"a.b"', equals=7), PERSONS, YES, ""),
    (field("a.b", equals=7), PERSONS, NO, ""),
    (field("city", exists=False), PERSONS, YES, "there is no"),
    (field("none", exists=False), PERSONS, NO, "wanted no"),
    (field("age", equals=30), PERSONS, YES, ""),
    (field("age", equals=30.0), PERSONS, YES, ""),
    (field("age", equals="30"), PERSONS, NO, 'equal to "30", found 30 (integer)'),
    (field("age", equals=31), PERSONS, NO, ""),
    (field("ok", equals=True), PERSONS, YES, ""),
    (field("ok", equals=1), PERSONS, NO, "found true (boolean)"),
    (field("ok", equals="true"), PERSONS, NO, ""),
    (field("none", equals=None), PERSONS, YES, ""),
    (field("age", equals=None), PERSONS, NO, "equal to null"),
    (field("city", equals=None), PERSONS, NO, "none such"),
    (field("tags", equals=["a", 1]), PERSONS, YES, ""),
    (field("tags", equals=["a", True]), PERSONS, NO, ""),
    (field("tags", equals=["a"]), PERSONS, NO, ""),
    (v.field("a", equals={"b": [1.0]}), '{"a": {"b": [1]}}', YES, ""),
    (v.field("a", equals={"b": 1}), '{"a": {"b": 1, "c": 2}}', NO, ""),
    (v.field("a", equals={"b": 1}), '{"a": {"b": true}}', NO, ""),
    (v.field("a", equals=["b"]), '{"a": "b"}', NO, 'found "b" (string)'),
    (v.field("a", equals="b"), '{"a": ["b"]}', NO, "(array)"),
    (v.field("a", equals=[{"b": 1}]), '{"a": [{"b": 1.0}]}', YES, ""),
    (v.field("a", equals=1.5), '{"a": 2.5}', NO, "found 2.5 (number)"),
    (v.field("a.b.c"), '{"a": {"b": {"d": 1}}}', NO, 'a.b holds none such: {"d": 1} (object)'),
    (field("name", one_of=["Ann", "John"]), PERSONS, YES, ""),
    (field("name", one_of=["Ann", "Bob"]), PERSONS, NO, 'one of ["Ann", "Bob"]'),
    (field("ok", one_of=[0, 1]), PERSONS, NO, ""),
    (field("age", type="integer"), PERSONS, YES, ""),
    (field("age", type="number"), PERSONS, YES, ""),
    (field("age", type=["null", "integer"]), PERSONS, YES, ""),
    (field("age", type="string"), PERSONS, NO, "of type string"),
    (field("ok", type="integer"), PERSONS, NO, ""),
    (field("ok", type="boolean"), PERSONS, YES, ""),
    (field("none", type="null"), PERSONS, YES, ""),
    (field("none", type="object"), PERSONS, NO, ""),
    (v.field("a", type="integer"), '{"a": 30.0}', YES, ""),
    (v.field("a", type="integer"), '{"a": 30.5}', NO, ""),
    (field("name", contains="oh"), PERSONS, YES, ""),
    (field("name", contains="ann"), PERSONS, NO, 'to contain "ann"'),
    (field("tags", contains=1), PERSONS, YES, ""),
    (field("tags", contains=True), PERSONS, NO, ""),
    (field("age", contains="3"), PERSONS, NO, ""),
    (field("name", matches="^J.*n$"), PERSONS, YES, ""),
    (v.field("a", matches="^.$"), '{"a": "e\u0301"}', YES, ""),
    (field("name", matches="^j"), PERSONS, NO, "to match"),
    (field("age", matches="30"), PERSONS, NO, ""),
    (field("age", min=30, max=30), PERSONS, YES, ""),
    (field("age", min=31), PERSONS, NO, "at least 31"),
    (field("age", max=29.5), PERSONS, NO, "at most 29.5"),
    (field("ok", min=0), PERSONS, NO, "true (boolean)"),
    (field("name", min=0), PERSONS, NO, ""),
    (field("name", min_length=4, max_length=4), PERSONS, YES, ""),
    (field("tags", max_length=1), PERSONS, NO, "length of at most 1"),
    (field("tags", min_length=3), PERSONS, NO, "length of at least 3"),
    (field("age", min_length=0), PERSONS, NO, ""),
    (field("age", type="string", min=31), PERSONS, NO, "of type string and to be a number of at least 31"),
    (v.field("a", fenced=True), '```json\n{"a": 1}\n```', YES, ""),
    (v.field("a"), '```json\n{"a": 1}\n```', NO, ""),
]


@pytest.mark.parametrize("row", [*JSON, *SCHEMA, *FIELD], ids=lambda row: repr(row)[:150])
def test_json_is_judged_as_the_table_says(row: Row) -> None:
    validator, text, passed, reason = row
    verdict = validator.judge(Reply(text=text, model="m"))
    assert verdict.passed is passed, verdict
    assert reason in verdict.reason


@pytest.mark.parametrize(("name", "text", "passed"), FORMATS)
def test_formats_are_asserted(name: str, text: str, *, passed: bool) -> None:
    validator = v.json_schema({"format": name})
    assert validator.judge(Reply(text="", model="m", data=text)).passed is passed
    assert validator.judge(Reply(text="", model="m", data=3)).passed, "formats are about texts alone"


@pytest.mark.parametrize("validator", [v.json(), v.json_schema({"type": "object"}), v.field("a", equals=1)])
def test_structured_data_is_judged_instead_of_the_text(validator: BuiltIn) -> None:
    assert validator.judge(Reply(text="prose", model="m", data={"a": 1})).passed


@pytest.mark.parametrize("validator", [v.json_schema({"type": "object"}), v.field("a")])
def test_structured_data_that_is_null_is_judged_as_null(validator: BuiltIn) -> None:
    assert not validator.judge(Reply(text='{"a": 1}', model="m", data=None)).passed


@pytest.mark.parametrize("schema", [{"items": {"$ref": "#"}}, {"type": "object"}, {"uniqueItems": True}])
def test_data_that_is_nested_too_deeply_is_a_no_with_its_reason(schema: dict[str, Any]) -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    verdict = v.json_schema({**schema, "maxItems": 0}).judge(Reply(text="", model="m", data=deep))
    assert not verdict.passed
    assert "nested too deeply" in verdict.reason
    assert "nested too deeply" in v.field("$", type="object").judge(Reply(text="", model="m", data=deep)).reason


def test_every_error_of_a_schema_is_listed_up_to_a_stated_number() -> None:
    reason = v.json_schema({"items": {"type": "string"}}).judge(Reply(text="", model="m", data=[1] * 70)).reason
    assert reason.count("is not of type") == 50
    assert "and 20 more errors" in reason


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ("a",)),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ("[0][-1]", (0, -1)),
        ('a."b.c"', ("a", "b.c")),
        ('["b.c"].d', ("b.c", "d")),
        ('"say \\"hi\\""', ('say "hi"',)),
        ("first name", ("first name",)),
        ("$", ()),
        ("$.a", ("a",)),
        ("$[0]", (0,)),
        ("$ref", ("$ref",)),
        ('"$"', ("$",)),
        ('""', ("",)),
    ],
)
def test_paths_are_read_and_written_back(text: str, steps: tuple[str | int, ...]) -> None:
    assert parse_path(text) == steps
    assert parse_path(format_path(steps)) == steps


@pytest.mark.parametrize(
    "text", ["", ".", ".a", "a.", "a..b", "a[", "a[]", "a[*]", "a[x]", "a]", 'a"b"', '"a', "a[0]b"]
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(v.ParameterError, match="path"):
        v.field(text)
