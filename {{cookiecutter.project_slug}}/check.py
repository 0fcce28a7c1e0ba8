"""Check the whole project: `uv run check.py`, or `python check.py` without uv. The first check that fails ends it."""

import subprocess
import sys
from pathlib import Path

for check in ("ruff format --check", "ruff check", "mypy", "pytest"):
    print(f"$ {check}", flush=True)
    done = subprocess.run([sys.executable, "-m", *check.split()], cwd=Path(__file__).parent)
    if done.returncode:
        sys.exit(done.returncode)
