"""What the real CLI cannot be made to do: a real child process that is torn, floods, hangs or leaves orphans."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import psutil
import pytest
from anyio import to_thread

from pytest_llmcall.call import WorkFile
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, TimedOut
from pytest_llmcall.executors.claude import ClaudeCLI
from pytest_llmcall.executors.claude.process import HeadAndTail, Launch, run_process
from pytest_llmcall.executors.claude.stream import Transcript
from pytest_llmcall.executors.claude.workspace import MOST_FILES, remove_folder
from pytest_llmcall.reply import Ending

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.executors.claude.conftest import Asking

    Scarcity = Callable[[], AbstractContextManager[None]]


def test_a_prompt_reaches_the_child_and_its_text_comes_back(fake: Asking) -> None:
    reply = fake("What is the capital of France? ☃ \udc80", FAKE_CLAUDE="ok")
    assert reply.text == "What is the capital of France? ☃ \udc80"
    assert reply.ending is Ending.COMPLETED
    assert reply.duration_s > 0
    assert [event["type"] for event in reply.transcript] == ["system", "assistant", "result"]


def test_a_torn_last_line_is_no_reply(fake: Asking) -> None:
    with pytest.raises(InfrastructureError, match="exit code 0 and gave no result") as caught:
        fake(FAKE_CLAUDE="torn")
    assert caught.value.received == "half of"
    assert '"subtype":"suc' in caught.value.detail


def test_a_line_of_50_mb_is_read(fake: Asking) -> None:
    assert len(fake(FAKE_CLAUDE="huge_line").text) == 50_000_000


def test_a_line_above_64_mib_ends_the_process(fake: Asking) -> None:
    with pytest.raises(ConfigurationError, match="wrote too much") as caught:
        fake(FAKE_CLAUDE="too_long_line")
    assert caught.value.scope == "call"


def test_invalid_utf8_is_replaced(fake: Asking) -> None:
    assert fake(FAKE_CLAUDE="invalid_utf8").text == "caf\N{REPLACEMENT CHARACTER}"


def test_unknown_events_and_noise_are_passed_over(fake: Asking) -> None:
    reply = fake(FAKE_CLAUDE="unknown_events")
    assert reply.text == "done"
    assert {"no_type": 1} in reply.transcript


def test_a_flood_on_stderr_neither_blocks_nor_hides_the_ends(fake: Asking) -> None:
    reply = fake(FAKE_CLAUDE="stderr_flood")
    assert reply.stderr.startswith("first words")
    assert reply.stderr.endswith("last words\n")
    assert len(reply.stderr) < 70_000
    assert "bytes ...]" in reply.stderr


def test_a_deadline_ends_the_call_with_what_was_received(fake: Asking) -> None:
    with pytest.raises(TimedOut, match=r"no reply within 0.8 s") as caught:
        fake(fake.call("Hi", timeout=0.8), FAKE_CLAUDE="hang")
    assert caught.value.received == "so far"
    assert caught.value.remedy


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(fake: Asking) -> None:
    with pytest.raises(TimedOut):
        fake(fake.call("Hi", timeout=0.4), FAKE_CLAUDE="ignores_sigterm")


@pytest.mark.parametrize("how", ["orphan_then_hang", "grandchild_of_a_dead_parent_then_hang"])
def test_a_deadline_ends_a_grandchild_in_a_session_of_its_own(fake: Asking, how: str) -> None:
    with pytest.raises(TimedOut):
        fake(fake.call("Hi", timeout=0.4), FAKE_CLAUDE=how)


def test_a_deadline_ends_a_tool_that_hides_its_marks(fake: Asking, tmp_path: Path) -> None:
    with pytest.raises(TimedOut):
        fake(
            fake.call("Hi", timeout=1),
            FAKE_CLAUDE="orphan_without_marks_then_hang",
            FAKE_NOTES=str(tmp_path / "notes"),
        )
    assert not is_running(int((tmp_path / "notes").read_text()))


def test_an_orphan_that_holds_the_pipes_open_delays_no_reply_for_long(fake: Asking) -> None:
    assert fake(FAKE_CLAUDE="orphan_then_end").text == "done"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("interrupted", "was interrupted"),
        ("unexplained_error", "broke"),
        ("says_it_itself", "ended without asking the model"),
        ("no_result", "ended with exit code 0 and gave no result"),
        ("says_nothing", "exit code 1 and said nothing"),
        ("killed", "was ended by SIGKILL and gave no result"),
    ],
)
def test_an_end_without_a_good_result_is_worth_another_try(fake: Asking, how: str, reason: str) -> None:
    with pytest.raises(InfrastructureError, match=reason):
        fake(FAKE_CLAUDE=how)


def test_a_cli_too_old_for_the_launch_line_stops_the_executor(fake: Asking) -> None:
    with pytest.raises(ConfigurationError, match="does not know an option") as caught:
        fake(FAKE_CLAUDE="unknown_option")
    assert caught.value.scope == "executor"
    assert "--include-partial-messages" in caught.value.detail
    assert "update" in caught.value.remedy


def test_a_slow_start_is_waited_for(fake: Asking) -> None:
    assert fake(FAKE_CLAUDE="slow_start").text == "done"


def test_a_hang_after_the_result_does_not_lose_the_reply(fake: Asking) -> None:
    assert fake(FAKE_CLAUDE="hang_after_result").text == "done"


def test_a_bad_exit_code_after_a_good_result_does_not_lose_the_reply(fake: Asking) -> None:
    assert fake(FAKE_CLAUDE="error_exit_after_result").ending is Ending.COMPLETED


def test_a_child_that_does_not_read_its_prompt_is_no_deadlock(fake: Asking) -> None:
    assert fake("x" * 5_000_000, FAKE_CLAUDE="never_reads").text == "done"


def test_files_of_the_working_folder_come_back_bounded(fake: Asking) -> None:
    files = fake(fake.call("Hi", files=(WorkFile(path="0/a.txt", content="given"),)), FAKE_CLAUDE="makes_files").files
    assert len(files) == MOST_FILES
    assert files["000.txt"] == "text"
    assert (files["000-binary"], files["000-large.txt"], files["000-link"]) == (None, None, None)


def test_a_given_file_comes_back(fake: Asking) -> None:
    assert fake(fake.call("Hi", files=(WorkFile(path="a/b.txt", content="given ☃"),))).files == {"a/b.txt": "given ☃"}


@pytest.mark.parametrize("path", ["../out.txt", "/etc/out.txt", "a/../../out.txt", ""])
def test_a_file_outside_of_the_working_folder_is_refused(fake: Asking, path: str) -> None:
    with pytest.raises(ConfigurationError, match="outside of the call's folder") as caught:
        fake(fake.call("Hi", files=(WorkFile(path=path, content=""),)))
    assert caught.value.scope == "call"


def test_cancelling_a_call_ends_its_tree(fake: Asking) -> None:
    async def cancelled() -> list[int]:
        cli = fake.cli(FAKE_CLAUDE="orphan_then_hang")
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cli.execute, fake.call("Hi").resolved(model="max/default", timeout=60))
                pids = await child_pids(fake.temporary)
                assert all(is_running(pid) for pid in pids)
                tasks.cancel_scope.cancel()
        return pids

    assert not any(is_running(pid) for pid in anyio.run(cancelled))


def test_calls_overlap_although_their_start_ups_take_turns(fake: Asking) -> None:
    replies: list[str] = []

    async def one(number: int) -> None:
        call = fake.call(f"number {number}").resolved(model="max/default", timeout=20)
        replies.append((await cli.execute(call)).text)

    async def all_of_them() -> None:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(12):
                    tasks.start_soon(one, number)

    cli = fake.cli(FAKE_CLAUDE="ok")
    anyio.run(all_of_them)
    assert sorted(replies) == sorted(f"number {number}" for number in range(12))


def two_at_a_gate_of_one(fake: Asking, how: str, notes: Path) -> None:
    async def both() -> None:
        cli = fake.cli(FAKE_CLAUDE=how, FAKE_NOTES=str(notes))
        cli._startup = anyio.Semaphore(1)
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(cli.execute, fake.call("Hi").resolved(model="max/default", timeout=4))

    anyio.run(both)


def test_start_ups_take_turns(fake: Asking, tmp_path: Path) -> None:
    two_at_a_gate_of_one(fake, "noted_start", tmp_path / "notes")
    assert (tmp_path / "notes").read_text().split() == ["start", "up", "start", "up"]


def test_a_call_that_has_started_up_lets_the_next_one_start(fake: Asking, tmp_path: Path) -> None:
    two_at_a_gate_of_one(fake, "ends_when_two_are_up", tmp_path / "notes")
    assert (tmp_path / "notes").read_text().split() == ["up", "up"]


def test_the_registry_hears_of_the_group_and_of_its_end(fake: Asking, tmp_path: Path) -> None:
    class Heard:
        def __init__(self) -> None:
            self.words: list[tuple[str, int]] = []

        def register(self, group: int) -> None:
            assert os.getpgid(group) == group
            self.words.append(("register", group))

        def forget(self, group: int) -> None:
            assert not is_running(group)
            self.words.append(("forget", group))

    async def run() -> None:
        launch = Launch(
            argv=[str(fake.binary)],
            environment={"FAKE_CLAUDE": "hang"},
            cwd=tmp_path,
            stdin=b"",
            call_id="x",
            timeout=0.3,
        )
        await run_process(launch, Transcript(), startup=anyio.Semaphore(1), registry=heard)

    heard = Heard()
    anyio.run(run)
    ((first, group), last) = heard.words
    assert (first, last) == ("register", ("forget", group))


def test_waiting_for_a_start_up_does_not_eat_the_deadline(fake: Asking) -> None:
    async def both() -> None:
        cli = fake.cli(FAKE_CLAUDE="slow_start")
        cli._startup = anyio.Semaphore(1)
        call = fake.call("Hi").resolved(model="max/default", timeout=1.5)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cli.execute, call)
            tasks.start_soon(cli.execute, call)

    anyio.run(both)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.unlink(), "does not start: No such file"),
        (lambda path: path.chmod(0o644), "does not start: Permission denied"),
        (lambda path: path.write_text("no program"), "does not start: Exec format error"),
    ],
)
def test_a_cli_that_cannot_start_stops_the_executor(fake: Asking, make: partial[object], reason: str) -> None:
    make(fake.binary)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        fake()
    assert caught.value.scope == "executor"
    assert "--llm-claude" in caught.value.remedy


def test_the_evidence_of_a_dead_call_is_on_its_tape(fake: Asking) -> None:
    with pytest.raises(TimedOut) as caught:
        fake(fake.call("Hi", timeout=0.8), FAKE_CLAUDE="hang")
    (tape,) = fake.tapes()
    assert caught.value.evidence == tape.path
    assert [event["type"] for event in tape.events] == ["system", "assistant"]
    assert isinstance(tape.ending, TimedOut)
    assert tape.ending.received == "so far"


def test_the_reply_comes_back_from_its_tape(fake: Asking) -> None:
    reply = fake(FAKE_CLAUDE="stderr_flood")
    (tape,) = fake.tapes()
    assert tape.ending == reply
    assert tape.header["version"] == "for tests"
    assert tape.stderr.startswith("first words")


def test_a_second_attempt_has_a_tape_of_its_own(fake: Asking) -> None:
    async def twice() -> list[Path | None]:
        cli = fake.cli()
        call = fake.call("Hi").resolved(model="max/default", timeout=20)
        return [(await cli.execute(call)).tape for _ in range(2)]

    assert anyio.run(twice) == [tape.path for tape in fake.tapes()]


@pytest.mark.parametrize("system", [None, "be kind"])
def test_too_many_open_files_are_worth_another_try(fake: Asking, no_more_files: Scarcity, system: str | None) -> None:
    async def without_files() -> None:
        cli = ClaudeCLI(fake.binary, run_id=fake.run_id)
        call = fake.call("Hi", system=system).resolved(model="max/default", timeout=20)
        await to_thread.run_sync(bool)  # the thread needs nothing from here on
        with no_more_files():
            await cli.execute(call)

    with pytest.raises(InfrastructureError, match="too many open files") as caught:
        anyio.run(without_files)
    assert "ulimit -n" in caught.value.remedy
    for left in fake.temporary.iterdir():  # a guardian's business, without a descriptor to look into it
        remove_folder(left)


def test_head_and_tail_keep_what_fits() -> None:
    kept = HeadAndTail(most=10)
    kept.add(b"0123456789")
    assert kept.text() == "0123456789"


def test_head_and_tail_state_what_they_dropped() -> None:
    kept = HeadAndTail(most=10)
    for chunk in (b"abcdefg", b"hijklmnop", b"qrstuvwxyz"):
        kept.add(chunk)
    assert kept.text() == "abcde\n[... 16 bytes ...]\nvwxyz"


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # nobody reaps orphans in some containers
    except psutil.NoSuchProcess:
        return False


async def child_pids(temporary: Path) -> list[int]:
    """Return the processes of the one call that runs, once it has started its orphan."""
    while not (found := pids_in(temporary)):  # noqa: ASYNC110 - another process sets no event
        await anyio.sleep(0.02)
    return found + [process.pid for process in psutil.Process().children(recursive=True)]


def pids_in(temporary: Path) -> list[int]:
    return [int(text) for path in temporary.glob("*/work/child.pid") if (text := path.read_text())]
