"""What comes out of the template, answer by answer."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from bake import PROJECT, TEMPLATE, bake, files, git, leftovers, run

COMBINATIONS: dict[str, dict[str, str]] = {
    "default": {},
    "acme": {"project_name": "Acme Ask Recorder", "handler_class": "AcmeRecorder", "ci": "gitlab"},
    "text": {"log_format": "text", "ci": "none"},
    "a file a day": {"filename_pattern": "{started_at:%Y-%m-%d}.jsonl", "open_source_license": "BSD-3-Clause"},
    "a file a collection": {"log_format": "text", "filename_pattern": "{collection}.log"},
    "folders": {
        "log_directory": "var/log/ask",
        "log_format": "text",
        "filename_pattern": "{started_at:%Y}/{started_at:%m}/{collection}-{request_id}.log",
    },
    "an absolute directory": {"log_directory": "/tmp/it's/żółć", "open_source_license": "Apache-2.0"},
    "longest": {
        "package_name": "p" * 30,
        "handler_class": "H" + "h" * 29,
        "log_directory": "folder/" * 10 + "logs",
        "filename_pattern": "folder/" * 9 + "{collection}",
    },
    "shortest": {"project_name": "Z", "handler_class": "Hi", "log_directory": "z", "filename_pattern": "{request_id}"},
    "hostile": {
        "project_name": "it's {x} %s # <b>&amp; `code` 🦊",
        "full_name": "Łukasz O'Neil 'Jr.', <b>",
        "open_source_license": "Proprietary",
    },
}
PIPELINES: dict[str, set[str]] = {"github": {".github/workflows/ci.yml"}, "gitlab": {".gitlab-ci.yml"}, "none": set()}


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keep caches out of the projects, and share what mypy learns about db-ally: most of its time."""
    return {
        "MYPY_CACHE_DIR": str(tmp_path_factory.mktemp("mypy")),
        "PYTEST_ADDOPTS": "-q -p no:cacheprovider",
        "RUFF_NO_CACHE": "true",
    }


@pytest.mark.parametrize(
    "name", ["default", *(pytest.param(name, marks=pytest.mark.matrix) for name in COMBINATIONS if name != "default")]
)
def test_a_project_passes_its_own_checks_as_it_comes(name: str, caches: dict[str, str], tmp_path: Path) -> None:
    project = bake(tmp_path, **COMBINATIONS[name])
    assert leftovers(project) == []

    said = run(project, "check", env=caches)

    assert re.search(r"^\d+ passed", said, re.MULTILINE)
    assert re.search(r"files? already formatted", said)


@pytest.mark.parametrize("name", ["default", "a file a day", "folders"])
def test_directory_format_and_pattern_reach_the_disk(name: str, tmp_path: Path) -> None:
    answers = COMBINATIONS[name]
    project = bake(tmp_path, **answers)
    folder = tmp_path / "application"
    folder.mkdir()

    path = os.pathsep.join([str(project / "src"), str(project / "examples")])
    run(folder, "ask", env={"PYTHONPATH": path})

    logs = [log for log in (folder / answers.get("log_directory", "logs")).rglob("*") if log.is_file()]
    assert len(logs) == (1 if name == "a file a day" else 4)
    for log in logs:
        first_line = log.read_text("utf-8").splitlines()[0]
        if answers.get("log_format") == "text":
            assert first_line.endswith(" request_start")
        else:
            assert json.loads(first_line)["kind"] == "request_start"


@pytest.mark.parametrize(
    ("ci", "licence", "first_words"),
    [
        ("github", "MIT", "MIT License"),
        ("gitlab", "Apache-2.0", "Apache License"),
        ("none", "BSD-3-Clause", "BSD 3-Clause License"),
        ("github", "Proprietary", "Copyright (c) Your Name. All rights reserved."),
    ],
)
def test_pipeline_and_licence_reach_the_disk(ci: str, licence: str, first_words: str, tmp_path: Path) -> None:
    project = bake(tmp_path, ci=ci, open_source_license=licence)

    assert {name for name in files(project) if name.endswith(".yml")} == PIPELINES[ci]
    assert (project / ".github").exists() == (ci == "github")
    for name in PIPELINES[ci]:
        assert "uv run check.py\n" in (project / name).read_text("utf-8")
    assert licence in (project / "pyproject.toml").read_text("utf-8")
    assert (project / "LICENSE").read_text("utf-8").strip().startswith(first_words)


