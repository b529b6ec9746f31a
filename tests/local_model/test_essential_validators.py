"""The essential cases' own validators can say no, and their MCP server does what it says."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_llmcall.reply import Reply
from pytest_llmcall.testing import reply
from pytest_llmcall.verdict import Verdict

FOLDER = Path(__file__).parents[2] / "essential_cases"
FACTORIAL = {"name": "factorial", "examples": [{"arguments": [0], "returns": 1}, {"arguments": [5], "returns": 120}]}
GOOD = """
def factorial(n):
    if n == 0:
        return 1
    return n * factorial(n - 1)
"""


@pytest.fixture(scope="module")
def essential() -> Any:
    spec = importlib.util.spec_from_file_location("essential_conftest", FOLDER / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def judge(essential: Any, name: str, answer: Reply, params: dict[str, Any]) -> Verdict:
    fixture = getattr(essential, name)
    verdict: Verdict = fixture._get_wrapped_function()()(answer, params=params)
    return verdict


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Here it is:\n```python\n{GOOD}\nprint(factorial(5))\n```\nIt calls itself.",
        "```\nimport math\n\ndef factorial(n: int) -> int:\n    return math.factorial(n)\n```",
        "```py\ndef factorial(n):\n    r = 1\n    for i in range(2, n + 1):\n        r *= i\n    return r\n```",
    ],
)
def test_code_that_computes_factorials_passes(essential: Any, text: str) -> None:
    verdict = judge(essential, "python_function", reply(text), FACTORIAL)
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A factorial is a product.", "not Python"),
        ("```python\ndef factorial(n)\n    return 1\n```", "not Python"),
        ("```python\ndef fact(n):\n    return 1\n```", "defines no function factorial"),
        ("```python\ndef factorial(n):\n    return n * factorial(n - 1)\n```", "RecursionError"),
        ("```python\ndef factorial(n):\n    return n\n```", "computed [0, 5]"),
        ("```python\ndef factorial(n):\n    return open('/etc/passwd')\n```", "name 'open' is not defined"),
        ("```python\ndef factorial(n):\n    return __import__('os')\n```", "__import__"),
        ("```python\nimport os\ndef factorial(n):\n    return os.getpid()\n```", "more than computing: os.getpid"),
        ("```python\ndef factorial(n):\n    return ().__class__\n```", "more than computing: ().__class__"),
        ("```python\ndef factorial(n):\n    return math.__loader__\n```", "more than computing: math.__loader__"),
    ],
)
def test_code_that_does_not_compute_factorials_fails(essential: Any, text: str, reason: str) -> None:
    verdict = judge(essential, "python_function", reply(text), FACTORIAL)
    assert not verdict.passed
    assert reason in verdict.reason


def test_a_tool_that_was_not_used_or_failed_does_not_count(essential: Any) -> None:
    from pytest_llmcall.reply import ToolUse

    used = ToolUse(id="1", name="write", arguments={}, result="done")
    failed = ToolUse(id="2", name="write", arguments={}, result="no", is_error=True)
    params = {"name": "write", "times": 1}
    assert judge(essential, "used_tool", reply(tool_uses=(used, failed)), params)
    for uses in ((), (failed,), (used, used)):
        assert not judge(essential, "used_tool", reply(tool_uses=uses), params)


def test_a_file_must_hold_what_was_asked(essential: Any) -> None:
    params = {"path": "answer.txt", "text": "42"}
    assert judge(essential, "left_file", reply(files={"answer.txt": "42\n"}), params)
    for files in ({}, {"answer.txt": "43"}, {"answer.txt": None}, {"other.txt": "42"}):
        assert not judge(essential, "left_file", reply(files=files), params)


def served(folder: Path, *messages: dict[str, Any], tools: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    lines = [json.dumps({"jsonrpc": "2.0", "id": number, **message}) for number, message in enumerate(messages)]
    line = [sys.executable, str(FOLDER / "files_server.py"), *tools]
    done = subprocess.run(
        line, input="\n".join(lines), cwd=folder, capture_output=True, text=True, timeout=20, check=True
    )
    return [json.loads(answer) for answer in done.stdout.splitlines()]


def use(name: str, **arguments: str) -> dict[str, Any]:
    return {"method": "tools/call", "params": {"name": name, "arguments": arguments}}


def test_the_server_writes_and_reads_in_its_folder_only(tmp_path: Path) -> None:
    answers = served(
        tmp_path,
        {"method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
        use("write_file", path="a.txt", text="blue whale"),
        use("read_file", path="a.txt"),
        use("write_file", path="../b.txt", text="x"),
        use("read_file", path="none.txt"),
        use("delete", path="a.txt"),
        {"method": "nothing"},
    )
    assert answers[0]["result"]["protocolVersion"] == "2025-06-18"
    assert answers[2]["result"] == {"content": [{"type": "text", "text": "blue whale"}], "isError": False}
    assert [answer["result"]["isError"] for answer in answers[1:6]] == [False, False, True, True, True]
    assert answers[6]["error"]["code"] == -32601
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_server_offers_the_tools_that_its_arguments_name(tmp_path: Path) -> None:
    for tools, offered in ((), ["write_file", "read_file"]), (("write_file",), ["write_file"]):
        (answer,) = served(tmp_path, {"method": "tools/list"}, tools=tools)
        assert [tool["name"] for tool in answer["result"]["tools"]] == offered
