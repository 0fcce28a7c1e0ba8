"""Answers that can work come out as they went in. The others are refused, all at once, and nothing is left behind."""

import io
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import tokenize
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bake import PROJECT, QUESTIONS, TEMPLATE, bake, commit_all, contents, copy_template, git, leftovers
from cookiecutter.exceptions import FailedHookException
from cookiecutter.hooks import create_env_with_context
from hypothesis import given, settings
from hypothesis import strategies as st

HOSTILE = "it's 100% {x} {0} %s $HOME `id` #1 <b>&amp;</b> [a](b) '''' zażółć 日本 🦊"
NOT_TEXT = [
    *("", " ", " a", "a ", 'a"b', "a\\b", "a\nb", "a\t", "\x00", "\x1b[31m", "\x85", "\u2028", "\u202eabc", "\udcc3"),
    *("{{ 1 + 1 }}", "{% if x %}", "a {# b #}"),
]
TAKEN_NAMES = ["class", "logging", "dbally", "pytest", "con", "com1", "tests", "src", "x" * 31]
REFUSED = {
    "project_name": NOT_TEXT,
    "project_slug": [
        "",
        "../x",
        "/x",
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
        *TAKEN_NAMES,
    ],
    "package_name": ["", "a.b", "a-b", "1a", "_a", "Audit", "é", "../x", 'x"', "a\n", "scripted_llm", *TAKEN_NAMES],
    "handler_class": [
        "",
        "audit",
        "A-b",
        "1Ab",
        "A b",
        "Üb",
        "Ab\n",
        "LOG_DIR",
        "None",
        "Exception",
        "LogFile",
        "Ab" * 16,
    ],
    "log_directory": [
        *NOT_TEXT,
        *(
            "C:\\logs",
            "/",
            ".",
            "..",
            "~",
            "./",
            "logs/..",
            "src",
            "./tests/logs",
            "Docs",
            "a/../src",
            ".git/x",
            "LICENSE",
        ),
        *("logs/nul", "a|b", "logs/a.", "logs /a", "x" * 76, "logs:x", "nul.txt/x"),
    ],
    "log_format": ["", "xml", "JSONL"],
    "filename_pattern": [
        *NOT_TEXT,
        *("requests.jsonl", "%Y-%m-%d.log", "{user}.log", "{collection", "{0}", "{collection!r}", "{request_id.x}"),
        *(
            "{started_at}",
            "{started_at:%x}",
            "{started_at:%F}",
            "{started_at:%-d}",
            "{started_at:%Y/%m}",
            "{request_id}-%",
            "{started_at:%H:%M}",
            "{started_at:%}",
            "{collection:.0}",
            "{collection:>9}",
        ),
        *("../{collection}", "/{collection}", "{collection}/", "a//{collection}", "{collection}.", "nul/{collection}"),
        *(
            "{request_id}" * 8,
            "{started_at:" + "%A" * 31 + "}",
            "{collection}" + "x" * 64,
            "C:/{collection}",
            "{collection}?",
        ),
    ],
    "full_name": NOT_TEXT,
    "open_source_license": ["", "GPL", "mit"],
    "ci": ["", "GitHub", "jenkins"],
}
TAKEN = {
    "project_name": [HOSTILE, "a", "x" * 300],
    "project_slug": ["a", "0-9", "audit-log", "x" * 30],
    "package_name": ["a", "audit_log2", "x" * 30],
    "handler_class": ["Hi", "AUDITs", "Audit_Handler2"],
    "log_directory": [
        "logs",
        "../logs",
        "./logs",
        "logs/",
        "~/logs",
        "/var/log/src",
        "C:/logs",
        "My Logs/żółć",
        "source",
    ],
    "filename_pattern": [
        "{collection}",
        "{started_at:%Y}/{started_at:%j}",
        "{started_at:%Y%m%dT%H%M%S.%fZ}",
        "{request_id:.8}",
    ],
    "full_name": [HOSTILE, "Łukasz O'Neil", "B. {x} Jr."],
}


def rendered(path: Path, **answers: str) -> str:
    """Return the text of a file of the template, rendered with the first choices and `answers`."""
    questions = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
    choices = {question: asked[0] for question, asked in questions.items() if isinstance(asked, list)}
    context = {"cookiecutter": {**questions, **choices, **answers}}
    return str(create_env_with_context(context).from_string(path.read_text("utf-8")).render(**context))


