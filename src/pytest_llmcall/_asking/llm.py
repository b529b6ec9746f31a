"""The fixture's value: takes calls, repeats and checks. Start reading at `LLM`.

A call belongs to the item that asks first, also where a shared fixture has prepared it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final, TypedDict, TypeVar, Unpack

from pytest_llmcall._arguments import make_call
from pytest_llmcall._asking.pending import Pending, calling_place
from pytest_llmcall._asking.replies import AskedReply, Book, Check, Desk, asked, conclude, plain, validators_of, wait
from pytest_llmcall._ledger import Ledger
from pytest_llmcall.call import Call, McpServer, Message, WorkFile
from pytest_llmcall.errors import Misuse, NoReply, Source
from pytest_llmcall.reply import Reply
from pytest_llmcall.validators.judging import judge_all_async
from pytest_llmcall.validators.wording import unknown
from pytest_llmcall.verdict import CheckFailed, Validator, Verdict, describe

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True

P = TypeVar("P", bound=Pending[Any])

_OF_REPLIES: Final = frozenset({"check", *(each.name for each in fields(Reply))})


class Options(TypedDict, total=False):
    """What a call may say besides its prompt; None, or nothing, leaves it to the test's mark and the run."""

    messages: Sequence[Message | Mapping[str, str]] | None
    model: str | None
    system: str | None
    tools: str | Sequence[str] | None
    functions: Sequence[Mapping[str, Any]] | None
    mcp: McpServer | Sequence[McpServer] | Mapping[str, Mapping[str, Any]] | None
    schema: Mapping[str, Any] | type | None
    files: Mapping[str, str] | Sequence[WorkFile] | None
    max_turns: int | None
    timeout: float | None


class Handle(Pending[AskedReply]):
    """A call that is made when it is awaited, once; later awaits return the same reply."""

    def __init__(self, desk: Desk, ledger: Ledger, call: Call, place: Source) -> None:
        forgotten = (
            "this call was never awaited, so nothing was asked: write `await llm(…)`, or `llm.sync(…)` in a plain "
            "function"
        )
        super().__init__(self._ask, place=place, forgotten=forgotten)
        self._desk = desk
        self._ledger = ledger
        self._call = call
        self._booked: tuple[Ledger, int] | None = None

    def __repr__(self) -> str:
        return f"<llm call {self._call.prompt!r:.60} made at {self.place}{'' if self.was_awaited else ', not awaited'}>"

    def __getattr__(self, name: str) -> Any:
        if name in _OF_REPLIES:
            raise Misuse(f"`.{name}` was read from a call, not from its reply; write `(await llm(…)).{name}`")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    @property
    def timeout(self) -> float | None:
        """Seconds that one attempt may take."""
        return self._call.timeout

    def give_up(self) -> None:
        """End the call if it is under way."""
        if self._booked and self.is_under_way:
            self._desk.session.give_up(self._call)
            self._cut(*self._booked)

    async def _ask(self) -> AskedReply:
        session, ledger = self._desk.session, self._of_who_asks()
        number = ledger.open(self._call)
        self._booked = ledger, number
        try:
            reply = await session.asking(ledger.clock).execute(self._call)
        except NoReply as error:
            ledger.close(number, no_reply=error)
            # Of its way through the executors only the evidence tells more than its text.
            raise error.with_traceback(None) from None
        except BaseException:
            self._cut(ledger, number)
            raise
        ledger.close(number, reply=reply)
        answer = asked(reply, Book(self._desk, self.place, self._call.timeout))
        ledger.replies.append(answer)
        return answer

    def _cut(self, ledger: Ledger, number: int) -> None:
        if self._desk.session.was_asked(self._call):
            ledger.cut(number)

    def _of_who_asks(self) -> Ledger:
        try:
            return self._desk.ledger()
        except Misuse:  # a loop in a thread of the test's
            return self._ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """What several runs of one call gave.

    Attributes:
        replies: In the order of the runs.
        verdicts: On each reply, in the same order.
    """

    replies: tuple[Reply, ...]
    verdicts: tuple[tuple[Verdict, ...], ...]

    @property
    def passed(self) -> int:
        """How many runs every check said yes to."""
        return sum(all(verdicts) for verdicts in self.verdicts)

    @property
    def pass_rate(self) -> float:
        """The passed runs' share of all, between 0 and 1."""
        return self.passed / len(self.verdicts)


