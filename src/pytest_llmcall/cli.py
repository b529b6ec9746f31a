"""`pytest-llmcall …`: the command line tool. Fetches, finds and serves the embedded model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from pytest_llmcall.errors import LLMCallError, SettingsError

OK: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130
_MOST_PORT: Final = 65535


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line tool and return its exit code: 0, 1 for what went wrong, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except LLMCallError as error:
        print(f"pytest-llmcall: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pytest-llmcall", description="The command line tool of pytest-llmcall.")
    parser.add_argument("--version", action="version", version=f"pytest-llmcall {version('pytest-llmcall')}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    local = commands.add_parser("local", help="the embedded model: a small real model on this machine, no account")
    actions = local.add_subparsers(title="commands", required=True, metavar="COMMAND")
    pull = actions.add_parser("pull", help="fetch the model (93 MB) unless it is there")
    pull.set_defaults(run=_pull)
    path = actions.add_parser("path", help="print where the model's file is")
    path.set_defaults(run=_path)
    serve = actions.add_parser(
        "serve", help="run the model's endpoint until Ctrl-C (/v1/messages, /v1/chat/completions)"
    )
    serve.add_argument("--port", type=_port, default=0, help="a port of 127.0.0.1; a free one if not given")
    serve.add_argument("--model", type=Path, metavar="FILE", help="another GGUF file than the embedded model's own")
    serve.set_defaults(run=_serve)
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= _MOST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; write a number from 0 to {_MOST_PORT}")
    return int(text)


def _pull(_: argparse.Namespace) -> int:
    from pytest_llmcall.local_model import pull  # noqa: PLC0415 - keeps `--version` quick

    pull()
    return OK


def _path(_: argparse.Namespace) -> int:
    from pytest_llmcall.local_model import model_path  # noqa: PLC0415 - keeps `--version` quick

    path = model_path()
    print(path)
    if not path.is_file():
        raise SettingsError("the model is not there yet; fetch it with: pytest-llmcall local pull")
    return OK


def _serve(options: argparse.Namespace) -> int:
    from pytest_llmcall.local_model.process import usable_model  # noqa: PLC0415 - keeps `--version` quick
    from pytest_llmcall.local_model.server import serve  # noqa: PLC0415 - keeps `--version` quick

    try:
        serve(usable_model(options.model), port=options.port, ready=_say_ready)
    except (OSError, RuntimeError) as error:
        raise SettingsError(f"cannot serve: {error}") from error
    return OK


def _say_ready(url: str, model: str) -> None:
    print(f"{model} answers at {url} until Ctrl-C. For the Claude CLI:")
    print(f"  export ANTHROPIC_BASE_URL={url} ANTHROPIC_API_KEY=sk-ant-embedded", flush=True)
