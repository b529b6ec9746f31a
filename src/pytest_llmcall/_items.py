"""Case files as pytest nodes: a file is a module whose functions are its cases, so fixtures and marks just work."""

from __future__ import annotations

import inspect
import os
import shutil
import types
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from pytest_llmcall import _casefile, concurrency
from pytest_llmcall._ledger import Ledger
from pytest_llmcall._run import run_case
from pytest_llmcall._session import Session, now
from pytest_llmcall._settings import Settings
from pytest_llmcall.case import Case, CustomCheck
from pytest_llmcall.errors import BrokenValidator, CaseFileError, EvidenceLost, Problem, Source
from pytest_llmcall.executors.models import parse_model
from pytest_llmcall.outcome import Exchange, Outcome, Status
from pytest_llmcall.reports.record import record, summary
from pytest_llmcall.reports.terminal import case_text
from pytest_llmcall.validators.custom import bind_custom
from pytest_llmcall.verdict import CheckFailed, Validator

MODEL_ARGUMENT: Final = "llmcall_model"
SESSION: Final = pytest.StashKey[Session]()
RECORD: Final = pytest.StashKey[dict[str, Any]]()
LEDGER: Final = pytest.StashKey[Ledger]()
RAISED: Final = pytest.StashKey[tuple[Exception, Outcome]]()


