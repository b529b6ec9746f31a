"""What is refused before anything is asked, because it is wrong or could not say no."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from pytest_llmcall import MISSING, Reply
from pytest_llmcall import validators as v
from pytest_llmcall.validators.base import Kind

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def nested(schema: dict[str, Any], levels: int) -> dict[str, Any]:
    for _ in range(levels):
        schema = {"items": schema}
    return schema


ACCEPT_EVERYTHING: list[dict[str, Any]] = [
    {"properties": {}},
    {"properties": {"a": {}, "b": True, "c": {"title": "c"}}},
    {"required": []},
    {"items": {}},
    {"allOf": [{}]},
    {"anyOf": [{"type": "string"}, {}]},
    {"oneOf": [{}]},
    {"not": False},
    {"if": {"type": "string"}},
    {"if": {"type": "string"}, "then": {}},
    {"then": {"type": "string"}},
    {"minLength": 0, "minItems": 0, "uniqueItems": False},
    {"type": ["array", "boolean", "null", "number", "object", "string"]},
    {"pattern": ".*$"},
    {"dependentRequired": {"a": []}},
    {"contains": {"type": "string"}, "minContains": 0},
    {"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}},
    {"$schema": DRAFT_7, "dependencies": {"a": []}, "items": [{}]},
]

REJECT_SOMETHING: list[dict[str, Any]] = [
    {"properties": {"a": {"type": "string"}}},
    {"required": ["a"]},
    {"items": {"items": {"maxLength": 100_000}}},
    {"oneOf": [{}, {}]},
    {"anyOf": [{"type": "string"}, {"type": "number"}]},
    {"not": {}},
    {"not": {"const": "sorry"}},
    {"if": {"type": "string"}, "then": {"minLength": 1}},
    {"if": {"type": "string"}, "else": False},
    {"contains": {}},
    {"maxContains": 1, "minContains": 0, "contains": {}},
    {"type": ["array", "boolean", "null", "integer", "object", "string"]},
    {"additionalProperties": False},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "properties": {"next": {"$ref": "#/$defs/a"}}}}},
    {"type": "object", "properties": {"next": {"$ref": "#"}}},
    {"$ref": "https://json-schema.org/draft/2020-12/schema"},
    {"$schema": DRAFT_7, "type": "array", "items": [{"type": "string"}], "additionalItems": False, "$comment": "x"},
    {"type": "string", "x-note": 1, "examples": ["a"], "discriminator": {}, "deprecated": True},
    {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "id": "http://a.b/c",
        "minimum": 1,
        "exclusiveMinimum": True,
    },
]

REFUSED: list[tuple[str, Any, str]] = [
    ("contains", "", 'text must be a text that is not empty, or a list of such texts, not ""'),
    ("contains", [], "not []"),
    ("contains", (), "not []"),
    ("contains", ["a", ""], "not empty"),
    ("contains", 42, "not 42"),
    ("contains", None, "text is missing"),
    ("contains", MISSING, "text is missing"),
    ("contains", {"ignore_case": True}, "text is missing"),
    ("contains", {"text": "a", "ignorecase": True}, "unknown parameter 'ignorecase'. Did you mean 'ignore_case'?"),
    ("contains", {"text": "a", "whole_word": "yes"}, 'whole_word must be true or false, not "yes"'),
    ("not_contains", "", "not empty"),
    ("equals", 42, "text must be a text, not 42"),
    ("equals", True, "not true"),
    ("regex", "", "not empty"),
    ("regex", "(", "not a regular expression: missing ), unterminated subpattern at character 1"),
    ("regex", "a{99999999999}", "not a usable regular expression"),
    ("regex", ".*", "cannot say no"),
    ("regex", "x?", "cannot say no"),
    ("regex", "^[^x]*", "cannot say no"),
    ("regex", ".*$", "cannot say no"),
    ("regex", "$", "cannot say no"),
    ("regex", "a*$", "cannot say no"),
    ("regex", r"x*\Z", "cannot say no"),
    ("regex", "(?:a?){40}$", "cannot say no"),
    ("regex", "(^|x)", "cannot say no"),
    ("regex", "(?=)", "cannot say no"),
    ("regex", r"^|\bfoo", "cannot say no"),
    ("regex", {"pattern": "^.*$", "multiline": True}, "cannot say no"),
    ("regex", {"pattern": ".*", "full": True, "dotall": True}, "cannot say no"),
    ("regex", {"pattern": r"[\s\S]*", "full": True}, "cannot say no"),
    ("field", {"path": "a", "matches": ".*$"}, "cannot say no"),
    ("regex", {"pattern": "(", "dotall": 1}, "dotall must be true or false"),
    ("min_words", 0, "count must be a whole number of at least 1, not 0"),
    ("max_words", 0, "at least 1"),
    ("max_words", "3", 'not "3"'),
    ("max_words", True, "not true"),
    ("max_words", 3.0, "not 3.0"),
    ("min_length", -1, "not -1"),
    ("max_length", 1.5, "not 1.5"),
    ("not_empty", False, "takes no parameters, not false"),
    ("not_empty", {"strip": True}, "unknown parameter 'strip'"),
    ("json", "strict", 'takes only fenced, not "strict"'),
    ("json", {"fenced": 1}, "fenced must be true or false"),
    ("json_schema", "object", "must be a JSON Schema"),
    ("json_schema", True, "must be a JSON Schema"),
    ("json_schema", {}, "accepts everything"),
    ("json_schema", {"typ": "object"}, "no keyword 'typ'. Did you mean 'type'?"),
    ("json_schema", {"type": "object", "requried": ["a"]}, "Did you mean 'required'?"),
    ("json_schema", {"items": {"properties": {"a": {"minlength": 3}}}}, "Did you mean 'minLength'?"),
    ("json_schema", {"type": "array", "additionalItems": False}, "no keyword 'additionalItems'"),
    ("json_schema", {"$schema": DRAFT_7, "type": "array", "prefixItems": [{}]}, "no keyword 'prefixItems'"),
    *(("json_schema", {"schema": each}, "accepts everything") for each in ACCEPT_EVERYTHING),
    ("json_schema", {"$ref": "#"}, "$ref '#' leads back to itself"),
    ("json_schema", {"anyOf": [{"type": "null"}, {"$ref": "#"}]}, "leads back to itself"),
    (
        "json_schema",
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}},
        "leads",
    ),
    ("json_schema", nested({"type": "string"}, 3000), "nested too deeply"),
    ("json_schema", {"schema": {"$defs": {}}}, "accepts everything"),
    ("json_schema", {"type": "strin"}, "at type: 'strin'"),
    ("json_schema", {"properties": {"a": {"required": "b"}}}, "at properties.a.required"),
    ("json_schema", {"type": "object", "pattern": "("}, "at pattern"),
    ("json_schema", {"$schema": "http://example.com/mine", "type": "object"}, "draft is not known"),
    ("json_schema", {"$schema": 3, "type": "object"}, "draft is not known"),
    ("json_schema", {"$ref": "http://example.com/a.json"}, "nothing is fetched"),
    ("json_schema", {"items": {"$ref": "#/$defs/a"}}, "leads nowhere"),
    ("json_schema", {"items": {"format": "phone"}}, "format 'phone' cannot be checked"),
    ("field", MISSING, "path is missing"),
    ("field", 3, "path must be a path such as a.b[0].c, not 3"),
    ("field", {"path": "a", "exists": "no"}, "exists must be true or false"),
    ("field", {"path": "a", "exists": False, "equals": 3}, "must not exist cannot be asked for equals"),
    ("field", {"path": "a", "type": None}, "(in quotes)"),
    ("field", {"path": "a", "type": "strin"}, "string, integer"),
    ("field", {"path": "a", "type": []}, "string, integer"),
    ("field", {"path": "a", "one_of": []}, "one_of must be a list"),
    ("field", {"path": "a", "one_of": "a"}, "one_of must be a list"),
    ("field", {"path": "a", "contains": ""}, "contains must not be empty"),
    ("field", {"path": "a", "matches": "("}, "not a regular expression"),
    ("field", {"path": "a", "matches": ".*"}, "cannot say no"),
    ("field", {"path": "a", "min": True}, "min must be a number, not true"),
    ("field", {"path": "a", "min": float("nan")}, "min must be a number"),
    ("field", {"path": "a", "min": 3, "max": 2}, "nothing can fit"),
    ("field", {"path": "a", "min_length": -1}, "min_length must be"),
    ("field", {"path": "a", "min_length": 2, "max_length": 1}, "nothing can fit"),
    ("field", {"path": "a", "equals": float("inf")}, "equals must be a JSON value"),
    ("field", {"path": "a", "equal": 3}, "Did you mean 'equals'?"),
    ("contians", "a", "unknown validator 'contians'. Did you mean 'contains'?"),
]


@pytest.mark.parametrize(("name", "params", "message"), REFUSED)
def test_wrong_parameters_are_refused_when_the_validator_is_made(name: str, params: Any, message: str) -> None:
    with pytest.raises(v.ParameterError) as caught:
        v.build(name, params)
    assert message in str(caught.value)


def test_all_wrong_parameters_are_named_at_once() -> None:
    with pytest.raises(v.ParameterError) as caught:
        v.build("contains", {"txt": "a", "ignore_case": 1, "whole_word": 2})
    assert {each.path for each in caught.value.problems} == {(), ("txt",), ("ignore_case",), ("whole_word",)}


def test_problems_inside_a_schema_say_where_they_stand() -> None:
    with pytest.raises(v.ParameterError) as caught:
        v.build("json_schema", {"properties": {"a": {"type": 1}, "b": {"type": "x"}}})
    assert [each.path for each in caught.value.problems] == [
        ("schema", "properties", "a", "type"),
        ("schema", "properties", "b", "type"),
    ]


def test_python_gets_the_same_checks() -> None:
    with pytest.raises(v.ParameterError, match="not empty"):
        v.contains("")
    with pytest.raises(v.ParameterError, match="name the parameters"):
        v.contains("a", True)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "params", "same"),
    [
        ("contains", "Paris", v.contains("Paris")),
        ("contains", ["a", "b"], v.contains(["a", "b"])),
        ("contains", {"text": "4", "whole_word": True}, v.contains("4", whole_word=True)),
        ("max_words", 3, v.max_words(3)),
        ("json", MISSING, v.json()),
        ("json", None, v.json()),
        ("json", {"fenced": True}, v.json(fenced=True)),
        ("not_empty", True, v.not_empty()),
        ("json_schema", {"type": "object"}, v.json_schema({"type": "object"})),
        ("json_schema", {"schema": {"type": "object"}, "fenced": True}, v.json_schema({"type": "object"}, fenced=True)),
        ("field", "age", v.field("age")),
        ("field", {"path": "age", "equals": None}, v.field("age", equals=None)),
    ],
)
def test_the_short_and_the_long_form_make_what_python_makes(name: str, params: Any, same: v.BuiltIn) -> None:
    assert v.build(name, params) == same


CAN_SAY_NO = [
    *("^$", "^(?!.*x)", "a|b", "(?i)a", r"\bx?\b", "^[^<]*$", "x+", "^.*$", r"^\D*$", "^(?!.*sorry)[\\s\\S]*$"),
    *(r"^[\s\S]{0,500}$", r"\A[\s\S]{0,500000}\Z", r"^(?s:.*)(?<!\.)$", r"^[^\u4e00-\u9fff]*$", r"^[\x00-\x7f]*$"),
    *(
        r"^[^\u2318]*$",
        r"^(?:[^f]|f(?:[^o]|$))*$",
        r"^(?:.*\n?){0,3}$",
        r"^[^é]*$",
        "^.?.?.?$",
        "^(?:a?){50}$",
        r"^(\w+\s?)*$",
        "^(a|aa)*$",
    ),
]


@pytest.mark.parametrize("pattern", CAN_SAY_NO)
def test_patterns_that_can_say_no_are_not_refused(pattern: str) -> None:
    assert v.regex(pattern).pattern == pattern


@pytest.mark.parametrize("schema", REJECT_SOMETHING)
def test_schemas_that_can_say_no_are_not_refused(schema: dict[str, Any]) -> None:
    assert v.json_schema(schema).schema == schema


def test_every_parameter_says_what_it_must_be() -> None:
    for cls in v.BUILT_IN.values():
        for name in cls.parameters():
            hint = get_type_hints(cls, include_extras=True)[name]
            assert any(isinstance(each, Kind) for each in hint.__metadata__), (cls, name)


def test_the_nearest_name_is_found_whatever_its_case() -> None:
    assert v.nearest("Max_Wrods") == "max_words"
    assert v.nearest("something_else_entirely") is None
    assert set(v.names()) == set(v.BUILT_IN)


def test_making_a_validator_twice_gives_equal_ones_that_judge_alike() -> None:
    reply = Reply(text="Paris", model="m")
    assert v.contains("Paris").judge(reply) == v.contains("Paris").judge(reply)


@pytest.mark.parametrize("cls", v.BUILT_IN.values(), ids=v.names())
def test_validators_cannot_be_changed_once_they_are_made(cls: type[v.BuiltIn]) -> None:
    made = {"json_schema": {"type": "object"}, "not_empty": MISSING, "json": MISSING}
    validator = v.build(cls.name, made.get(cls.name, 3 if "count" in cls.parameters() else "a"))
    for name in cls.parameters():
        with pytest.raises(AttributeError):
            setattr(validator, name, "b")
