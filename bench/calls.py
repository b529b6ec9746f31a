"""What calls cost on their way: through an executor that answers at once, a trivial child, and the real CLI."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.lanes import LANES, NOTHING, PYTEST, ROUNDS, Cost, cost, in_turn, median

from pytest_llmcall.testing import Delay, ScriptedModel, Text

PLAIN_TESTS: Final = """
import pytest

@pytest.mark.parametrize("n", range({count}))
def test_nothing(n):
    pass
"""

# Answers at once, and keeps its evidence as the real executors do.
INSTANT: Final = """
import pytest_llmcall.executors.claude as claude
from pytest_llmcall import Reply

class Instant:
    def __init__(self, *_, tapes, **__):
        self.tapes = tapes

    async def execute(self, call):
        tape = self.tapes.open(call, executor="instant")
        reply = Reply(text="ok", model="instant", cost_usd=0.0, tape=tape.path)
        tape.end_with_reply(reply)
        tape.close()
        return reply

claude.ClaudeCLI = Instant
"""

# Speaks the CLI's protocol, as far as one answer goes, without an interpreter's start-up.
CHILD: Final = """#!/bin/sh
if [ "$1" = --version ]; then echo "0.0.0 (trivial)"; exit; fi
read -r line
echo '{"type":"system","subtype":"init","session_id":"s","tools":[],"mcp_servers":[],"model":"trivial"}'
sleep 0.5
echo '{"type":"assistant","message":{"id":"m","model":"trivial","content":[{"type":"text","text":"ok"}]}}'
echo '{"type":"result","subtype":"success","result":"ok","num_turns":1,"stop_reason":"end_turn","total_cost_usd":0}'
"""

# The least that anybody could do with the same children: spawn, write, read, 50 at once.
BARE: Final = """
import asyncio, sys

