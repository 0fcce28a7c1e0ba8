"""How long the whole command takes, beside that for an empty template.

Empty is one question and one file of no bytes, with neither hook nor extension: what cookiecutter itself takes, most
of it imports. Both are whole processes, side by side in each round, in an order drawn anew.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from .project import ROOT, SCRATCH

_EMPTY = SCRATCH / "empty"
_BAKED = SCRATCH / "baked"
_CONFIG = SCRATCH / "cookiecutter.json"  # so that nothing is kept at home, and nothing there has a say


def bake_seconds(rounds: int = 25) -> tuple[float, float]:
    """Return the median seconds for this template and for the empty one."""
    (_EMPTY / "{{cookiecutter.slug}}").mkdir(parents=True, exist_ok=True)
    (_EMPTY / "{{cookiecutter.slug}}" / "file").touch()
    (_EMPTY / "cookiecutter.json").write_text(json.dumps({"slug": "empty"}))
    _CONFIG.write_text(json.dumps({"replay_dir": str(SCRATCH), "cookiecutters_dir": str(SCRATCH)}))
    seconds: dict[Path, list[float]] = {ROOT: [], _EMPTY: []}
    for _ in range(rounds + 1):
        for template in random.sample([*seconds], len(seconds)):
            seconds[template].append(_seconds(template))
    ours, empty = (median(found[1:]) for found in seconds.values())  # the first one compiles what it imports
    return ours, empty


def _seconds(template: Path) -> float:
    shutil.rmtree(_BAKED, ignore_errors=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", _CONFIG, "--output-dir", _BAKED]
    start = time.perf_counter()
    subprocess.run([*command, template], env=env, check=True, capture_output=True)
    return time.perf_counter() - start
