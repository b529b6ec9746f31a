"""What the fixture `llm` is: asks from a Python test, hands out replies that can be checked, and books it all.

A call belongs to the item that makes it; one made in a shared fixture to the item that first asked for the fixture.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Protocol, TypedDict, TypeVar, Unpack

from pytest_llmcall import concurrency
from pytest_llmcall._arguments import make_call
from pytest_llmcall._handover import result_of
from pytest_llmcall._ledger import Ledger
from pytest_llmcall._session import Session
from pytest_llmcall.call import Call, McpServer, Message, WorkFile
from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import Misuse, NoReply, Source
from pytest_llmcall.reply import Ending, Reply
from pytest_llmcall.validators.base import cut
from pytest_llmcall.validators.custom import bind_custom
from pytest_llmcall.validators.judging import COMPLETED, Judgement, judge_all, judge_all_async
from pytest_llmcall.verdict import CheckFailed, Validator, Verdict, describe

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True

T = TypeVar("T")
Check = Validator | Callable[..., Any]

_PACKAGE: Final = str(Path(__file__).parent)
_CONTENT: Final = frozenset(
    {"data", "denied", "ending", "ending_detail", "files", "text", "tool_uses", "transcript", "turns"}
)


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


class Desk(Protocol):
    """Where calls are taken: knows whose they are, and who answers."""

    @property
    def session(self) -> Session:
        """Who is asked."""
        ...

    def ledger(self) -> Ledger:
        """Return the ledger of the item that the calling code belongs to.

        Raises:
            Misuse: It belongs to none.
        """
        ...

    def defaults(self) -> Mapping[str, Any]:
        """Return what the marks of the requesting test say."""
        ...

    def completed(self, call: Call) -> Call:
        """Return a call with what the run says of it."""
        ...


@dataclass(slots=True, eq=False)
class _Book:
    """Where the verdicts on a reply are told, and whether anybody looked at it."""

    desk: Desk
    place: Source
    timeout: float | None
    looked_at: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedReply(Reply):
    """A reply in the hands of a test: it can be checked, and knows whether it was looked at."""

    book: _Book = field(repr=False, compare=False)

    def __getattribute__(self, name: str) -> Any:
        if name in _CONTENT:
            object.__getattribute__(self, "book").looked_at = True
        return object.__getattribute__(self, name)

    def check(self, *checks: Check) -> tuple[Verdict, ...]:
        """Let every check judge the reply, and return their verdicts if all of them said yes.

        Args:
            checks: Validators such as `v.contains("42")`, or functions `check(reply, *, params)` as fixtures give them.

        Raises:
            CheckFailed: At least one said no, or the reply did not end well; lists every verdict.
            BrokenValidator: A check crashed or gave no answer.
            Misuse: No check at all, something that is none, or an asynchronous one inside a coroutine.
        """
        validators = _validators(checks)
        return _conclude(self.book, judge_all(validators, _plain(self), _wait_for_checks, timeout=self.book.timeout))


class Handle:
    """A call that is made when it is awaited, once; later awaits return the same reply."""

    def __init__(self, desk: Desk, ledger: Ledger, call: Call, place: Source) -> None:
        self._desk = desk
        self._ledger = ledger
        self._call = call
        self._result: concurrent.futures.Future[AskedReply] | None = None
        self.place = place
        ledger.handles.append(self)

    @property
    def was_awaited(self) -> bool:
        """Whether the call was made."""
        return self._result is not None

    @property
    def is_under_way(self) -> bool:
        """Whether the call was made and has not ended."""
        return self._result is not None and not self._result.done()

    def __await__(self) -> Generator[Any, Any, AskedReply]:
        return self.answer().__await__()

    def __repr__(self) -> str:
        return f"<llm call {self._call.prompt!r:.60} made at {self.place}>"

    async def answer(self) -> AskedReply:
        """Return the reply.

        Raises:
            NoReply: Nothing came back that can be judged.
        """
        if self._result is not None:
            return await result_of(self._result)
        self._result = concurrent.futures.Future()
        self._result.set_running_or_notify_cancel()  # else who waits beside the first could cancel it for all
        try:
            reply = await self._ask()
        except NoReply as error:
            self._result.set_exception(error)
            # Of its way through the executors only the evidence tells more than its text.
            raise error.with_traceback(None) from None
        except BaseException:
            self._result.set_exception(Misuse("the call was cancelled by the code that awaited it first"))
            raise
        self._result.set_result(reply)
        return reply

    async def _ask(self) -> AskedReply:
        session, ledger = self._desk.session, self._ledger
        number = ledger.open(self._call)
        try:
            reply = await session.asking(ledger.clock).execute(self._call)
        except NoReply as error:
            ledger.close(number, no_reply=error)
            raise
        except BaseException:
            if session.was_asked(self._call):
                ledger.cut(number)
            raise
        ledger.close(number, reply=reply)
        asked = _asked(reply, _Book(self._desk, self.place, self._call.timeout))
        ledger.replies.append(asked)
        return asked


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

    def __call__(self, prompt: str | None = None, **options: Unpack[Options]) -> Handle:
        """Return a call that is made when it is awaited.

        Args:
            prompt: The user's message; or `messages=[{"role": "user", "content": …}, …]` instead.
            options: `model`, `system`, `tools`, `functions`, `mcp`, `schema`, `files`, `max_turns` and `timeout`
                (seconds), as in case files. What is not said comes from the test's mark, then from the run.

        Raises:
            Misuse: The arguments cannot be asked so, or this code belongs to no test.
        """
        return self._handle(prompt, options)

    def sync(self, prompt: str | None = None, **options: Unpack[Options]) -> AskedReply:
        """Return the reply to a call; for tests and fixtures that are plain functions. They overlap all the same.

        Raises:
            NoReply: Nothing came back that can be judged.
            Misuse: As for a call; or this is a coroutine, or a thread that the test started.
        """
        _refuse_in_coroutine("llm.sync()", "await llm(…)")
        handle = self._handle(prompt, options)
        try:
            return _wait(handle.answer(), "llm.sync()", "await llm(…)")
        finally:
            self._forget_unasked(handle)

    async def check(self, reply: Reply, *checks: Check) -> tuple[Verdict, ...]:
        """Let every check judge a reply, those too that have to ask first; else as `reply.check`.

        Raises:
            CheckFailed, BrokenValidator, Misuse: As `reply.check` does.
        """
        validators = _validators(checks)
        book = reply.book if isinstance(reply, AskedReply) else _Book(self._desk, _place(), None)
        return _conclude(book, await judge_all_async(validators, _plain(reply), seconds=book.timeout))

    async def repeat(
        self,
        times: int,
        prompt: str | None = None,
        *,
        check: Check | Sequence[Check],
        pass_rate: float = 1.0,
        **options: Unpack[Options],
    ) -> Repeats:
        """Ask the same several times, all at once as far as slots allow, and return what came of it.

        Args:
            times: How often, 1 or more.
            prompt: As for a call.
            check: What judges each reply, one check or several.
            pass_rate: The share of runs that must pass, above 0 and at most 1.
            options: As for a call.

        Raises:
            CheckFailed: Fewer runs passed.
            NoReply: A run brought nothing that can be judged: then there is no rate.
            BrokenValidator, Misuse: As `reply.check` does.
        """
        _check_repeat(times, pass_rate)
        checks = (check,) if callable(check) or isinstance(check, Validator) else tuple(check)
        validators = _validators(checks)
        handles = [self._handle(prompt, options, sample=sample) for sample in range(times)]
        replies = await _all(handles)
        timeout = replies[0].book.timeout
        judgements = [await judge_all_async(validators, _plain(each), seconds=timeout) for each in replies]
        for each in replies:
            each.book.looked_at = True
        return _concluded_repeat(replies, judgements, pass_rate)

    def _handle(self, prompt: str | None, options: Options, *, sample: int = 0) -> Handle:
        place = _place()
        ledger = self._desk.ledger()
        own: dict[str, object] = dict(options)
        if unknown := sorted(own.keys() - Options.__annotations__.keys()):
            raise TypeError(f"llm(…) got unexpected arguments: {', '.join(unknown)}")
        messages = own.pop("messages", None)
        call = make_call(prompt, messages, own, self._desk.defaults(), path=place.path, sample=sample)
        return Handle(self._desk, ledger, self._desk.completed(call), place)

    def _forget_unasked(self, handle: Handle) -> None:
        if not handle.was_awaited:
            self._desk.ledger().handles.remove(handle)


def _asked(reply: Reply, book: _Book) -> AskedReply:
    return AskedReply(**{each.name: getattr(reply, each.name) for each in fields(Reply)}, book=book)


def _plain(reply: Reply) -> Reply:
    return Reply(**{each.name: getattr(reply, each.name) for each in fields(Reply)})


def unseen_ending(reply: Reply) -> tuple[Source, Verdict] | None:
    """Return where a reply was asked for that ended badly and that nobody looked at, and the verdict on it."""
    if not isinstance(reply, AskedReply) or reply.book.looked_at or reply.ending is Ending.COMPLETED:
        return None
    detail = f": {cut(reply.ending_detail)}" if reply.ending_detail else ""
    reason = f"the reply ended with {reply.ending.value!r}, and the test neither checked nor read it{detail}"
    return reply.book.place, Verdict(validator=COMPLETED, passed=False, reason=reason)


def _validators(checks: Sequence[object]) -> list[Validator]:
    if not checks:
        raise Misuse("a check without validators cannot say no: name at least one, such as v.contains('42')")
    return [_validator(each) for each in checks]


def _validator(check: object) -> Validator:
    if isinstance(check, Validator) and not isinstance(check, type):
        return check
    if callable(check) and not isinstance(check, type):
        name = getattr(check, "__name__", type(check).__name__)
        return bind_custom(CustomCheck(name=name, params={}, source=_place()), check)
    raise Misuse(f"{check!r:.80} is no validator; write for example v.contains('42')")


def _conclude(book: _Book, judgement: Judgement) -> tuple[Verdict, ...]:
    book.looked_at = True
    # Of the test that checks, which need not be the one that has asked.
    book.desk.ledger().judged(judgement.verdicts, judgement.broken)
    if judgement.broken:
        error = judgement.broken[0]
        for each in judgement.verdicts:
            error.add_note(describe(each))
        raise error
    if not all(judgement.verdicts):
        raise CheckFailed(judgement.verdicts)
    return judgement.verdicts


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


def _concluded_repeat(replies: Sequence[AskedReply], judgements: Sequence[Judgement], pass_rate: float) -> Repeats:
    ledger = replies[0].book.desk.ledger()
    broken = [error for each in judgements for error in each.broken]
    repeats = Repeats(replies=tuple(map(_plain, replies)), verdicts=tuple(each.verdicts for each in judgements))
    passed = repeats.pass_rate >= pass_rate
    reasons = [
        f"run {at}: {describe(verdict)}"
        for at, verdicts in enumerate(repeats.verdicts, start=1)
        for verdict in verdicts
        if not verdict.passed
    ]
    reason = f"{repeats.passed} of {len(replies)} runs passed, wanted {pass_rate:.0%}"
    verdict = Verdict(validator="repeat", passed=passed, reason="\n".join([reason, *reasons]), score=repeats.pass_rate)
    ledger.judged([verdict], broken)
    if broken:
        raise broken[0]
    if not passed:
        raise CheckFailed([verdict])
    return repeats


def _wait_for_checks(coroutine: Coroutine[Any, Any, None]) -> object:
    return _wait(coroutine, "reply.check() with an asynchronous check", "await llm.check(reply, …)")


def _wait(coroutine: Coroutine[Any, Any, T], what: str, instead: str) -> T:
    try:
        return concurrency.wait(coroutine)
    except concurrency.CannotWaitError:
        raise Misuse(f"{what} was called in a coroutine or in a thread of the test's: write `{instead}`") from None


def _refuse_in_coroutine(what: str, instead: str) -> None:
    if _event_loop_runs():
        raise Misuse(f"{what} was called inside a coroutine: write `{instead}`")


def _event_loop_runs() -> bool:
    if asyncio._get_running_loop() is not None:  # noqa: SLF001 - get_running_loop() raises instead of answering
        return True
    sniffio = sys.modules.get("sniffio")
    if sniffio is None:
        return False
    try:
        sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return False
    return True


def _place() -> Source:
    """Return where the code stands that called into this package."""
    frame = sys._getframe(1)  # noqa: SLF001 - inspect.stack() reads the source of every frame
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return Source(Path(frame.f_code.co_filename), frame.f_lineno)
