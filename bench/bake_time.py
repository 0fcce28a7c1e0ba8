"""How long the whole command takes, beside that for an empty template and for one with nothing to fill in.

Empty is one question and one file of no bytes, with neither hook nor extension: what cookiecutter itself takes, most
of it imports. The plain one has the files that this template makes, as they are, and a hook of no bytes: what the
files alone take, before anything is asked, checked or filled in. All are whole processes, side by side in each round,
in an order drawn anew.
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
_PLAIN = SCRATCH / "plain"
_BAKED = SCRATCH / "baked"
_CONFIG = SCRATCH / "cookiecutter.json"  # so that nothing is kept at home, and nothing there has a say


def bake_seconds(rounds: int = 25) -> tuple[float, float, float]:
    """Return the median seconds for this template, the empty and the plain one."""
    _CONFIG.write_text(json.dumps({"replay_dir": str(SCRATCH), "cookiecutters_dir": str(SCRATCH)}))
    _make_empty()
    _make_plain()
    seconds: dict[Path, list[float]] = {ROOT: [], _EMPTY: [], _PLAIN: []}
    for _ in range(rounds + 1):
        for template in random.sample([*seconds], len(seconds)):
            seconds[template].append(_seconds(template))
    ours, empty, plain = (median(found[1:]) for found in seconds.values())  # the first one compiles what it imports
    return ours, empty, plain


def _make_empty() -> None:
    (_EMPTY / "{{cookiecutter.slug}}").mkdir(parents=True, exist_ok=True)
    (_EMPTY / "{{cookiecutter.slug}}" / "file").touch()
    (_EMPTY / "cookiecutter.json").write_text(json.dumps({"slug": "empty"}))


def _make_plain() -> None:
    _seconds(ROOT)
    shutil.rmtree(_PLAIN, ignore_errors=True)
    (project,) = _BAKED.iterdir()
    for path in project.rglob("*.yml"):  # GitHub's own braces
        path.write_text(path.read_text("utf-8").replace("{{", "(("), "utf-8")
    shutil.copytree(project, _PLAIN / "{{cookiecutter.slug}}")
    (_PLAIN / "hooks").mkdir()
    (_PLAIN / "hooks" / "post_gen_project.py").touch()
    shutil.copy(_EMPTY / "cookiecutter.json", _PLAIN)


def _seconds(template: Path) -> float:
    shutil.rmtree(_BAKED, ignore_errors=True)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", _CONFIG, "--output-dir", _BAKED]
    start = time.perf_counter()
    subprocess.run([*command, template], env=env, check=True, capture_output=True)
    return time.perf_counter() - start
