"""Whatever an answer holds comes out as it went in, or is refused before anything is written."""

import importlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import hatchling.build
import pytest
from bake import EXTENSION, QUESTIONS, TEMPLATE, bake, copy_template, leftovers, run
from cookiecutter.exceptions import InvalidModeException, UnknownExtension
from cookiecutter.main import cookiecutter as cookiecutter_api
from markdown_it import MarkdownIt
from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import Requirement

from dbally_handler_template_answers import check_answers, gitignore

WayIn = Callable[[Path, dict[str, str]], None]

EXAMPLES = {
    "project_name": "Audit Log",
    "project_slug": "audit-log",
    "package_name": "audit_log",
    "handler_class": "AuditHandler",
    "log_directory": "logs",
    "log_format": "text",
    "filename_pattern": "{started_at:%Y-%m-%d}/{collection}.log",
    "full_name": "Ada Lovelace",
    "open_source_license": "MIT",
    "ci": "github",
}

HOSTILE = [
    'He said "hi"',
    "it's",
    '"""',
    "'''",
    "'''\"\"\"",
    "\\",
    "ends with \\",
    'ends with "',
    "\\N{BULLET} \\u0027 \\x00 \\n",
    "C:\\Users\\new",
    "{} {0} {x}",
    "}} %} #}",
    "{ {",
    "100% %s %(x)s",
    "# not a comment",
    "$HOME ${x} `id` $(id)",
    "<b>&amp;</b> &lt; &#39;",
    "<!-- x -->",
    "*a* _b_ __c__ ~~d~~ `e` ``f``",
    "`",
    "[a](b) ![c](d) https://example.com",
    "| a | b |",
    "1. one",
    "- item",
    "+ item",
    "=== x",
    "> quote",
    ":smile: :+1:",
    "@someone #1",
    "C++ & C#",
    "trailing #",
    "  spaces   inside and around  ",
    "\u00a0no-break spaces\u00a0",
    "x" * 300,
    "a b " * 75 + "c",
    "Zażółć gęślą jaźń",
    "日本語のプロジェクト",
    "مشروع السجل",
    "פרויקט",
    "हिन्दी",
    "e\u0301 combining",
    "🤖 👩‍💻 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "\u200bzero\u200dwidth\ufeff",
    "\uffff\U0010ffff\ue000",
    "ﬁ ℌ ①",
    "null",
    "true",
    "123",
    "1e5",
    "= 1 ] }",
    "a, b; c <d@example.com>",
    "d@example.com",
    '"quoted"@example.com',
    "ü@exämple.com",
    "a@b@c",
    "=?utf-8?q?x?=",
    "Name: value",
]

