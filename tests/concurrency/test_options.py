"""pytest's own options mean with lanes what they mean without."""

import re
from collections import Counter
from pathlib import Path

import pytest
from tests.concurrency import inner

_TALKS = """
import asyncio, logging, threading
import pytest
from helpers import turn

LOG = logging.getLogger("talks")

@pytest.fixture
async def chatty(request):
    print(f"<{request.node.name} up>")
    LOG.warning("up %s", request.node.name)
    await turn()
    yield
    LOG.warning("down %s", request.node.name)

@pytest.mark.parametrize("n", range(4))
async def test_talks(chatty, n):
    print(f"<out {n}>")
    LOG.warning("before %s", n)
    await turn()
    await asyncio.to_thread(lambda: LOG.warning("in a thread %s", n))
    await turn()
    LOG.info("too low %s", n)
    LOG.error("after %s", n)
    assert n != 2

def test_plain():
    print("<plain>")
    LOG.warning("plain")
"""


def _shown(run: inner.Run, pattern: str) -> Counter[str]:
    return Counter(re.findall(pattern, run.stdout.split("= FAILURES =")[0]))


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_without_capture_everything_is_shown_and_nothing_kept(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_talks=_TALKS)
    args = ("-s", "-p", "no:logging")
    one = inner.run(tree, lanes=0, out=tmp_path, args=args)
    many = inner.run(tree, lanes=4, fiber=fiber, out=tmp_path, args=args)
    assert many.outcomes() == one.outcomes()
    assert many.record["peak"] == 4
    assert _shown(many, "<.*?>") == _shown(one, "<.*?>")
    assert len(_shown(one, "<.*?>")) == 9
    assert not any(report["sections"] for report in many.record["reports"])


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
def test_live_logs_show_every_record_once(fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_talks=_TALKS)
    args = ("-o", "log_cli=true", "-o", "log_cli_level=WARNING")
    one = inner.run(tree, lanes=0, out=tmp_path, args=args)
    many = inner.run(tree, lanes=4, fiber=fiber, out=tmp_path, args=args)
    assert many.outcomes() == one.outcomes()
    assert many.record["peak"] == 4
    record = r"(?:WARNING|ERROR|INFO) +talks:test_talks\.py:\d+ .*"
    assert _shown(many, record) == _shown(one, record)
    assert len(_shown(one, record)) == 4 * 5 + 1
    assert {name: [each["sections"] for each in reports] for name, reports in many.reports().items()} == {
        name: [each["sections"] for each in reports] for name, reports in one.reports().items()
    }


_FAILS = """
import asyncio
import pytest
from helpers import event

@pytest.mark.parametrize("n", range(10))
async def test_fails(n):
    event("started", n)
    if n in (1, 3, 4):
        await asyncio.sleep(n / 20)
        raise AssertionError
    await asyncio.sleep(600 if n else 0)
"""


def test_maxfail_stops_at_the_count(tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_fails=_FAILS)
    run = inner.run(tree, lanes=6, out=tmp_path, args=("--maxfail=2",), timeout=30)
    assert run.code == 1
    assert "stopping after 2 failures" in run.stdout
    assert run.outcomes() == {"test_fails[0]": "passed", "test_fails[1]": "failed", "test_fails[3]": "failed"}


_QUIET = """
import pdb

class Quiet(pdb.Pdb):
    def interaction(self, *args): pass
    def set_trace(self, *args): pass
    def runcall(self, func, *args, **kwargs): return func(*args, **kwargs)
"""


@pytest.mark.parametrize("option", ["--pdb", "--trace"])
def test_a_debugger_costs_the_lanes_in_one_line(option: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_one="async def test_one(): pass")
    args = (option, "--pdbcls=quiet:Quiet")
    (tree / "quiet.py").write_text(_QUIET, encoding="utf-8")
    run = inner.run(tree, lanes=4, out=tmp_path, args=args, environment={"PYTHONPATH": str(tree)})
    assert run.outcomes() == {"test_one": "passed"}, run.stdout
    assert run.record["off"] == f"{option} is for one item at a time"
    assert run.stdout.count(f"lanes: off, items run one at a time ({option} is for one item at a time)") == 1


_TERMINATED = """
import asyncio, os, signal, threading
import pytest
from helpers import event, turn

def terminated(*_):
    ENDS

signal.signal(signal.SIGTERM, terminated)

@pytest.fixture
async def own(request):
    event(request.node.name, "up")
    yield
    await turn()
    event(request.node.name, "down")

@pytest.mark.parametrize("n", range(4))
async def test_waits(own, n):
    if n == 3:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    await asyncio.sleep(600)
"""


@pytest.mark.parametrize("fiber", ["greenlet", "thread"])
@pytest.mark.parametrize(
    ("ends", "code"), [("pytest.exit('terminated', returncode=9)", 9), ("raise KeyboardInterrupt", 2)]
)
def test_a_suite_s_own_answer_to_sigterm_tears_down(ends: str, code: int, fiber: str, tmp_path: Path) -> None:
    tree = inner.write_tree(tmp_path / "tree", test_term=_TERMINATED.replace("ENDS", ends))
    run = inner.run(tree, lanes=4, fiber=fiber, out=tmp_path, timeout=30)
    assert run.code == code, run.stdout
    names = [f"test_waits[{n}]" for n in range(4)]
    assert {name: run.events()[name] for name in names} == {name: ["up", "down"] for name in names}
    assert "INTERNALERROR" not in run.stdout
