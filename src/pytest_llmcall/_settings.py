"""Settings: options and ini keys, read once into a frozen record; every bad value is reported at once.

Knows nothing of pytest: it is handed two functions that look up an option and an ini key.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Final, NamedTuple

DEFAULT_CONCURRENCY: Final = 8
DEFAULT_TIMEOUT_S: Final = 120.0
DEFAULT_MODEL: Final = "max/default"
DEFAULT_EVIDENCE: Final = ".llmcall"
DEFAULT_FILES: Final = ("*.llm.yaml", "*.llm.yml", "*.llm.json")
HOW_TO_RUN: Final = "LLM items cost time and money; run them with -m llm or --llm (or set llm_run = always)"

PATH_OPTIONS: Final = ("--llm-claude", "--llm-local-model", "--llm-evidence")

Lookup = Callable[[str], Any]


class Settings(NamedTuple):
    """What the user asked for; a named tuple, since making a data class would cost every pytest run more.

    Attributes:
        run: Whether LLM items run; else they are skipped.
        concurrency: The most calls in flight at once.
        timeout: Seconds for a call that names no deadline.
        model: The model of calls that name none.
        force_models: Models that replace those that cases name; several run the suite once each.
        claude: The CLI that the user named, or None to look for one.
        local: Whether the embedded model answers every call.
        local_model: A GGUF file instead of the embedded model's own.
        evidence: The folder of all runs' evidence.
        files: Globs of case files, matched against a file's name, or its path where they hold a slash.
        exclusive_fixtures: Fixtures whose tests run alone, since they change what belongs to the whole process.
        max_cost_usd: US dollars that the run may cost; None for no limit, as for the next three.
        max_calls: Calls that the run may make; one that is asked again counts twice.
        max_tokens: Tokens that the run may take, cached ones included.
        max_time_s: Seconds from the first call in which a call must be expected to end, or it does not start.
        dry_run: Whether to say only what would be asked.
        misread: Options whose paths pytest took for places of tests, so that its rootdir is not the user's.
    """

    run: bool
    concurrency: int = DEFAULT_CONCURRENCY
    timeout: float = DEFAULT_TIMEOUT_S
    model: str = DEFAULT_MODEL
    force_models: tuple[str, ...] = ()
    claude: str | None = None
    local: bool = False
    local_model: Path | None = None
    evidence: Path = Path(DEFAULT_EVIDENCE)
    files: tuple[str, ...] = DEFAULT_FILES
    exclusive_fixtures: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    max_time_s: float | None = None
    dry_run: bool = False
    misread: tuple[str, ...] = ()


def read_settings(
    option: Lookup, ini: Lookup, *, rootdir: Path, invocation_dir: Path, arguments: Sequence[str | PathLike[str]] = ()
) -> Settings:
    """Return the settings of a run.

    Args:
        option: Looks up an option by its destination; None means that it was not given.
        ini: Looks up an ini key; an empty value means that it was not set.
        rootdir: What the ini key of the evidence folder is relative to.
        invocation_dir: What paths on the command line are relative to.
        arguments: The command line, if pytest found no ini file.

    Raises:
        SettingsError: At least one value cannot be used; the text names them all.
    """
    problems: list[str] = []
    misread = _misread([str(each) for each in arguments], invocation_dir)
    local_model = _local_model(option("llm_local_model"), invocation_dir, problems)
    settings = Settings(
        run=_run(option, ini, problems),
        concurrency=_concurrency(option, ini, problems),
        timeout=_timeout(option, ini, problems),
        model=_text("model", option("llm_model"), ini("llm_model"), problems) or DEFAULT_MODEL,
        force_models=tuple(dict.fromkeys(option("llm_force_model") or ())),
        claude=option("llm_claude") or ini("llm_claude") or None,
        local=bool(option("llm_local")) or local_model is not None,
        local_model=local_model,
        evidence=_evidence(
            option("llm_evidence"), ini("llm_evidence"), invocation_dir if misread else rootdir, invocation_dir
        ),
        max_cost_usd=_limit("cost", option, ini, "US dollars", problems),
        max_calls=_whole_limit("calls", option, ini, problems),
        max_tokens=_whole_limit("tokens", option, ini, problems),
        max_time_s=_limit("time", option, ini, "seconds", problems),
        dry_run=bool(option("llm_dry_run")),
        misread=misread,
        files=tuple(ini("llm_files") or DEFAULT_FILES),
        exclusive_fixtures=tuple(ini("llm_exclusive_fixtures") or ()),
    )
    if problems:
        from pytest_llmcall.errors import SettingsError  # noqa: PLC0415 - most runs have no use for it

        raise SettingsError("\n".join(problems))
    return settings


def names_llm(markexpr: str) -> bool:
    """Return whether a `-m` expression contains the name `llm`, quoted text aside."""
    unquoted = re.sub(r"'[^']*'|\"[^\"]*\"", " ", markexpr)
    return "llm" in re.findall(r"[\w:+\-.\[\]\\/]+", unquoted)


def matches(path: Path, globs: Iterable[str]) -> bool:
    """Return whether a path is that of a case file."""
    return any(fnmatch(path.as_posix() if "/" in glob else path.name, glob) for glob in globs)


def _misread(arguments: Sequence[str], invocation_dir: Path) -> tuple[str, ...]:
    """Return the options that moved pytest's rootdir.

    pytest looks for its ini file beside every path that stands by itself on the command line; what belongs to an
    option of a plugin it learns only later.
    """
    paths = {name: invocation_dir / value for name, value in pairwise(arguments) if name in PATH_OPTIONS}
    return tuple(name for name, path in paths.items() if path.exists() and not path.is_relative_to(invocation_dir))


def _run(option: Lookup, ini: Lookup, problems: list[str]) -> bool:
    value = ini("llm_run") or "selected"
    if value not in {"selected", "always"}:
        problems.append(f"llm_run = {value!r} in the ini file: write always, or selected (the default)")
    asked_for = bool(option("llm")) or bool(option("llm_dry_run"))
    return asked_for or names_llm(option("markexpr") or "") or value == "always"


def _concurrency(option: Lookup, ini: Lookup, problems: list[str]) -> int:
    for name, value in (("--llm-concurrency", option("llm_concurrency")), ("llm_concurrency", ini("llm_concurrency"))):
        if value is None or value == "":
            continue
        if re.fullmatch(r"\s*\+?\d+\s*", value) and int(value) > 0:
            return int(value)
        problems.append(f"{name} is {value!r}: write how many calls may be in flight at once, 1 or more")
        return DEFAULT_CONCURRENCY
    return DEFAULT_CONCURRENCY


def _timeout(option: Lookup, ini: Lookup, problems: list[str]) -> float:
    for name, value in (("--llm-timeout", option("llm_timeout")), ("llm_timeout", ini("llm_timeout"))):
        if value is None or value == "":
            continue
        if (seconds := _above_zero(value)) is not None:
            return seconds
        problems.append(f"{name} is {value!r}: write a number of seconds above 0")
        return DEFAULT_TIMEOUT_S
    return DEFAULT_TIMEOUT_S


def _limit(what: str, option: Lookup, ini: Lookup, unit: str, problems: list[str]) -> float | None:
    name, value = _given(what, option, ini)
    number = _above_zero(value) if value is not None else None
    if value is not None and number is None:
        problems.append(f"{name} is {value!r}: write a number of {unit} above 0")
    return number


def _whole_limit(what: str, option: Lookup, ini: Lookup, problems: list[str]) -> int | None:
    name, value = _given(what, option, ini)
    if value is None:
        return None
    if re.fullmatch(r"\s*\d+\s*", value, re.ASCII) and int(value) > 0:
        return int(value)
    problems.append(f"{name} is {value!r}: write how many {what}, 1 or more")
    return None


def _given(what: str, option: Lookup, ini: Lookup) -> tuple[str, str | None]:
    """Return a limit as it was written, and where."""
    if (value := option(f"llm_max_{what}")) is not None:
        return f"--llm-max-{what}", value
    return f"llm_max_{what}", ini(f"llm_max_{what}") or None


def _above_zero(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None


def _text(what: str, given: str | None, configured: str, problems: list[str]) -> str | None:
    for name, value in ((f"--llm-{what}", given), (f"llm_{what}", configured or None)):
        if value is None:
            continue
        if not value.strip():
            problems.append(f"{name} is empty: write a name")
        return value.strip()
    return None


def _local_model(given: str | None, invocation_dir: Path, problems: list[str]) -> Path | None:
    if given is None:
        return None
    path = invocation_dir / Path(given).expanduser()
    if not path.is_file():
        problems.append(f"--llm-local-model is {given!r}: there is no such file; write the path of a GGUF file")
    return path


def _evidence(given: str | None, configured: str, rootdir: Path, invocation_dir: Path) -> Path:
    if given:
        return invocation_dir / Path(given).expanduser()
    return rootdir / Path(configured or DEFAULT_EVIDENCE).expanduser()