# A value that cannot work, and part of the rule that says why.
REFUSED: dict[str, dict[str, list[str]]] = {
    **{
        question: {
            "it is empty": ["", " ", "\u3000"],
            "line break or a control character": [
                "a\nb",
                "a\r",
                "\x00",
                "\x1b[31m",
                "\x7f",
                "\x85",
                "\u2028",
                "\ud800",
                "\t",
            ],
            "no text in this terminal's encoding": ["Jos\udcc3\udca9"],
            "reorders the text": ["\u202eabc", "\u2066a\u2069", "a\u200f"],
        }
        for question in ("project_name", "full_name")
    },
    "project_slug": {
        "words of a-z and 0-9": [
            *(
                "",
                "../x",
                "/abs",
                "a/b",
                "a\\b",
                "C:\\x",
                ".",
                "..",
                "a.b",
                "a b",
                "Audit",
                "-a",
                "a-",
                "a--b",
                "a_b",
                "ü",
                "~",
            ),
            *("$(id)", "a;b", "a\u200bb"),
        ],
        "control character": ["a\n"],
        "depends on a distribution": [
            "dbally",
            "pytest",
            "sqlalchemy",
            "click",
            "pip",
            "uv",
            "setuptools",
            "pytest-timeout",
        ],
        "Windows keeps": ["con", "nul", "com1"],
        "longer than 100": ["a" * 101],
    },
    "package_name": {
        "not a Python identifier": ["", "a.b", "a-b", "1a", "a b", "a/b", "../x", "a\\b", "é.x", "ﬁ", 'x"', "$x"],
        "Python has a meaning": ["class", "None", "match", "type", "_", "__init__", "__main__"],
        "standard library": [
            "logging",
            "this",
            "Logging",
            "asyncio",
            "cgi",
            "distutils",
            "annotationlib",
            "compression",
        ],
        "something that the package depends on": [
            *(
                "dbally",
                "Pandas",
                "sqlalchemy",
                "dotenv",
                "_pytest",
                "dateutil",
                "pip",
                "pkg_resources",
                "pytest_timeout",
            ),
            *("pyarrow", "bottleneck", "numexpr", "faiss", "chromadb", "rich", "sitecustomize"),
        ],
        "the project uses that name already": ["test", "tests", "conftest", "application", "check", "ask"],
        "Windows keeps": ["con", "NUL", "com1"],
        "longer than 40": ["a" * 41, "日" * 21],
    },
    "handler_class": {
        "not a Python identifier": ["", "A-B", "A.B", "1A", "A B", "ℌandler", "A("],
        "Python has a meaning": ["class", "None", "True", "match", "_", "__all__"],
        "the package uses that name already": [
            *(
                "EventHandler",
                "Record",
                "Recorder",
                "recording",
                "LogFile",
                "RequestContext",
                "Callable",
                "asyncio",
            ),
            *("Exception", "print", "int", "self", "StaffView", "Any"),
        ],
        "longer than 40": ["A" * 41],
    },
    "log_directory": {
        "each part of the path needs a name": ["", " ", "\u3000", "a./b", "logs ", "a/ /b", "..."],
        "a name may not have": ["a|b", "a?", "a*", 'a"b', "<a>", "ab:c", "a:b", "C:", "/C:/logs"],
        "Windows keeps": ["con", "logs/con", "NUL.txt", "C:\\aux\\logs", "/var/com1"],
        "at most 255 bytes": ["logs/" + "x" * 256, "日" * 86],
        "the project has a file of that name": ["README.md", "./LICENSE", ".gitignore/logs", "pyproject.toml/"],
        "line break or a control character": ["a\nb", "a\x00"],
        "reorders the text": ["\u202eabc"],
    },
    "log_format": {"one of text, jsonl": ["", "xml", "JSONL", "text "]},
    "filename_pattern": {
        "its fields are": [
            "{}",
            "{0}",
            "{user}",
            "{started_at.year}",
            "{collection[0]}",
            "{collection!r}",
            "{request_id:{x}}",
        ],
        "each with or without a length": ["{collection:<60}", "{request_id:d}"],
        "are {started_at} with a format": ["{", "}", "{collection", "{started_at:%Y"],
        "each part of the path needs a name": ["", "/abs.log", "a//b", "../x", "a/../b", ".", "a/", "x.", "x "],
        "a name may not have": ["a:b", "a\\b", "a?b", "a*b"],
        "such as {started_at:%Y-%m-%d}": ["{started_at}.log"],
        "Windows keeps": ["con", "NUL.log", "a/com1.txt"],
        "at most 255 bytes": ["x" * 256, "日" * 86],
        "its own syntax": ["{{x}}", "{% if %}", "{# x #}"],
    },
    "open_source_license": {"one of MIT, Apache-2.0": ["", "GPL", "mit"]},
    "ci": {"one of github, gitlab, none": ["", "GitHub", "jenkins"]},
}
REFUSALS = [
    pytest.param(question, value, rule, id=f"{question}-{ascii(value)[:24]}")
    for question, rules in REFUSED.items()
    for rule, values in rules.items()
    for value in values
]

# The ways in: each bakes in `tmp_path / "out"` and raises what the user is told when the answers are refused.


