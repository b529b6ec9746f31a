from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pytest_llmcall.errors import SettingsError
from pytest_llmcall.local_model import LocalModel

START_AND_WAIT = """
import pathlib, sys
from pytest_llmcall.local_model import LocalModel
model = LocalModel.start(None, log=pathlib.Path(sys.argv[1]), run_id="orphan")
print(model.pid, flush=True)
sys.stdin.read()
"""


def test_a_model_that_was_not_pulled_is_named_with_its_remedy(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pytest-llmcall local pull"):
        LocalModel.start(None, log=tmp_path / "log", run_id="x")


def test_a_missing_extra_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(SettingsError, match=r"pip install 'pytest-llmcall\[local\]'"):
        LocalModel.start(None, log=tmp_path / "log", run_id="x")


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no model file .*none\.gguf"):
        LocalModel.start(tmp_path / "none.gguf", log=tmp_path / "log", run_id="x")


def test_a_folder_is_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        LocalModel.start(tmp_path, log=tmp_path / "log", run_id="x")


def test_a_file_of_another_format_is_refused_before_anything_starts(tmp_path: Path) -> None:
    other = tmp_path / "model.bin"
    other.write_bytes(b"PK\x03\x04")
    with pytest.raises(SettingsError, match="no GGUF model"):
        LocalModel.start(other, log=tmp_path / "log", run_id="x")
    assert not (tmp_path / "log").exists()


def test_a_model_that_does_not_load_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(SettingsError, match=r"did not start \(exit code 1\)") as error:
        LocalModel.start(broken, log=tmp_path / "logs" / "log", run_id="x")
    assert "Failed to init server" in str(error.value)


@pytest.mark.real_model
def test_the_child_carries_the_runs_mark_and_a_session_of_its_own(local: LocalModel) -> None:
    child = psutil.Process(local.pid)
    assert child.environ()["PYTEST_LLMCALL_RUN"] == "tests"
    assert os.getsid(local.pid) == local.pid


@pytest.mark.real_model
def test_stopping_ends_the_child_and_may_be_repeated(local: LocalModel, tmp_path: Path) -> None:
    other = LocalModel.start(None, log=tmp_path / "log", run_id="x")
    other.stop()
    other.stop()
    assert not psutil.pid_exists(other.pid)


@pytest.mark.real_model
def test_stopping_a_child_that_has_died_is_no_error(local: LocalModel, tmp_path: Path) -> None:
    other = LocalModel.start(None, log=tmp_path / "log", run_id="x")
    os.kill(other.pid, signal.SIGKILL)
    other.stop()


@pytest.mark.real_model
def test_the_child_ends_when_its_parent_is_killed(local: LocalModel, tmp_path: Path) -> None:
    line = [sys.executable, "-c", START_AND_WAIT, str(tmp_path / "log")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(10)


def test_everything_that_could_lead_elsewhere_is_dropped_or_replaced() -> None:
    for name in (
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_USE_BEDROCK",
        "CLAUDE_CODE_USE_VERTEX",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ):
        assert name in LocalModel.unset
