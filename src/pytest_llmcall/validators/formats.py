"""JSON Schema's `format`: checks for the common ones; without further packages jsonschema brings weak ones or none.

A format that cannot be checked here is refused when the schema is read: a check that is left out cannot say no.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import uuid
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker

from pytest_llmcall.validators.patterns import compile_pattern

_DATE: Final = r"\d{4}-\d{2}-\d{2}"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
_URI_CHARACTERS: Final = r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*"
_HOST_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

_PATTERNS: Final = {
    "duration": r"P(?!$)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?)",
    "email": r"[^@\s\"(),:;<>\[\\\]]+@(" + _HOST_LABEL + r"\.)*" + _HOST_LABEL,
    "idn-email": r"[^@\s]+@[^@\s]+",
    "json-pointer": r"(/([^~/]|~[01])*)*",
    "time": _TIME,
    "uri-reference": _URI_CHARACTERS,
}


def _date(text: str) -> bool:
    return re.fullmatch(_DATE, text, re.ASCII) is not None and bool(dt.date.fromisoformat(text))


def _date_time(text: str) -> bool:
    day, moment = text[:10], text[10:]
    return _date(day) and moment[:1] in ("T", "t") and re.fullmatch(_TIME, moment[1:], re.ASCII) is not None


def _hostname(text: str) -> bool:
    return len(text) <= 253 and re.fullmatch(rf"({_HOST_LABEL}\.)*{_HOST_LABEL}", text) is not None


def _ipv4(text: str) -> bool:
    return bool(ipaddress.IPv4Address(text))


def _ipv6(text: str) -> bool:
    return "%" not in text and ipaddress.IPv6Address(text) is not None


def _regex(text: str) -> bool:
    return bool(compile_pattern(text))


def _uri(text: str) -> bool:
    parts = urlsplit(text)
    _ = parts.port  # raises ValueError if it is no port
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9+.\-]*:" + _URI_CHARACTERS, text) is not None


def _uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) is not None and bool(
        uuid.UUID(text)
    )


_FUNCTIONS: Final[dict[str, Callable[[str], bool]]] = {
    "date": _date,
    "date-time": _date_time,
    "hostname": _hostname,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "regex": _regex,
    "uri": _uri,
    "uuid": _uuid,
}


def _full_match(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text, re.ASCII) is not None


def _texts_only(check: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or check(value)


def _checker() -> FormatChecker:
    # What jsonschema's own extras bring is used for the formats that have no check here.
    checker = FormatChecker(formats=Draft202012Validator.FORMAT_CHECKER.checkers)
    for name, check in {**{name: _full_match(each) for name, each in _PATTERNS.items()}, **_FUNCTIONS}.items():
        checker.checks(name, raises=(ValueError, re.error, OverflowError))(_texts_only(check))
    return checker


FORMATS: Final = _checker()