def by_command(tmp_path: Path, answers: dict[str, str], *options: str) -> None:
    assigned = (f"{question}={answer}" for question, answer in answers.items())
    cookiecutter(tmp_path, {}, "--no-input", *options, str(TEMPLATE), *assigned)


def by_command_without_hooks(tmp_path: Path, answers: dict[str, str]) -> None:
    by_command(tmp_path, answers, "--accept-hooks", "no")


def by_command_that_says_it_is_checked(tmp_path: Path, answers: dict[str, str]) -> None:
    by_command(tmp_path, {**answers, "__checked": "yes", "_checked": "yes"})


def by_user_config(tmp_path: Path, answers: dict[str, str]) -> None:
    cookiecutter(tmp_path, {"default_context": answers}, "--no-input", str(TEMPLATE))


def by_replay_file(tmp_path: Path, answers: dict[str, str]) -> None:
    """Replay answers that were written by hand."""
    cookiecutter(tmp_path, {}, "--replay-file", replay_file(tmp_path, {**EXAMPLES, **answers}), str(TEMPLATE))


def by_replay(tmp_path: Path, answers: dict[str, str]) -> None:
    """Replay what cookiecutter kept of a run, after the answers were changed."""
    by_command(tmp_path, EXAMPLES)
    shutil.rmtree(tmp_path / "out")
    kept = tmp_path / "kept" / f"{TEMPLATE.name}.json"
    context = json.loads(kept.read_text("utf-8"))["cookiecutter"]
    cookiecutter(tmp_path, {}, "--replay-file", replay_file(tmp_path, {**context, **answers}), str(TEMPLATE))


def by_cruft(tmp_path: Path, answers: dict[str, str]) -> None:
    template = copy_template(tmp_path / "template")
    out = tmp_path / "out"
    out.mkdir()
    config = config_file(tmp_path)
    given = ("--no-input", "--extra-context", json.dumps(answers))
    command("cruft", "create", template, "--config-file", config, "--output-dir", out, *given)


WAYS_IN = [
    by_command,
    by_command_without_hooks,
    by_command_that_says_it_is_checked,
    by_user_config,
    by_replay_file,
    by_replay,
    by_cruft,
]


def cookiecutter(tmp_path: Path, config: dict[str, object], *arguments: str | Path) -> None:
    file = config_file(tmp_path, **config)
    command("cookiecutter", "--config-file", file, "--output-dir", tmp_path / "out", *arguments)


def config_file(tmp_path: Path, **config: object) -> Path:
    """Return a user configuration that keeps everything below `tmp_path`."""
    kept = str(tmp_path / "kept")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"replay_dir": kept, "cookiecutters_dir": kept, **config}, ensure_ascii=False), "utf-8")
    return file


def command(*arguments: str | Path) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, encoding="utf-8")
    told = done.stdout + done.stderr
    assert "Traceback" not in told
    if done.returncode == 1:
        raise InvalidModeException(told)
    assert done.returncode == 0, told


def replay_file(tmp_path: Path, context: dict[str, str]) -> Path:
    file = tmp_path / "replay.json"
    file.write_text(json.dumps({"cookiecutter": context}), "utf-8")
    return file


def replay(tmp_path: Path, **answers: str) -> Path:
    """Bake with any answers at all, in this process: cookiecutter itself looks at none that it replays."""
    file = replay_file(tmp_path, {**EXAMPLES, **answers})
    config, out = str(config_file(tmp_path)), str(tmp_path / "out")
    return Path(cookiecutter_api(str(TEMPLATE), replay=str(file), output_dir=out, config_file=config))


def free_text(text: str, number: int = 0) -> dict[str, str]:
    licences = ["MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"]
    return {
        **dict.fromkeys(("project_name", "full_name"), text),
        "project_slug": "audit-log",
        "package_name": "audit_log",
        "open_source_license": licences[number % len(licences)],
    }


