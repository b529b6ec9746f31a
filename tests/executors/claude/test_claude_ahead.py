"""Processes that start while their call waits for its slot, with a real child process that notes what it sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import psutil

from pytest_llmcall.call import Call, McpServer
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NotAsked, OverBudget
from pytest_llmcall.executors.budget import Budget
from pytest_llmcall.executors.claude import ClaudeCLI, Guardian
from pytest_llmcall.executors.claude.ahead import Ahead
from pytest_llmcall.executors.estimates import FreeOfCharge
from pytest_llmcall.executors.limit import Limit, Slots
from pytest_llmcall.executors.purse import Purse
from pytest_llmcall.executors.routing import AnsweredBy
from pytest_llmcall.executors.spending import Limits
from pytest_llmcall.executors.stop import StopOnConfiguration
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import FakeExecutor

if TYPE_CHECKING:
    from tests.executors.claude.conftest import Asking

BOUND_S = 20.0


class Queue:
    """One slot, which the test holds, and a CLI whose processes note that they are up and what they are asked."""

    def __init__(self, fake: Asking, notes: Path, how: str = "noted_prompt") -> None:
        self.slots = Slots(1)
        self.cli = fake.cli(FAKE_CLAUDE=how, FAKE_NOTES=str(notes))
        self.call = fake.call("Hi").resolved(model="max/default", timeout=20)
        self._notes = notes
        self.replies: list[Reply] = []
        self.errors: list[Exception] = []

    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    async def pid(self) -> int:
        """Return the number of the first process, once it is up."""
        while not self.notes():  # noqa: ASYNC110 - another process sets no event
            await anyio.sleep(0.02)
        return int(self.notes()[0].split()[1])

    async def ask(self, call: Call | None = None, inner: Any = None) -> None:
        try:
            self.replies.append(await Limit(inner or self.cli, self.slots).execute(call or self.call))
        except Exception as error:
            self.errors.append(error)

    @asynccontextmanager
    async def waiting(self, *asks: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[int]:
        """Let calls wait until the first process is up; give the slot away at the end."""
        with anyio.fail_after(BOUND_S):
            async with self.held(*asks):
                yield await self.pid()

    @asynccontextmanager
    async def held(self, *asks: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
        with anyio.fail_after(BOUND_S):
            await self.slots.acquire("the test")
            async with anyio.create_task_group() as tasks:
                for ask in asks or (self.ask,):
                    tasks.start_soon(ask)
                yield
                self.slots.release("the test")


def test_a_process_starts_while_its_call_waits_and_is_asked_in_its_slot(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        async with queue.waiting() as pid:
            assert queue.notes() == [f"up {pid}"]
        assert queue.notes() == [f"up {pid}", "asked Hi"]

    queue = Queue(fake, tmp_path / "notes")
    anyio.run(main)
    (reply,) = queue.replies
    assert reply.text == "Hi"
    assert reply.queued_s > reply.duration_s
    assert len(fake.tapes()) == 1


def test_the_deadline_counts_from_the_slot(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        async with queue.waiting():
            pass

    queue = Queue(fake, tmp_path / "notes", "noted_prompt_after_a_slow_start")
    queue.call = fake.call("Hi").resolved(model="max/default", timeout=1)
    anyio.run(main)
    assert [reply.text for reply in queue.replies] == ["Hi"], queue.errors


def test_a_call_that_is_cancelled_while_it_waits_leaves_nothing(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with queue.waiting() as pid:
                family.extend([psutil.Process(pid), *psutil.Process(pid).children()])
                scope.cancel()

    family: list[psutil.Process] = []
    queue = Queue(fake, tmp_path / "notes", "noted_prompt_and_an_orphan")
    anyio.run(main)
    assert len(family) == 2
    assert not any(is_running(process) for process in family)
    assert fake.leftovers() == []


def test_a_call_that_the_budget_refuses_in_its_slot_leaves_nothing(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        purse = Purse(Limits(max_calls=0))
        budget = Budget(queue.cli, purse, prices=FreeOfCharge())
        async with queue.waiting(lambda: queue.ask(inner=budget)) as pid:
            process = psutil.Process(pid)
        assert not is_running(process)

    queue = Queue(fake, tmp_path / "notes")
    anyio.run(main)
    assert [type(error) for error in queue.errors] == [OverBudget]
    assert fake.leftovers() == []
    assert len(queue.notes()) == 1


def test_a_stop_while_a_call_waits_leaves_nothing(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        stopping = StopOnConfiguration(queue.cli, name="Claude")
        async with queue.waiting(lambda: queue.ask(inner=stopping)) as pid:
            process = psutil.Process(pid)
            stopping._stopped = ConfigurationError("not logged in")
        assert not is_running(process)

    queue = Queue(fake, tmp_path / "notes")
    anyio.run(main)
    assert [type(error) for error in queue.errors] == [NotAsked]


def test_a_process_that_waits_is_known_to_the_guardian(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        async with queue.waiting() as pid:
            assert pid in guardian._groups
            assert guardian._folders >= {str(path) for path in fake.temporary.iterdir()}
        assert pid not in guardian._groups

    queue = Queue(fake, tmp_path / "notes")
    with Guardian.start(fake.run_id) as guardian:
        queue.cli._guardian = guardian
        anyio.run(main)


def test_a_process_that_waits_for_its_prompt_keeps_no_other_from_starting(fake: Asking, tmp_path: Path) -> None:
    async def main() -> Reply:
        queue.cli._startup = anyio.Semaphore(1)
        async with queue.waiting():
            return await queue.cli.execute(fake.call("other").resolved(model="max/default", timeout=20))

    queue = Queue(fake, tmp_path / "notes")
    assert anyio.run(main).text == "other"


def test_what_fails_ahead_is_told_once_when_the_call_has_its_slot(fake: Asking, tmp_path: Path) -> None:
    async def main() -> None:
        queue.cli._program.worked()
        fake.binary.unlink()
        async with queue.held():
            await anyio.wait_all_tasks_blocked()
            while queue.cli._program._failed_at is None:  # noqa: ASYNC110 - another thread sets no event
                await anyio.sleep(0.02)
            assert queue.errors == []

    queue = Queue(fake, tmp_path / "notes")
    anyio.run(main)
    # A second start would have shown that the CLI stays away, which stops the executor.
    (error,) = queue.errors
    assert type(error) is InfrastructureError
    assert "does not start" in error.reason


def test_no_call_that_starts_servers_begins_ahead(fake: Asking) -> None:
    server = McpServer(name="adds", command="adding")
    assert isinstance(fake.cli().prepare(fake.call("Hi", mcp=(server,))), nullcontext)
    assert not isinstance(fake.cli().prepare(fake.call("Hi")), nullcontext)


def test_a_free_slot_needs_no_preparation(fake: Asking, tmp_path: Path) -> None:
    class NeverPrepared(ClaudeCLI):
        def prepare(self, call: Call) -> AbstractAsyncContextManager[None]:
            raise AssertionError(call)

    cli = NeverPrepared(
        fake.binary, run_id=fake.run_id, environment={"FAKE_CLAUDE": "noted_prompt", "FAKE_NOTES": f"{tmp_path}/notes"}
    )
    call = fake.call("Hi").resolved(model="max/default", timeout=20)
    assert anyio.run(Limit(cli, Slots(1)).execute, call).text == "Hi"


class Counted:
    """What has begun, and what has ended of it."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []

    @asynccontextmanager
    async def begin(self, call: Call) -> AsyncIterator[Counted]:
        self.begun.append(call.prompt)
        try:
            yield self
        finally:
            self.ended.append(call.prompt)

    async def settle(self) -> None:
        """Be ready at once."""


