"""The evidence of a call through LiteLLM is a tape like any other, and holds no key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_llmcall.call import Call
from pytest_llmcall.errors import ConfigurationError, InfrastructureError, NoReply, TimedOut
from pytest_llmcall.executors.litellm_api.library import version
from pytest_llmcall.executors.tape import TapeFolder, load_tape
from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import Hang, Refusal, ScriptedModel, Status, Text

Ask = Callable[..., Reply]
MakeCall = Callable[..., Call]


def test_a_tape_gives_the_same_reply_back(model: ScriptedModel, ask: Ask, call: MakeCall, tmp_path: Path) -> None:
    model.script(Text("Paris"))
    reply = ask(call("Capital of France?"), tapes=TapeFolder(tmp_path))
    assert reply.tape is not None
    tape = load_tape(reply.tape)
    assert tape.ending == reply
    assert tape.events == reply.transcript
    assert (tape.header["executor"], tape.header["version"]) == ("litellm", version())
    assert tape.header["fingerprint"] == call("Capital of France?").fingerprint()


@pytest.mark.parametrize(
    ("turn", "kind", "events"),
    [(Status(500), InfrastructureError, 1), (Status(404), ConfigurationError, 1), (Hang(), TimedOut, 0)],
)
def test_a_tape_tells_why_there_was_no_reply(
    model: ScriptedModel,
    ask: Ask,
    call: MakeCall,
    tmp_path: Path,
    turn: Status | Hang,
    kind: type[NoReply],
    events: int,
) -> None:
    model.script(turn)
    with pytest.raises(kind) as caught:
        ask(call(timeout=2.0), tapes=TapeFolder(tmp_path))
    [path] = tmp_path.iterdir()
    tape = load_tape(path)
    assert type(tape.ending) is kind
    assert str(tape.ending) == str(caught.value)
    assert caught.value.evidence == path
    assert len(tape.events) == events


def test_no_key_is_on_a_tape(
    model: ScriptedModel, ask: Ask, call: MakeCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    model.script(
        Text("ok"),
        Refusal(),
        Status(401, message="Incorrect API key provided: sk-of-the-environment"),
        Status(500, message="sk-scripted-key failed"),
    )
    tapes = TapeFolder(tmp_path)
    ask(call(), tapes=tapes)
    ask(call(), tapes=tapes, api_key=None)
    with pytest.raises(ConfigurationError):
        ask(call(), tapes=tapes, api_key=None)
    with pytest.raises(InfrastructureError):
        ask(call(), tapes=tapes)
    assert model.requests[0].headers["authorization"] == "Bearer sk-scripted-key"
    assert model.requests[1].headers["authorization"] == "Bearer sk-of-the-environment"
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 4
    assert "sk-of-the-environment" not in written
    assert "sk-scripted-key" not in written


def test_what_was_never_asked_leaves_no_tape(ask: Ask, call: MakeCall, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        ask(call(tools=("Read",)), tapes=TapeFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_tape_that_cannot_be_written_is_an_error(
    model: ScriptedModel, ask: Ask, call: MakeCall, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="evidence cannot be written"):
        ask(call(), tapes=TapeFolder(tmp_path / "file" / "tapes"))
    assert model.requests == ()