def heading(readme: str) -> str:
    """Return what a reader of the rendered README sees as its title."""
    opening, inline, *_ = MarkdownIt().enable(["strikethrough", "table"]).parse(readme)
    assert opening.tag == "h1"
    assert {child.type for child in inline.children or []} <= {"text", "code_inline"}
    return "".join(child.content for child in inline.children or [])


def metadata_of_wheel(project: Path, monkeypatch: pytest.MonkeyPatch) -> RawMetadata:
    (project / "dist").mkdir()
    monkeypatch.chdir(project)
    wheel = project / "dist" / hatchling.build.build_wheel(str(project / "dist"))
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        return parse_email(archive.read(name))[0]


def assert_holds(project: Path, text: str) -> None:
    pyproject = (project / "pyproject.toml").read_text("utf-8")
    metadata = tomllib.loads(pyproject)["project"]
    assert metadata["description"] == text
    assert {value for author in metadata["authors"] for value in author.values()} == {text}
    assert json.dumps(text, ensure_ascii=False) in pyproject
    assert heading((project / "README.md").read_text("utf-8")) == text
    assert f" {text}" in (project / "LICENSE").read_text("utf-8")
    for path in project.rglob("*.py"):
        compile(path.read_text("utf-8"), path, "exec")


@pytest.mark.parametrize(("number", "text"), [*enumerate(HOSTILE)], ids=lambda value: ascii(value)[:24])
def test_free_text_comes_out_as_it_went_in(
    number: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = bake(tmp_path, TEMPLATE, **free_text(text, number))

    assert_holds(project, text)
    metadata = metadata_of_wheel(project, monkeypatch)
    assert metadata["name"] == "audit-log"
    assert metadata["summary"].strip() == text.strip()


@pytest.mark.parametrize("way_in", WAYS_IN, ids=lambda way_in: way_in.__name__)
def test_free_text_comes_out_of_every_way_in(way_in: WayIn, tmp_path: Path) -> None:
    text = 'He said "hi", it\'s \\N{BULLET} C:\\Users {0} %s # <b>&amp; zażółć 🤖 \'\'\'"""'

    way_in(tmp_path, free_text(text))

    assert_holds(tmp_path / "out" / "audit-log", text)


@pytest.mark.parametrize(
    "name", ["Audit Log", *(text for text in HOSTILE if len(text) > 40)], ids=lambda name: name[:9]
)
def test_names_follow_from_the_projects_name(name: str, tmp_path: Path) -> None:
    project = bake(tmp_path, project_name=name)

    assert heading((project / "README.md").read_text("utf-8")) == name
    assert (project / "src" / project.name.replace("-", "_")).is_dir()


@pytest.mark.parametrize(
    ("name", "slug", "package"),
    [
        ("Test", "test", "handler_test"),
        ("Logging", "logging", "handler_logging"),
        ("3D Logs", "3d-logs", "handler_3d_logs"),
        ("None", "none", "none"),
        ("pytest", "handler-pytest", "handler_pytest"),
        ("🤖", "handler", "handler"),
    ],
)
def test_a_name_that_is_taken_gives_others_that_are_free(name: str, slug: str, package: str, tmp_path: Path) -> None:
    project = bake(tmp_path, project_name=name)

    assert project.name == slug
    assert (project / "src" / package).is_dir()


def test_a_long_slug_gives_a_package_that_is_no_longer_than_it_may_be(tmp_path: Path) -> None:
    project = bake(tmp_path, project_slug="1" + "-1" * 49)

    assert (project / "src" / "handler_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_1_").is_dir()


def refusal(**answers: object) -> str:
    with pytest.raises(InvalidModeException) as refused:
        check_answers({**EXAMPLES, **answers})
    return str(refused.value)


@pytest.mark.parametrize(("question", "value", "rule"), REFUSALS)
def test_an_answer_that_cannot_work_is_refused(question: str, value: str, rule: str) -> None:
    head, problem = refusal(**{question: value}).split("\n")

    assert head == "Nothing was written, these answers cannot work:"
    assert problem.startswith(f"  {question} {value!r}: ")
    assert rule in problem
    assert problem.endswith(f"; for example {EXAMPLES[question]!r}")


@pytest.mark.parametrize(
    "directory",
    [
        *("logs", "logs/", "./logs", "../logs", ".", "~/logs", "/", "/var/log/ask", "/var//log", "x" * 255, "日" * 85),
        *("C:\\logs", "C:/logs", "\\\\server\\share\\logs", "My Logs/2026.11", "console", ".logs"),
    ],
)
def test_a_directory_as_people_write_them_is_taken(directory: str) -> None:
    assert check_answers({**EXAMPLES, "log_directory": directory}) == ""


@pytest.mark.parametrize("slug", [slug for slugs in REFUSED["project_slug"].values() for slug in slugs], ids=ascii)
def test_no_slug_writes_anywhere(slug: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidModeException, match="project_slug"):
        replay(tmp_path, project_slug=slug)

    assert {path.name for path in tmp_path.iterdir()} <= {"config.json", "replay.json", "kept"}
    assert not Path("/abs").exists()


def test_the_answers_given_as_good_examples_work(tmp_path: Path) -> None:
    assert EXAMPLES.keys() == set(QUESTIONS)
    assert (replay(tmp_path) / "src" / "audit_log" / "handler.py").exists()


@pytest.mark.parametrize("value", [None, True, 1, ["a"]], ids=repr)
def test_an_answer_that_is_no_text_is_refused(value: object) -> None:
    assert refusal(full_name=value).endswith(f"full_name {value!r}: it is not text; for example 'Ada Lovelace'")


@pytest.mark.parametrize("question", ["project_name", "project_slug", "full_name"])
@pytest.mark.parametrize("value", [None, True], ids=repr)
def test_a_user_config_that_holds_no_text_is_refused(question: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(InvalidModeException, match=f"  {question} {value!r}: it is not text"):
        cookiecutter(tmp_path, {"default_context": {question: value}}, "--no-input", str(TEMPLATE))


def test_a_user_config_with_a_choice_that_is_none_loses_what_the_readme_says(tmp_path: Path) -> None:
    defaults = {"project_name": "Mine", "log_format": "xml", "handler_class": "AuditHandler"}
    options = ("--no-input", "--output-dir", tmp_path, "--config-file", config_file(tmp_path, default_context=defaults))
    baking = [sys.executable, "-m", "cookiecutter", *map(str, options), str(TEMPLATE)]
    done = subprocess.run(baking, capture_output=True, encoding="utf-8", check=True)

    (warning,) = re.findall(r"with the warning `(.*)`", (TEMPLATE / "README.md").read_text("utf-8"))
    assert warning in done.stderr
    assert "class FileEventHandler(" in (tmp_path / "mine/src/mine/handler.py").read_text("utf-8")
    assert 'LOG_FORMAT = "text"' in (tmp_path / "mine/src/mine/logfile.py").read_text("utf-8")


@pytest.mark.parametrize("way_in", WAYS_IN, ids=lambda way_in: way_in.__name__)
def test_all_wrong_answers_are_told_at_once_on_every_way_in(way_in: WayIn, tmp_path: Path) -> None:
    wrong = {
        "project_name": " ",
        "project_slug": "../x",
        "package_name": "class",
        "handler_class": "EventHandler",
        "log_directory": "a|b",
        "filename_pattern": "../{collection}",
        "full_name": "a\u202eb",
    }

    with pytest.raises(InvalidModeException) as refusal:
        way_in(tmp_path, wrong)

    head, *problems = str(refusal.value).splitlines()
    assert head == "Nothing was written, these answers cannot work:"
    assert [problem.split(":")[0].strip() for problem in problems] == [f"{q} {v!r}" for q, v in wrong.items()]
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("way_in", [by_command, by_user_config, by_cruft], ids=lambda way_in: way_in.__name__)
@pytest.mark.parametrize(
    "answer", ["{%Y-%m-%d}.log", "{{ 1/0 }}", "{{ x", "a {# b #} c", "cookiecutter {#", "{{ cookiecutter.nope }}"]
)
def test_an_answer_that_cookiecutter_would_render_is_refused(answer: str, way_in: WayIn, tmp_path: Path) -> None:
    with pytest.raises(InvalidModeException, match=re.escape(f"{answer!r}: cookiecutter would take {{{{, {{% or {{#")):
        way_in(tmp_path, {"full_name": answer})

    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "'日本'"), ("cp1252", r"'\u65e5\u672c'")])
