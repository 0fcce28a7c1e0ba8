"""What docs/operations.md of a project says can be deleted, can be deleted."""

import re
import subprocess
from pathlib import Path

from bake import bake
from pages import bake_page, check


def delete(project: Path, words: str) -> None:
    """Do what the page prints in the block with `words`, and what it says below each block."""
    page = (project / "docs" / "operations.md").read_text("utf-8")
    (commands,) = (block for block in re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.M) if words in block)
    subprocess.run(["sh", "-euc", commands], cwd=project, check=True)
    pyproject = project / "pyproject.toml"
    pyproject.write_text(re.sub(r"\[project\.scripts\]\n.*\n\n", "", pyproject.read_text("utf-8")), "utf-8")


def test_a_project_without_the_command_is_green(tmp_path: Path) -> None:
    project = bake(tmp_path)

    delete(project, "tests/test_screens.py")

    check(project)


def test_a_project_without_files_is_green(tmp_path: Path) -> None:
    project = bake_page(tmp_path, "background.md")

    delete(project, "logfile.py")

    init = project / "src" / "db_ally_file_handler" / "__init__.py"
    code = re.sub(
        r'""".*?"""', '"""Records every request to a db-ally collection."""', init.read_text("utf-8"), flags=re.S
    )
    lines = [line for line in code.splitlines() if "FileEventHandler" not in line and "LogFile" not in line]
    init.write_text("\n".join([*lines, ""]), "utf-8")
    files = project / "tests" / "files.py"
    files.write_text(files.read_text("utf-8").replace("package.FileEventHandler", "package.Recorder"), "utf-8")
    check(project)
