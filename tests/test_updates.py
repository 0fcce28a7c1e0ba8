"""A project takes over what is new in the template, in real git repositories, as docs/updating.md says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bake import PROJECT, QUESTIONS, TEMPLATE, bake, commit_all, copy_template, git

CONFLICT = {"<<<<<<<", "=======", ">>>>>>>"}


def cruft(directory: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cruft", *arguments],
        cwd=directory,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def template(tmp_path: Path) -> Path:
    return copy_template(tmp_path / "template")


@pytest.fixture
def project(tmp_path: Path, template: Path) -> Path:
    cruft(tmp_path, "create", template, "--no-input")
    project = tmp_path / "db-ally-file-handler"
    commit_all(project)
    return project


def edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text("utf-8")
    path.write_text(change(before), "utf-8")
    assert path.read_text("utf-8") != before


def update(project: Path) -> str:
    said = cruft(project, "update", "--skip-apply-ask")
    assert not list(project.rglob("*.rej"))
    return said


def test_an_update_keeps_the_owners_edits_and_brings_the_templates(template: Path, project: Path) -> None:
    edit(project / "src/db_ally_file_handler/plain.py", lambda text: text + "\n\nOF_THE_OWNER = 1\n")
    edit(project / "README.md", lambda text: text + "\nOf the owner.\n")
    (project / "src/db_ally_file_handler/own.py").write_text("OWN = 1\n", "utf-8")
    commit_all(project)
    package = template / PROJECT.name / "src/{{cookiecutter.package_name}}"
    edit(package / "plain.py", lambda text: text.replace('"""', '"""Of the template. ', 1))
    (package / "new.py").write_text("from .handler import {{ cookiecutter.handler_class }}\n", "utf-8")
    commit_all(template)

    said = update(project)

    values = (project / "src/db_ally_file_handler/plain.py").read_text("utf-8")
    assert values.startswith('"""Of the template. ')
    assert values.endswith("OF_THE_OWNER = 1\n")
    assert (project / "README.md").read_text("utf-8").endswith("Of the owner.\n")
    assert (project / "src/db_ally_file_handler/own.py").exists()
    assert (project / "src/db_ally_file_handler/new.py").read_text("utf-8") == "from .handler import FileEventHandler\n"
    assert "Your project is in" not in said
    cruft(project, "check")


def test_an_update_changes_nothing_where_the_template_did_not(template: Path, project: Path) -> None:
    edit(template / "cookiecutter.json", lambda text: text.replace("Your name, such as", "Your whole name, such as"))
    commit_all(template)

    update(project)

    assert git(project, "status", "--porcelain").split() == ["M", ".cruft.json"]


def test_a_conflict_stands_in_the_file_and_git_shows_it(template: Path, project: Path) -> None:
    edit(project / "README.md", lambda text: "# Of the owner\n" + text.partition("\n")[2])
    commit_all(project)
    edit(template / PROJECT.name / "README.md", lambda text: "# Of the template\n" + text.partition("\n")[2])
    commit_all(template)

    update(project)

    readme = (project / "README.md").read_text("utf-8").splitlines()
    assert {line.split(" ")[0] for line in readme} >= CONFLICT
    assert {"# Of the owner", "# Of the template"} <= set(readme)
    assert "UU README.md" in git(project, "status", "--porcelain").splitlines()


def test_what_git_cannot_merge_is_left_beside_the_file(template: Path, tmp_path: Path) -> None:
    cruft(tmp_path, "create", template, "--no-input")
    project = tmp_path / "db-ally-file-handler"
    edit(project / "README.md", lambda text: "# Of the owner\n" + text.partition("\n")[2])
    commit_all(project)  # and so never what the template made
    edit(template / PROJECT.name / "README.md", lambda text: "# Of the template\n" + text.partition("\n")[2])
    edit(template / PROJECT.name / "check.py", lambda text: text + "# Of the template.\n")
    commit_all(template)

    cruft(project, "update", "--skip-apply-ask")

    assert "?? README.md.rej" in git(project, "status", "--porcelain").splitlines()
    assert "+# Of the template" in (project / "README.md.rej").read_text("utf-8").splitlines()
    assert not CONFLICT & {line.split(" ")[0] for line in (project / "README.md").read_text("utf-8").splitlines()}
    assert (project / "check.py").read_text("utf-8").endswith("# Of the template.\n")


def test_answers_stay_and_may_be_changed_in_an_update(template: Path, tmp_path: Path) -> None:
    cruft(tmp_path, "create", template, "--no-input", "--extra-context", '{"handler_class": "AuditHandler"}')
    project = tmp_path / "db-ally-file-handler"
    commit_all(project)

    cruft(project, "update", "--skip-apply-ask", "--variables-to-update", '{"log_directory": "audit"}')

    handler = (project / "src/db_ally_file_handler/handler.py").read_text("utf-8")
    logfile = (project / "src/db_ally_file_handler/logfile.py").read_text("utf-8")
    assert "class AuditHandler(" in handler
    assert '= "audit"\n' in logfile


def run_block(words: str, template: Path, folder: Path) -> None:
    """Run the block of the page that has these words, with the local `template`, and press Enter if it asks."""
    page = (TEMPLATE / "docs/updating.md").read_text("utf-8")
    (block,) = (block for block in re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE) if words in block)
    commands = re.sub(r"(https://github.com/|gh:)org/dbally-handler-template", str(template), block)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    enter = "\n" * (len(QUESTIONS) + 1)
    subprocess.run(["sh", "-euc", commands], cwd=folder, env=env, input=enter, check=True, encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="runs the commands in a POSIX shell")
def test_the_commands_of_the_page_do_what_it_says(template: Path, tmp_path: Path) -> None:
    project = bake(tmp_path)
    commit_all(project)
    run_block("cruft link", template, project)
    (project / "AGENTS.md").unlink()
    edit(project / "README.md", lambda text: text + "\nOf the owner.\n")
    commit_all(project)

    edit(template / PROJECT.name / "AGENTS.md", lambda text: text + "\nOf the template.\n")
    edit(template / PROJECT.name / "check.py", lambda text: text + "# Of the template.\n")
    commit_all(template)
    run_block("cruft update --skip-apply-ask\n", template, project)

    assert (project / "check.py").read_text("utf-8").endswith("# Of the template.\n")
    assert not (project / "AGENTS.md").exists()
    commit_all(project)

    run_block("--variables-to-update", template, project)
    assert 'LOG_DIR = "/var/log/ask"' in (project / "src/db_ally_file_handler/logfile.py").read_text("utf-8")
    commit_all(project)

    run_block("--overwrite-if-exists", template, tmp_path)
    assert "Of the owner." not in (project / "README.md").read_text("utf-8")


def test_a_pipeline_that_was_edited_stays_when_the_answer_changes(project: Path) -> None:
    edit(project / ".github/workflows/ci.yml", lambda text: text + "# Of the owner.\n")
    commit_all(project)

    cruft(project, "update", "--skip-apply-ask", "--variables-to-update", '{"ci": "gitlab"}')

    assert (project / ".gitlab-ci.yml").exists()
    assert (project / ".github/workflows/ci.yml").exists()