def test_a_refusal_is_shown_by_any_output(
    encoding: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)

    with pytest.raises(InvalidModeException, match=re.escape(f"  project_slug {shown}: it has words")):
        by_command(tmp_path, {"project_slug": "日本"})


def test_the_template_and_the_handler_refuse_with_the_same_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(bake(tmp_path) / "src")  # of its own: importing may leave bytecode
    handler = importlib.import_module("db_ally_file_handler").FileEventHandler
    for question, argument in {"log_directory": "log_dir", "filename_pattern": "filename_pattern"}.items():
        for value in (value for values in REFUSED[question].values() for value in values):
            rule = refusal(**{question: value}).partition(f"{value!r}: ")[2].rpartition("; for example")[0]
            if rule not in RULES_OF_THE_TEMPLATE_ALONE:
                with pytest.raises(ValueError, match=re.escape(f"{argument} {value!r}: {rule}; for example ")):
                    handler(**{argument: value})


RULES_OF_THE_TEMPLATE_ALONE = {
    "it has a line break or a control character",
    "what was typed is no text in this terminal's encoding; set PYTHONUTF8=1 or a UTF-8 locale and answer again",
    "it has a character that reorders the text around it",
    "cookiecutter would take {{, {% or {# for its own syntax",
    "the project has a file of that name",
}