@pytest.mark.parametrize("ci", PIPELINES)
def test_each_file_of_the_template_is_in_a_project(ci: str, tmp_path: Path) -> None:
    project = bake(tmp_path, ci=ci, package_name="audit")

    in_template = {name.replace("{{cookiecutter.package_name}}", "audit") for name in files(PROJECT)}
    plain = {name for name in in_template if "{%" not in name and "__pycache__" not in name}
    assert files(project) == plain | PIPELINES[ci]


@pytest.mark.parametrize(
    ("directory", "line"),
    [
        *[("logs", "/logs/"), ("./logs", "/logs/"), ("var/My logs/", "/var/My logs/"), (".logs", "/.logs/")],
        *[("logs[1]", "/logs\\[1]/"), ("/var/log/ask", None), ("../logs", None), ("~/logs", None)],
    ],
)
def test_git_ignores_a_log_directory_in_the_project(directory: str, line: str | None, tmp_path: Path) -> None:
    project = bake(tmp_path, log_directory=directory)

    lines = (project / ".gitignore").read_text("utf-8").splitlines()
    assert all(lines)
    assert "*.egg-info/" in lines
    assert [each for each in lines if "log" in each] == ([line] if line else [])
    if line:
        git(project, "init", "--quiet")
        git(project, "check-ignore", "--quiet", f"{directory}/a.log")


def test_check_ends_with_the_first_check_that_fails(tmp_path: Path) -> None:
    project = bake(tmp_path)
    (project / "src" / "unused.py").write_text('"""A module with an unused import."""\n\nimport os\n')

    with pytest.raises(AssertionError) as failed:
        run(project, "check", env={"RUFF_NO_CACHE": "true"})

    assert "unused.py:3:8" in str(failed.value)
    assert "$ mypy" not in str(failed.value)


@pytest.mark.matrix
def test_the_generated_tests_cover_every_line_and_branch(tmp_path: Path) -> None:
    project = bake(tmp_path)
    report = tmp_path / "coverage.json"
    measure = ["--cov=src", "--cov-branch", f"--cov-report=json:{report}"]

    run(project, "pytest", "-q", "-p", "no:cacheprovider", *measure, env={"COVERAGE_FILE": str(tmp_path / ".coverage")})

    measured = json.loads(report.read_text("utf-8"))["files"]
    assert set(measured) == {name for name in files(project) if name.startswith("src/") and name.endswith(".py")}
    missing = {name: file["missing_lines"] + file["missing_branches"] for name, file in measured.items()}
    assert {name: lines for name, lines in missing.items() if lines} == {}


def test_no_python_of_the_template_has_a_block_of_the_template_language() -> None:
    for path in PROJECT.rglob("*.py"):
        assert "{%" not in path.read_text("utf-8"), path.name


def test_the_helper_refuses_an_answer_to_no_question(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not ask \['handler_klass'\]"):
        bake(tmp_path, handler_klass="X")


def test_the_helper_finds_what_was_left_of_the_template_language(tmp_path: Path) -> None:
    for name in ("cookiecutter.json", "hooks", PROJECT.name):
        copy = shutil.copytree if (TEMPLATE / name).is_dir() else shutil.copyfile
        copy(TEMPLATE / name, tmp_path / name)
    readme = tmp_path / PROJECT.name / "README.md"
    readme.write_text(readme.read_text("utf-8") + "{% raw %}{{ cookiecutter.forgotten }}{% endraw %}\n", "utf-8")

    assert leftovers(bake(tmp_path / "out", template=tmp_path))[0].startswith("README.md:")
