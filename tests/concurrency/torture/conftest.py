# ruff: noqa: ANN001, ANN201, ANN204, RUF100
# mypy: ignore-errors
"""The torture tree: run once by stock pytest and often with lanes; both must record the same."""

import contextlib
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import helpers  # noqa: E402 - the path above makes it importable

# Only the torture tree itself has these: fixtures of every test, and what each test sees of itself.
with contextlib.suppress(ImportError):
    from of_every_test import always_for_the_class, seen  # noqa: F401 - pytest finds them here


def pytest_addoption(parser):
    parser.addoption("--lanes", type=int, default=0)
    parser.addoption("--fiber", default=None)
    parser.addoption("--record", default=None)
    parser.addoption("--stuck-after", type=float, default=60.0)


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: runs alone")
    config.addinivalue_line("markers", "stock: not managed by the lanes")
    if config.getoption("lanes"):
        from pytest_llmcall.concurrency import LanesPlugin

        lanes = LanesPlugin(
            config,
            lanes=config.getoption("lanes"),
            fiber=config.getoption("fiber"),
            alone=lambda item: "marked" if item.get_closest_marker("alone") else None,
            managed=lambda item: item.get_closest_marker("stock") is None,
            stuck_after=config.getoption("stuck_after"),
        )
        config.pluginmanager.register(lanes, "lanes")
    if config.getoption("record"):
        config.pluginmanager.register(Recorder(config), "recorder")


class Recorder:
    def __init__(self, config):
        self.config = config
        self.reports = []
        self.warnings = []

    def pytest_runtest_logreport(self, report):
        self.reports.append(
            {
                "nodeid": report.nodeid,
                "kind": type(report).__name__,
                "when": report.when,
                "outcome": report.outcome,
                "sections": [list(each) for each in report.sections],
                "properties": [list(each) for each in report.user_properties],
                "wasxfail": getattr(report, "wasxfail", None),
                "text": report.longreprtext,
                "location": list(report.location) if report.location else None,
                "keywords": sorted(set(report.keywords) - helpers.THEIRS),
            }
        )

    def pytest_warning_recorded(self, warning_message, when, nodeid):
        self.warnings.append([nodeid, when, warning_message.category.__name__, str(warning_message.message)])

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self):
        lanes = self.config.pluginmanager.get_plugin("lanes")
        summary = lanes.summary() if lanes else None
        record = {
            "reports": self.reports,
            "warnings": self.warnings,
            "events": helpers.EVENTS,
            "peak": summary.peak if summary else 0,
            "alone": {each.nodeid: each.reason for each in summary.alone} if summary else {},
            "overlapped": list(summary.overlapped) if summary else [],
            "held": [each.nodeid for each in summary.held] if summary else [],
            "off": summary.off if summary else None,
            "total": summary.total if summary else 0,
            "reasons": dict(summary.reasons()) if summary else {},
        }
        Path(self.config.getoption("record")).write_text(json.dumps(record), encoding="utf-8")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    setattr(item, f"report_{report.when}", report)
    return report


def pytest_assertrepr_compare(config, op, left, right):
    if isinstance(left, helpers.Odd) and isinstance(right, helpers.Odd):
        return ["odd ones out:", f"   {left.value} {op} {right.value}"]
    return None


@pytest.fixture(scope="session")
def session_thing():
    helpers.event("session_thing", "up")
    yield {"kind": "session"}
    helpers.event("session_thing", "down")


@pytest.fixture(scope="session")
async def async_session_thing(session_thing):
    helpers.event("async_session_thing", "up")
    await helpers.turn()
    yield session_thing
    await helpers.turn()
    helpers.event("async_session_thing", "down")


@pytest.fixture(autouse=True)
def always(request):
    helpers.event(f"always:{request.node.nodeid}", "up")
    yield
    helpers.event(f"always:{request.node.nodeid}", "down")
    helpers.event(
        f"always:{request.node.nodeid}",
        f"call was {getattr(request.node, 'report_call', None) and request.node.report_call.outcome}",
    )


@pytest.fixture
def own(request):
    return request.node.name


@pytest.fixture
async def async_own(request):
    helpers.event(f"async_own:{request.node.nodeid}", "up")
    await helpers.turn()
    yield request.node.name
    await helpers.turn()
    helpers.event(f"async_own:{request.node.nodeid}", "down")


@pytest.fixture
async def async_value(own):
    await helpers.turn()
    return own


@pytest.fixture(scope="session", params=["one", "two"])
async def split(request):
    helpers.event(f"split:{request.param}", "up")
    yield request.param
    await helpers.turn()
    helpers.event(f"split:{request.param}", "down")