class Hook(dict[str, Any]):
    """What `pre_gen_project.py` defines."""

    def __repr__(self) -> str:
        return "the hook"  # and not all of it, where a test fails


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> Hook:
    """Return what `pre_gen_project.py` defines."""
    path = tmp_path_factory.mktemp("hook") / "hook.py"
    names = {"project_slug": "audit-log", "package_name": "audit_log", "filename_pattern": "{collection}"}
    path.write_text(rendered(TEMPLATE / "hooks/pre_gen_project.py", **names), "utf-8")
    return Hook(runpy.run_path(str(path)))


def is_taken(hook: Hook, question: str, answer: str) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(hook["ANSWERS"], question, answer)
        return question not in hook["find_problems"]()


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_rule_takes_what_can_work_and_refuses_the_rest(question: str, hook: Hook) -> None:
    example = hook["EXAMPLES"][question]

    assert [answer for answer in REFUSED[question] if is_taken(hook, question, answer)] == []
    assert [answer for answer in [*TAKEN.get(question, []), example] if not is_taken(hook, question, answer)] == []


def test_every_question_has_an_example_and_every_rule_says_must(hook: Hook) -> None:
    asked = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))

    assert list(hook["EXAMPLES"]) == QUESTIONS
    assert [rule for _, _, rule in hook["RULES"] if not rule.startswith("must ")] == []
    for question in QUESTIONS:
        for choice in asked[question] if isinstance(asked[question], list) else []:
            assert is_taken(hook, question, choice), choice


PIECES = [
    *(
        "a",
        "logs",
        "src",
        "nul",
        "com1.txt",
        "C:",
        "~",
        "ż" * 60,
        "x" * 120,
        "/",
        "/",
        ".",
        "..",
        " ",
        "-",
        "%",
        "<",
        "*",
    ),
    *("{collection}", "{collection:.8}", "{request_id}", "{request_id:.0}", "{user}", "{", "}", "}}", "{collection!r}"),
    *("{started_at:%Y-%m-%d}", "{started_at:%A %B %F}", "{started_at:%c}", "{started_at:/}", "{started_at:}"),
]


FILENAMES = runpy.run_path(str(PROJECT / "src/{{cookiecutter.package_name}}/filenames.py"))


@settings(max_examples=2000, deadline=None, database=None)
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_the_package_takes_every_path_that_the_hook_takes(pieces: list[str], hook: Hook) -> None:
    answer = "".join(pieces)

    if is_taken(hook, "log_directory", answer):
        FILENAMES["check_directory"](answer)
    if is_taken(hook, "filename_pattern", answer):
        FILENAMES["check_pattern"](answer)
        assert FILENAMES["fill"](answer, datetime.now(UTC), "staff", "0" * 32)


def test_no_package_hides_a_module_that_the_project_needs(hook: Hook, default_project: Path) -> None:
    settings = tomllib.loads((default_project / "pyproject.toml").read_text("utf-8"))
    requirements = [
        *settings["project"]["dependencies"],
        *settings["dependency-groups"]["dev"],
        *settings["build-system"]["requires"],
    ]
    needed = {re.split("[<>=]", requirement)[0].replace("-", "_") for requirement in requirements}
    for folder in ("", "tests", "examples"):
        needed |= {path.stem for path in (default_project / folder).glob("*.py") if not path.stem.startswith("test_")}

    assert {name for name in needed if is_taken(hook, "package_name", name)} == set()


def test_no_class_hides_a_name_beside_it(hook: Hook, default_project: Path) -> None:
    for module in default_project.rglob("*.py"):
        source = module.read_text("utf-8")
        if re.search(r"(?<!\.)FileEventHandler(?! as Handler)", source):
            names = {token.string for token in tokenize.generate_tokens(io.StringIO(source).readline)}
            free = {name for name in names if is_taken(hook, "handler_class", name)}
            assert free == {"FileEventHandler"}, f"{module}: add these names to CLASSES in hooks/pre_gen_project.py"


def test_logs_go_to_no_folder_or_file_of_the_project(hook: Hook, default_project: Path) -> None:
    at_the_top = [path.name for path in default_project.iterdir()]

    assert [name for name in at_the_top if is_taken(hook, "log_directory", f"{name}/x")] == []


def test_answers_come_out_as_they_went_in(tmp_path: Path) -> None:
    project = bake(tmp_path, project_name=HOSTILE, project_slug="x", full_name=HOSTILE, log_directory="it's/日本")

    metadata = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert (metadata["description"], metadata["authors"]) == (HOSTILE, [{"name": HOSTILE}])
    assert (project / "README.md").read_text("utf-8").startswith(f"# {HOSTILE}\n")
    assert f" {HOSTILE}\n" in (project / "LICENSE").read_text("utf-8")
    assert 'LOG_DIR = "it\'s/日本"\n' in (project / "src/x/logfile.py").read_text("utf-8")
    assert leftovers(project) == []


