"""All validators of a case judge one reply: every one runs, and a broken one stops no other."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pytest_llmcall.errors import BrokenValidator
from pytest_llmcall.reply import Ending, Reply
from pytest_llmcall.validators.answers import broken, checked, encodable
from pytest_llmcall.validators.outcomes import is_cancellation, is_skip, run_ending, text_of
from pytest_llmcall.validators.own_copy import own_copy
from pytest_llmcall.validators.wording import cut
from pytest_llmcall.verdict import Validator, Verdict

# Where a check crashed its own frames tell all: pytest hides those of modules that say so.
__tracebackhide__ = True

COMPLETED = "completed"
"""The name of the verdict on how a reply ended; it stands only where that was bad."""

Wait = Callable[[Coroutine[Any, Any, None]], object]


class _Skip(NamedTuple):
    """Stands in for the answer of a check that skipped; raised only if all the others said yes."""

    error: BaseException


_Answer = Verdict | BrokenValidator | _Skip
_Asked = _Answer | Awaitable[Verdict]


class Judgement(NamedTuple):
    """What all validators said: verdicts and broken validators, each in the order of the validators."""

    verdicts: tuple[Verdict, ...]
    broken: tuple[BrokenValidator, ...]


@runtime_checkable
class AcceptsEnding(Protocol):
    """A validator that asks for an ending which would otherwise fail, such as a refusal."""

    def accepts_ending(self, ending: Ending) -> bool:
        """Tell whether a reply may end so."""
        ...


def judge_all(validators: Sequence[Validator], reply: Reply, wait: Wait, *, timeout: float | None = None) -> Judgement:
    """Return every verdict on a reply.

    A crash in one validator is its own entry and stops no other. Ctrl-C and `pytest.exit()` pass through at once; a
    skip or an xfail passes through only if every other validator said yes.

    Args:
        validators: In the order of the verdicts.
        reply: What they judge; all but the built-in ones get a copy of their own.
        wait: Runs a coroutine to its end; called once, if a validator answers with an awaitable.
        timeout: Seconds that an awaitable may take to become a verdict; None for no bound.
    """
    asked: list[_Asked] = []
    try:
        asked.extend(_ask(each, reply) for each in validators)
        if any(map(inspect.isawaitable, asked)):
            _wait_for_all(validators, asked, wait, timeout)
    finally:
        _close(asked)
    return _concluded(validators, asked, reply)


async def judge_all_async(validators: Sequence[Validator], reply: Reply, *, seconds: float | None = None) -> Judgement:
    """Return every verdict on a reply, for callers inside an event loop; see `judge_all`."""
    asked: list[_Asked] = []
    ending: list[BaseException] = []
    try:
        asked.extend(_ask(each, reply) for each in validators)
        if any(map(inspect.isawaitable, asked)):
            await _settle(validators, asked, seconds, ending)
    finally:
        _close(asked)
    if ending:
        raise ending[0]
    return _concluded(validators, asked, reply)


def _close(asked: Sequence[_Asked]) -> None:
    # What was never awaited, since something passed through, would warn.
    for each in asked:
        if inspect.isawaitable(each) and (close := getattr(each, "close", None)):
            close()


def _concluded(validators: Sequence[Validator], asked: Sequence[_Asked], reply: Reply) -> Judgement:
    answers: list[_Answer] = [
        broken(validator, "was cancelled before it answered") if inspect.isawaitable(each) else each
        for validator, each in zip(validators, asked, strict=True)
    ]
    answers.extend(_on_ending(validators, reply))
    judgement = Judgement(
        tuple(each for each in answers if isinstance(each, Verdict)),
        tuple(each for each in answers if isinstance(each, BrokenValidator)),
    )
    skips = [each.error for each in answers if isinstance(each, _Skip)]
    if skips and not judgement.broken and all(each.passed for each in judgement.verdicts):
        raise skips[0]
    return judgement


def _ask(validator: Validator, reply: Reply) -> _Asked:
    try:
        answer = validator.judge(reply if _is_built_in(validator) else own_copy(reply))
    except BaseException as error:
        return _from_error(validator, error)
    return answer if inspect.isawaitable(answer) else checked(validator, answer)


def _is_built_in(validator: Validator) -> bool:
    from pytest_llmcall.validators import BUILT_IN  # noqa: PLC0415 - pydantic takes long

    return type(validator) in BUILT_IN.values()


def _wait_for_all(validators: Sequence[Validator], asked: list[_Asked], wait: Wait, timeout: float | None) -> None:
    ending: list[BaseException] = []
    wait(_settle(validators, asked, timeout, ending))
    if ending:
        # Not raised inside the loop: asyncio lets Ctrl-C out of the loop itself, past everything that waits there.
        raise ending[0]


async def _settle(
    validators: Sequence[Validator], asked: list[_Asked], seconds: float | None, ending: list[BaseException]
) -> None:
    import anyio  # noqa: PLC0415 - only where something has to be asked

    async def settle(at: int, waiting: Awaitable[Verdict]) -> None:
        try:
            with anyio.move_on_after(seconds) as scope:
                asked[at] = await _awaited(validators[at], waiting)
        except BaseException as error:
            if run_ending(error) is not error:
                raise
            # Out of the task group it would come in an exception group, which no runner knows.
            ending.append(error)
            group.cancel_scope.cancel()
        if scope.cancel_called:
            asked[at] = broken(validators[at], f"no verdict within {seconds:g} s")

    async with anyio.create_task_group() as group:
        for at, answer in enumerate(asked):
            if inspect.isawaitable(answer):
                group.start_soon(settle, at, answer)


async def _awaited(validator: Validator, waiting: Awaitable[Verdict]) -> _Answer:
    import anyio  # noqa: PLC0415 - as above

    try:
        return checked(validator, await waiting)
    except BaseException as error:
        if is_cancellation(error) and anyio.current_effective_deadline() == -math.inf:
            raise  # cancelled from outside; else the check's own code raised it
        # All else ends here: asyncio ends the whole run over a SystemExit that a task lets out.
        return _from_error(validator, error)


def _from_error(validator: Validator, error: BaseException) -> _Answer:
    if (ending := run_ending(error)) is not None:
        raise ending
    if is_skip(error):
        return _Skip(error)
    if isinstance(error, BrokenValidator) and encodable(error.reason) == error.reason:
        return error
    reason = error.reason if isinstance(error, BrokenValidator) else f"{type(error).__name__}: {cut(text_of(error))}"
    return broken(validator, reason, cause=error)


def _on_ending(validators: Sequence[Validator], reply: Reply) -> list[_Answer]:
    if reply.ending is Ending.COMPLETED:
        return []
    crashed: list[_Answer] = []
    for each in validators:
        try:
            if isinstance(each, AcceptsEnding) and each.accepts_ending(reply.ending):
                return []
        except BaseException as error:
            crashed.append(_from_error(each, error))
    detail = f": {cut(reply.ending_detail)}" if reply.ending_detail else ""
    reason = f"wanted a reply that completed, found the ending {reply.ending.value!r}{detail}"
    return [Verdict(validator=COMPLETED, passed=False, reason=encodable(reason)), *crashed]
