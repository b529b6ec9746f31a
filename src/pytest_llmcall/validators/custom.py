"""Custom checks: a fixture's `check(reply, *, params) -> bool | Verdict`, sync or async, made into a Validator.

A check says no by False, by a Verdict or by an AssertionError; whatever else goes wrong means that the check is broken.
"""

from __future__ import annotations

import copy
import inspect
import traceback
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import BrokenValidator, Source
from pytest_llmcall.reply import Reply
from pytest_llmcall.validators.answers import hint_for_bool, type_name
from pytest_llmcall.validators.outcomes import is_cancellation, is_failure, passes_through, text_of
from pytest_llmcall.validators.wording import show
from pytest_llmcall.verdict import Verdict

# Where a check crashed its own frames tell all: pytest hides those of modules that say so.
__tracebackhide__ = True

_SHAPE = "check(reply, *, params)"


def bind_custom(check: CustomCheck, value: object) -> CustomValidator:
    """Return the validator of a custom check, given its fixture's value.

    Raises:
        BrokenValidator: The value cannot be called as `check(reply, *, params)`.
    """
    if not callable(value):
        reason = f"the fixture gives {value!r}, which cannot be called; let it return a function {_SHAPE}"
        raise BrokenValidator(check.name, reason, source=check.source)
    if problem := _signature_problem(value):
        raise BrokenValidator(check.name, f"cannot be called as {_SHAPE}: {problem}", source=check.source)
    return CustomValidator(name=check.name, function=value, params=check.params, source=check.source)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomValidator:
    """A fixture's function as a Validator."""

    name: str
    function: Callable[..., Any]
    params: Mapping[str, Any]
    source: Source | None = None

    def judge(self, reply: Reply) -> Verdict | Awaitable[Verdict]:
        """Return the verdict, or an awaitable of it if the function is asynchronous.

        Raises:
            BrokenValidator: The function crashed, or gave no answer.
        """
        try:
            # A copy, since the parameters belong to the file: a check that changes them must not change other cases.
            answer = self.function(reply, params=copy.deepcopy(dict(self.params)))
        except BaseException as error:
            return self.on_error(error)
        return _Later(self, answer) if inspect.isawaitable(answer) else self.verdict(answer)

    def verdict(self, answer: object) -> Verdict:
        """Return what the function's answer says.

        Raises:
            BrokenValidator: It says nothing.
        """
        if isinstance(answer, Verdict):
            return answer
        if isinstance(answer, bool):
            given = f" for params {show(dict(self.params))}" if self.params else ""
            return Verdict(validator=self.name, passed=answer, reason=f"returned {answer}{given}")
        if answer is None:
            raise self._broken("returned None: a forgotten return?")
        raise self._broken(f"returned {type_name(answer)}, wanted a bool or a Verdict{hint_for_bool(answer)}")

    def on_error(self, error: BaseException) -> Verdict:
        """Return the no that an exception of the function means.

        Raises:
            BrokenValidator: It means that the function crashed.
        """
        if passes_through(error):
            raise error
        if is_failure(error):
            return Verdict(
                validator=self.name, passed=False, reason=text_of(error) or f"assertion failed at {_place(error)}"
            )
        if isinstance(error, BrokenValidator):
            raise error
        raise self._broken(f"{type(error).__name__}: {text_of(error)} ({_place(error)})") from error

    def _broken(self, reason: str) -> BrokenValidator:
        return BrokenValidator(self.name, reason, source=self.source)


class _Later:
    """The verdict of an asynchronous function, once it is awaited."""

    def __init__(self, validator: CustomValidator, answer: Awaitable[Any]) -> None:
        self._validator = validator
        self._answer = answer

    def __await__(self) -> Generator[Any, Any, Verdict]:
        return self._verdict().__await__()

    async def _verdict(self) -> Verdict:
        try:
            found = await self._answer
        except BaseException as error:
            if is_cancellation(error):
                raise  # whoever waits knows whether it cancelled this check
            return self._validator.on_error(error)
        return self._validator.verdict(found)

    def close(self) -> None:
        """Give up a function that nobody waits for, so that Python does not warn of it."""
        if inspect.iscoroutine(self._answer):
            self._answer.close()


def _signature_problem(function: Callable[..., Any]) -> str:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return ""  # some callables written in C tell nothing; the call itself will
    try:
        signature.bind(None, params=None)
    except TypeError as error:
        return f"{error}; it is {function!r} with {signature}"
    return ""


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no traceback"
    last = f"{frames[-1].filename}:{frames[-1].lineno}"
    # The first frame is this module's own, the second the check's.
    own = f"{frames[1].filename}:{frames[1].lineno}" if len(frames) > 2 else last
    return last if own == last else f"{last}, called from {own}"