async def call(child, slots):
    async with slots:
        process = await asyncio.create_subprocess_exec(
            child, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate(b"{}\\n")
        assert b"result" in out

async def main(child, count):
    slots = asyncio.Semaphore(50)
    await asyncio.gather(*(call(child, slots) for _ in range(count)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


# Reading YAML costs as much for each case as all the rest, so the cases stand in JSON, and YAML is measured apart.
READ_YAML: Final = """
import sys
from pathlib import Path
from pytest_llmcall import _casefile

_casefile.load(Path(sys.argv[1]))
"""


def _cases(folder: Path, name: str, count: int) -> str:
    cases = [{"id": f"c{each}", "prompt": f"number {each}", "validate": [{"contains": "ok"}]} for each in range(count)]
    lines = [json.dumps({"timeout": 60})[:-1] + ', "cases": [', ",\n".join(map(json.dumps, cases)), "]}"]
    if name.endswith(".yaml"):
        lines = ["timeout: 60", "cases:", *(f"  - {json.dumps(case)}" for case in cases), ""]
    (folder / name).write_text("\n".join(lines), encoding="utf-8")
    return name


def case_items(folder: Path) -> None:
    """Print (c): what a case item costs over a plain test, with its outcome and its tape on disk."""
    (folder / "conftest.py").write_text(INSTANT, encoding="utf-8")
    many, one = _cases(folder, "many.llm.json", 1000), _cases(folder, "one.llm.json", 1)
    for name, count in (("test_many.py", 1000), ("test_one.py", 1)):
        (folder / name).write_text(PLAIN_TESTS.format(count=count), encoding="utf-8")
    runs = in_turn(
        2 * ROUNDS,
        lambda: cost([*PYTEST, *LANES, many], folder),
        lambda: cost([*PYTEST, *LANES, one], folder),
        lambda: cost([*PYTEST, "test_many.py"], folder),
        lambda: cost([*PYTEST, "test_one.py"], folder),
    )
    for what in ("wall", "cpu"):
        cases, case, tests, test = (median(each, what) for each in runs)
        more = ((cases - case) - (tests - test)) / 999 * 1000
        print(
            f"1000 case items with evidence, {what}: {cases - case:.2f} s, 1000 plain tests {tests - test:.2f} s; "
            f"{more:.2f} ms more for each"
        )
    _reading(folder)


def _reading(folder: Path) -> None:
    script = folder / "read.py"
    script.write_text(READ_YAML, encoding="utf-8")
    names = [_cases(folder, f"read{count}.llm.{kind}", count) for kind in ("yaml", "json") for count in (1000, 1)]
    runs = in_turn(ROUNDS, *(_reader(script, name, folder) for name in names))
    yaml, yaml_one, json_, json_one = (median(each, "cpu") for each in runs)
    print(f"reading 1000 cases: {yaml - yaml_one:.2f} ms each from YAML, {json_ - json_one:.2f} ms from JSON")


def _reader(script: Path, name: str, folder: Path) -> Callable[[], Cost]:
    return lambda: cost([sys.executable, str(script), name], folder)


def trivial_child(folder: Path) -> None:
    """Print (d): 200 calls of 0.5 s, 50 at once, through a trivial child, against a loop that only spawns it.

    Neither side's start-up counts: it is that of a run with one call, less this call's 0.5 s.
    """
    child, bare = folder / "trivial", folder / "bare.py"
    child.write_text(CHILD, encoding="utf-8")
    child.chmod(0o755)
    bare.write_text(BARE, encoding="utf-8")
    many, one = _cases(folder, "many.llm.json", 200), _cases(folder, "one.llm.json", 1)
    ours = [*PYTEST, "-m", "llm", "--llm-concurrency", "50", f"--llm-claude={child}"]
    theirs = [sys.executable, str(bare), str(child)]
    runs = in_turn(
        ROUNDS,
        lambda: cost([*ours, many], folder),
        lambda: cost([*ours, one], folder),
        lambda: cost([*theirs, "200"], folder),
        lambda: cost([*theirs, "1"], folder),
    )
    wall, bare_wall = (_beyond(many, one, "wall") + 0.5 for many, one in (runs[:2], runs[2:]))
    cpu, bare_cpu = (_beyond(many, one, "cpu") for many, one in (runs[:2], runs[2:]))
    print(
        f"200 calls of 0.5 s at 50, trivial child: {wall:.2f} s, bare loop {bare_wall:.2f} s; ratio "
        f"{wall / bare_wall:.3f}; CPU {cpu:.2f} s and {bare_cpu:.2f} s"
    )


def _beyond(many: Sequence[Cost], one: Sequence[Cost], what: str) -> float:
    return median(many, what) - median(one, what)


def real_cli(folder: Path) -> None:
    """Print (e): 32 cases of 3 s model latency through the real CLI, 8 at once, against the ideal of 12 s.

    pytest's own start-up is that of a run with one test that asks nothing.
    """
    many = _cases(folder, "many.llm.json", 32)
    (folder / "test_one.py").write_text(NOTHING.format(mark="llm", count=1), encoding="utf-8")
    ours = [*PYTEST, "-m", "llm", "--llm-concurrency", "8"]
    with ScriptedModel() as model:
        model.default(Delay(3.0, Text("ok")))
        settings = {**model.environment, "HOME": str(folder), "CLAUDE_CONFIG_DIR": str(folder / ".claude")}
        scripted = ["env", *(f"{name}={value}" for name, value in settings.items()), *ours]
        all_, none = in_turn(
            3, lambda: cost([*scripted, many], folder), lambda: cost([*scripted, "test_one.py"], folder)
        )
    took, start = median(all_, "wall"), median(none, "wall")
    cpu = median(all_, "cpu")
    print(
        f"32 cases of 3 s, real CLI at 8: {took:.1f} s, ideal 12 s + start-up {start:.1f} s; ratio "
        f"{(took - start) / 12:.3f} ({took / 12:.3f} with the start-up); {cpu / 32:.2f} s of CPU a call, so that "
        f"{os.cpu_count()} cores need {cpu / (os.cpu_count() or 1):.1f} s"
    )


def start_up(folder: Path) -> None:
    """Print (f): what the plugin costs a run that holds no LLM item."""
    (folder / "test_plain.py").write_text("def test_plain():\n    pass\n", encoding="utf-8")
    with_, without = in_turn(
        6 * ROUNDS,
        lambda: cost([*PYTEST, "test_plain.py"], folder),
        lambda: cost([*PYTEST, "-p", "no:llmcall", "test_plain.py"], folder),
    )
    for what in ("wall", "cpu"):
        more = 1000 * (median(with_, what) - median(without, what))
        print(
            f"start-up without LLM items, {what}: {median(with_, what):.3f} s with the plugin, "
            f"{median(without, what):.3f} s without; {more:.0f} ms more"
        )