def test_no_more_begin_ahead_than_there_is_room_for(fake: Asking) -> None:
    async def one(name: str) -> None:
        call = fake.call(name)
        async with ahead.prepare(call):
            await slots[name].wait()
            async with ahead.begun(call):
                asked.append(name)
                await end.wait()

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for name in "abcd":
                tasks.start_soon(one, name)
            await anyio.wait_all_tasks_blocked()
            assert counted.begun == ["a", "b"]
            slots["d"].set()  # it was not its turn: it begins now, and takes nobody's room
            await anyio.wait_all_tasks_blocked()
            assert (counted.begun, asked) == (["a", "b", "d"], ["d"])
            slots["a"].set()
            await anyio.wait_all_tasks_blocked()
            assert (counted.begun, asked) == (["a", "b", "d", "c"], ["d", "a"])
            for event in (slots["b"], slots["c"], end):
                event.set()
        assert sorted(counted.ended) == ["a", "b", "c", "d"]

    counted, asked, end = Counted(), list[str](), anyio.Event()
    slots = {name: anyio.Event() for name in "abcd"}
    ahead = Ahead(counted.begin, most=2)
    anyio.run(main)


def test_what_was_prepared_for_one_call_is_not_given_to_another(fake: Asking) -> None:
    async def main() -> None:
        async with ahead.prepare(fake.call("one")):
            await anyio.wait_all_tasks_blocked()
            async with ahead.begun(fake.call("other")):
                pass

    counted = Counted()
    ahead = Ahead(counted.begin, most=1)
    anyio.run(main)
    assert counted.begun == ["one", "other"]
    assert sorted(counted.ended) == ["one", "other"]


class Preparing(FakeExecutor):
    """Notes what it was to prepare."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[Call] = []

    def prepare(self, call: Call) -> AbstractAsyncContextManager[None]:
        self.prepared.append(call)
        return nullcontext()


def test_wrappers_pass_preparations_on(fake: Asking) -> None:
    inner = Preparing()
    call = fake.call("Hi")
    AnsweredBy(StopOnConfiguration(inner, name="Claude"), "small").prepare(call)
    Budget(inner, Purse(), prices=FreeOfCharge()).prepare(call)
    assert inner.prepared == [call, call]


def test_a_stopped_executor_prepares_nothing(fake: Asking) -> None:
    inner = Preparing()
    stopping = StopOnConfiguration(inner, name="Claude")
    stopping._stopped = ConfigurationError("not logged in")
    stopping.prepare(fake.call("Hi"))
    assert inner.prepared == []


def test_a_call_whose_bound_the_budget_sets_in_its_slot_is_not_prepared(fake: Asking) -> None:
    inner = Preparing()
    budget = Budget(inner, Purse(Limits(max_cost_usd=1.0)), prices=FreeOfCharge())
    plain, agent = fake.call("Hi"), fake.call("Hi", tools=("Read",))
    budget.prepare(plain)
    budget.prepare(agent)
    assert inner.prepared == [plain]
    Budget(inner, Purse(Limits(max_calls=1)), prices=FreeOfCharge()).prepare(agent)
    assert inner.prepared == [plain, agent]


def is_running(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # nobody reaps orphans in some containers
    except psutil.NoSuchProcess:
        return False
