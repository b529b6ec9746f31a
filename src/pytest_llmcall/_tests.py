"""Python tests that ask: the marks of items, whose calls are whose, what a test forgot, and its outcome."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
from _pytest.runner import collect_one_node

from pytest_llmcall import concurrency
from pytest_llmcall._arguments import read_mark
from pytest_llmcall._asking import LLM, unseen_ending
from pytest_llmcall._items import LEDGER, MODEL_ARGUMENT, RECORD, CaseItem, ledger_of, properties, shown
from pytest_llmcall._ledger import Ledger, Prepared
from pytest_llmcall._restating import decisive, is_unjudged
from pytest_llmcall._selection import uses_llm
from pytest_llmcall._session import Session, now
from pytest_llmcall._settings import Settings
from pytest_llmcall.call import Call
from pytest_llmcall.errors import BrokenValidator, LLMCallError, Misuse, NoReply, NotAsked, Source
from pytest_llmcall.outcome import Exchange, Outcome, Status
from pytest_llmcall.reply import Reply
from pytest_llmcall.reports.record import record
from pytest_llmcall.reports.terminal import exchanges_lines
from pytest_llmcall.verdict import CheckFailed

# A test's traceback shows the test's frames: pytest hides those of modules that say so.
__tracebackhide__ = True

CALLS: Final = pytest.StashKey[str]()
MARKS: Final = pytest.StashKey[Mapping[str, Any]]()
FORGOTTEN: Final = pytest.StashKey[tuple[BaseException, Source]]()
EXCLUSIVE: Final = "llm(exclusive=True)"
LEFT_ALONE: Final = "this call was still under way when the test ended: await it"
_STOPS: Final = (pytest.skip.Exception, pytest.xfail.Exception, pytest.exit.Exception, KeyboardInterrupt)
IDLE: Final = "a plain function without a fixture of this plugin"


def mark_values(item: pytest.Item) -> Mapping[str, Any]:
    """Return what an item's `llm` marks say; the closest mark wins, and needs add up."""
    if MARKS not in item.stash:
        values: dict[str, Any] = {}
        needs: list[str] = []
        for mark in item.iter_markers("llm"):
            said, _ = read_mark(mark.args, mark.kwargs, path=item.path)
            needs += said.pop("needs", ())
            values = {key: value for key, value in said.items() if key in mark.kwargs} | values
        item.stash[MARKS] = values | {"needs": tuple(dict.fromkeys(needs))}
    return item.stash[MARKS]


def mark_problems(item: pytest.Item) -> Iterator[str]:
    """Yield what is wrong with an item's `llm` marks, with its place."""
    path, line, _ = item.reportinfo()
    name = getattr(item, "originalname", item.name)
    for mark in item.iter_markers("llm"):
        for problem in read_mark(mark.args, mark.kwargs, path=item.path)[1]:
            yield f"{path}:{(line or 0) + 1}: the mark llm(…) of {name}: {problem}"


def refuse_wrong_marks(report: pytest.CollectReport, items: Iterable[pytest.Item]) -> None:
    """Turn the report of a module or class into an error, if a mark in it cannot be meant so; lists all of them."""
    problems = list(dict.fromkeys(problem for item in items for problem in mark_problems(item)))
    if problems:
        # Nobody collects the classes of a module that has failed: their problems would come to light one run later.
        classes = [collect_one_node(each) for each in report.result or () if isinstance(each, pytest.Class)]
        report.outcome = "failed"
        report.longrepr = "\n".join([*problems, *(str(each.longrepr) for each in classes if each.failed)])
        report.result = []


def why_alone(item: pytest.Item) -> str | None:
    """Return why an LLM item does not overlap with others, or None if it may."""
    if isinstance(item, CaseItem):
        return None
    if mark_values(item).get("exclusive"):
        return EXCLUSIVE
    function = getattr(item, "obj", None)
    return None if inspect.iscoroutinefunction(function) or uses_llm(item) else IDLE


