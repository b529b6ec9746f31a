"""What a validator answered, checked before anything believes it: a verdict's fields must be what they claim to be.

One place for all validators, since truthiness (`passed="False"`, a coroutine nobody awaited) would make false greens.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pytest_llmcall.errors import BrokenValidator
from pytest_llmcall.verdict import Validator, Verdict


def checked(validator: Validator, answer: object) -> Verdict | BrokenValidator:
    """Return a validator's answer as a verdict that can be kept, or say what is wrong with it."""
    if not isinstance(answer, Verdict):
        return broken(validator, f"judge() returned {type_name(answer)}, wanted a Verdict")
    if wrong := _wrong(answer):
        return broken(validator, f"its verdict cannot be used: {wrong}")
    reason, evidence = encodable(answer.reason), _encodable_json(answer.evidence)
    if (reason, evidence) == (answer.reason, answer.evidence):
        return answer
    return replace(answer, reason=reason, evidence=evidence)


def broken(validator: Validator, reason: str, *, cause: BaseException | None = None) -> BrokenValidator:
    """Return what stands for a validator that gave no answer."""
    error = BrokenValidator(validator.name, encodable(reason), source=getattr(validator, "source", None))
    error.__cause__ = cause
    return error


def encodable(text: str) -> str:
    """Return a text in which lone surrogates, which UTF-8 cannot hold, are written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def type_name(value: object) -> str:
    """Return the whole name of a value's type."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def hint_for_bool(value: object) -> str:
    """Return what to write instead of a value that should be True or False, or nothing."""
    if inspect.isawaitable(value):
        return ": a forgotten await?"
    return ": write bool(…)" if type(value).__name__.startswith("bool") else ""


def _wrong(verdict: Verdict) -> str:
    passed: object = verdict.passed
    if not isinstance(passed, bool):
        if inspect.iscoroutine(passed):
            passed.close()  # Python would warn, on top of the error, that it was never awaited
        return f"passed must be True or False, not {type_name(passed)}{hint_for_bool(passed)}"
    for name in ("validator", "reason"):
        if not isinstance(value := getattr(verdict, name), str):
            return f"{name} must be a text, not {type_name(value)}"
    if verdict.score is not None and not _is_number(verdict.score):
        return f"score must be a number or None, not {verdict.score!r} ({type_name(verdict.score)})"
    return _wrong_evidence(verdict.evidence)


def _wrong_evidence(evidence: object) -> str:
    if not isinstance(evidence, Mapping):
        return f"evidence must be a mapping, not {type_name(evidence)}"
    try:
        json.dumps(dict(evidence), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"evidence must be JSON values: {error}"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _encodable_json(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Mapping):
        return {_encodable_json(key): _encodable_json(each) for key, each in value.items()}
    return [_encodable_json(each) for each in value] if isinstance(value, list | tuple) else value
