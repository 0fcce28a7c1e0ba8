"""What comes out of the template, answer by answer."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from bake import TEMPLATE, bake, files, leftovers, run

COMBINATIONS: dict[str, dict[str, str]] = {
    "default": {},
    "text": {"log_format": "text", "ci": "gitlab"},
    "a-day": {"filename_pattern": "{started_at:%Y-%m-%d}.jsonl", "open_source_license": "BSD-3-Clause", "ci": "none"},
    "a-collection": {"log_format": "text", "filename_pattern": "{collection}.log"},
    "nested": {
        "log_directory": "var/log/ask",
        "log_format": "text",
        "filename_pattern": "{started_at:%Y/%m/%d}/{collection}-{request_id}.log",
    },
    "absolute": {"log_directory": "@TMP@/absolute logs", "open_source_license": "Apache-2.0", "ci": "none"},
    "absolute-utf8": {
        "log_directory": "@TMP@/żółć",
        "filename_pattern": "{started_at:%F}/{request_id}",
    },
    "renamed": {"project_name": "Audit Log", "handler_class": "AuditHandler", "open_source_license": "Proprietary"},
    "renamed-package": {
        "project_slug": "ask-audit",
        "package_name": "zz_audit",
        "handler_class": "AUDIT_2",
        "open_source_license": "Apache-2.0",
    },
    "longest-names": {
        "package_name": "p" * 40,
        "handler_class": "C" * 40,
        "log_directory": "folder/" * 40 + "logs",
        "filename_pattern": "folder/" * 20 + "{collection}",
        "open_source_license": "BSD-3-Clause",
    },
    "shortest-names": {
        "project_name": "a",
        "handler_class": "H",
        "log_directory": ".",
        "filename_pattern": "{collection}",
    },
    "hostile-text": {
        "project_name": "it's {x} %s # <b>&amp; `code` 🦊",
        "project_slug": "hostile-text",
        "full_name": "Łukasz O'Neil 'Jr.', <b>",
        "open_source_license": "Proprietary",
        "ci": "gitlab",
    },
}

# What a project consists of: its files, the modules of its package, and the pipeline that each choice of `ci` adds.
FILES = {
    *(".gitattributes", ".gitignore", "AGENTS.md", "LICENSE", "README.md", "check.py", "pyproject.toml"),
    *("examples/ask.py", "examples/scripted_llm.py"),
    *("tests/application.py", "tests/canaries.py", "tests/conftest.py"),
    *(
        "tests/files.py",
        "tests/test_bounds.py",
        "tests/test_disk.py",
        "tests/test_filenames.py",
        "tests/test_formats.py",
    ),
    *("tests/test_handler_contract.py", "tests/test_losses.py", "tests/test_processes.py", "tests/test_sinks.py"),
    *("tests/test_recording.py", "tests/test_story.py", "tests/test_masks.py", "tests/test_tutorial.py"),
    *("tests/test_command.py", "tests/test_pruning.py", "tests/test_reading.py", "requests.svg"),
    *("tests/test_disk_failures.py", "tests/test_errors.py", "tests/test_screens.py"),
}
MODULES = {
    *("__init__.py", "py.typed", "blocks.py", "contexts.py", "errors.py", "filenames.py", "formats.py", "handler.py"),
    *("logfile.py", "losses.py", "plain.py", "privacy.py", "recorder.py", "records.py"),
    *("__main__.py", "reading/__init__.py", "reading/parsing.py", "reading/pruning.py", "reading/screens.py"),
}

PIPELINES = {"github": {".github/workflows/ci.yml"}, "gitlab": {".gitlab-ci.yml"}, "none": set[str]()}

ASK = """
import asyncio, sys
sys.path[:0] = ["src", "examples"]
import ask, {package}
from pathlib import Path
async def main():
    collection = ask.make_collection(ask.make_llm(), {package}.{handler}())
    await collection.ask("Who works in Kraków?")
    await collection.ask("Who in Kraków earns more than 7000?")
