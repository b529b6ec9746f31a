"""The part of the user's own settings file that says how to log in and where, and nothing that the model could see.

The CLI is told to read no settings, or hooks and styles would change the answers; some logins stand only there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_HELPERS: Final = (
    "apiKeyHelper",
    "awsAuthRefresh",
    "awsCredentialExport",
    "forceLoginMethod",
    "forceLoginOrgUUID",
    "gcpAuthRefresh",
    "proxyAuthHelper",
)
_WHERE: Final = ("ANTHROPIC_", "AWS_", "CLAUDE_CODE_USE_", "CLAUDE_CODE_SKIP_", "CLOUD_ML_", "GOOGLE_", "VERTEX_")
_NETWORK: Final = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS", "CLAUDE_CODE_OAUTH_TOKEN"}
_OTHER_PLACE: Final = {"ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}


def login_settings(environment: Mapping[str, str], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that a call needs to log in as the user does.

    Args:
        environment: The user's.
        overrides: What a run sets itself; if it names another place or key, the user's login is not wanted there.
    """
    if _OTHER_PLACE & {*overrides}:
        return {}
    settings = _read(_settings_file(environment))
    found: dict[str, Any] = {name: settings[name] for name in _HELPERS if name in settings}
    variables = settings.get("env")
    kept = {
        name: value
        for name, value in (variables.items() if isinstance(variables, dict) else ())
        if name not in overrides and (name.startswith(_WHERE) or name.upper() in _NETWORK)
    }
    return {**found, "env": kept} if kept else found


def _settings_file(environment: Mapping[str, str]) -> Path:
    folder = environment.get("CLAUDE_CONFIG_DIR")
    return Path(folder) / "settings.json" if folder else Path.home() / ".claude" / "settings.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):  # none, or one that the CLI itself would not read either
        return {}
    return content if isinstance(content, dict) else {}
