"""The guardian against real processes: whatever ends the parent, nothing that it had started is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest

from pytest_llmcall.executors.claude import Guardian

if TYPE_CHECKING:
    from tests.executors.claude.conftest import Asking

PARENT = Path(__file__).parents[2] / "children" / "guarded_parent.py"


class Parent:
    def __init__(self, how: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, PARENT, how, uuid.uuid4().hex, folder], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout
        self.pids: dict[str, int | None] = json.loads(self.process.stdout.readline())
        self.process.stdout.close()

    def is_up(self, name: str) -> bool:
        return is_running(self.pids[name] or 0)

    def wait_until_gone(self, *names: str) -> None:
        anyio.run(gone, [self.pids[name] or 0 for name in names])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "pytest-llmcall-folder"
    (path / "work").mkdir(parents=True)
    (path / "work" / "file.txt").write_text("x")
    return path


@pytest.fixture
def parents() -> Iterator[list[Parent]]:
    started: list[Parent] = []
    yield started
    for parent in started:
        for pid in (parent.process.pid, *parent.pids.values()):
            with suppress(ProcessLookupError):
                os.kill(pid or 2**30, signal.SIGKILL)
        parent.process.wait()


@pytest.mark.parametrize(("number", "how"), [(signal.SIGKILL, "resists"), (signal.SIGTERM, "waits")])
def test_a_killed_parent_leaves_nothing(parents: list[Parent], folder: Path, number: signal.Signals, how: str) -> None:
    parents.append(parent := Parent(how, folder))
    assert parent.is_up("registered")
    parent.process.send_signal(number)
    parent.process.wait()
    parent.wait_until_gone("registered", "marked", "guardian")
    assert not folder.exists()


def test_a_forgotten_group_is_not_the_guardians_business(parents: list[Parent], folder: Path) -> None:
    parents.append(parent := Parent("waits", folder))
    parent.process.kill()
    parent.process.wait()
    parent.wait_until_gone("guardian")
    assert parent.is_up("forgotten")


def test_a_killed_parent_whose_fork_holds_the_pipe_leaves_nothing(parents: list[Parent], folder: Path) -> None:
    parents.append(parent := Parent("forks", folder))
    parent.process.kill()
    parent.process.wait()
    parent.wait_until_gone("registered", "marked", "guardian")
    assert parent.is_up("forked")


def test_the_guardian_outlives_ctrl_c_on_the_group_and_a_sigterm(parents: list[Parent], folder: Path) -> None:
    parents.append(parent := Parent("waits", folder))
    os.kill(parent.pids["guardian"] or 0, signal.SIGTERM)
    os.killpg(parent.process.pid, signal.SIGINT)
    parent.process.wait()
    parent.wait_until_gone("registered", "marked", "guardian")
    assert not folder.exists()


def test_the_guardian_ends_with_a_parent_that_forgot_to_close_it(parents: list[Parent], folder: Path) -> None:
    parents.append(parent := Parent("exits", folder))
    assert parent.process.wait() == 0
    parent.wait_until_gone("guardian", "registered")


def test_the_guardian_ends_with_its_run() -> None:
    with Guardian.start(uuid.uuid4().hex) as guardian:
        assert is_running(guardian.pid)
    assert not is_running(guardian.pid)


def test_a_run_without_leftovers_ends_with_its_folders_gone(folder: Path) -> None:
    with Guardian.start(uuid.uuid4().hex) as guardian:
        guardian.register_folder(folder)
    assert not folder.exists()


def test_a_guardian_that_is_killed_while_nothing_else_happens_is_replaced_and_told_everything(
    parents: list[Parent], folder: Path
) -> None:
    parents.append(parent := Parent("loses", folder))
    parent.process.kill()
    parent.process.wait()
    parent.wait_until_gone("registered", "marked", "guardian")
    assert parent.is_up("forgotten")
    assert not folder.exists()


def test_a_guardian_that_is_killed_again_and_again_is_replaced_each_time() -> None:
    with Guardian.start(uuid.uuid4().hex) as guardian:
        for _ in range(3):
            before = guardian.pid
            os.kill(before, signal.SIGKILL)
            anyio.run(changed, guardian, before)
        last = guardian.pid
    assert not is_running(last)


def test_what_is_registered_while_the_guardian_is_dead_is_not_lost(folder: Path) -> None:
    with Guardian.start(uuid.uuid4().hex) as guardian:
        first = guardian.pid
        with guardian._lock:  # keeps the watcher from replacing it meanwhile
            os.kill(first, signal.SIGKILL)
            guardian._process.wait()
            guardian._folders.add(str(folder))
            guardian._say(f"@{folder}")
        anyio.run(changed, guardian, first)
    assert not folder.exists()


def test_no_watcher_is_left_after_the_run() -> None:
    with Guardian.start(uuid.uuid4().hex):
        assert "llmcall-guardian" in [thread.name for thread in threading.enumerate()]
    assert "llmcall-guardian" not in [thread.name for thread in threading.enumerate()]


def test_a_killed_parent_that_was_asking_leaves_nothing(fake: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    async def killed() -> None:
        with anyio.fail_after(20):
            while not [*fake.temporary.glob("*/work/child.pid")]:  # noqa: ASYNC110 - another process sets no event
                await anyio.sleep(0.02)
            parent.kill()
            while fake.leftovers():  # noqa: ASYNC110 - other processes set no event
                await anyio.sleep(0.02)

    monkeypatch.setenv("FAKE_CLAUDE", "orphan_then_hang")
    asking = PARENT.with_name("asking_parent.py")
    parent = subprocess.Popen([sys.executable, asking, fake.binary, fake.run_id, fake.temporary])
    try:
        anyio.run(killed)
    finally:
        parent.kill()
        parent.wait()


async def changed(guardian: Guardian, before: int) -> None:
    with anyio.fail_after(10):
        while guardian.pid == before:  # noqa: ASYNC110 - a thread sets no event of this loop
            await anyio.sleep(0.01)


async def gone(pids: list[int]) -> None:
    with anyio.fail_after(10):
        while any(map(is_running, pids)):  # noqa: ASYNC110 - other processes set no event
            await anyio.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # nobody reaps orphans in some containers
    except psutil.NoSuchProcess:
        return False