class LLM:
    """Asks language models; the value of the fixture `llm`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, prompt: str | None = None, *surplus: object, **options: Unpack[Options]) -> Handle:
        """Return a call that is made when it is awaited.

        Args:
            prompt: The user's message; or `messages=[{"role": "user", "content": …}, …]` instead.
            options: `model`, `system`, `tools`, `functions`, `mcp`, `schema`, `files`, `max_turns` and `timeout`
                (seconds), as in case files. What is not said comes from the test's mark, then from the run.
            surplus: Nothing; anything here is refused, as every other mistake is.

        Raises:
            Misuse: The arguments cannot be asked so, or this code belongs to no test.
        """
        return self._kept(self._handle(prompt, options, surplus))

    def sync(self, prompt: str | None = None, *surplus: object, **options: Unpack[Options]) -> AskedReply:
        """Return the reply to a call; for tests and fixtures that are plain functions. They overlap all the same.

        Raises:
            NoReply: Nothing came back that can be judged.
            Misuse: As for a call; or this is a coroutine, or a thread that the test started.
        """
        _refuse_in_coroutine("llm.sync()", "await llm(…)")
        return wait(self._handle(prompt, options, surplus).answer(), "llm.sync()", "await llm(…)")

    def check(self, reply: Reply, *checks: Check) -> Pending[tuple[Verdict, ...]]:
        """Let every check judge a reply, those too that have to ask first; else as `reply.check`. Await it.

        Raises:
            CheckFailed, BrokenValidator, Misuse: As `reply.check` does.
        """
        if isinstance(reply, Handle):
            raise Misuse("llm.check(…) judges replies, and this call was not awaited: write `await llm(…)`")
        if not isinstance(reply, Reply):
            raise Misuse(f"llm.check(…) judges replies, not {reply!r:.80}")
        place = calling_place()
        book = reply.book if isinstance(reply, AskedReply) else None
        start = partial(_check, reply, validators_of(checks), book or Book(self._desk, place, None))
        forgotten = "this check was never awaited, so nothing was judged: write `await llm.check(…)`"
        return self._kept(Pending(start, place=place, forgotten=forgotten))

    def repeat(
        self,
        times: int,
        prompt: str | None = None,
        *surplus: object,
        check: Check | Sequence[Check] = (),
        pass_rate: float = 1.0,
        **options: Unpack[Options],
    ) -> Pending[Repeats]:
        """Ask the same several times, all at once as far as slots allow, and return what came of it. Await it.

        Args:
            times: How often, 1 or more.
            prompt: As for a call.
            surplus: As for a call.
            check: What judges each reply, one check or several; none is refused.
            pass_rate: The share of runs that must pass, above 0 and at most 1.
            options: As for a call.

        Raises:
            CheckFailed: Fewer runs passed.
            NoReply: A run brought nothing that can be judged: then there is no rate.
            BrokenValidator, Misuse: As `reply.check` does.
        """
        _check_repeat(times, pass_rate)
        checks = tuple(check) if isinstance(check, list | tuple) else (check,)
        validators = validators_of(checks)
        handles = [self._handle(prompt, options, surplus, sample=sample) for sample in range(times)]
        start = partial(_repeat, self._desk, handles, validators, pass_rate)
        forgotten = "these calls were never awaited, so nothing was asked: write `await llm.repeat(…)`"
        return self._kept(Pending(start, place=handles[0].place, forgotten=forgotten, parts=handles))

    def _handle(self, prompt: str | None, options: Options, surplus: Sequence[object], *, sample: int = 0) -> Handle:
        place = calling_place()
        ledger = self._desk.ledger()
        own: dict[str, object] = dict(options)
        known = Options.__annotations__.keys()
        wrong = [f"takes one prompt, found {each!r:.80} besides" for each in surplus]
        wrong += [unknown("argument", key, known) for key in own if key not in known]
        if wrong:
            raise Misuse("llm(…) cannot be asked so: " + "; ".join(wrong))
        messages = own.pop("messages", None)
        call = make_call(prompt, messages, own, self._desk.defaults(), path=place.path, sample=sample)
        return Handle(self._desk, ledger, self._desk.completed(call), place)

    def _kept(self, pending: P) -> P:
        self._desk.ledger().handles.append(pending)
        return pending


async def _check(reply: Reply, validators: Sequence[Validator], book: Book) -> tuple[Verdict, ...]:
    return conclude(book, await judge_all_async(validators, plain(reply), seconds=book.timeout))


def _check_repeat(times: object, pass_rate: object) -> None:
    if not isinstance(times, int) or isinstance(times, bool) or times < 1:
        raise Misuse(f"llm.repeat(…) needs how often to ask, 1 or more, not {times!r}")
    if isinstance(pass_rate, bool) or not isinstance(pass_rate, int | float) or not 0 < pass_rate <= 1:
        raise Misuse(f"pass_rate must be above 0 and at most 1, not {pass_rate!r}")


async def _all(handles: Sequence[Handle]) -> list[AskedReply]:
    """Return all replies, after every call has ended; else raise why the first that has none has none."""
    import anyio  # noqa: PLC0415 - not needed by most tests

    found: dict[int, AskedReply | NoReply] = {}

    async def ask(at: int) -> None:
        try:
            found[at] = await handles[at].answer()
        except NoReply as error:
            found[at] = error

    async with anyio.create_task_group() as group:
        for at in range(len(handles)):
            group.start_soon(ask, at)
    replies = []
    for at in range(len(handles)):
        each = found[at]
        if isinstance(each, NoReply):
            raise each.with_traceback(None)
        replies.append(each)
    return replies


async def _repeat(desk: Desk, handles: Sequence[Handle], validators: Sequence[Validator], pass_rate: float) -> Repeats:
    replies = [_looked_at(each) for each in await _all(handles)]
    timeout = handles[0].timeout
    judgements = [await judge_all_async(validators, each, seconds=timeout) for each in replies]
    broken = [error for each in judgements for error in each.broken]
    repeats = Repeats(replies=tuple(replies), verdicts=tuple(each.verdicts for each in judgements))
    verdict = _on_rate(repeats, pass_rate)
    desk.ledger().judged([verdict], broken)
    if broken:
        raise broken[0]
    if not verdict.passed:
        raise CheckFailed([verdict])
    return repeats


def _looked_at(reply: AskedReply) -> Reply:
    if reply.book:
        reply.book.looked_at = True
    return plain(reply)


def _on_rate(repeats: Repeats, pass_rate: float) -> Verdict:
    reasons = [
        f"run {at}: {describe(verdict)}"
        for at, verdicts in enumerate(repeats.verdicts, start=1)
        for verdict in verdicts
        if not verdict.passed
    ]
    reason = f"{repeats.passed} of {len(repeats.replies)} runs passed, wanted {pass_rate:.0%}"
    passed = repeats.pass_rate >= pass_rate
    return Verdict(validator="repeat", passed=passed, reason="\n".join([reason, *reasons]), score=repeats.pass_rate)


def _refuse_in_coroutine(what: str, instead: str) -> None:
    if _event_loop_runs():
        raise Misuse(f"{what} was called inside a coroutine: write `{instead}`")


def _event_loop_runs() -> bool:
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - get_running_loop() raises instead of answering
        return True
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:  # not sniffio: it still says trio while a shared loop of anyio's waits for its next test
        return False
    return True
