from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_llmcall.call import Call, McpServer, Message
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply, TimedOut
from pytest_llmcall.executors.tape import Tape, TapeFolder, load_tape
from pytest_llmcall.reply import MISSING, Ending, Reply, ToolUse, Usage

Scarcity = Callable[[], AbstractContextManager[None]]
CALL = Call(messages=(Message(role="user", content="Hi ☃ \udc80"),), model="max/opus", timeout=3)


def a_tape(folder: Path, call: Call = CALL) -> Tape:
    return TapeFolder(folder).open(call, executor="claude", version="2.1.330")


def path_of(tape: Tape) -> Path:
    assert tape.path
    return tape.path


def test_a_tape_says_what_was_asked(tmp_path: Path) -> None:
    tape = a_tape(tmp_path / "not" / "there" / "yet")
    tape.close()
    loaded = load_tape(path_of(tape))
    assert loaded.header["fingerprint"] == CALL.fingerprint()
    assert loaded.header["call"] == CALL.as_json()
    assert (loaded.header["executor"], loaded.header["version"]) == ("claude", "2.1.330")
    assert loaded.header["started"].startswith("20")


def test_lines_are_on_disk_as_they_arrive(tmp_path: Path) -> None:
    tape = a_tape(tmp_path)
    tape.event(b'{"type": "x"}\r')
    assert load_tape(path_of(tape)).events == ({"type": "x"},)
    tape.event(b'{"type": "y", "text": "\xff"}')
    tape.line(b"no \xff event")
    tape.stderr(b"careful")
    loaded = load_tape(path_of(tape))
    assert [event["type"] for event in loaded.events] == ["x", "y"]
    assert loaded.stderr == "careful"
    assert loaded.ending is None
    assert "no \N{REPLACEMENT CHARACTER} event" in [
        json.loads(line).get("line") for line in path_of(tape).read_text().splitlines()
    ]
    tape.close()


@pytest.mark.parametrize("data", [MISSING, None, {"a": [1, "☃"]}])
def test_a_reply_comes_back_as_it_was(tmp_path: Path, data: object) -> None:
    tape = a_tape(tmp_path)
    tape.event(b'{"type": "result"}')
    reply = Reply(
        text="Paris \udc80",
        model="claude-x",
        data=data,
        ending=Ending.MAX_TURNS,
        ending_detail="so many",
        tool_uses=(ToolUse(id="1", name="Bash", arguments={"command": "ls"}, result=None, is_error=True),),
        transcript=({"type": "result"},),
        usage=Usage(input_tokens=1, output_tokens=2),
        cost_usd=0.1,
        duration_s=1.5,
        turns=2,
        denied=("Bash",),
        stderr="hm",
        tape=tape.path,
        files={"a.txt": "text", "b.bin": None},
    )
    tape.end_with_reply(reply)
    tape.close()
    assert load_tape(path_of(tape)).ending == reply


@pytest.mark.parametrize(
    "none",
    [
        TimedOut("no reply within 3 s", received="so far", detail="d", remedy="r"),
        InfrastructureError("overloaded"),
        ConfigurationError("no such model", scope="model", remedy="r"),
    ],
)
def test_an_attempt_without_a_reply_comes_back_as_it_was(tmp_path: Path, none: NoReply) -> None:
    tape = a_tape(tmp_path)
    tape.end_without_reply(none)
    tape.close()
    ending = load_tape(path_of(tape)).ending
    assert type(ending) is type(none)
    assert isinstance(ending, NoReply)
    assert {**vars(ending), "evidence": None} == vars(none)
    assert ending.evidence == tape.path


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    tape = a_tape(tmp_path)
    tape.event(b'{"type": "x"}')
    tape.close()
    path_of(tape).write_bytes(path_of(tape).read_bytes() + b'{"at":1.0,"reply":{"te')
    loaded = load_tape(path_of(tape))
    assert (loaded.events, loaded.ending) == (({"type": "x"},), None)


@pytest.mark.parametrize("content", [b"", b"{}\n", b"text\n", b'{"tape": 99}\n'])
def test_something_else_is_not_a_tape(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match="is not a tape"):
        load_tape(tmp_path / "x.jsonl")


def test_names_sort_in_the_order_of_start(tmp_path: Path) -> None:
    folder = TapeFolder(tmp_path)
    opened = [folder.open(replace(CALL, sample=29 - number)) for number in range(30)]
    for tape in opened:
        tape.close()
    assert [tape.path for tape in opened] == sorted(tmp_path.iterdir())


def test_a_second_case_that_asks_the_same_is_no_second_attempt(tmp_path: Path) -> None:
    folder = TapeFolder(tmp_path)
    tapes = [folder.open(CALL), folder.open(CALL)]
    for tape in tapes:
        tape.close()
    first, second = (load_tape(path_of(tape)).header for tape in tapes)
    assert {**first, "started": None} == {**second, "started": None}


def test_secrets_of_mcp_servers_stay_out(tmp_path: Path) -> None:
    servers = (
        McpServer(name="near", command="x", env={"TOKEN": "hush"}),
        McpServer(name="far", url="https://user:hush@far.example/mcp?key=hush", headers={"authorization": "hush"}),
    )
    tape = a_tape(tmp_path, Call(messages=CALL.messages, mcp=servers))
    tape.close()
    text = path_of(tape).read_text()
    assert "hush" not in text
    assert "TOKEN" in text
    assert "far.example/mcp" in text


def test_a_flood_on_stderr_does_not_fill_the_disk(tmp_path: Path) -> None:
    tape = a_tape(tmp_path)
    for _ in range(100):
        tape.stderr(b"x" * 65_536)
    tape.close()
    assert path_of(tape).stat().st_size < 2_000_000


def test_a_folder_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="evidence cannot be written") as caught:
        a_tape(tmp_path / "file" / "tapes")
    assert "--llm-evidence" in caught.value.remedy
    assert caught.value.scope == "executor"


def test_too_many_open_files_are_worth_another_try_and_say_what_to_raise(
    tmp_path: Path, no_more_files: Scarcity
) -> None:
    with no_more_files(), pytest.raises(InfrastructureError, match="too many open files") as caught:
        a_tape(tmp_path)
    assert "ulimit -n" in caught.value.remedy
    assert "--llm-concurrency" in caught.value.remedy


def test_a_tape_that_cannot_be_written_on_is_told_at_the_end() -> None:
    from io import FileIO

    tape = Tape(FileIO("/dev/full", "w"), Path("/dev/full"))
    tape.event(b'{"type": "x"}')
    with pytest.raises(ConfigurationError, match="No space left") as caught:
        tape.end_with_reply(Reply(text="x", model="m"))
    assert caught.value.scope == "executor"
    tape.close()


def test_a_tape_of_nowhere_keeps_nothing() -> None:
    tape = Tape.nowhere()
    tape.event(b"{}")
    tape.end_with_reply(Reply(text="x", model="m"))
    tape.close()
    assert tape.path is None