class PythonTests:
    """The hooks of tests that ask; also the desk where their calls are taken."""

    def __init__(self, settings: Settings, session: Callable[[], Session]) -> None:
        self._settings = settings
        self._session = session
        self._calling: set[pytest.Item] = set()
        self.llm = LLM(self)

    @property
    def session(self) -> Session:
        """Who is asked."""
        return self._session()

    def ledger(self) -> Ledger:
        """Return the ledger of the item that the calling code belongs to."""
        return ledger_of(self._item())

    def defaults(self) -> Mapping[str, Any]:
        """Return what the requesting test's marks say."""
        return mark_values(self._item())

    def completed(self, call: Call) -> Call:
        """Return a call with the run's model and deadline."""
        settings = self._settings
        parameters = getattr(getattr(self._item(), "callspec", None), "params", {})
        forced = parameters.get(MODEL_ARGUMENT) or next(iter(settings.force_models), call.model)
        return replace(call, model=forced).resolved(model=settings.model, timeout=settings.timeout)

    def _item(self) -> pytest.Item:
        item = concurrency.current_item()
        if item is None:
            raise Misuse("llm was called by code that belongs to no test: a foreign thread, or after the test's end")
        return item

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """See what the test has left undone, and write its outcome as soon as that is known."""
        if isinstance(item, CaseItem):
            return (yield)
        error: BaseException | None = None
        before = item.stash.get(LEDGER, None) or Ledger()
        calls, of_fixtures = len(before.exchanges), len(before.handles)
        self._calling.add(item)
        try:
            yield
            if LEDGER in item.stash:
                error = _of_subtests(item.stash[LEDGER])
                _check_nothing_is_open(item, since=of_fixtures)
        except BaseException as raised:
            error = raised
            if LEDGER in item.stash:
                _give_up(item.stash[LEDGER].handles[of_fixtures:])
                _forgive(item.stash[LEDGER], raised, has_asked=len(item.stash[LEDGER].exchanges) > calls)
            raise
        finally:
            self._calling.remove(item)
            if LEDGER in item.stash or uses_llm(item):
                self.write(item, error, session=self._session())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Hear how subtests end: their test goes on."""
        if call.excinfo is not None and item in self._calling and LEDGER in item.stash:
            item.stash[LEDGER].of_subtests.append(call.excinfo.value)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> Generator[None, Any, Any]:  # noqa: ARG002 - the hook's
        """See at the end of a shared fixture, not of its first test, what nobody awaited or looked at."""
        item = concurrency.current_item() if fixturedef.scope != "function" else None
        if item is None:
            return (yield)
        before = item.stash.get(LEDGER, None) or Ledger()
        handles, replies = len(before.handles), len(before.replies)
        value = yield
        if ledger := item.stash.get(LEDGER, None):
            shared = ledger.handles[handles:], ledger.replies[replies:]
            del ledger.handles[handles:], ledger.replies[replies:]
            if any(shared):
                fixturedef.addfinalizer(lambda: self._check_shared(*shared))
        return value

    @staticmethod
    def _check_shared(handles: Sequence[Prepared], replies: Sequence[Reply]) -> None:
        # None where a run that was cut short ends its fixtures: pytest would take an error there for its own.
        if item := concurrency.current_item():
            _raise_if_open(item, _never_awaited(handles), replies)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Write what the set-up has asked if the run stops in it: nothing else reports that item."""
        try:
            yield
        except (pytest.exit.Exception, KeyboardInterrupt) as error:
            if LEDGER in item.stash:
                self.write(item, error, session=self._session())
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """See what the item's fixtures have left undone, and write what they asked after its outcome."""
        error: BaseException | None = None
        try:
            yield
            if LEDGER in item.stash:
                _check_nothing_is_open(item)
        except BaseException as raised:
            error = raised
            raise
        finally:
            ledger = item.stash.get(LEDGER, None)
            if ledger is not None:
                if len(ledger.exchanges) > ledger.written or isinstance(error, LLMCallError | CheckFailed):
                    self.write(item, error, session=self._session())
                del item.stash[LEDGER]  # a rerun has a ledger of its own

    def write(self, item: pytest.Item, error: BaseException | None, *, session: Session | None) -> None:
        """Write the outcome of a test, as far as it is not written yet.

        Raises:
            EvidenceLost: It cannot be written, and nothing else is wrong.
        """
        ledger = ledger_of(item)
        outcome = _outcome(ledger, error and decisive(error))
        ledger.written = len(ledger.exchanges)
        ledger.verdicts, ledger.broken = [], []
        ended = now()
        line = record(outcome, nodeid=item.nodeid, started=ledger.started or ended, ended=ended)
        item.stash[RECORD] = session.keep(line) if session else line
        item.user_properties.extend(properties(line))
        if outcome.status is not Status.PASSED and outcome.exchanges:
            item.stash[CALLS] = "\n".join(exchanges_lines(outcome.exchanges))
        if session is not None and session.lost is not None and error is None:
            raise session.lost


