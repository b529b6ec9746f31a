"""The launch line, the environment and the folders, without a process."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path

import pytest

from pytest_llmcall.call import Call, McpServer, Message
from pytest_llmcall.errors import ConfigurationError
from pytest_llmcall.executors.claude.argv import allowed_rules, built_in_tools, launch_line, missing_tools
from pytest_llmcall.executors.claude.conversation import stdin_lines
from pytest_llmcall.executors.claude.environment import CALL_MARK, NESTING, RUN_MARK, child_environment
from pytest_llmcall.executors.claude.leftovers import remove_socket
from pytest_llmcall.executors.claude.login import login_settings
from pytest_llmcall.executors.claude.workspace import make_workspace, remove_folder

HI = (Message(role="user", content="Hi"),)
BINARY = Path("/opt/claude")


def line_of(call: Call, **files: Path | None) -> list[str]:
    return launch_line(BINARY, call, model="opus", **files)


def environment_of(inherited: dict[str, str], **fields: object) -> dict[str, str]:
    given: dict[str, object] = {"run_id": "r", "call_id": "c", "scratch": Path("/s"), "overrides": {}} | fields
    return child_environment(inherited, **given)  # type: ignore[arg-type]


def test_a_plain_call_has_no_tools_and_no_system_prompt_of_claude_code() -> None:
    line = line_of(Call(messages=HI))
    assert line[0] == "/opt/claude"
    assert line[line.index("--tools") + 1] == ""
    assert line[line.index("--system-prompt") + 1] == ""
    assert "--model=opus" in line
    assert "--bare" not in line
    assert "--allowedTools" not in line


def test_neither_prompt_nor_system_prompt_is_world_readable() -> None:
    call = Call(messages=(Message(role="user", content="top secret"),), system="more secret")
    assert "secret" not in str(line_of(call, system_file=Path("/private/system.txt")))


def test_rules_of_one_tool_make_it_exist_once() -> None:
    call = Call(messages=HI, tools=("Bash(git:*)", "Bash(ls -l)", "Read", "mcp__s__t"))
    assert built_in_tools(call) == ("Bash", "Read")
    assert allowed_rules(call) == ("Bash(git:*)", "Bash(ls -l)", "Read", "mcp__s__t")


def test_naming_a_server_allows_its_tools() -> None:
    call = Call(messages=HI, mcp=(McpServer(name="my server.v2", command="x"),))
    assert allowed_rules(call) == ("mcp__my_server_v2",)


@pytest.mark.parametrize("rule", ["--dangerously-skip-permissions", "", "Bash(", "Read,Write", "Read Write"])
def test_what_is_no_tool_rule_is_refused(rule: str) -> None:
    with pytest.raises(ConfigurationError, match="not a tool") as caught:
        line_of(Call(messages=HI, tools=(rule,)))
    assert caught.value.scope == "call"


def test_a_tool_that_the_cli_lacks_is_missing() -> None:
    assert missing_tools(Call(messages=HI, tools=("Bash(git:*)", "Bsh", "mcp__s__t")), ["Bash"]) == ("Bsh",)


def test_a_schema_above_the_limit_of_an_argument_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the CLI takes at most"):
        line_of(Call(messages=HI, schema={"description": "x" * 200_000}))


def test_turns_schema_and_model_are_passed_on() -> None:
    line = line_of(Call(messages=HI, schema={"type": "object"}, max_turns=3), session_file=Path("/p/s.jsonl"))
    assert {"--max-turns=3", '--json-schema={"type":"object"}', "--resume=/p/s.jsonl"} <= {*line}


def test_the_users_login_and_proxy_stay_and_nesting_goes() -> None:
    kept = {"ANTHROPIC_API_KEY": "k", "HTTPS_PROXY": "p", "CLAUDE_CONFIG_DIR": "d", "CLAUDE_CODE_USE_BEDROCK": "1"}
    environment = environment_of({**kept, **dict.fromkeys(NESTING, "1")})
    assert kept.items() <= environment.items()
    assert not {*NESTING} & {*environment}


def test_marks_are_ours_whatever_is_inherited() -> None:
    environment = environment_of({RUN_MARK: "outer", CALL_MARK: "outer"})
    assert (environment[RUN_MARK], environment[CALL_MARK]) == ("r", "c")


def test_the_users_retries_stand_and_ours_are_few() -> None:
    assert environment_of({})["CLAUDE_CODE_MAX_RETRIES"] == "3"
    assert environment_of({"CLAUDE_CODE_MAX_RETRIES": "7"})["CLAUDE_CODE_MAX_RETRIES"] == "7"


def test_garbage_is_collected_by_one_thread_unless_the_user_says_otherwise() -> None:
    assert environment_of({})["BUN_JSC_numberOfGCMarkers"] == "1"
    assert environment_of({"BUN_JSC_numberOfGCMarkers": "4"})["BUN_JSC_numberOfGCMarkers"] == "4"


@pytest.mark.parametrize(("timeout", "wait_ms"), [(600.0, "30000"), (20.0, "10000"), (0.001, "1")])
def test_a_server_is_waited_for_within_the_time_of_the_call(timeout: float, wait_ms: str) -> None:
    environment = environment_of({}, timeout=timeout)
    assert (environment["MCP_TIMEOUT"], environment["MCP_CONNECT_TIMEOUT_MS"]) == (wait_ms, wait_ms)
    assert environment_of({"MCP_TIMEOUT": "7"}, timeout=timeout)["MCP_TIMEOUT"] == "7"


def test_overrides_have_the_last_word_and_unset_names_go() -> None:
    overrides = {"ANTHROPIC_BASE_URL": "here", "DISABLE_AUTOUPDATER": "0"}
    environment = environment_of({"ANTHROPIC_BASE_URL": "there", "GONE": "1"}, overrides=overrides, unset=["GONE"])
    assert overrides.items() <= environment.items()
    assert "GONE" not in environment


@pytest.mark.parametrize("name", ["DISABLE_AUTOUPDATER", "CLAUDE_CODE_NO_MODEL_FALLBACK"])
def test_a_call_neither_updates_the_cli_nor_asks_another_model_whatever_the_user_has_set(name: str) -> None:
    assert environment_of({name: "0"})[name] == "1"


def test_what_the_cli_leaves_lies_in_the_calls_own_folder() -> None:
    assert environment_of({"TMPDIR": "/tmp"})["CLAUDE_CODE_TMPDIR"] == "/s"


def settings_with(folder: Path, **settings: object) -> dict[str, str]:
    (folder / "settings.json").write_text(json.dumps(settings))
    return {"CLAUDE_CONFIG_DIR": str(folder)}


def test_only_the_login_is_taken_from_the_users_settings(tmp_path: Path) -> None:
    variables = {"AWS_PROFILE": "work", "HTTPS_PROXY": "p", "EDITOR": "vi"}
    environment = settings_with(tmp_path, apiKeyHelper="get-key", hooks={}, model="haiku", env=variables)
    kept = {"AWS_PROFILE": "work", "HTTPS_PROXY": "p"}
    assert login_settings(environment, {}) == {"apiKeyHelper": "get-key", "env": kept}


def test_a_run_that_asks_elsewhere_does_not_take_the_users_login_along(tmp_path: Path) -> None:
    environment = settings_with(tmp_path, apiKeyHelper="get-key")
    assert login_settings(environment, {"ANTHROPIC_BASE_URL": "http://127.0.0.1"}) == {}


@pytest.mark.parametrize("content", [None, "{torn", "[]", '{"env": 1}'])
def test_settings_that_say_nothing_of_a_login_are_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "settings.json").write_text(content)
    assert login_settings({"CLAUDE_CONFIG_DIR": str(tmp_path)}, {}) == {}


def test_stdin_keeps_the_prompt_from_being_expanded() -> None:
    (line,) = stdin_lines(Call(messages=HI)).splitlines()
    message = json.loads(line)
    assert message["client_composed"] is True
    assert message["message"] == {"role": "user", "content": "Hi"}


def test_a_conversation_must_end_with_the_user() -> None:
    with pytest.raises(ConfigurationError, match="last message"):
        stdin_lines(Call(messages=(*HI, Message(role="assistant", content="Hello"))))


def test_secrets_lie_in_files_that_only_the_user_reads() -> None:
    server = McpServer(name="s", command="x", env={"TOKEN": "secret"})
    far = McpServer(name="far", url="http://far/mcp", headers={"authorization": "secret"})
    space = make_workspace(Call(messages=(*HI, *HI), system="be kind", mcp=(server, far)), run_id="r")
    try:
        for path in (space.mcp_file, space.system_file, space.session_file):
            assert path
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(space.root.stat().st_mode) == 0o700
        assert list(space.work.iterdir()) == []
        assert json.loads(space.mcp_file.read_text() if space.mcp_file else "")["mcpServers"] == {
            "s": {"type": "stdio", "command": "x", "args": [], "env": {"TOKEN": "secret"}},
            "far": {"type": "http", "url": "http://far/mcp", "headers": {"authorization": "secret"}},
        }
    finally:
        remove_folder(space.root)


def test_a_folder_that_a_tool_has_locked_is_removed(tmp_path: Path) -> None:
    locked = tmp_path / "root" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    locked.chmod(0)
    remove_folder(tmp_path / "root")
    assert not (tmp_path / "root").exists()
    assert tmp_path.exists()
    remove_folder(tmp_path / "root")


def test_the_socket_of_a_killed_cli_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "cc-socks").mkdir()
    monkeypatch.chdir(tmp_path / "cc-socks")  # the path of a socket must be short
    for name in ("1.sock", "2.sock"):
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(name)
    Path("3.sock").write_text("no socket")
    for pid in (1, 3, 4):
        remove_socket(pid)
    assert sorted(path.name for path in Path().iterdir()) == ["2.sock", "3.sock"]
