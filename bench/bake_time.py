"""How long a bake takes, beside a template that has one empty file."""

import json
import shutil
import time
from pathlib import Path
from statistics import median

from cookiecutter.main import cookiecutter

from .project import ROOT, SCRATCH


def bake_seconds(rounds: int = 9) -> tuple[float, float]:
    """Return the median seconds of a bake of this template and of an empty one, in this process."""
    empty = SCRATCH / "empty"
    (empty / "{{cookiecutter.slug}}").mkdir(parents=True, exist_ok=True)
    (empty / "{{cookiecutter.slug}}" / "file").touch()
    (empty / "cookiecutter.json").write_text(json.dumps({"slug": "empty"}))
    seconds: dict[Path, list[float]] = {ROOT: [], empty: []}
    for _ in range(rounds):
        for template, found in seconds.items():
            start = time.perf_counter()
            cookiecutter(str(template), no_input=True, output_dir=str(SCRATCH / "baked"))
            found.append(time.perf_counter() - start)
            shutil.rmtree(SCRATCH / "baked")
    return median(seconds[ROOT]), median(seconds[empty])
