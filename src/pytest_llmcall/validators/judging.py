"""All validators of a case judge one reply: every one runs, and a broken one stops no other."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pytest_llmcall.errors import BrokenValidator
from pytest_llmcall.reply import Ending, Reply
from pytest_llmcall.validators.base import cut
from pytest_llmcall.validators.outcomes import passes_through
from pytest_llmcall.verdict import Validator, Verdict

COMPLETED = "completed"
"""The name of the verdict on how a reply ended; it stands only where that was bad."""

Wait = Callable[[Coroutine[Any, Any, None]], object]


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


def judge_all(validators: Sequence[Validator], reply: Reply, wait: Wait) -> Judgement:
    """Return every verdict on a reply.

    A crash in one validator is its own entry and stops no other. What means the test or the run (Ctrl-C,
    `pytest.skip()`, `pytest.exit()`) passes through.

    Args:
        validators: In the order of the verdicts.
        reply: What they judge.
        wait: Runs a coroutine to its end; called once, if a validator answers with an awaitable.
    """
    answers: list[Verdict | BrokenValidator | Awaitable[Verdict]] = []
    try:
        answers.extend(_ask(each, reply) for each in validators)
        if any(map(inspect.isawaitable, answers)):
            wait(_settle(validators, answers))
    finally:
        for coroutine in filter(inspect.iscoroutine, answers):
            coroutine.close()  # one that was never awaited, since something passed through, would warn
    for at, each in enumerate(answers):
        if inspect.isawaitable(each):
            answers[at] = BrokenValidator(validators[at].name, "was cancelled before it answered")
    answers.extend(_on_ending(validators, reply))
    return Judgement(
        tuple(each for each in answers if isinstance(each, Verdict)),
        tuple(each for each in answers if isinstance(each, BrokenValidator)),
    )


def _ask(validator: Validator, reply: Reply) -> Verdict | BrokenValidator | Awaitable[Verdict]:
    try:
        answer = validator.judge(reply)
    except BaseException as error:
        return _as_broken(validator, error)
    return answer if inspect.isawaitable(answer) else _checked(validator, answer)


async def _settle(
    validators: Sequence[Validator], answers: list[Verdict | BrokenValidator | Awaitable[Verdict]]
) -> None:
    import anyio  # noqa: PLC0415 - only where something has to be asked

    passing: list[BaseException] = []

    async def settle(at: int, waiting: Awaitable[Verdict]) -> None:
        try:
            answers[at] = _checked(validators[at], await waiting)
        except anyio.get_cancelled_exc_class():
            raise  # the answer stays an awaitable, which is then known to have been cancelled
        except BaseException as error:
            try:
                answers[at] = _as_broken(validators[at], error)
            except BaseException as passed:
                # Raised here it would come out of the task group in an exception group, which no runner knows.
                passing.append(passed)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for at, answer in enumerate(answers):
            if inspect.isawaitable(answer):
                group.start_soon(settle, at, answer)
    if passing:
        raise passing[0]


def _checked(validator: Validator, answer: object) -> Verdict | BrokenValidator:
    if isinstance(answer, Verdict):
        return answer
    return BrokenValidator(validator.name, f"judge() returned {cut(repr(answer))}, wanted a Verdict")


def _as_broken(validator: Validator, error: BaseException) -> BrokenValidator:
    if passes_through(error):
        raise error
    if isinstance(error, BrokenValidator):
        return error
    broken = BrokenValidator(validator.name, f"{type(error).__name__}: {cut(str(error))}")
    broken.__cause__ = error
    return broken


def _on_ending(validators: Sequence[Validator], reply: Reply) -> list[Verdict | BrokenValidator]:
    if reply.ending is Ending.COMPLETED:
        return []
    broken: list[Verdict | BrokenValidator] = []
    for each in validators:
        try:
            if isinstance(each, AcceptsEnding) and each.accepts_ending(reply.ending):
                return []
        except BaseException as error:
            broken.append(_as_broken(each, error))
    detail = f": {cut(reply.ending_detail)}" if reply.ending_detail else ""
    reason = f"wanted a reply that completed, found the ending {reply.ending.value!r}{detail}"
    return [Verdict(validator=COMPLETED, passed=False, reason=reason), *broken]
