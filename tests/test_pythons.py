"""A baked project works on every Python that db-ally can be made to run on, and with the oldest and newest it may use."""

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
from bake import TEMPLATE, bake, files
from packaging.metadata import parse_email

pytestmark = pytest.mark.matrix
VERSIONS = ["3.11", "3.12", "3.13"]
CONTRACT = "tests/test_handler_contract.py"


def find_python(version: str) -> str | None:
    """Return the interpreter of `version` that runs this, is on the PATH, or is one of pyenv's."""
    if "{}.{}".format(*sys.version_info) == version:
        return sys.executable
    command = Path(shutil.which("pyenv") or Path.home() / ".pyenv" / "bin" / "pyenv")
    pyenv = Path(os.environ.get("PYENV_ROOT", command.parent.parent)) / "versions"
    found = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    return next((python for python in found if python and is_of(version, python)), None)


def is_of(version: str, python: str) -> bool:
    """Return whether `python` runs: pyenv puts commands on the PATH for versions that are switched off."""
    done = subprocess.run([python, "--version"], capture_output=True, text=True)
    return done.stdout.startswith(f"Python {version}.")


PYTHONS = {version: python for version in VERSIONS if (python := find_python(version))}


def execute(project: Path, *command: str | Path) -> str:
    env = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=project,
        env=env,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def uv(project: Path, *arguments: str | Path) -> str:
    return execute(project, sys.executable, "-m", "uv", *arguments)


def python_in(environment: Path) -> Path:
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def test_this_python_is_one_of_those_tested() -> None:
    assert sys.executable in PYTHONS.values()


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

    uv(project, "sync", "--quiet", "--resolution", "lowest-direct", "--python", PYTHONS[version])
    uv(project, "pip", "install", "--quiet", *lowest)
    said = execute(project, python_in(project / ".venv"), "-m", "pytest", "-q", "-p", "no:cacheprovider", CONTRACT)

    assert all("==" in requirement for requirement in lowest)
    assert re.search(r"^\d+ passed", said, re.MULTILINE)


@pytest.mark.skipif("3.11" not in PYTHONS, reason="pip can install db-ally 0.8 on Python 3.11 alone")
def test_plain_pip_installs_the_wheel_and_what_it_takes_to_test_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = bake(tmp_path)
    monkeypatch.chdir(project)
    wheel = tmp_path / hatchling.build.build_wheel(str(tmp_path))
    execute(tmp_path, PYTHONS["3.11"], "-m", "venv", "venv")
    pip = (python_in(tmp_path / "venv"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")

    execute(project, *pip, "--upgrade", "pip")
    execute(project, *pip, wheel)
    said = execute(
        tmp_path, pip[0], "-c", "import db_ally_file_handler as it; print(it.FileEventHandler(), it.__file__)"
    )
    execute(project, *pip, "--editable", ".", "--group", "dev")
    tested = execute(project, pip[0], "-m", "pytest", "-q", "-p", "no:cacheprovider", CONTRACT)

    assert "site-packages" in said
    assert re.search(r"^\d+ passed", tested, re.MULTILINE)


def test_the_oldest_cookiecutter_that_the_readme_names_bakes_the_same(default_project: Path, tmp_path: Path) -> None:
    (oldest,) = re.findall(r"cookiecutter ([\d.]+) or newer", (TEMPLATE / "README.md").read_text("utf-8"), re.MULTILINE)

    baking = ("cookiecutter", "--no-input", "--output-dir", tmp_path, TEMPLATE)
    uv(tmp_path, "tool", "run", "--quiet", "--python", sys.executable, "--from", f"cookiecutter=={oldest}", *baking)

    project = tmp_path / default_project.name
    assert files(project) == files(default_project)
    assert all((project / name).read_bytes() == (default_project / name).read_bytes() for name in files(project))


def test_the_wheel_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bake(tmp_path, full_name="Ada Lovelace", open_source_license="Apache-2.0"))

    with zipfile.ZipFile(tmp_path / hatchling.build.build_wheel(str(tmp_path))) as wheel:
        names = wheel.namelist()
        metadata, unknown = parse_email(wheel.read(next(name for name in names if name.endswith("/METADATA"))))

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