ODD = {
    "one letter": {"project_slug": "a", "package_name": "a", "handler_class": "A"},
    "lower case": {"project_slug": "0-9", "package_name": "zz", "handler_class": "zz", "log_directory": "~/logs"},
    "as long as may be": {
        "project_slug": "x" * 100,
        "package_name": "p" * 40,
        "handler_class": "H" * 40,
        "log_directory": "/" + "d" * 79,
        "filename_pattern": "f" * 255,
    },
    "underscores": {"package_name": "_p", "handler_class": "_H", "log_directory": "C:\\logs\\it's"},
    "another script": {"package_name": "журнал", "handler_class": "Журнал", "log_directory": "日" * 40},
    "look-alikes": {
        "package_name": "е",
        "handler_class": "е",
        "log_directory": "а–b’c",
        "filename_pattern": "а/{collection}",
    },
}


@pytest.mark.parametrize("answers", [*ODD.values()], ids=[*ODD])
def test_odd_answers_that_can_work_pass_the_projects_own_checks(
    answers: dict[str, str], tmp_path: Path, worker_id: str
) -> None:
    project = bake(tmp_path / "out", TEMPLATE, **answers)

    run(project, "ruff", "format", "--check", "--no-cache")
    run(project, "ruff", "check", "--no-cache")
    # mypy takes files of one path, size and second for the same: two at once need a cache each.
    run(project, "mypy", "--cache-dir", TEMPLATE / ".mypy_cache" / f"odd-{worker_id}")
    assert not leftovers(project)


@pytest.mark.parametrize(
    ("directory", "line"),
    [
        ("logs", "/logs/\n"),
        ("./a b/[c]", "/a\\ b/\\[c\\]/\n"),
        ("logs/", "/logs/\n"),
        *((directory, "") for directory in ("/var/log", "../logs", "~/logs", "~ann/logs", "C:/logs", "a\\b", ".")),
        *((directory, "") for directory in ("src", "tests/logs", "./examples", ".github")),
    ],
)
def test_git_ignores_the_logs_and_no_code(directory: str, line: str) -> None:
    assert gitignore(directory) == line


