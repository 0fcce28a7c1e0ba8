"""An answer that can work comes out as it went in; the others are refused with all that is wrong, and nothing is lost."""

import io
import json
import re
import runpy
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bake import QUESTIONS, TEMPLATE, bake, commit_all, copy_template, git, leftovers
from cookiecutter.hooks import create_env_with_context

Rule = tuple[Callable[[str], bool], str, str]

HOSTILE = "it's 100% {x} {0} %s $HOME `id` #1 <b>&amp;</b> [a](b) '''' zażółć 日本 🦊"
TEXT = [
    *("", " ", " a", "a ", 'a"b', "a\\b", "a\nb", "a\t", "\x00", "\x1b[31m", "\x85", "\u2028", "\u202eabc", "\udcc3")
]
SYNTAX = ["{{ 1 + 1 }}", "{% if x %}", "a {# b #}"]
IN_USE = [*("class", "logging", "dbally", "pytest", "con", "com1", "tests", "src", "x" * 41)]
REFUSED = {
    "project_name": [*TEXT, *SYNTAX],
    "project_slug": [
        "",
        "../x",
        "/abs",
        "a/b",
        "C:\\x",
        "..",
        "a b",
        "Audit",
        "-a",
        "a--b",
        "a_b",
        "ü",
        "a\n",
        *IN_USE,
    ],
    "package_name": ["", "a.b", "a-b", "1a", "_a", "Audit", "é", "../x", 'x"', "a\n", "scripted_llm", *IN_USE],
    "handler_class": [
        "",
        "audit",
        "A-B",
        "1A",
        "A B",
        "Ü",
        "A\n",
        "None",
        "Exception",
        "EventHandler",
        "LogFile",
        "A" * 41,
    ],
    "log_directory": [*TEXT, *SYNTAX, "C:\\logs", "logs/", "/", "src", "./tests/logs", "Docs", "examples/a"],
    "log_format": ["", "xml", "JSONL"],
    "filename_pattern": [*TEXT, *SYNTAX, "requests.jsonl", "{{x}}"],
    "full_name": [*TEXT, *SYNTAX],
    "open_source_license": ["", "GPL", "mit"],
    "ci": ["", "GitHub", "jenkins"],
}
TAKEN = {
    "project_name": [HOSTILE, "a", "x" * 300],
    "project_slug": ["a", "0-9", "audit-log", "x" * 40],
    "package_name": ["a", "audit_log2", "x" * 40],
    "handler_class": ["H", "AUDIT", "Audit_Handler2"],
    "log_directory": ["logs", ".", "../logs", "./logs", "~/logs", "/var/log/src", "C:/logs", "My Logs/żółć", "source"],
    "filename_pattern": ["{collection}", "{started_at:%d/%m/%Y}.log"],
    "full_name": [HOSTILE, "Łukasz O'Neil", "B. {x} Jr."],
}


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what the hook defines, rendered with answers that can work."""
    context = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
    source = (TEMPLATE / "hooks/pre_gen_project.py").read_text("utf-8")
    good = {
        question: example for question, example in re.findall(r'^    "(\w+)": \(.*, "(.*)"\),$', source, re.MULTILINE)
    }
    answers = {"cookiecutter": {**context, **good, "open_source_license": "MIT"}}
    path = tmp_path_factory.mktemp("hook") / "hook.py"
    path.write_text(create_env_with_context(answers).from_string(source).render(**answers), "utf-8")
    return runpy.run_path(str(path))


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_rule_takes_what_can_work_and_refuses_the_rest(question: str, hook: dict[str, Any]) -> None:
    can_work, rule, example = hook["RULES"][question]

    assert [answer for answer in REFUSED[question] if can_work(answer)] == []
    assert [answer for answer in [*TAKEN.get(question, ()), example] if not can_work(answer)] == []
    assert rule.startswith("must be ")


def test_the_rules_are_about_the_questions_and_their_choices(hook: dict[str, Any]) -> None:
    asked = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))

    assert [*hook["RULES"]] == QUESTIONS
    for question, (can_work, _, _) in hook["RULES"].items():
        if isinstance(asked[question], list):
            assert all(map(can_work, asked[question]))


def test_no_package_hides_what_it_needs_and_no_class_what_stands_beside_it(
    hook: dict[str, Any], default_project: Path
) -> None:
    settings = tomllib.loads((default_project / "pyproject.toml").read_text("utf-8"))
    needed = [
        *settings["project"]["dependencies"],
        *settings["dependency-groups"]["dev"],
        *settings["build-system"]["requires"],
    ]
    beside = [path.stem for folder in ("", "tests", "examples") for path in (default_project / folder).glob("*.py")]
    for name in [*(re.split("[<>=]", requirement)[0] for requirement in needed), *beside]:
        assert name.startswith("test_") or not hook["is_package"](name.replace("-", "_")), name

    for module in default_project.rglob("*.py"):
        source = module.read_text("utf-8")
        if re.search("FileEventHandler(?! as Handler)", source):
            names = {token.string for token in tokenize.generate_tokens(io.StringIO(source).readline)}
            assert {name for name in names if hook["is_class"](name)} == {"FileEventHandler"}, module


def test_answers_come_out_as_they_went_in(tmp_path: Path) -> None:
    project = bake(tmp_path, project_name=HOSTILE, project_slug="x", full_name=HOSTILE, log_directory="it's/日本")

    metadata = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert (metadata["description"], metadata["authors"]) == (HOSTILE, [{"name": HOSTILE}])
    assert (project / "README.md").read_text("utf-8").startswith(f"# {HOSTILE}\n")
    assert f" {HOSTILE}\n" in (project / "LICENSE").read_text("utf-8")
    assert "/it's/日本/\n" in (project / ".gitignore").read_text("utf-8")
    assert runpy.run_path(str(project / "examples/scripted_llm.py"))
    assert 'LOG_DIR = "it\'s/日本"\n' in (project / "src/x/logfile.py").read_text("utf-8")
    assert leftovers(project) == []


def told(*command: str | Path, code: int = 1) -> str:
    """Run `command` with this Python's tools and return what its user sees."""
    done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, encoding="utf-8")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


