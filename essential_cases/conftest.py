"""The essential cases' own validators. A fixture's name is the validator's name in the case file."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pytest_llmcall.reply import Reply
from pytest_llmcall.verdict import Verdict

Check = Callable[..., Verdict]

_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.DOTALL)
_OF_MATH = re.compile(r"math\.[a-z]\w*")
# Run in a process of its own, with builtins that compute and reach nothing.
_ASK = """
import builtins, json, math, sys
question = json.load(sys.stdin)
names = {name: getattr(builtins, name) for name in question["builtins"]}
space = {"__builtins__": names, "math": math}
exec(question["code"], space)
print(json.dumps([space[question["name"]](*arguments) for arguments in question["arguments"]]))
"""
_BUILTINS = ["abs", "bool", "enumerate", "float", "int", "isinstance", "len", "list", "max", "min", "range"]
_BUILTINS += ["reversed", "str", "sum", "zip", "Exception", "OverflowError", "TypeError", "ValueError"]


@pytest.fixture
def python_function() -> Check:
    """Judge code by what it computes: `{name, examples: [{arguments, returns}]}`."""

    def check(reply: Reply, *, params: Mapping[str, Any]) -> Verdict:
        name, examples = params["name"], params["examples"]
        try:
            code = _functions("\n".join(_FENCED.findall(reply.text)) or reply.text, name)
        except ValueError as error:
            return _verdict("python_function", passed=False, reason=str(error))
        wanted = [example["returns"] for example in examples]
        found = _results(code, name, [example["arguments"] for example in examples])
        return _verdict("python_function", passed=found == wanted, reason=f"wanted {wanted}, computed {found}")

    return check


@pytest.fixture
def used_tool() -> Check:
    """Judge how often a tool was used without an error: `{name, times}`."""

    def check(reply: Reply, *, params: Mapping[str, Any]) -> Verdict:
        used = [use for use in reply.tool_uses if use.name == params["name"] and not use.is_error]
        wanted = f"{params['name']} {params['times']} times"
        found = ", ".join(f"{use.name}{' (error)' if use.is_error else ''}" for use in reply.tool_uses) or "no tool"
        return _verdict("used_tool", passed=len(used) == params["times"], reason=f"wanted {wanted}; used {found}")

    return check


@pytest.fixture
def left_file() -> Check:
    """Judge a file that the working folder holds at the end: `{path, text}`; space around the text does not count."""

    def check(reply: Reply, *, params: Mapping[str, Any]) -> Verdict:
        found = reply.files.get(params["path"], "no such file")
        same = found is not None and found.strip() == params["text"]
        return _verdict(
            "left_file", passed=same, reason=f"{params['path']}: wanted {params['text']!r}, found {found!r}"
        )

    return check


def _verdict(validator: str, *, passed: bool, reason: str) -> Verdict:
    return Verdict(validator=validator, passed=passed, reason=reason)


def _functions(code: str, name: str) -> str:
    """Return the functions that a stranger's code defines, if they only compute; other statements are left out."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        raise ValueError(f"the reply's code is not Python: {error}") from error
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    if name not in {function.name for function in functions}:
        raise ValueError(f"the reply defines no function {name}: {code[:200]!r}")
    for node in (node for function in functions for node in ast.walk(function)):
        # Attributes lead from any value to everything in the process.
        if isinstance(node, ast.Attribute) and not _OF_MATH.fullmatch(ast.unparse(node)):
            raise ValueError(f"the function does more than computing: {ast.unparse(node)}")
    return "\n".join(map(ast.unparse, functions))


def _results(code: str, name: str, arguments: list[list[Any]]) -> Any:
    """Return what the function gives back for each list of arguments, or why it gave nothing back."""
    question = json.dumps({"code": code, "name": name, "arguments": arguments, "builtins": _BUILTINS})
    line = [sys.executable, "-I", "-c", _ASK]
    try:
        done = subprocess.run(line, input=question, capture_output=True, text=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return "nothing within 10 s"
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout)