asyncio.run(main())
"""


@pytest.fixture(params=["default", *(pytest.param(name, marks=pytest.mark.matrix) for name in [*COMBINATIONS][1:])])
def combination(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    answers = {key: value.replace("@TMP@", str(tmp_path)) for key, value in COMBINATIONS[request.param].items()}
    yield bake(tmp_path / "out", TEMPLATE, **answers), answers


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Share what mypy learns of db-ally's dependencies: most of its time."""
    return tmp_path_factory.mktemp("mypy")


def test_every_combination_passes_its_own_checks_untouched(
    combination: tuple[Path, dict[str, str]], mypy_cache: Path
) -> None:
    project, answers = combination
    package = answers.get("package_name") or project.name.replace("-", "_")

    pipeline = PIPELINES[answers.get("ci", "github")]
    assert files(project) == FILES | pipeline | {f"src/{package}/{module}" for module in MODULES}
    assert (project / ".github").exists() == (".github/workflows/ci.yml" in pipeline)
    assert leftovers(project) == []
    caches = {"RUFF_NO_CACHE": "true", "MYPY_CACHE_DIR": str(mypy_cache), "PYTEST_ADDOPTS": "-q -p no:cacheprovider"}
    assert re.search(r"\d+ passed", run(project, "check", env=caches))
    assert tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]["name"] == project.name


