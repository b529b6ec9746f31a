"""LiteLLM as a guest: imported at the first call, once, off the network, quiet, and without changing the process.

Importing takes seconds, so one process in which every warning is an error does all of it and tells what it saw.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall.testing import Hang, ScriptedModel, Status, Text

PRELUDE = """
import gc, json, logging, os, sys, time
import anyio
from pytest_llmcall.call import Call, Message
from pytest_llmcall.errors import NoReply
from pytest_llmcall.executors.litellm_api import LiteLLMAPI

BASE = sys.argv[1]
logging.getLogger("asyncio").setLevel(logging.ERROR)  # -X dev tells of every step that takes longer than 0.1 s
before = dict(os.environ)

def call(**fields):
    fields = {"model": "openai/gpt-4o-mini", "timeout": 60} | fields
    return Call(messages=(Message(role="user", content="Hi"),), **fields)
"""
GUEST = """
import dotenv.main

# Where LiteLLM finds it if the virtual environment lies in the checkout.
dotenv.main.find_dotenv = lambda *_, **__: os.path.join(os.getcwd(), ".env")
contacted = set()

def note(event, arguments):
    if event == "socket.getaddrinfo" or (event == "socket.connect" and arguments[1][0] != "127.0.0.1"):
        contacted.add(f"{event} {arguments[1:]}")

sys.addaudithook(note)
seen = {"imported early": "litellm" in sys.modules}
texts, errors, durations = [], [], []

async def ask(api):
    try:
        reply = await api.execute(call())
    except NoReply as none:
        errors.append(none.kind)
    else:
        texts.append(reply.text)
        durations.append(reply.duration_s)

async def main():
    api = LiteLLMAPI(api_base=BASE, api_key="k")
    began = time.monotonic()
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(ask, api)
    seen["took"] = time.monotonic() - began
    with anyio.move_on_after(0.3):
        await api.execute(call())
    await api.aclose()

anyio.run(main)
gc.collect()  # at its end the interpreter does not look at what is left any more
seen |= {"contacted": sorted(contacted), "texts": texts, "errors": sorted(errors), "longest": max(durations)}
seen["environment"] = {name: value for name, value in os.environ.items() if before.get(name) != value}
with open("seen.json", "w") as file:
    json.dump(seen, file)
"""
DEAD = "http://127.0.0.1:9"
PROXIES = {"HTTP_PROXY": DEAD, "http_proxy": DEAD, "ALL_PROXY": DEAD, "NO_PROXY": "x.org"}


def run(model: ScriptedModel, code: str, *, cwd: Path, **environment: str) -> str:
    """Run code in a process where every warning is an error, and return what it wrote to both streams."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", PRELUDE + code, f"{model.url}/v1"],
        cwd=cwd,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Eight first calls at once, one of them failing, and one that is cut; behind a proxy that does not answer."""
    folder = tmp_path_factory.mktemp("guest")
    (folder / ".env").write_text("ANTHROPIC_API_KEY=sk-of-the-file\n")
    with ScriptedModel() as model:
        model.script(Status(500), *[Text("ok")] * 7, Hang())
        written = run(model, GUEST, cwd=folder, **PROXIES)
    seen: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return seen | {"written": written}


def test_litellm_is_imported_at_the_first_call(guest: Mapping[str, Any]) -> None:
    assert guest["imported early"] is False


def test_first_calls_at_the_same_time_are_all_answered(guest: Mapping[str, Any]) -> None:
    assert (guest["texts"], guest["errors"]) == (["ok"] * 7, ["infrastructure"])


def test_no_other_host_is_looked_up_or_reached(guest: Mapping[str, Any]) -> None:
    assert guest["contacted"] == []


def test_the_import_is_no_part_of_a_calls_time(guest: Mapping[str, Any]) -> None:
    assert guest["longest"] < guest["took"] / 2


def test_nothing_is_written_and_nothing_is_left_that_would_warn(guest: Mapping[str, Any]) -> None:
    assert guest["written"] == ""


def test_the_environment_is_as_before_also_beside_a_dotenv_file(guest: Mapping[str, Any]) -> None:
    assert guest["environment"].keys() <= {"TIKTOKEN_CACHE_DIR"}  # which LiteLLM points at its own folder


def test_a_call_that_is_cut_during_the_import_ends_at_once(model: ScriptedModel, tmp_path: Path) -> None:
    code = """
async def main():
    api = LiteLLMAPI(api_base=BASE, api_key="k")
    with anyio.move_on_after(0.2):
        await api.execute(call())
    print("litellm.main" in sys.modules)
    await api.aclose()

anyio.run(main)
"""
    assert run(model, code, cwd=tmp_path) == "False\n"
    assert model.requests == ()


def test_without_litellm_the_error_says_what_to_install(model: ScriptedModel, tmp_path: Path) -> None:
    (tmp_path / "litellm.py").write_text("raise ImportError('broken')\n")
    code = """
sys.path.insert(0, os.getcwd())

async def main():
    try:
        await LiteLLMAPI(api_base=BASE, api_key="k").execute(call())
    except NoReply as none:
        print(none.kind, none.scope, none.attempts, none.reason, none.remedy, sep="|")

anyio.run(main)
assert dict(os.environ) == before
"""
    said = run(model, code, cwd=tmp_path)
    assert said == "configuration|executor|0|LiteLLM cannot be imported: broken|pip install --upgrade litellm\n"