# Clumsy and hostile sets of answers, and the questions whose answers are refused; where there are none, it is baked.
SETS: dict[str, tuple[dict[str, str], list[str]]] = {
    "a name in quotes": ({"project_name": 'The "audit" log'}, ["project_name"]),
    "a Windows path": ({"log_directory": "C:\\logs"}, ["log_directory"]),
    "a name of two lines": ({"full_name": "Ada\nLovelace"}, ["full_name"]),
    "a terminal's escape code": ({"full_name": "\x1b[2JAda"}, ["full_name"]),
    "no name": ({"project_name": ""}, ["project_name"]),
    "a name of 300 letters": ({"project_name": "Log " * 75 + "."}, []),
    "a name of one emoji": ({"project_name": "🦊"}, []),
    "a name in Japanese": ({"project_name": "監査ログ", "full_name": "山田太郎"}, []),
    "shell, SQL, HTML": ({"full_name": "$(reboot) `id`; '; DROP TABLE x --<script>"}, []),
    "template language": ({"project_name": "{% raw %}{{ cookiecutter }}{% endraw %}"}, ["project_name"]),
    "a slug with a capital": ({"project_slug": "Audit-Log"}, ["project_slug", "package_name"]),
    "the folder above": ({"project_slug": "../x", "package_name": "x"}, ["project_slug"]),
    "a keyword": ({"package_name": "class"}, ["package_name"]),
    "a module of Python": ({"project_name": "Logging"}, ["project_slug", "package_name"]),
    "a dependency": ({"package_name": "sqlalchemy"}, ["package_name"]),
    "a device of Windows": ({"project_name": "AUX"}, ["project_slug", "package_name"]),
    "a digit first": ({"project_name": "3D Log"}, ["package_name"]),
    "a class of the package": ({"handler_class": "LogFile"}, ["handler_class"]),
    "a class in lower case": ({"handler_class": "audit handler"}, ["handler_class"]),
    "logs among sources": ({"log_directory": "src/logs"}, ["log_directory"]),
    "logs among tests": ({"log_directory": "./tests"}, ["log_directory"]),
    "logs in the project": ({"log_directory": "."}, ["log_directory"]),
    "a dot first": ({"log_directory": ".logs", "filename_pattern": "{collection}.jsonl"}, []),
    "braces forgotten": ({"filename_pattern": "%Y-%m-%d.log"}, ["filename_pattern"]),
    "a field of another program": ({"filename_pattern": "{user}.jsonl"}, ["filename_pattern"]),
    "a file outside": ({"filename_pattern": "../{collection}.jsonl"}, ["filename_pattern"]),
    "a time with colons": ({"filename_pattern": "{started_at:%H:%M}.jsonl"}, ["filename_pattern"]),
    "slashes in a date": ({"filename_pattern": "{started_at:%d/%m/%Y}"}, ["filename_pattern"]),
    "folders by date": ({"filename_pattern": "{started_at:%Y}/{started_at:%m}/{request_id}.jsonl"}, []),
    "text that is named JSON": ({"log_format": "text", "filename_pattern": "{collection}.jsonl"}, ["filename_pattern"]),
    "all at once": (
        {"project_name": " ", "project_slug": "-", "package_name": "1", "handler_class": "h", "full_name": '"'},
        ["project_name", "project_slug", "package_name", "handler_class", "full_name"],
    ),
}
REFUSAL = re.compile(r"^  (\w+) (.*) must .*; for example '", re.MULTILINE)


@pytest.mark.parametrize("name", SETS)
def test_clumsy_and_hostile_answers_are_refused_or_baked(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answers, refused = SETS[name]
    out = tmp_path / "out"

    if refused:
        with pytest.raises(FailedHookException):
            bake(out, **answers)
        assert [question for question, _ in REFUSAL.findall(capfd.readouterr().err)] == refused
        assert list(tmp_path.rglob("pyproject.toml")) == []
        assert [path.name for path in tmp_path.iterdir()] == ["out"]
    else:
        project = bake(out, **answers)
        assert leftovers(project) == []
        for module in project.rglob("*.py"):
            compile(module.read_text("utf-8"), module, "exec")


def run_template(*command: str | Path) -> str:
    """Run a command that refuses its answers, and return what its user sees."""
    done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, encoding="utf-8")
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def line_to_repeat(said: str) -> str:
    return said.partition("To keep the others, run\n")[2].splitlines()[0].strip()


