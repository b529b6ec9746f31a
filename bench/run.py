"""Runs the benchmarks, all or those that are named; each prints ratios against a baseline of the same run.

python -m bench.run [waiting] [nothing] [case_items] [trivial_child] [real_cli] [start_up] [memory]
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.calls import case_items, real_cli, start_up, trivial_child
from bench.lanes import memory, nothing, waiting

BENCHMARKS = {each.__name__: each for each in (waiting, nothing, case_items, trivial_child, real_cli, start_up, memory)}


def main(names: Sequence[str]) -> None:
    """Run some benchmarks, and say how busy the machine was."""
    for name in names or BENCHMARKS:
        print(f"{name}, at a load of {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            BENCHMARKS[name](Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