def _of_subtests(ledger: Ledger) -> BaseException | None:
    """Return how subtests have ended their test: as the first that failed, which pytest's own report says.

    Raises:
        LLMCallError: Something was not judged in one: then the test is no FAILED either.
    """
    ends = [decisive(each) for each in ledger.of_subtests if not isinstance(each, _STOPS)]
    if unjudged := next(filter(is_unjudged, ends), None):
        raise unjudged
    return next(iter(ends), None)


def _forgive(ledger: Ledger, error: BaseException, *, has_asked: bool) -> None:
    """Forget what a test that has ended early could not await or look at any more."""
    ledger.replies.clear()
    # Else a forgotten await may be why it failed, and nobody would hear of it.
    if has_asked or isinstance(error, (*_STOPS, LLMCallError)):
        ledger.handles.clear()


def _check_nothing_is_open(item: pytest.Item, *, since: int | None = None) -> None:
    """Raise if something was prepared in vain, or a reply that ended badly was not even looked at.

    Args:
        item: Whose calls they are.
        since: The test itself has ended: of what it prepared, what stands from this number on may not be under way.
            Without it the item's fixtures have ended.
    """
    ledger = item.stash[LEDGER]
    handles = ledger.handles[since:]
    del ledger.handles[since:]
    replies, ledger.replies = ledger.replies, []
    problems = _never_awaited(handles)
    if since is not None:
        problems += [(each.place, LEFT_ALONE) for each in _give_up(handles)]
    _raise_if_open(item, problems, replies)


def _give_up(handles: Sequence[Prepared]) -> list[Prepared]:
    """End the calls that are under way, and return them."""
    left = [each for each in handles if each.is_under_way]
    for each in left:
        each.give_up()
    return left


def _never_awaited(handles: Sequence[Prepared]) -> list[tuple[Source, str]]:
    return [(each.place, each.forgotten) for each in handles if not each.was_awaited]


def _raise_if_open(item: pytest.Item, problems: Sequence[tuple[Source, str]], replies: Sequence[Reply]) -> None:
    unseen = [each for each in map(unseen_ending, replies) if each]
    error: Exception | None = None
    if problems:
        error = Misuse("\n".join(f"{place}: {text}" for place, text in problems))
    elif unseen:
        verdicts = [verdict for _, verdict in unseen]
        ledger_of(item).judged(verdicts)
        error = CheckFailed(verdicts)
    if error:
        item.stash[FORGOTTEN] = error, (problems or unseen)[0][0]
        raise error


def show_forgotten(item: pytest.Item, report: pytest.TestReport, error: BaseException) -> None:
    """Let a report of what a test forgot show its place, and no traceback of ours."""
    forgotten, source = item.stash.get(FORGOTTEN, (None, Source(item.path)))
    if error is forgotten:
        report.longrepr = shown(str(error), next(iter(str(error).splitlines())), source)


def _outcome(ledger: Ledger, error: BaseException | None) -> Outcome:
    exchanges = ledger.exchanges[ledger.written :]
    known = [*ledger.broken, *(each.no_reply for each in exchanges)]
    says_itself = error is None or error in known or (isinstance(error, CheckFailed) and ledger.verdicts)
    return Outcome(
        status=_status(exchanges, error),
        exchanges=exchanges,
        verdicts=tuple(ledger.verdicts),
        broken=tuple(ledger.broken),
        reason="" if says_itself else _first_line(error),
    )


def _status(exchanges: Sequence[Exchange], error: BaseException | None) -> Status:
    cut = Status.CUT if exchanges else Status.NOT_ASKED
    unjudged = Status.NOT_JUDGED if exchanges else Status.SKIPPED
    kinds: tuple[tuple[type[BaseException], Status], ...] = (
        (NotAsked, Status.NOT_ASKED),
        (NoReply, Status.NO_REPLY),
        (BrokenValidator, Status.BROKEN_VALIDATOR),
        (LLMCallError, Status.MISUSED),
        (pytest.skip.Exception, unjudged),
        (pytest.xfail.Exception, unjudged),
        (pytest.exit.Exception, cut),
        (KeyboardInterrupt, cut),
        (BaseException, Status.FAILED),
    )
    if error is None:
        return Status.PASSED
    return next(status for kind, status in kinds if isinstance(error, kind))


def _first_line(error: BaseException | None) -> str:
    if isinstance(error, pytest.exit.Exception | KeyboardInterrupt):
        return "the run stopped"
    text = next(iter(str(error).splitlines()), "")
    return (
        text
        if isinstance(error, pytest.skip.Exception | pytest.xfail.Exception | LLMCallError)
        else f"{type(error).__name__}: {text}"
    )
