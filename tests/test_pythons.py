"""A project works on every Python that db-ally runs on, and with the oldest and newest dependencies that it allows."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import hatchling.build
import pytest
from bake import TEMPLATE, bake, contents
from packaging.metadata import parse_email

pytestmark = pytest.mark.matrix

VERSIONS = ["3.11", "3.12", "3.13"]
CONTRACT = "tests/test_handler_contract.py"


def find_python(version: str) -> str | None:
    """Return a Python of `version`: the one that runs this, one on the PATH, or one of pyenv's."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    if command := shutil.which("pyenv"):
        pyenv = Path(command).parent.parent
    of_pyenv = sorted(map(str, (pyenv / "versions").glob(f"{version}.*/bin/python")))

    for python in [sys.executable, on_path, *of_pyenv]:
        if python and is_of(version, python):
            return python
    return None


def is_of(version: str, python: str) -> bool:
    """Return whether `python` is of `version`: pyenv puts commands on the PATH that do not run."""
    done = subprocess.run([python, "--version"], capture_output=True, text=True)
    return done.stdout.startswith(f"Python {version}.")


PYTHONS = {version: python for version in VERSIONS if (python := find_python(version))}


def execute(folder: Path, *command: str | Path) -> str:
    """Run `command` outside of this environment, and return what it prints."""
    env = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=env,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def uv(folder: Path, *arguments: str | Path) -> str:
    return execute(folder, sys.executable, "-m", "uv", *arguments)


def python_in(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


@pytest.mark.parametrize("version", PYTHONS)
def test_a_project_passes_its_tests_with_the_newest_of_everything(version: str, tmp_path: Path) -> None:
    project = bake(tmp_path)

    said = uv(project, "run", "--quiet", "--python", PYTHONS[version], "pytest", "-q", "-p", "no:cacheprovider")

    assert re.search(r"^\d+ passed", said, re.MULTILINE)
    assert "Answer:   Ann and Chen" in uv(project, "run", "--quiet", "python", "examples/ask.py")


@pytest.mark.parametrize("version", sorted({min(PYTHONS), max(PYTHONS)}))
def test_a_project_keeps_its_contract_with_the_lowest_of_everything(version: str, tmp_path: Path) -> None:
    project = bake(tmp_path)
    overridden = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["override-dependencies"]
    lowest = [requirement.replace(">=", "==") for requirement in overridden]
    assert all("==" in requirement for requirement in lowest)

    uv(project, "sync", "--quiet", "--resolution", "lowest-direct", "--python", PYTHONS[version])
    uv(project, "pip", "install", "--quiet", *lowest)
    said = execute(project, python_in(project / ".venv"), "-m", "pytest", "-q", "-p", "no:cacheprovider", CONTRACT)

    assert re.search(r"^\d+ passed", said, re.MULTILINE)


def test_the_wheel_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bake(tmp_path, full_name="Ada Lovelace", open_source_license="Apache-2.0"))

    with zipfile.ZipFile(tmp_path / hatchling.build.build_wheel(str(tmp_path))) as wheel:
        names = wheel.namelist()
        (metadata_file,) = (name for name in names if name.endswith("/METADATA"))
        metadata, unknown = parse_email(wheel.read(metadata_file))

    assert not unknown
    assert metadata["name"] == "db-ally-file-handler"
    assert metadata["summary"] == "db-ally File Handler"
    assert metadata["author"] == "Ada Lovelace"
    assert metadata["license_expression"] == "Apache-2.0"
    assert metadata["requires_python"] == ">=3.11"
    assert metadata["requires_dist"] == ["dbally<0.9,>=0.8", "numpy<2; python_version < '3.12'"]
    assert metadata["description"].startswith("# db-ally File Handler")
    assert "db_ally_file_handler/py.typed" in names
    assert all(name.startswith("db_ally_file_handler") for name in names)


@pytest.mark.skipif("3.11" not in PYTHONS, reason="pip can install db-ally 0.8 on Python 3.11 alone")
def test_plain_pip_installs_the_wheel_and_what_it_takes_to_test_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = bake(tmp_path)
    monkeypatch.chdir(project)
    assert hatchling.build.build_sdist(str(tmp_path)).endswith(".tar.gz")
    wheel = tmp_path / hatchling.build.build_wheel(str(tmp_path))
    execute(tmp_path, PYTHONS["3.11"], "-m", "venv", "venv")
    python = python_in(tmp_path / "venv")
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]

    execute(project, *pip, "--upgrade", "pip")
    execute(project, *pip, wheel)
    code = "import db_ally_file_handler as package; print(package.FileEventHandler(), package.__file__)"
    assert "site-packages" in execute(tmp_path, python, "-c", code)

    execute(project, *pip, "--editable", ".", "--group", "dev")
    said = execute(project, python, "-m", "pytest", "-q", "-p", "no:cacheprovider", CONTRACT)
    assert re.search(r"^\d+ passed", said, re.MULTILINE)


@pytest.mark.skipif(find_python("3.10") is None, reason="no Python 3.10 at hand")
def test_the_oldest_cookiecutter_and_python_that_the_readme_names_bake_the_same(
    default_project: Path, tmp_path: Path
) -> None:
    readme = (TEMPLATE / "README.md").read_text("utf-8")
    ((cookiecutter, python),) = re.findall(r"cookiecutter ([\d.]+) or newer, on Python ([\d.]+)", readme)
    command: list[str | Path] = ["cookiecutter", "--no-input", "--output-dir", tmp_path, TEMPLATE]

    uv(
        tmp_path,
        "tool",
        "run",
        "--quiet",
        "--python",
        find_python(python) or "",
        "--from",
        f"cookiecutter=={cookiecutter}",
        *command,
    )

    assert contents(tmp_path / default_project.name) == contents(default_project)
