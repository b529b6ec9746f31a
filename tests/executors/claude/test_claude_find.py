from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_llmcall.errors import ConfigurationError
from pytest_llmcall.executors.claude import claude_version, find_claude


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("pytest_llmcall.executors.claude.find.KNOWN_PLACES", ("~/.local/bin/claude",))


def a_program(path: Path, text: str = "2.1.330 (Claude Code)", code: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_named_cli_comes_first(tmp_path: Path) -> None:
    a_program(tmp_path / "bin" / "claude")
    named = a_program(tmp_path / "elsewhere" / "claude")
    found = find_claude(str(named))
    assert (found.path, found.how) == (named, "named by --llm-claude")


def test_a_bare_name_is_looked_up_on_path(tmp_path: Path) -> None:
    mine = a_program(tmp_path / "bin" / "my-claude")
    assert find_claude("my-claude").path == mine


def test_path_comes_before_known_places(tmp_path: Path) -> None:
    a_program(tmp_path / "home" / ".local" / "bin" / "claude")
    on_path = a_program(tmp_path / "bin" / "claude")
    assert find_claude().path == on_path


def test_a_known_place_comes_before_the_extra(tmp_path: Path) -> None:
    known = a_program(tmp_path / "home" / ".local" / "bin" / "claude")
    found = find_claude()
    assert (found.path, found.how) == (known, "found at ~/.local/bin/claude")


def test_the_extra_is_found_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = a_program(tmp_path / "site" / "claude_agent_sdk" / "_bundled" / "claude")
    (tmp_path / "site" / "claude_agent_sdk" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = find_claude()
    assert (found.path, found.how) == (bundled, "from the claude-cli extra")
    assert "claude_agent_sdk" not in sys.modules


def test_no_cli_at_all_says_how_to_install_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigurationError, match="is not installed") as caught:
        find_claude()
    assert caught.value.scope == "executor"
    assert "pip install 'pytest-llmcall[claude-cli]'" in caught.value.remedy


def test_a_named_cli_that_is_missing_falls_back_to_nothing(tmp_path: Path) -> None:
    a_program(tmp_path / "bin" / "claude")
    with pytest.raises(ConfigurationError, match="does not exist") as caught:
        find_claude(str(tmp_path / "nowhere"))
    assert caught.value.remedy


def test_a_named_cli_that_is_not_executable_says_what_to_run(tmp_path: Path) -> None:
    path = tmp_path / "claude"
    path.write_text("text")
    with pytest.raises(ConfigurationError, match="is not executable") as caught:
        find_claude(str(path))
    assert f"chmod +x {path}" in caught.value.remedy


def test_a_named_folder_is_not_a_cli(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is a directory"):
        find_claude(str(tmp_path))


def test_a_named_device_is_not_a_cli() -> None:
    with pytest.raises(ConfigurationError, match="is not a file"):
        find_claude("/dev/null")


def test_the_version_is_read_from_the_cli(tmp_path: Path) -> None:
    assert claude_version(a_program(tmp_path / "claude")) == "2.1.330"


@pytest.mark.parametrize(("text", "code"), [("Segmentation fault", 0), ("2.1.330", 1)])
def test_something_else_than_the_cli_is_an_error(tmp_path: Path, text: str, code: int) -> None:
    with pytest.raises(ConfigurationError, match="is not a working claude CLI") as caught:
        claude_version(a_program(tmp_path / "claude", text, code))
    assert text in caught.value.detail


def test_a_cli_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "claude"
    path.write_text("no program")
    path.chmod(0o755)
    with pytest.raises(ConfigurationError, match="does not start"):
        claude_version(path)