WRONG = {"package_name": "class", "handler_class": "EventHandler", "full_name": 'a"b'}
WRONG_FOR_THE_PACKAGE = {"log_directory": "a|b", "filename_pattern": "{user}.log"}


@pytest.mark.parametrize("wrong", [WRONG, WRONG_FOR_THE_PACKAGE], ids=["before", "after"])
@pytest.mark.parametrize("way_in", ["command", "replay", "cruft"])
def test_all_wrong_answers_are_told_at_once_and_nothing_is_left(
    way_in: str, wrong: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    if way_in == "command":
        assigned = [f"{question}={answer}" for question, answer in wrong.items()]
        said = told("cookiecutter", "--no-input", "--output-dir", out, TEMPLATE, *assigned)
    elif way_in == "replay":
        context = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
        good = {
            "project_slug": "audit",
            "package_name": "audit",
            "log_format": "text",
            "open_source_license": "MIT",
            "ci": "none",
        }
        (tmp_path / "kept.json").write_text(
            json.dumps({"cookiecutter": {**context, "filename_pattern": "{collection}", **good, **wrong}})
        )
        said = told("cookiecutter", "--replay-file", tmp_path / "kept.json", "--output-dir", out, TEMPLATE)
    else:
        template = copy_template(tmp_path / "template")
        said = told(
            "cruft", "create", template, "--no-input", "--output-dir", out, "--extra-context", json.dumps(wrong)
        )

    problems = re.findall(r"^  (\w+) '(.*?)': .*; for example '", said, re.MULTILINE)
    assert problems == [*wrong.items()]
    again = said.partition("run it again with\n")[2].splitlines()[0]
    assert re.findall(r"\w+(?==)", again.replace("'", "")) and not any(f"{question}=" in again for question in wrong)
    assert list(out.iterdir()) == []


def test_a_project_that_exists_is_left_alone(tmp_path: Path) -> None:
    project = bake(tmp_path)
    commit_all(project)
    (project / "own.py").write_text("OWN = 1\n", "utf-8")
    again = ("cookiecutter", "--no-input", "--overwrite-if-exists", "--output-dir", tmp_path, TEMPLATE)

    told(*again, "full_name=a\\b")
    assert git(project, "status", "--porcelain") == "?? own.py\n"
    told(*again, "filename_pattern={user}")  # which only what was written knows
    assert "?? own.py" in git(project, "status", "--porcelain")
