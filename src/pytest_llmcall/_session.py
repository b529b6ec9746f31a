"""The session of a run: what is started once, shared by all items, and ended with the run.

Made when the first LLM item is about to run, so that a run without any pays nothing. The executors live on a loop
of their own in a thread of their own: an item that blocks cannot turn another item's reply into a timeout.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import uuid4

from pytest_llmcall import concurrency
from pytest_llmcall._ledger import QueueClock
from pytest_llmcall._settings import Settings
from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, EvidenceLost
from pytest_llmcall.executors import Executor
from pytest_llmcall.executors.spending import Limits, Spent
from pytest_llmcall.reply import Reply
from pytest_llmcall.reports.evidence import RunFolder, open_run, run_name

if TYPE_CHECKING:
    from pytest_llmcall._handover import ElsewhereExecutor
    from pytest_llmcall.executors.estimates import PriceList
    from pytest_llmcall.executors.litellm_api import LiteLLMAPI
    from pytest_llmcall.executors.purse import Purse
    from pytest_llmcall.local_model import LocalModel


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunIdentity:
    """What all processes of one run share.

    Attributes:
        run_id: Marks every process that this pytest process starts. Workers share its beginning, not the rest: one
            that ends must not end what another one has started.
        name: The name of the run's evidence folder.
        share: Over how many workers the limits are split.
        index: Which of them this is, from 0; more than there are if it replaces one that crashed.
    """

    run_id: str
    name: str
    share: int = 1
    index: int = 0

    @classmethod
    def new(cls, *, share: int = 1) -> Self:
        """Return the identity of a new run."""
        run_id = uuid4().hex
        return cls(run_id=run_id, name=run_name(datetime.now(UTC), run_id), share=share)

    def for_worker(self, share: int, *, index: int = 0) -> Self:
        """Return the identity of a worker of this run."""
        return replace(self, run_id=self.run_id[:8] + uuid4().hex[8:], share=share, index=index)


_CLOCK: ContextVar[QueueClock | None] = ContextVar("pytest_llmcall_clock", default=None)


@contextmanager
def _waiting_for_a_slot() -> Iterator[None]:
    """Keep the wait for a slot out of the times of the item that waits."""
    clock = _CLOCK.get()
    with concurrency.uncounted(), clock.waiting() if clock else nullcontext():
        yield


class _Asking:
    """Asks for one item, whose clock hears of the waits for slots."""

    def __init__(self, inner: Executor, clock: QueueClock) -> None:
        self._inner = inner
        self._clock = clock

    async def execute(self, call: Call) -> Reply:
        """Return the reply."""
        token = _CLOCK.set(self._clock)
        try:
            return await self._inner.execute(call)
        finally:
            _CLOCK.reset(token)


class Session:
    """What LLM items share; `executor` is ready after `start`."""

    def __init__(self, settings: Settings, identity: RunIdentity) -> None:
        self.settings = settings
        self.identity = identity
        self._ending = ExitStack()
        self._purse: Purse | None = None
        self._executor: ElsewhereExecutor | None = None
        self._folder: RunFolder | None = None
        self._asked: set[int] = set()
        self.kept: list[dict[str, Any]] = []
        self.lost: EvidenceLost | None = None
        self.answered_by = ""

    @property
    def executor(self) -> Executor:
        """Who is asked."""
        if self._executor is None:
            raise RuntimeError("the session has not been started")
        return self._executor

    def asking(self, clock: QueueClock) -> Executor:
        """Return who is asked, for an item whose clock counts the waits for slots."""
        return _Asking(self.executor, clock)

    @property
    def folder(self) -> RunFolder:
        """Where this run's evidence goes."""
        if self._folder is None:
            raise RuntimeError("the session has not been started")
        return self._folder

    @property
    def concurrency(self) -> int:
        """The most calls in flight at once in this process."""
        return max(1, self.settings.concurrency // self.identity.share)

    @property
    def peak(self) -> int:
        """The most calls that were in flight at once, so far."""
        return self._purse.peak if self._purse else 0

    @property
    def spent(self) -> Spent:
        """What this process has spent so far."""
        return self._purse.spent if self._purse else Spent()

    def start(self) -> None:
        """Start what the run's calls need.

        Raises:
            SettingsError: The evidence folder cannot be written, or the embedded model does not start.
        """
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything that was started; may be called more than once."""
        self._executor = None
        self._ending.close()

    def _start(self) -> None:
        from pytest_llmcall._handover import ElsewhereExecutor, ExecutorThread  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.claude.guardian import Guardian  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.limit import Limit, Slots  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.purse import Purse  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.retry import Retry  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.routing import Router  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.stop import StopOnConfiguration  # noqa: PLC0415 - heavy

        self._folder = open_run(self.settings.evidence, self.identity.name)
        self._ending.callback(self._folder.close)
        guardian = self._ending.enter_context(Guardian.start(self.identity.run_id))
        local = self._start_local_model() if self.settings.local else None
        thread = self._ending.enter_context(ExecutorThread.start())
        slots = Slots(self.concurrency)
        self._purse = Purse(limits_of(self.settings).share(self.identity.index, self.identity.share))
        litellm = self._litellm(local)
        self._ending.callback(thread.call, litellm.aclose)

        def asking(inner: Executor, name: str, *, tells_cost: bool) -> Executor:
            # Calls that wait for the budget have to see that the executor was stopped meanwhile.
            paid = self._paid(StopOnConfiguration(inner, name=name), tells_cost=tells_cost)
            return Retry(Limit(paid, slots, waiting=_waiting_for_a_slot))

        router = Router(
            claude=asking(self._claude(guardian, local), "Claude", tells_cost=True),
            litellm=asking(litellm, "LiteLLM", tells_cost=False),
        )
        self._executor = ElsewhereExecutor(thread, router)

    def _paid(self, inner: Executor, *, tells_cost: bool) -> Executor:
        """Return an executor whose calls the run's purse pays for."""
        from pytest_llmcall.executors.budget import Budget  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.estimates import FreeOfCharge  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.prices import load_prices  # noqa: PLC0415 - heavy

        if self._purse is None:
            raise RuntimeError("the session has not been started")
        prices: PriceList = FreeOfCharge() if self.settings.local else load_prices()
        return Budget(
            inner,
            self._purse,
            prices=prices,
            tells_cost=tells_cost,
            on_start=lambda call: self._asked.add(id(call)),
            waiting=_waiting_for_a_slot,
        )

    def _start_local_model(self) -> LocalModel:
        from pytest_llmcall.local_model import LocalModel  # noqa: PLC0415 - heavy

        local = LocalModel.start(
            self.settings.local_model, log=self.folder.path / "local-model.log", run_id=self.identity.run_id
        )
        self._ending.callback(local.stop)
        return local

    def _claude(self, guardian: Any, local: LocalModel | None) -> Executor:
        from pytest_llmcall.executors.claude import ClaudeCLI  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.claude.find import claude_version, find_claude  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.routing import AnsweredBy, Unavailable  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.tape import TapeFolder  # noqa: PLC0415 - heavy

        try:
            binary = find_claude(self.settings.claude)
            version = claude_version(binary.path)
            self.answered_by = f"claude {version} ({binary.path}, {binary.how})"
        except ConfigurationError as error:
            self.answered_by = f"no claude CLI: {error.reason}"
            return Unavailable(error)
        cli = ClaudeCLI(
            binary.path,
            run_id=self.identity.run_id,
            guardian=guardian,
            tapes=TapeFolder(self.folder.tapes),
            environment=local.environment if local else {},
            unset=local.unset if local else (),
            version=version,
            ahead=math.ceil(self.concurrency / 4),  # each waits with almost as much memory as a call takes
        )
        return AnsweredBy(cli, local.model_name) if local else cli

    def _litellm(self, local: LocalModel | None) -> LiteLLMAPI:
        from pytest_llmcall.executors.litellm_api import LiteLLMAPI  # noqa: PLC0415 - heavy
        from pytest_llmcall.executors.tape import TapeFolder  # noqa: PLC0415 - heavy

        tapes = TapeFolder(self.folder.tapes)
        if local is None:
            return LiteLLMAPI(tapes=tapes)
        return LiteLLMAPI(tapes=tapes, api_base=f"{local.url}/v1", answered_by=local.model_name)

    def header(self, rootdir: Path) -> list[str]:
        """Return what the run says of itself before the first item."""
        if self.settings.local:
            model = "the embedded model, which is small and gets things wrong"
        else:
            model = ", ".join(self.settings.force_models) or self.settings.model
        return [
            f"llmcall: {self.answered_by}",
            f"llmcall: model {model}; at most {self.concurrency} call{'s' * (self.concurrency > 1)} in flight",
            f"llmcall: evidence in {shown_path(self.folder.path, rootdir)}",
        ]

    def give_up(self, call: Call) -> None:
        """End a call that is under way and that nobody waits for any more."""
        if self._executor is not None:
            self._executor.give_up(call)

    def was_asked(self, call: Call) -> bool:
        """Return whether a call that is still held had its slot, and was within the budget."""
        return id(call) in self._asked

    def keep(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Write an outcome's record to the disk, and return it with what a worker's controller needs besides.

        What cannot be written is kept for the closing section all the same; `lost` then says so.
        """
        self.lost = None
        self.kept.append({**record, "peak": self.peak, "process": os.getpid(), "spent": asdict(self.spent)})
        try:
            self.folder.write(record)
        except OSError as error:
            self.lost = EvidenceLost(self.folder.outcomes, error.strerror or str(error))
        return self.kept[-1]


def limits_of(settings: Settings) -> Limits:
    """Return what the whole run may spend."""
    return Limits(
        max_cost_usd=settings.max_cost_usd,
        max_calls=settings.max_calls,
        max_tokens=settings.max_tokens,
        max_time_s=settings.max_time_s,
    )


def shown_path(path: Path, rootdir: Path) -> str:
    """Return a path as it is shown: relative to the root folder where it lies in there."""
    return str(path.relative_to(rootdir)) if path.is_relative_to(rootdir) else str(path)


def now() -> float:
    """Return the seconds since the epoch."""
    return time.time()
