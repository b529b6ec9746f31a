"""The real CLI against a scripted Messages API: what the model is asked, and what each end of it means."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from pytest_llmcall.call import McpServer, WorkFile
from pytest_llmcall.errors import ConfigurationError, NoReply
from pytest_llmcall.local_model.messages_api import text_of
from pytest_llmcall.reply import MISSING, Ending
from pytest_llmcall.testing import (
    OVERLOADED,
    Gate,
    Hang,
    ScriptedModel,
    Text,
    UseTool,
)

if TYPE_CHECKING:
    from tests.executors.claude.conftest import Asking

pytestmark = pytest.mark.real_cli
SERVER = Path(__file__).parents[2] / "children" / "adding_server.py"
REFUSING = SERVER.with_name("refusing_server.py")
PERSON = {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}}


def test_a_text_comes_back_with_model_usage_and_duration(real: Asking, model: ScriptedModel) -> None:
    model.script(Text("Paris"))
    reply = real("What is the capital of France?")
    assert (reply.text, reply.ending, reply.turns) == ("Paris", Ending.COMPLETED, 1)
    assert reply.model.startswith("claude-")
    assert reply.usage
    assert reply.usage.output_tokens > 0
    assert reply.cost_usd
    assert reply.data is MISSING
    assert [event["type"] for event in reply.transcript][-1] == "result"


def test_the_model_sees_the_prompt_and_no_prompt_of_claude_code(real: Asking, model: ScriptedModel) -> None:
    model.script(Text("ok"))
    real("@/etc/hostname /cost\n  -x ☃ ")
    (request,) = model.requests
    assert turns(request.body) == [("user", "@/etc/hostname /cost\n  -x ☃ ")]
    assert request.tools == ()
    assert len(text_of(request.body["system"])) < 300


def test_a_prompt_that_looks_like_a_command_is_asked_as_text(real: Asking, model: ScriptedModel) -> None:
    model.script(Text("ok"))
    real("/cost")
    assert turns(model.requests[0].body) == [("user", "/cost")]


def test_user_settings_and_memory_do_not_reach_the_model(
    real: Asking, model: ScriptedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "home" / "config"
    config.mkdir(parents=True)
    (config / "CLAUDE.md").write_text("Always speak of PENGUINS.")
    (config / "settings.json").write_text('{"outputStyle": "Explanatory", "model": "haiku"}')
    monkeypatch.setenv("CLAUDECODE", "1")
    model.script(Text("ok"))
    real(real.call("Hi", files=(WorkFile(path="CLAUDE.md", content="Never mention PENGUINS."),)))
    (request,) = model.requests
    assert "PENGUINS" not in str(request.body)
    assert "haiku" not in request.body["model"]


def test_a_system_prompt_is_sent_whole_however_long(real: Asking, model: ScriptedModel) -> None:
    model.default(Text("ok"))
    long = "You are terse. ☃ " * 20_000
    real(real.call("Hi", system=long))
    assert model.requests[0].body["system"][-1]["text"] == long


def test_several_turns_reach_the_model_as_turns(real: Asking, model: ScriptedModel) -> None:
    model.script(Text("Ann"))
    texts = ("My name is Ann. @/etc/hostname", "Hello Ann.", "/cost", "That is\n no command.", "What is my name?")
    assert real(real.call(*texts)).text == "Ann"
    roles = ("user", "assistant", "user", "assistant", "user")
    assert turns(model.requests[0].body) == list(zip(roles, texts, strict=True))


def test_a_label_and_a_full_id_choose_the_model(real: Asking, model: ScriptedModel) -> None:
    model.default(Text("ok"))
    assert "sonnet" in real(real.call("Hi", model="max/sonnet")).model
    assert real(real.call("Hi", model="claude/claude-sonnet-4-5-20250929")).model == "claude-sonnet-4-5-20250929"
    assert "sonnet" in model.requests[0].body["model"]
    assert model.requests[1].body["model"] == "claude-sonnet-4-5-20250929"


def test_another_model_than_the_asked_id_is_no_reply(real: Asking, model: ScriptedModel) -> None:
    model.default(Text("ok"))  # the CLI asks a newer model instead of a retired one
    with pytest.raises(ConfigurationError, match="answered instead of claude-opus-4-1-20250805") as caught:
        real(real.call("Hi", model="max/claude-opus-4-1-20250805"))
    assert caught.value.scope == "call"


def test_structured_output_comes_back_as_data(real: Asking, model: ScriptedModel) -> None:
    model.script(UseTool("StructuredOutput", {"age": 30}), Text("done"))
    reply = real(real.call("John is 30", schema=PERSON))
    assert (reply.data, reply.ending) == ({"age": 30}, Ending.COMPLETED)
    assert [use.name for use in reply.tool_uses] == ["StructuredOutput"]


def test_structured_output_that_never_fits_is_a_reply_that_ended_badly(real: Asking, model: ScriptedModel) -> None:
    model.default(UseTool("StructuredOutput", {"age": "thirty"}))
    reply = real(real.call("John is 30", schema=PERSON))
    assert (reply.data, reply.ending) == (MISSING, Ending.NO_STRUCTURED_OUTPUT)
    assert reply.tool_uses[0].is_error


def test_an_mcp_tool_is_used_on_a_real_server(real: Asking, model: ScriptedModel, tmp_path: Path) -> None:
    model.script(UseTool("mcp__adding__add", {"a": 20, "b": 22}), Text("42"))
    reply = real(real.call("What is 20 + 22?", mcp=(adding_server(env={"UNIT": "apples"}),)))
    assert reply.text == "42"
    (use,) = reply.tool_uses
    assert (use.name, use.arguments, use.is_error) == ("mcp__adding__add", {"a": 20, "b": 22}, False)
    assert "20 + 22 = 42 (apples)" in (use.result or "")
    assert reply.denied == ()
    assert "mcp__adding__add" in model.requests[0].tools
    assert "apples" not in str(real.tapes()[0].header)
    assert not [*(tmp_path / "home" / ".cache").rglob("*mcp-logs*")]


@pytest.mark.parametrize(
    ("command", "complaint"), [(sys.executable, "the database is not there"), ("/no/server", "no such file")]
)
def test_a_server_that_does_not_start_is_no_reply_and_says_why(
    real: Asking, model: ScriptedModel, command: str, complaint: str
) -> None:
    model.default(Hang())
    server = McpServer(name="adding", command=command, args=(str(REFUSING),))
    with pytest.raises(ConfigurationError, match=r"MCP server not connected: 'adding' \(failed\)") as caught:
        real(real.call("Hi", mcp=(server,)))
    assert caught.value.scope == "call"
    assert complaint in caught.value.detail


def test_a_server_that_nobody_answers_for_is_no_reply(real: Asking, model: ScriptedModel) -> None:
    model.default(Hang())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/mcp?key=secret"
        with pytest.raises(NoReply, match="MCP server not connected: 'far'"):
            real(real.call("Hi", mcp=(McpServer(name="far", url=url, headers={"x-key": "secret"}),)))
    assert "secret" not in str(real.tapes()[0].header)


def test_an_empty_answer_is_a_reply(real: Asking, model: ScriptedModel) -> None:
    model.default(Text(""))
    reply = real(real.call("Hi", model="max/claude-sonnet-4-5-20250929"))
    assert (reply.text, reply.ending, reply.model) == ("", Ending.COMPLETED, "claude-sonnet-4-5-20250929")
    assert reply.usage
    assert reply.usage.output_tokens > 0


def test_an_empty_answer_of_another_model_than_the_asked_id_is_no_reply(real: Asking, model: ScriptedModel) -> None:
    model.default(Text(""))
    with pytest.raises(ConfigurationError, match="answered instead of claude-opus-4-1-20250805"):
        real(real.call("Hi", model="max/claude-opus-4-1-20250805"))


def test_a_named_tool_exists_and_is_allowed(real: Asking, model: ScriptedModel) -> None:
    model.script(UseTool("Bash", {"command": "echo hello > made.txt"}), Text("done"))
    reply = real(real.call("Hi", tools=("Bash",)))
    assert reply.denied == ()
    assert reply.files == {"made.txt": "hello\n"}
    assert {"Bash", "Read"} & {*model.requests[0].tools} == {"Bash"}


def test_a_tool_outside_of_its_rule_is_denied_and_reported(real: Asking, model: ScriptedModel) -> None:
    model.script(UseTool("Bash", {"command": "touch made.txt"}), Text("done"))
    reply = real(real.call("Hi", tools=("Bash(git:*)",)))
    assert reply.denied == ("Bash",)
    assert reply.files == {}
    assert reply.tool_uses[0].is_error


def test_a_tool_that_claude_code_does_not_have_is_an_error(real: Asking, model: ScriptedModel) -> None:
    model.default(Hang())
    with pytest.raises(ConfigurationError, match="has no tool 'Bsh'") as caught:
        real(real.call("Hi", tools=("Bsh", "Read")))
    assert caught.value.scope == "call"


def test_a_background_process_of_a_tool_does_not_outlive_the_call(real: Asking, model: ScriptedModel) -> None:
    model.script(UseTool("Bash", {"command": "nohup setsid sleep 600 >/dev/null 2>&1 & echo started"}), Text("done"))
    assert real(real.call("Hi", tools=("Bash",))).text == "done"


def test_calls_overlap(real: Asking, model: ScriptedModel) -> None:
    async def four() -> None:
        cli = real.cli()
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    call = real.call(f"number {number}").resolved(model="max/default", timeout=25)
                    tasks.start_soon(cli.execute, call)

    model.default(Gate(Text("ok"), opens_at=4))
    anyio.run(four)
    assert model.peak_in_flight == 4


def test_an_overload_that_passes_is_retried_by_the_cli(real: Asking, model: ScriptedModel) -> None:
    model.script(OVERLOADED, Text("ok"))
    assert real(CLAUDE_CODE_MAX_RETRIES="1").text == "ok"


def test_cancelling_ends_servers_and_tools_too(real: Asking, model: ScriptedModel) -> None:
    async def cancelled() -> None:
        call = real.call("Hi", tools=("Bash",), mcp=(adding_server(),)).resolved(model="max/default", timeout=60)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(real.cli().execute, call)
                while not [*real.temporary.glob("*/work/started")]:  # noqa: ASYNC110 - another process sets no event
                    await anyio.sleep(0.02)
                tasks.cancel_scope.cancel()

    model.script(UseTool("Bash", {"command": "touch started; trap '' TERM; setsid sleep 600"}))
    anyio.run(cancelled)
    (tape,) = real.tapes()
    init = next(event for event in tape.events if event.get("subtype") == "init")
    assert not Path(init["messaging_socket_path"]).exists()
    assert tape.ending is None


def test_without_a_login_the_executor_stops(real: Asking, model: ScriptedModel) -> None:
    with pytest.raises(ConfigurationError, match="not logged in") as caught:
        real(ANTHROPIC_API_KEY="")
    assert caught.value.scope == "executor"
    assert "/login" in caught.value.remedy
    assert model.requests == ()


def test_a_login_that_stands_in_the_users_settings_works(real: Asking, model: ScriptedModel, tmp_path: Path) -> None:
    config = tmp_path / "home" / "config"
    config.mkdir(parents=True)
    settings = {"apiKeyHelper": "echo sk-from-helper", "env": {"ANTHROPIC_BASE_URL": model.url, "OTHER": "1"}}
    (config / "settings.json").write_text(json.dumps({**settings, "outputStyle": "Explanatory"}))
    model.script(Text("ok"))
    real.environment = {}
    assert real().text == "ok"
    assert "sk-from-helper" in str(model.requests[0].headers)


def test_turns_used_up_is_a_reply(real: Asking, model: ScriptedModel) -> None:
    model.default(UseTool("Bash", {"command": "true"}, text="Once more."))
    reply = real(real.call("Hi", tools=("Bash",), max_turns=2))
    assert (reply.ending, reply.text) == (Ending.MAX_TURNS, "Once more.")
    assert len(reply.tool_uses) == 2
    assert reply.turns == 2


def test_a_prompt_that_is_too_long_is_a_reply(real: Asking, model: ScriptedModel) -> None:
    reply = real("word " * 1_000_000)
    assert (reply.ending, reply.text) == (Ending.PROMPT_TOO_LONG, "")
    assert model.requests == ()


def test_the_tape_holds_the_reply_and_no_secret(real: Asking, model: ScriptedModel) -> None:
    model.script(Text("ok"))
    reply = real(ANTHROPIC_API_KEY="sk-ant-very-secret")
    (tape,) = real.tapes()
    assert tape.ending == reply
    assert tape.offsets == tuple(sorted(tape.offsets))
    assert "very-secret" not in tape.path.read_text()


def turns(body: Any) -> list[tuple[str, str]]:
    """Return the turns of a request, without the CLI's own system messages."""
    return [
        (message["role"], content if isinstance(content, str) else "".join(block["text"] for block in content))
        for message in body["messages"]
        if message["role"] != "system"
        for content in [message["content"]]
    ]


def adding_server(**fields: Any) -> McpServer:
    return McpServer(name="adding", command=sys.executable, args=(str(SERVER),), **fields)