class CaseFile(pytest.Module):
    """A case file. It stands where a test module would, so that module-scoped fixtures have a place."""

    def __init__(self, *, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.settings = settings

    def _getobj(self) -> types.ModuleType:
        return types.ModuleType(self.path.name)

    def collect(self) -> Sequence[CaseItem]:
        """Return an item per case, or report every problem of the file at once."""
        cases = _casefile.load(self.path, fixtures=_Fixtures(self))
        functions = [_function(case, self.settings.force_models) for case in cases]
        problems = {*self._shadowed(cases), *(each for each in map(self._mark, cases, functions) if each)}
        items = [item for pair in zip(cases, functions, strict=True) for item in self._items(*pair)]
        problems.update(problem for item in items for problem in item.missing_fixtures())
        if problems:
            raise CaseFileError(problems)
        return items

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002 - pytest's signature
        """Show the problems of a file without a traceback of ours."""
        if isinstance(excinfo.value, CaseFileError):
            count = len(excinfo.value.problems)
            return shown(str(excinfo.value), f"{count} problem{'s' * (count > 1)}", excinfo.value.problems[0].source)
        return super().repr_failure(excinfo)

    def _shadowed(self, cases: Iterable[Case]) -> Iterator[Problem]:
        for case in cases:
            for check in case.checks:
                if isinstance(check, CustomCheck):
                    continue
                fixture = _Fixtures(self).find(check.name)
                if fixture is not None:
                    yield _casefile.shadowed_name_problem(check.name, _place(fixture.func))

    def _mark(self, case: Case, function: Any) -> Problem | None:
        """Give a case's function its marks; pytest's word on a name that it does not know becomes a problem."""
        try:
            with warnings.catch_warnings(record=True) as unknown:
                warnings.simplefilter("always")
                function.pytestmark += [
                    getattr(pytest.mark, each.name)(*each.args, **each.kwargs) for each in case.marks
                ]
            for each in unknown:
                warnings.warn_explicit(each.message, each.category, str(case.source.path), case.source.line)
        except (pytest.fail.Exception, Warning) as error:
            return _casefile.unknown_mark_problem(case.source, str(error))
        return None

    def _items(self, case: Case, function: Any) -> Iterator[CaseItem]:
        setattr(self.obj, case.id, function)
        # The way of a test function: it honours parametrized fixtures and pytest_generate_tests.
        for plain in self._genfunctions(case.id, function):
            yield CaseItem.from_parent(
                self,
                name=plain.name,
                callspec=getattr(plain, "callspec", None),
                callobj=function,
                fixtureinfo=plain._fixtureinfo,  # noqa: SLF001 - as pytest-asyncio does
                keywords=dict.fromkeys(mark.name for mark in plain.iter_markers()),
                originalname=plain.originalname,
                case=case,
            )


class _Fixtures(Collection[str]):
    """The names of the fixtures that a case file sees."""

    def __init__(self, file: CaseFile) -> None:
        self._file = file
        self._manager = file.session._fixturemanager  # noqa: SLF001 - no public way to look one up

    def find(self, name: str) -> Any:
        """Return the fixture's definition that holds for the file, or None."""
        found = self._manager.getfixturedefs(name, self._file)
        return found[-1] if found else None

    def __contains__(self, name: object) -> bool:
        return self.find(str(name)) is not None

    def __iter__(self) -> Iterator[str]:
        # Only for suggestions; the name of the table has changed from pytest to pytest.
        tables = (value for key, value in vars(self._manager).items() if key.startswith("_arg2") and value)
        return iter([name for name in next(tables, ()) if name in self])

    def __len__(self) -> int:
        return len(list(iter(self)))


class CaseItem(pytest.Function):
    """One case: its fixtures are the validators that it names."""

    is_llm_case = True  # `plugin.py` looks for this, so as not to import this module

    def __init__(self, *, case: Case, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.case = case

    def runtest(self) -> None:
        """Ask, judge, keep the outcome, and raise what it means."""
        session = self.config.stash[SESSION]
        outcome = self._run(session)
        if (error := session.lost or _error(outcome)) is not None:
            self.stash[RAISED] = (error, outcome)
            raise error

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:  # noqa: ARG002 - pytest's signature
        """Show the case instead of a traceback of ours."""
        error, outcome = self.stash.get(RAISED, (None, None))
        if outcome is None or excinfo.value is not error:
            return super().repr_failure(excinfo)
        if isinstance(error, EvidenceLost):
            return shown(f"{error}\n{case_text(outcome)}", str(error), self.case.source)
        return shown(case_text(outcome), summary(outcome), self.case.source)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """Return the place of the case in its file."""
        return self.path, self.case.source.line - 1, self.name

    def model(self, settings: Settings) -> str:
        """Return the name of the model that the item asks."""
        forced = self.callspec.params.get(MODEL_ARGUMENT) if hasattr(self, "callspec") else None
        return str(forced or next(iter(settings.force_models), None) or self.case.call.model or settings.model)

    def missing_fixtures(self) -> Iterator[Problem]:
        """Yield a problem for each fixture that the case needs and that does not exist."""
        info = self._fixtureinfo
        known = {"request", *info.name2fixturedefs, *getattr(getattr(self, "callspec", None), "params", ())}
        for name in info.names_closure:
            if name not in known:
                yield _casefile.missing_fixture_problem(self.case.id, name, self.case.source)

    def not_asked(self, status: Status, reason: str) -> dict[str, Any]:
        """Return the record of a case that ended before its call."""
        ledger = ledger_of(self)  # its fixtures may have asked
        ledger.written = len(ledger.exchanges)
        outcome = Outcome(status=status, exchanges=(*ledger.exchanges, Exchange(call=self.case.call)), reason=reason)
        return record(outcome, nodeid=self.nodeid, started=ledger.started or now(), ended=now())

    def _run(self, session: Session) -> Outcome:
        started = now()
        settings = session.settings
        asked = replace(self.case.call, model=self.model(settings))
        call = asked.resolved(model=settings.model, timeout=settings.timeout)

        ledger = ledger_of(self)
        ledger.started = started

        def keep(outcome: Outcome) -> None:
            # What its validators' fixtures have asked belongs to the case, too.
            outcome = replace(outcome, exchanges=(*outcome.exchanges, *ledger.exchanges))
            ledger.written = len(ledger.exchanges)
            if outcome.status is Status.CUT and not session.was_asked(call):
                outcome = replace(outcome, status=Status.NOT_ASKED, reason="not asked: the run stopped")
            kept = record(outcome, nodeid=self.nodeid, started=started, ended=now())
            self.stash[RECORD] = session.keep(kept)
            self.user_properties.extend(properties(kept))

        try:
            validators = self._validators()
        except BrokenValidator as error:  # before anything is paid for
            outcome = Outcome(status=Status.BROKEN_VALIDATOR, exchanges=(Exchange(call=call),), broken=(error,))
            keep(outcome)
            return outcome
        executor = session.asking(ledger.clock)
        return run_case(call, validators, executor=executor, wait=concurrency.wait, keep=keep)

    def _validators(self) -> list[Validator]:
        return [
            bind_custom(check, self.funcargs[check.name]) if isinstance(check, CustomCheck) else check
            for check in self.case.checks
        ]


def ledger_of(item: pytest.Item) -> Ledger:
    """Return the ledger of an item that is running."""
    if LEDGER not in item.stash:
        item.stash[LEDGER] = Ledger()
    return item.stash[LEDGER]


def unmet_need(needs: Iterable[str], settings: Settings, *, model: str) -> str | None:
    """Return in one line what is needed and not here to ask a model, or None."""
    if settings.local and parse_model(model).provider == "litellm":
        needs = [need for need in needs if not _is_key(need)]
    reasons = ((need, _unmet(need, local=settings.local)) for need in needs)
    return next((f"needs {need}: {reason}" for need, reason in reasons if reason), None)


def unmet_case(item: CaseItem, settings: Settings) -> str | None:
    """Return why a case cannot run here in one line, or None."""
    return unmet_need(item.case.needs, settings, model=item.model(settings))


def _is_key(need: str) -> bool:
    """Return whether a need is a provider's key, which the embedded model does not ask for."""
    return need.startswith("env:") and need.endswith("_API_KEY")


def _unmet(need: str, *, local: bool) -> str | None:
    kind, _, name = need.partition(":")
    if kind == "env":
        return None if os.environ.get(name) else f"the environment variable {name} is not set"
    if kind == "command":
        return None if shutil.which(name) else f"there is no command {name} on PATH"
    if kind == "judge":
        return "this version has no agent validator yet"
    if local and kind == "capable-model":
        return "the embedded model is too small"
    if local and kind == "network":
        return "--llm-local answers without a network"
    return None


def _function(case: Case, force_models: tuple[str, ...]) -> Any:
    def run(**_: object) -> None:
        raise AssertionError("a case runs in CaseItem.runtest")

    custom = dict.fromkeys(check.name for check in case.checks if isinstance(check, CustomCheck))
    marks = [pytest.mark.llm]
    if len(force_models) > 1:
        custom[MODEL_ARGUMENT] = None
        marks.append(pytest.mark.parametrize(MODEL_ARGUMENT, force_models, ids=force_models))
    run.__name__ = case.id
    run.__doc__ = case.description
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in custom]
    )
    run.pytestmark = marks  # type: ignore[attr-defined]
    return run


def _error(outcome: Outcome) -> Exception | None:
    if outcome.status is Status.PASSED:
        return None
    if outcome.no_reply is not None:
        return outcome.no_reply
    return outcome.broken[0] if outcome.broken else CheckFailed(outcome.verdicts)


def shown(text: str, reason: str, source: Source) -> Any:
    """Return a representation that reporters know, with our text and place, and one line for the short summary."""
    try:
        raise _Shown(text)  # noqa: TRY301 - pytest asks for an exception that was raised
    except _Shown as error:
        made: Any = pytest.ExceptionInfo.from_exception(error).getrepr(style="value")
    made.reprcrash.path = str(source.path)
    made.reprcrash.lineno = source.line
    made.reprcrash.message = reason
    return made


class _Shown(Exception):
    """Carries a text into pytest's own representation."""


def properties(kept: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return what JUnit is told of an outcome."""
    names = ("model", "duration_s", "tokens", "cost_usd", "tape")
    known = [(f"llm_{name}", kept[name]) for name in names if kept[name] is not None]
    return [("llm_status", kept["status"]), *known]


def _place(function: Any) -> Source:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return Source(Path(code.co_filename), code.co_firstlineno) if code else Source(Path(repr(function)))
