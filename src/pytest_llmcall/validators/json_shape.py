"""Validators of JSON: that the reply is JSON, follows a schema, or holds a field as it should be.

They judge the structured data if a schema was asked, else the text.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from pytest_llmcall.reply import Reply
from pytest_llmcall.validators.base import PARAMETERS, BuiltIn, Flag, Kind, ParameterProblem, unfit
from pytest_llmcall.validators.json_text import NotJson, judged_value
from pytest_llmcall.validators.wording import show
from pytest_llmcall.verdict import Verdict


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class Json(BuiltIn):
    """The whole text is JSON, or (`fenced`) one fenced block of it."""

    name: ClassVar[str] = "json"

    _: KW_ONLY
    fenced: Flag = False

    def judge(self, reply: Reply) -> Verdict:
        """Say yes to JSON of any kind."""
        try:
            value = judged_value(reply, fenced=self.fenced)
        except NotJson as no:
            return self.verdict(False, f"wanted JSON, {no}")
        return self.verdict(True, f"is JSON: {show(value)}")


def _usable(schema: dict[str, Any]) -> dict[str, Any]:
    from pytest_llmcall.validators.schemas import can_say_no, schema_problems  # noqa: PLC0415 - jsonschema takes 0.1 s

    if problems := schema_problems(schema):
        raise unfit(*problems)
    if not can_say_no(schema):
        message = f"the schema accepts everything, so it cannot say no: {show(schema)}"
        raise unfit(ParameterProblem(path=(), message=message))
    return schema


@dataclass(frozen=True, slots=True, config=PARAMETERS)
class JsonSchema(BuiltIn):
    """The JSON follows a JSON Schema; `format` is asserted."""

    name: ClassVar[str] = "json_schema"

    schema: Annotated[dict[str, Any], AfterValidator(_usable), Kind("a JSON Schema, that is a mapping")]
    _: KW_ONLY
    fenced: Flag = False

    def judge(self, reply: Reply) -> Verdict:
        """Say no with every error and its path."""
        from pytest_llmcall.validators.schemas import schema_errors  # noqa: PLC0415 - as above

        try:
            value = judged_value(reply, fenced=self.fenced)
        except NotJson as no:
            return self.verdict(False, f"wanted JSON that follows the schema, {no}")
        if errors := schema_errors(self.schema, value):
            lines = "\n".join(f"  {each}" for each in errors)
            return self.verdict(False, f"wanted JSON that follows the schema, found {show(value)}\n{lines}")
        return self.verdict(True, f"follows the schema: {show(value)}")
