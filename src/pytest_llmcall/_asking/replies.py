"""A reply in the hands of a test, and where the verdicts on it are told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Protocol, TypeVar

from pytest_llmcall import concurrency
from pytest_llmcall._asking.pending import calling_place
from pytest_llmcall._ledger import Ledger
from pytest_llmcall._session import Session
from pytest_llmcall.call import Call
from pytest_llmcall.case import CustomCheck
from pytest_llmcall.errors import Misuse, Source
from pytest_llmcall.reply import Ending, Reply
from pytest_llmcall.validators.custom import bind_custom
from pytest_llmcall.validators.judging import COMPLETED, Judgement, judge_all
from pytest_llmcall.validators.wording import cut
from pytest_llmcall.verdict import CheckFailed, Validator, Verdict, describe

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True

T = TypeVar("T")
Check = Validator | Callable[..., Any]

# Not the tools, the files or missing data: that there are none is what a bad ending looks like.
_SAYS_HOW_IT_ENDED: Final = frozenset({"ending", "ending_detail", "text", "transcript"})


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


class Book:
    """Where the verdicts on a reply are told, and whether anybody looked at it."""

    # No data class: `dataclasses.asdict` of a reply would go on into the desk.
    __slots__ = ("desk", "looked_at", "place", "timeout")

    def __init__(self, desk: Desk, place: Source, timeout: float | None) -> None:
        self.desk = desk
        self.place = place
        self.timeout = timeout
        self.looked_at = False

    def __deepcopy__(self, _: object) -> None:
        """Return nothing: a copy of a reply that is kept elsewhere, or sent there, belongs to no test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedReply(Reply):
    """A reply in the hands of a test: it can be checked, and knows whether it was looked at."""

    book: Book | None = field(repr=False, compare=False)

    def __getattribute__(self, name: str) -> Any:
        if name in _SAYS_HOW_IT_ENDED and (book := object.__getattribute__(self, "book")) is not None:
            book.looked_at = True
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        # No look: asyncio, for one, represents the results of its tasks where nobody sees them.
        return f"Asked{plain(self)!r}"

    def check(self, *checks: Check) -> tuple[Verdict, ...]:
        """Let every check judge the reply, and return their verdicts if all of them said yes.

        Args:
            checks: Validators such as `v.contains("42")`, or functions `check(reply, *, params)` as fixtures give them.

        Raises:
            CheckFailed: At least one said no, or the reply did not end well; lists every verdict.
            BrokenValidator: A check crashed or gave no answer.
            Misuse: No check at all, something that is none, or an asynchronous one inside a coroutine.
        """
        if self.book is None:
            raise Misuse("this copy of a reply belongs to no test: write `await llm.check(reply, …)`")
        validators = validators_of(checks)
        return conclude(self.book, judge_all(validators, plain(self), _wait_for_checks, timeout=self.book.timeout))


def asked(reply: Reply, book: Book) -> AskedReply:
    """Return a reply for the hands of a test."""
    return AskedReply(**_values(reply), book=book)


def plain(reply: Reply) -> Reply:
    """Return a reply as validators know it."""
    return Reply(**_values(reply))


def _values(reply: Reply) -> dict[str, Any]:
    return {each.name: object.__getattribute__(reply, each.name) for each in fields(Reply)}


def unseen_ending(reply: Reply) -> tuple[Source, Verdict] | None:
    """Return where a reply was asked for that ended badly and that nobody looked at, and the verdict on it."""
    book = reply.book if isinstance(reply, AskedReply) else None
    if book is None or book.looked_at or reply.ending is Ending.COMPLETED:
        return None
    detail = f": {cut(reply.ending_detail)}" if reply.ending_detail else ""
    reason = (
        f"the reply to the call at {book.place} ended with {reply.ending.value!r}, and the test neither checked nor "
        f"read it{detail}"
    )
    return book.place, Verdict(validator=COMPLETED, passed=False, reason=reason)


def validators_of(checks: Sequence[object]) -> list[Validator]:
    """Return checks as validators.

    Raises:
        Misuse: There are none, or one of them is none.
        BrokenValidator: A function cannot be called as a check.
    """
    if not checks:
        raise Misuse("a check without validators cannot say no: name at least one, such as v.contains('42')")
    return [_validator(each) for each in checks]


def _validator(check: object) -> Validator:
    if isinstance(check, Validator) and not isinstance(check, type):
        return check
    if callable(check) and not isinstance(check, type):
        name = getattr(check, "__name__", type(check).__name__)
        return bind_custom(CustomCheck(name=name, params={}, source=calling_place()), check)
    raise Misuse(f"{check!r:.80} is no validator; write for example v.contains('42')")


def conclude(book: Book, judgement: Judgement) -> tuple[Verdict, ...]:
    """Tell the test that checks, which need not be the one that has asked; return the verdicts if all said yes.

    Raises:
        CheckFailed: At least one said no.
        BrokenValidator: A check crashed or gave no answer.
    """
    book.looked_at = True
    book.desk.ledger().judged(judgement.verdicts, judgement.broken)
    if judgement.broken:
        error = judgement.broken[0]
        for each in judgement.verdicts:
            error.add_note(describe(each))
        raise error
    if not all(judgement.verdicts):
        raise CheckFailed(judgement.verdicts)
    return judgement.verdicts


def _wait_for_checks(coroutine: Coroutine[Any, Any, None]) -> object:
    return wait(coroutine, "reply.check() with an asynchronous check", "await llm.check(reply, …)")


def wait(coroutine: Coroutine[Any, Any, T], what: str, instead: str) -> T:
    """Return what a coroutine returns, from synchronous code.

    Raises:
        Misuse: `what` was called where nothing may wait.
    """
    try:
        return concurrency.wait(coroutine)
    except concurrency.CannotWaitError:
        raise Misuse(f"{what} was called in a coroutine or in a thread of the test's: write `{instead}`") from None
