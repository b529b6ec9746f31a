"""Benchmarks as ratios against a baseline of the same run; see README.md beside this file."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pytest_llmcall.testing import Delay, ScriptedModel, Text

ROUNDS = 5


def seconds(command: list[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Return how long a command takes; it must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def paired(one: Callable[[], float], other: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Return both medians and the median of the ratios, run in turn, since the machine's speed drifts."""
    pairs = [(one(), other()) for _ in range(rounds)]
    ratios = statistics.median(a / b for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratios


def start_up(folder: Path) -> None:
    """Print what the plugin costs a run that holds no LLM item."""
    (folder / "test_plain.py").write_text("def test_plain():\n    pass\n", encoding="utf-8")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plain.py"]

    def plain(*more: str) -> float:
        return seconds([*pytest, *more], folder, {})

    on, off, ratio = paired(plain, lambda: plain("-p", "no:llmcall"), 3 * ROUNDS)
    print(f"start-up without LLM items: {on:.3f} s with the plugin, {off:.3f} s without; ratio {ratio:.3f}")


def overlap(folder: Path) -> None:
    """Print what concurrency gains: 16 cases of 2 s through the real CLI, 8 at once against one at a time."""
    lines = (f"  - {{id: c{each}, prompt: number {each}, validate: [{{contains: ok}}]}}" for each in range(16))
    (folder / "cases.llm.yaml").write_text("\n".join(["cases:", *lines, ""]), encoding="utf-8")
    pytest = [sys.executable, "-m", "pytest", "-q", "--llm", "-p", "no:cacheprovider", "cases.llm.yaml"]
    with ScriptedModel() as model:
        model.default(Delay(2.0, Text("ok")))
        environment = {**model.environment, "HOME": str(folder), "CLAUDE_CONFIG_DIR": str(folder / ".claude")}

        def at(concurrency: int) -> float:
            return seconds([*pytest, "--llm-concurrency", str(concurrency)], folder, environment)

        many, one, ratio = paired(lambda: at(8), lambda: at(1), 1)
    print(f"16 cases of 2 s, real CLI: {many:.1f} s at 8, {one:.1f} s at 1; ratio {ratio:.3f}, ideal 0.125")


def main() -> None:
    """Run every benchmark."""
    for benchmark in (start_up, overlap):
        with tempfile.TemporaryDirectory() as folder:
            benchmark(Path(folder))


if __name__ == "__main__":
    main()
