"""Check the whole project: format, lint, types, tests. The first check that fails ends it.

    uv run check.py            everything; without uv: python check.py
    uv run check.py --quick    without the tests that are marked as slow

The quick one is for each commit.
"""

import argparse
import subprocess
import sys
from pathlib import Path

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="leave out slow tests")
arguments = parser.parse_args()

pytest = ["pytest"]
if arguments.quick:
    pytest += ["-m", "not slow"]

for check in (["ruff", "format", "--check"], ["ruff", "check"], ["mypy"], pytest):
    print("$", *check, flush=True)
    done = subprocess.run([sys.executable, "-m", *check], cwd=Path(__file__).parent)
    if done.returncode != 0:
        sys.exit(done.returncode)