def test_every_name_that_the_project_depends_on_is_refused(tmp_path: Path) -> None:
    pyproject = tomllib.loads((bake(tmp_path / "baked") / "pyproject.toml").read_text("utf-8"))
    wanted = [
        *pyproject["project"]["dependencies"],
        *pyproject["dependency-groups"]["dev"],
        *pyproject["build-system"]["requires"],
    ]
    distributions = installed_with(wanted)
    modules = {
        module for module, names in packages_distributions().items() if distributions & set(map(canonical, names))
    }
    assert {"dbally", "sqlalchemy", "opentelemetry-api", "pytest"} <= distributions
    assert {"dotenv", "dateutil"} <= modules

    for name in distributions:
        assert "project_slug" in refusal(project_slug=name)
    for name in filter(str.isidentifier, modules):
        assert "package_name" in refusal(package_name=name)


def test_every_name_that_a_dependency_looks_for_is_refused() -> None:
    note = "types.SimpleNamespace(find_spec=lambda name, path, _=None: None if path else print(name))"
    look = f"import sys, types; sys.meta_path.append({note}); import dbally"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, encoding="utf-8", check=True)
    looked_for = done.stdout.split()
    assert {name for name in ("faiss", "pyarrow") if not importlib.util.find_spec(name)} <= {*looked_for}

    for name in looked_for:
        assert "package_name" in refusal(package_name=name)


def another_template(folder: Path) -> Path:
    """Make a template with an extension as cookiecutter's own documentation names it."""
    (folder / "{{cookiecutter.slug}}").mkdir(parents=True)
    settings = {"slug": "another", "_extensions": ["local_extensions.Shout"]}
    (folder / "cookiecutter.json").write_text(json.dumps(settings), "utf-8")
    extension = "from jinja2.ext import Extension\n\nclass Shout(Extension): pass\n"
    (folder / "local_extensions.py").write_text(extension, "utf-8")
    return folder


def test_another_template_may_be_baked_before_in_the_same_process(tmp_path: Path) -> None:
    bakes = (
        "import sys; from cookiecutter.main import cookiecutter as bake; [bake(t, no_input=True) for t in sys.argv[1:]]"
    )
    templates = [another_template(tmp_path / "other"), TEMPLATE]
    (tmp_path / "out").mkdir()

    subprocess.run([sys.executable, "-c", bakes, *templates], cwd=tmp_path / "out", check=True)

    assert {path.name for path in (tmp_path / "out").iterdir()} == {"another", "db-ally-file-handler"}


@pytest.mark.parametrize("path", [".", None])
def test_a_template_bakes_in_the_folder_of_another(
    path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(another_template(tmp_path / "other"))
    if path:
        monkeypatch.setenv("PYTHONPATH", path)

    by_command(tmp_path, {})

    assert (tmp_path / "out" / "db-ally-file-handler" / "README.md").exists()


def test_an_old_python_is_refused_with_the_version_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sys, "stdlib_module_names")
    monkeypatch.delitem(sys.modules, Path(EXTENSION).stem, raising=False)  # as this module has imported it

    with pytest.raises(UnknownExtension, match=r"needs cookiecutter on Python 3\.10 or newer"):
        bake(tmp_path)


def installed_with(requirements: Iterable[str]) -> set[str]:
    """Return the names of all distributions here that `requirements` bring along."""
    found: set[str] = set()
    todo = [Requirement(requirement) for requirement in requirements]
    while todo:
        requirement = todo.pop()
        name = canonical(requirement.name)
        if name not in found and (not requirement.marker or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            todo += map(Requirement, distribution(name).requires or [])
    return found


def canonical(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()
