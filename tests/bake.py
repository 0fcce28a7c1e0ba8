"""Bake the template as its users do, and look at what came out."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).parent.parent
(PROJECT,) = TEMPLATE.glob("{{*}}")
QUESTIONS = [key for key in json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8")) if not key.startswith("_")]

# What the template language leaves behind when something was not rendered. GitHub's own `${{ }}` is no leftover.
_LEFTOVER = re.compile(r"(?<!\$)\{\{|\{%|\{#|cookiecutter\.")


def bake(output_dir: Path, template: Path | str = TEMPLATE, **answers: str) -> Path:
    """Return a project baked with `answers`, defaults for the rest.

    Raises:
        ValueError: an answer to no question; cookiecutter itself would ignore it.
    """
    unknown = answers.keys() - set(QUESTIONS)
    if unknown:
        raise ValueError(f"the template does not ask {sorted(unknown)}; it asks {QUESTIONS}")
    config = output_dir / "cookiecutter-config.json"
    output_dir.mkdir(parents=True, exist_ok=True)
    config.write_text(
        json.dumps({"replay_dir": str(output_dir / "replay"), "cookiecutters_dir": str(output_dir / "cc")})
    )
    return Path(
        cookiecutter(
            str(template), no_input=True, extra_context=answers, output_dir=str(output_dir), config_file=str(config)
        )
    )


def files(project: Path) -> set[str]:
    """Return the relative paths of all files of `project`."""
    return {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}


def contents(project: Path) -> dict[str, bytes]:
    """Return what is in each file of `project`."""
    return {name: (project / name).read_bytes() for name in files(project)}


def leftovers(project: Path) -> list[str]:
    """Return the lines and names of files in `project` that hold template syntax."""
    found = [name for name in files(project) if _LEFTOVER.search(name)]
    for name in sorted(files(project)):
        lines = (project / name).read_text("utf-8").splitlines()
        found += [f"{name}:{number}: {line}" for number, line in enumerate(lines, 1) if _LEFTOVER.search(line)]
    return found


def run(project: Path, *command: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run `command` with this Python's tools in `project` and return what it prints.

    Raises:
        AssertionError: it failed; with all that it printed.
    """
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=project,
        env={**os.environ, **(env or {})},
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def git(repository: Path, *command: str) -> str:
    """Run git in `repository` as somebody, whatever this machine's configuration, and return what it prints."""
    somebody = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *somebody, *command],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    )
    return done.stdout


def commit_all(repository: Path) -> None:
    """Commit everything in `repository`, which becomes one with its first commit."""
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "A commit")


def copy_template(destination: Path) -> Path:
    """Copy what the template consists of to a git repository in `destination`, and return that."""
    for name in ("cookiecutter.json", "hooks", PROJECT.name):
        copy = shutil.copytree if (TEMPLATE / name).is_dir() else shutil.copyfile
        destination.mkdir(parents=True, exist_ok=True)
        copy(TEMPLATE / name, destination / name)
    commit_all(destination)
    return destination
