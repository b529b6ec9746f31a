"""Fail unless the newest run answered and passed at least N cases, by its evidence: `enough.py N [EVIDENCE]`."""

import json
import sys
from pathlib import Path


def main(least: int, evidence: Path) -> int:
    """Return the exit code: 0 if enough cases of the newest run were answered and passed."""
    runs = sorted((evidence / "runs").glob("*/outcomes.jsonl"))
    lines = runs[-1].read_text(encoding="utf-8").splitlines() if runs else []
    passed = [
        each
        for each in map(json.loads, lines)
        if each["status"] == "passed" and each["tape"] and Path(each["tape"]).is_file()
    ]
    print(f"{len(passed)} cases were answered and passed; at least {least} must be")  # noqa: T201 - a script
    return 0 if len(passed) >= least else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) > 2 else ".llmcall")))
