"""LiteLLM as a guest in this process: imported late, off the network and quiet, and closed without traces.

It reads a `.env` file, fetches its prices, prints to stdout and logs to stderr by itself; none of that may happen in
somebody's test run. What it starts belongs to the executors' loop and ends with it.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import inspect
import logging
import os
import sys
import threading
import urllib.request
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module, metadata
from types import CodeType, ModuleType
from typing import Any, Final

import anyio
import anyio.lowlevel
from anyio import to_thread

from pytest_llmcall.errors import ConfigurationError

# LITELLM_MODE keeps it from a .env file, whose keys would change the login of Claude's calls in the middle of a run.
_AT_IMPORT: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_MODE": "PRODUCTION",
}
# Imported here, in a thread, what it would import on the loop in the first call: that would hold every other call.
_AT_FIRST_USE: Final = (
    "litellm.main",
    "litellm.litellm_core_utils.default_encoding",
    "litellm.proxy._types",
    "openai.resources",
)
_LOGGERS: Final = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_MOST_IMPORTS: Final = 3
_CALLBACKS_S: Final = 2.0
_IDLE_STEPS: Final = 10  # of the loop, in which a callback goes from task to queue to task
_CLOSE_S: Final = 2.0
_WORKER: Final = "_worker_loop"  # waits for callbacks until it is cancelled
_LAST_STEPS_S: Final = 0.5


class Library:
    """LiteLLM, imported once and closed on the loop that used it."""

    def __init__(self) -> None:
        self._module: Any = None
        self._importing = anyio.Lock()
        self._direct: dict[str, str | None] = {}

    async def load(self) -> Any:
        """Return the module.

        Raises:
            ConfigurationError: It cannot be imported.
        """
        async with self._importing:
            if self._module is None:
                self._module = await _imported()
                self._direct = _reach_loopback_directly()
        return self._module

    async def close(self) -> None:
        """End what LiteLLM runs on this loop: its connections and its background tasks."""
        module, self._module = self._module, None
        if module is None:
            return
        with anyio.CancelScope(shield=True):
            await _end_tasks_of(module)
        with anyio.move_on_after(_CLOSE_S, shield=True):
            for close in _clients_of(module, asyncio.get_running_loop()):
                await close()
            await anyio.lowlevel.checkpoint()  # transports end in the next step of the loop
        _restore(self._direct)


def version() -> str:
    """Return the version of the installed LiteLLM, without importing it."""
    try:
        return metadata.version("litellm")
    except metadata.PackageNotFoundError:
        return ""


async def _imported() -> Any:
    """Import in a thread; a caller that is cut does not wait for its end."""
    environment = _Environment({} if "litellm" in sys.modules else _AT_IMPORT)
    with environment:
        return await to_thread.run_sync(partial(_import, environment), abandon_on_cancel=True)


def _import(environment: _Environment) -> ModuleType:
    with environment:
        return _quiet_module()


def _quiet_module() -> ModuleType:
    try:
        module = _module()
    except Exception as error:
        raise ConfigurationError(
            f"LiteLLM cannot be imported: {error}",
            detail=f"{type(error).__name__} in Python {sys.version.partition(' ')[0]}",
            remedy="pip install --upgrade litellm",
            attempts=0,
        ) from error
    # Else the interpreter searches the 300,000 objects of LiteLLM for garbage when it ends, for one second or more.
    atexit.register(gc.freeze)
    module.suppress_debug_info = True  # else it prints "Give Feedback / Get Help" to stdout
    module.telemetry = False
    for logger in map(logging.getLogger, _LOGGERS):  # they write to stderr what is raised as well
        if logger.level == logging.NOTSET and not os.environ.get("LITELLM_LOG"):
            logger.setLevel(logging.CRITICAL)
    imported: ModuleType = module
    return imported


def _module() -> Any:
    """Import, and once more where a warning of its own stopped it.

    The filters are the process's: those of a test that makes errors of warnings hold here too, and lanes change them
    while this runs.
    """
    for _ in range(_MOST_IMPORTS):
        try:
            with _deaf_to_its_warnings():
                module = import_module("litellm")
                for name in _AT_FIRST_USE:
                    with suppress(ImportError):  # another version keeps it elsewhere
                        import_module(name)
                return module
        except Warning as warning:
            stopped = warning
    raise stopped


@contextmanager
def _deaf_to_its_warnings() -> Iterator[None]:
    filters = warnings.filters
    warnings.filterwarnings("ignore", module=r"litellm\b")
    ours = filters[0]
    try:
        yield
    finally:
        with suppress(ValueError):
            filters.remove(ours)  # type: ignore[attr-defined]  # typed as a sequence, but it is a list


class _Environment:
    """Variables that are set, where they are not, while the loop or the thread is in here.

    Either may be the last: a thread cannot be stopped when its caller is cut. Mostly it is the loop, whose own code
    then cannot be reading the environment meanwhile.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._added = {name: value for name, value in values.items() if name not in os.environ}
        self._inside = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            os.environ.update(self._added)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                _restore(dict.fromkeys(self._added))


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _reach_loopback_directly() -> dict[str, str | None]:
    """Keep requests to this machine from a proxy of the environment; return what the variables were before.

    LiteLLM's clients ask the environment and nothing else for their proxies.
    """
    if not urllib.request.getproxies() or all(map(urllib.request.proxy_bypass, _LOOPBACK)):
        return {}
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    listed = before["no_proxy"] or before["NO_PROXY"] or ""
    hosts = ",".join(filter(None, (listed, *_LOOPBACK)))
    os.environ.update(dict.fromkeys(before, hosts))
    return before


async def _end_tasks_of(module: Any) -> None:
    """Let the callbacks that users have given to LiteLLM come to an end, and end the task that runs them."""
    idle = 0
    with anyio.move_on_after(_CALLBACKS_S):
        while idle < _IDLE_STEPS:
            tasks = [task for task in _tasks_of(module) if _code_of(task).co_name != _WORKER]
            idle = 0 if tasks else idle + 1
            await (asyncio.wait(tasks) if tasks else anyio.lowlevel.checkpoint())
    tasks = list(_tasks_of(module))
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LAST_STEPS_S)


def _tasks_of(module: Any) -> Iterator[asyncio.Task[Any]]:
    folder = os.path.dirname(module.__file__)  # noqa: PTH120 - compared with texts
    return (task for task in asyncio.all_tasks() if _code_of(task).co_filename.startswith(folder))


def _code_of(task: asyncio.Task[Any]) -> CodeType:
    code: CodeType = getattr(task.get_coro(), "cr_code", _code_of.__code__)  # of some awaitables there is none
    return code


def _clients_of(module: Any, loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[], Awaitable[Any]]]:
    """Yield what closes LiteLLM's clients of a loop. It must forget them too: the next loop may get this one's id."""
    cache = getattr(getattr(module, "in_memory_llm_clients_cache", None), "cache_dict", {})
    for key in [key for key in cache if str(key).endswith(f"-{id(loop)}")]:
        client = cache.pop(key)
        close = getattr(client, "close", None) or getattr(client, "aclose", None)
        if close is not None and inspect.iscoroutinefunction(close):
            yield close