def test_the_choices_reach_the_disk(combination: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    project, answers = combination
    package = answers.get("package_name") or project.name.replace("-", "_")
    code = ASK.format(package=package, handler=answers.get("handler_class", "FileEventHandler"))
    before = files(project)
    subprocess.run([sys.executable, "-c", code], cwd=project, check=True)

    log_dir = project / answers.get("log_directory", "logs")
    logs = sorted(path for path in log_dir.rglob("*") if path.is_file() and path not in {project / f for f in before})
    shares_a_file = "request_id" not in answers.get("filename_pattern", "{request_id}")
    assert len(logs) == (1 if shares_a_file else 2)
    first_line = logs[0].read_text("utf-8").splitlines()[0]
    if answers.get("log_format") == "text":
        assert first_line.endswith(" request_start")
    else:
        assert json.loads(first_line)["kind"] == "request_start"


@pytest.mark.parametrize("ci", PIPELINES)
@pytest.mark.parametrize("licence", ["MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"])
def test_each_pipeline_goes_with_each_licence(ci: str, licence: str, tmp_path: Path) -> None:
    project = bake(tmp_path, ci=ci, open_source_license=licence)

    assert {name for name in files(project) if name.endswith(".yml")} == PIPELINES[ci]
    assert all("uv run check.py\n" in (project / name).read_text("utf-8") for name in PIPELINES[ci])
    assert licence in (project / "pyproject.toml").read_text("utf-8")


def test_the_one_command_ends_with_the_first_check_that_fails(tmp_path: Path) -> None:
    project = bake(tmp_path)
    (project / "src" / "untyped.py").write_text('"""Not typed."""\n\n\ndef f(x):\n    """Return it."""\n    return x\n')

    with pytest.raises(AssertionError) as failed:
        run(tmp_path, "check", env={"PYTHONPATH": str(project), "RUFF_NO_CACHE": "true"})

    assert "$ mypy" in str(failed.value)
    assert "untyped.py:4: error: Function is missing a type annotation" in str(failed.value)
    assert "$ pytest" not in str(failed.value)


def test_git_ignores_the_log_directory(tmp_path: Path) -> None:
    for number, directory in enumerate(["logs", "var/log/ask", "with space"]):
        project = bake(tmp_path / str(number), log_directory=directory)
        subprocess.run(["git", "init", "-q", project], check=True)
        ignored = subprocess.run(["git", "check-ignore", "-q", f"{directory}/a.log"], cwd=project)
        assert ignored.returncode == 0, directory


@pytest.mark.parametrize("directory", ["/var/log/ask", "../logs", "~/logs", ".", "logs"])
def test_no_line_of_gitignore_is_empty_wherever_the_logs_are(directory: str, tmp_path: Path) -> None:
    *lines, end = (bake(tmp_path, log_directory=directory) / ".gitignore").read_text("utf-8").split("\n")

    assert end == ""
    assert all(lines)
    assert ("/logs/" in lines) == (directory == "logs")
    assert "*.egg-info/" in lines


@pytest.mark.matrix
def test_wheel_and_sdist_build_and_the_wheel_imports_on_its_own(default_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(default_project, tmp_path / "project")
    run(project, "hatchling", "build", "--directory", str(tmp_path / "dist"))

    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert len(list((tmp_path / "dist").glob("*.tar.gz"))) == 1
    run(tmp_path, "uv", "venv", "-q", "env")
    (python,) = (path for path in (tmp_path / "env").glob("*/python*") if path.stem == "python")
    run(project, "uv", "pip", "install", "-q", "--python", python, wheel, *overrides(project, tmp_path))
    code = "import db_ally_file_handler as p; p.FileEventHandler(); print(p.__file__)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert str(tmp_path / "env") in done.stdout


def overrides(project: Path, tmp_path: Path) -> list[str]:
    """Return the options that tell `uv pip` what the project's `[tool.uv]` tells `uv sync`."""
    lines = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["tool"]["uv"]["override-dependencies"]
    (tmp_path / "overrides.txt").write_text("\n".join(lines))
    return ["--overrides", str(tmp_path / "overrides.txt")]


@pytest.mark.matrix
def test_the_generated_tests_cover_every_line_and_branch(default_project: Path, tmp_path: Path) -> None:
    report = tmp_path / "coverage.json"
    run(
        shutil.copytree(default_project, tmp_path / "project"),
        *("pytest", "-q", "-p", "no:cacheprovider", "--cov=src", "--cov-branch", f"--cov-report=json:{report}"),
        env={"COVERAGE_FILE": str(tmp_path / ".coverage")},
    )

    measured = json.loads(report.read_text("utf-8"))["files"]
    assert len(measured) == len(MODULES) - 1
    missing = {name: [*file["missing_lines"], *file["missing_branches"]] for name, file in measured.items()}
    assert {name: lines for name, lines in missing.items() if lines} == {}


def lines_of_code(source: str, nodes: list[ast.AST]) -> int:
    """Return how many lines are left without blanks, comments and docstrings."""
    documented = (
        node for node in nodes if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    )
    docstrings = [node.body[0] for node in documented if ast.get_docstring(node)]
    left_out = {line for node in docstrings for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = enumerate(source.splitlines(), 1)
    return sum(bool(line.strip()) and line.strip()[0] != "#" and number not in left_out for number, line in lines)


def test_no_generated_module_and_no_function_in_it_is_long(default_project: Path) -> None:
    for path in (default_project / "src").rglob("*.py"):
        source = path.read_text("utf-8")
        nodes = [*ast.walk(ast.parse(source))]
        assert lines_of_code(source, nodes) <= 120, path.name
        for node in nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
                assert (node.end_lineno or 0) - first.lineno < 20, f"{path.name}: {node.name}"


def test_no_python_of_the_template_has_a_block_of_the_template_language() -> None:
    for path in (TEMPLATE / "{{cookiecutter.project_slug}}").rglob("*.py"):
        assert "{%" not in path.read_text("utf-8"), path.name


def test_the_helper_refuses_an_answer_to_no_question(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not ask \['handler_klass'\]"):
        bake(tmp_path, handler_klass="X")


def test_the_helper_finds_what_was_left_of_the_template_language(tmp_path: Path) -> None:
    broken = shutil.copytree(TEMPLATE, tmp_path / "template", ignore=shutil.ignore_patterns(".venv", ".git", "scratch"))
    readme = broken / "{{cookiecutter.project_slug}}" / "README.md"
    readme.write_text(readme.read_text("utf-8") + "{% raw %}{{ cookiecutter.forgotten }}{% endraw %}\n", "utf-8")

    assert leftovers(bake(tmp_path / "out", template=broken))[0].startswith("README.md:")


def test_a_generated_test_that_hangs_fails(default_project: Path, tmp_path: Path) -> None:
    project = shutil.copytree(default_project, tmp_path / "project")
    (project / "tests" / "test_hang.py").write_text("def test_hang():\n    while True:\n        pass\n", "utf-8")

    with pytest.raises(AssertionError, match=r"Timeout \(>1\.0s\)"):
        run(project, "pytest", "-q", "-p", "no:cacheprovider", "-o", "timeout=1", "tests/test_hang.py")
