"""One look at all processes for many calls, with real children that bear their marks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import anyio
import pytest

from pytest_llmcall.executors.claude import sweeper as module
from pytest_llmcall.executors.claude.environment import CALL_MARK
from pytest_llmcall.executors.claude.leftovers import end_marked
from pytest_llmcall.executors.claude.sweeper import Sweeper

BOUND_S = 20.0


class Children:
    def __init__(self) -> None:
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *call_ids: str) -> None:
        for call_id in call_ids:
            self.started[call_id] = subprocess.Popen(
                [sys.executable, "-ISc", "import time; time.sleep(600)"], env={**os.environ, CALL_MARK: call_id}
            )

    def running(self) -> set[str]:
        return {call_id for call_id, process in self.started.items() if process.poll() is None}


@pytest.fixture
def children() -> Iterator[Children]:
    children = Children()
    yield children
    for process in children.started.values():
        process.kill()
        process.wait()


async def end_all(sweeper: Sweeper, *call_ids: str) -> None:
    with anyio.fail_after(BOUND_S):
        async with anyio.create_task_group() as tasks:
            for call_id in call_ids:
                tasks.start_soon(sweeper.end, call_id)


def test_calls_that_end_at_a_time_share_a_look(children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    def counting(mark: str, *values: str) -> list[int]:
        looks.append(values)
        return end_marked(mark, *values)

    looks: list[tuple[str, ...]] = []
    monkeypatch.setattr(module, "end_marked", counting)
    names = [f"sweeper-test-{os.getpid()}-{number}" for number in range(20)]
    children.start(names[0], names[-1], "sweeper-test-other")
    anyio.run(end_all, Sweeper(), *names)
    assert children.running() == {"sweeper-test-other"}
    assert sorted(name for look in looks for name in look) == sorted(names)
    assert len(looks) <= 2


def test_what_starts_after_a_look_has_begun_is_found_by_the_next(children: Children) -> None:
    async def main() -> None:
        sweeper = Sweeper()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_all, sweeper, "sweeper-test-early")
            await anyio.wait_all_tasks_blocked()
            children.start("sweeper-test-late")
            await end_all(sweeper, "sweeper-test-late")
            assert children.running() == set()

    anyio.run(main)


def test_a_cancelled_look_is_repeated_by_those_who_share_it(children: Children) -> None:
    async def main() -> None:
        sweeper = Sweeper()
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as scope:
                tasks.start_soon(end_all, sweeper, "sweeper-test-two")
                scope.cancel()
                await sweeper.end("sweeper-test-one")
        assert children.running() <= {"sweeper-test-one"}

    children.start("sweeper-test-one", "sweeper-test-two")
    anyio.run(main)
