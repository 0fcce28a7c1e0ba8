import subprocess
from pathlib import Path

import pytest
from bake import bake, run
from pages import blocks

PAGE = blocks("make-it-yours.md")


@pytest.mark.parametrize("change", PAGE)
def test_the_tests_pass_after_the_change(change: str, tmp_path: Path) -> None:
    project = bake(tmp_path)

    subprocess.run(["git", "apply", "-"], cwd=project, input=PAGE[change], text=True, check=True)

    run(project, "pytest", "-q", "-p", "no:cacheprovider")
    run(project, "ruff", "check")
    run(project, "ruff", "format", "--check")