WRONG = {"package_name": "class", "log_directory": "src", "filename_pattern": "{user}.log", "full_name": 'a"b'}
GOOD = {"project_slug": "audit", "handler_class": "AuditHandler", "log_format": "text", "ci": "none"}


@pytest.mark.parametrize("way_in", ["command", "replay", "cruft"])
@pytest.mark.skipif(os.name == "nt", reason="the line is quoted for POSIX shells")
def test_a_refusal_leaves_nothing_and_its_last_line_runs_again_with_the_good_answers(
    way_in: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    answers = {**GOOD, **WRONG}
    if way_in == "command":
        assigned = [f"{question}={answer}" for question, answer in answers.items()]
        said = run_template("cookiecutter", "--no-input", "--output-dir", out, TEMPLATE, *assigned)
    elif way_in == "replay":
        asked = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
        replayed = {"cookiecutter": {**asked, "project_name": "Audit", "open_source_license": "MIT", **answers}}
        (tmp_path / "replay.json").write_text(json.dumps(replayed), "utf-8")
        said = run_template("cookiecutter", "--replay-file", tmp_path / "replay.json", "--output-dir", out, TEMPLATE)
    else:
        template = copy_template(tmp_path / "template")
        context = json.dumps(answers)
        said = run_template("cruft", "create", template, "--no-input", "--output-dir", out, "--extra-context", context)

    assert REFUSAL.findall(said) == [(question, repr(answer)) for question, answer in WRONG.items()]
    assert list(out.iterdir()) == []

    enter = "\n" * len(QUESTIONS)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = line_to_repeat(said)
    subprocess.run(command, shell=True, input=enter, env={**os.environ, "PATH": path}, check=True, encoding="utf-8")
    (module,) = out.glob("audit/src/*/handler.py")
    assert "class AuditHandler(" in module.read_text("utf-8")
    assert not list(out.glob("audit/.github"))


@pytest.mark.parametrize("cruft", [False, True], ids=["cookiecutter", "cruft"])
def test_a_refusal_changes_no_byte_of_a_project_that_exists(cruft: bool, tmp_path: Path) -> None:
    project = bake(tmp_path, full_name="Somebody Else")
    (project / "own.py").write_text("OWN = 1\n", "utf-8")
    before = contents(project)

    for question, answer in WRONG.items():
        if cruft:
            template = tmp_path / "template"
            template = template if template.exists() else copy_template(template)
            context = json.dumps({question: answer})
            said = run_template(
                "cruft", "create", template, "-y", "-f", "--output-dir", tmp_path, "--extra-context", context
            )
        else:
            said = run_template("cookiecutter", "--no-input", "-f", "-o", tmp_path, TEMPLATE, f"{question}={answer}")
        assert "--overwrite-if-exists" in shlex.split(line_to_repeat(said))
        assert contents(project) == before


def test_an_answer_that_the_package_alone_refuses_leaves_no_project(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    template = copy_template(tmp_path / "template")
    filenames = template / PROJECT.name / "src/{{cookiecutter.package_name}}/filenames.py"
    stricter = '\n\ndef check_directory(log_dir):\n    raise ValueError("must be somewhere else")\n'
    filenames.write_text(filenames.read_text("utf-8") + stricter, "utf-8")

    with pytest.raises(FailedHookException):
        bake(tmp_path / "out", template)

    assert "  log_directory 'logs': must be somewhere else\n" in capfd.readouterr().err
    assert not (tmp_path / "out/db-ally-file-handler").exists()


def test_cruft_update_says_how_to_give_another_answer(tmp_path: Path) -> None:
    template = copy_template(tmp_path / "template")
    subprocess.run([sys.executable, "-m", "cruft", "create", template, "-y", "--output-dir", tmp_path], check=True)
    project = tmp_path / "db-ally-file-handler"
    commit_all(project)
    (template / PROJECT.name / "new.txt").write_text("New.\n", "utf-8")
    commit_all(template)

    wrong = json.dumps({"log_directory": "src"})
    said = run_template("cruft", "update", "-p", project, "--skip-apply-ask", "--variables-to-update", wrong)

    assert REFUSAL.findall(said) == [("log_directory", "'src'")]
    assert '--variables-to-update \'{"log_directory": "/var/log/ask"}\'' in said
    assert git(project, "status", "--porcelain") == ""
