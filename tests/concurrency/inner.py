"""Runs an inner pytest in a process of its own and reads what it recorded."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

TORTURE = Path(__file__).parent / "torture"
_COMMON = (
    # Only what the trees need: loading every installed plugin takes longer than most of the runs.
    *("-p", "pytest_asyncio.plugin", "-p", "anyio.pytest_plugin", "-c", os.devnull),
    *("-o", "asyncio_mode=auto"),
    *("-o", "asyncio_default_test_loop_scope=session"),
    *("-o", "asyncio_default_fixture_loop_scope=session"),
)

_RUNNERS = ("_pytest", "pluggy", "pytest_asyncio", "asyncio", "pytest_llmcall")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What an inner run left behind."""

    code: int
    stdout: str
    stderr: str
    record: dict[str, Any]
    junit: dict[str, tuple[str, ...]]

    def reports(self) -> dict[str, list[dict[str, Any]]]:
        """Return the reports of each item, in their order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for report in self.record["reports"]:
            found.setdefault(report["nodeid"], []).append(report)
        return found

    def outcomes(self) -> dict[str, str]:
        """Return each reported item's name and outcome; a failed set-up or teardown is an error."""
        return {nodeid.split("::", 1)[1]: _outcome(reports) for nodeid, reports in self.reports().items()}

    def events(self) -> dict[str, list[str]]:
        """Return what happened to each fixture instance, in its order."""
        found: dict[str, list[str]] = {}
        for instance, event in self.record["events"]:
            found.setdefault(instance, []).append(event)
        return found

    def events_of_items(self) -> dict[str, list[tuple[str, Any]]]:
        """Return what happened to the fixtures of each item, of all of them together, in its order."""
        found: dict[str, list[tuple[str, Any]]] = {}
        for instance, event in self.record["events"]:
            name, _, nodeid = instance.partition(":")
            if "::" in nodeid:
                found.setdefault(nodeid, []).append((name, event))
        return found


def _outcome(reports: list[dict[str, Any]]) -> str:
    for report in reports:
        if report["outcome"] == "failed":
            return "failed" if report["when"] == "call" else "error"
    return "skipped" if any(report["outcome"] == "skipped" for report in reports) else "passed"


def _command(root: Path, *, lanes: int, fiber: str, record: Path, args: tuple[str, ...], only: str) -> list[str]:
    lane_options = [f"--lanes={lanes}", f"--fiber={fiber}"] if lanes else []
    return [
        *(sys.executable, "-m", "pytest", str(root / only), f"--rootdir={root}", f"--record={record}"),
        *("-o", f"cache_dir={record.parent / 'cache'}"),
        *(*_COMMON, *lane_options, f"--junitxml={record}.xml", *args),
    ]


class NothingRecorded(Exception):
    """The inner run ended before it could say anything."""


def run(
    root: Path,
    *,
    lanes: int,
    out: Path,
    fiber: str = "greenlet",
    args: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    only: str = "",
    timeout: float = 100,
) -> Run:
    """Run an inner pytest to its end.

    Raises:
        NothingRecorded: it has crashed.
        subprocess.TimeoutExpired: it took longer than the timeout, in seconds.
    """
    record = out / f"record-{lanes}-{fiber}.json"
    line = _command(root, lanes=lanes, fiber=fiber, record=record, args=args, only=only)
    env = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **(environment or {})}
    done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, check=False, cwd=root, env=env)
    return _read(record, code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def _read(record: Path, *, code: int, stdout: str, stderr: str) -> Run:
    """Return what a finished run recorded."""
    if not record.exists():
        raise NothingRecorded(stdout + stderr)
    text = re.sub(r"at 0x[0-9a-f]+", "at 0x", record.read_text(encoding="utf-8"))
    recorded = json.loads(text)
    for report in recorded["reports"]:
        report["text"] = _plain(report["text"])
    return Run(code=code, stdout=stdout, stderr=stderr, record=recorded, junit=_junit(Path(f"{record}.xml")))


def _plain(text: str) -> str:
    """Return a failure's text without what tells one runner from another: its frames, and the class of the item."""
    native_frame = rf'^ *\|? *File "[^"]*({"|".join(_RUNNERS)})/.*\n(?:^ *\|? {{4,}}.*\n)*'
    text = re.sub(r"at 0x[0-9a-f]+", "at 0x", text).replace("<Coroutine ", "<Function ")
    return re.sub(native_frame, "", text, flags=re.MULTILINE)


def _junit(path: Path) -> dict[str, tuple[str, ...]]:
    """Return, for each test case, the elements inside it with their messages."""
    cases: dict[str, tuple[str, ...]] = {}
    for case in ET.parse(path).getroot().iter("testcase"):
        inside = (f"{each.tag} {each.get('message', '')} {each.text or ''}" for each in case.iter() if each is not case)
        cases[f"{case.get('classname')}.{case.get('name')}"] = tuple(map(_plain, inside))
    return cases


def write_tree(root: Path, **files: str) -> Path:
    """Make a small tree with the torture tree's own conftest and helpers."""
    root.mkdir(exist_ok=True)
    for name in ("conftest.py", "helpers.py"):
        (root / name).write_text((TORTURE / name).read_text(encoding="utf-8"), encoding="utf-8")
    for name, text in files.items():
        (root / f"{name}.py").write_text(text, encoding="utf-8")
    return root
