"""Refuse answers that cannot work, all of them at once, before a file is written.

The rules for directories and patterns are at least as strict as those of the package's `filenames.py`, so that no
answer is refused after files were written. `tests/test_answers.py` compares the two.
"""

import builtins
import json
import keyword
import os
import posixpath
import re
import shlex
import sys
import tempfile
import typing
from datetime import datetime

CONTEXT = json.loads(r"""{{ cookiecutter | tojson }}""")
EXAMPLES = {
    "project_name": "Audit Log",
    "project_slug": "audit-log",
    "package_name": "audit_log",
    "handler_class": "AuditHandler",
    "log_directory": "/var/log/ask",
    "log_format": "jsonl",
    "filename_pattern": "{started_at:%Y-%m-%d}/{collection}-{request_id}",
    "full_name": "Ada Lovelace",
    "open_source_license": "MIT",
    "ci": "github",
}
ANSWERS = {question: str(CONTEXT.get(question, "")) for question in EXAMPLES}

# What a project has at its top: no place for logs.
IN_PROJECT = """
    src tests examples docs .git .github .venv .gitattributes .gitignore .gitlab-ci.yml
    agents.md check.py license pyproject.toml readme.md requests.svg
""".split()
# What a package must not hide: the modules beside it, and those that it, its tests and its build import.
MODULES = """
    application ask canaries check conftest docs examples files scripted_llm src test tests
    click dateutil dbally dbally_cli dbally_codegen dotenv greenlet hatchling hypothesis litellm mypy numpy
    opentelemetry packaging pandas pip pluggy pygments pytest pytest_asyncio pytest_timeout pytz ruff setuptools six
    sqlalchemy tabulate tzdata uv wheel
""".split()
# The other names in the modules that name the handler.
CLASSES = """
    Column ColumnElement DbAllyError EventHandler Handler Integer LiteLLM LogFile MetaData Path PathLike Record
    Recorder ScriptedLLM Select SqlAlchemyBaseView StaffView StaticPool String Table
""".split()

DEVICE = r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?"  # names that Windows reserves
TIME = "{started_at:([^{}%]|%[aAbBdfGHIjmMpSuUVwWyY])+}"  # with strftime codes that are the same on every system
FIELD = TIME + r"|{(collection|request_id)(:\.[1-9][0-9]?)?}"


def matches(pattern):
    """Return a check whether a whole answer matches `pattern`."""
    return re.compile(pattern, re.DOTALL).fullmatch


def is_printable(answer):
    return answer.isprintable() and answer.strip() == answer and answer != ""


def is_free_module(answer):
    name = answer.replace("-", "_")
    taken = [*sys.stdlib_module_names, *keyword.kwlist, *MODULES]
    return name not in taken and not re.fullmatch(DEVICE, name)


def is_free_class(answer):
    return answer not in [*CLASSES, *dir(builtins), *dir(typing)]


def is_for_logs_alone(answer):
    names = posixpath.normpath(answer).casefold().split("/")
    return names[0] not in IN_PROJECT and names[-1] not in ("", ".", "..", "~")


def has_codes_in_fields(answer):
    return "%" not in re.sub("{[^{}]*}", "", answer)


def has_no_slash_in_a_time(answer):
    return not re.search("{started_at:[^{}]*/", answer)


def has_known_fields(answer):
    return not re.search("[{}]", re.sub(FIELD, "", answer))


def has_a_field(answer):
    return re.search(FIELD, answer)


def suits_the_format(answer):
    return ANSWERS["log_format"] != "text" or not answer.lower().endswith((".json", ".jsonl"))


def is_portable_directory(answer):
    path = re.sub("^[A-Za-z]:/", "", answer)
    names = [name for name in path.split("/") if name not in ("", ".", "..")]
    return all(is_portable(name) for name in names)


def is_portable_pattern(answer):
    longest_time = datetime(2001, 9, 26)  # a Wednesday in September
    path = answer.format(started_at=longest_time, collection="c" * 60, request_id="0" * 32)
    return all(is_portable(name) for name in path.split("/"))


def is_portable(name):
    if not name.strip() or name[-1] in ". " or len(name.encode()) > 255:
        return False
    return not re.search("[<>:|?*]", name) and not re.fullmatch(DEVICE, name, re.IGNORECASE)


TEXTS = ["project_name", "log_directory", "filename_pattern", "full_name"]
NAMES = ["project_slug", "package_name"]
CLASS = ["handler_class"]
DIRECTORY = ["log_directory"]
PATTERN = ["filename_pattern"]
PORTABLE = "must be a path that Windows also takes: no <>:|?*, no name like nul, no dot or space at the end of a name"
LICENCES = "MIT|Apache-2.0|BSD-3-Clause|Proprietary"

# The questions, a check of their answers, the rule. They stand in this order because later checks rely on earlier ones.
RULES = [
    (TEXTS, is_printable, "must be one line of printable characters, without spaces around it"),
    (TEXTS, matches(r'[^"\\]*'), 'must not contain " or \\'),
    (TEXTS, matches("([^{]|{(?![#%{]))*"), "must not contain { before another {, % or #"),
    (["project_slug"], matches("[a-z0-9]+(-[a-z0-9]+)*"), "must be lower-case words joined by dashes"),
    (["package_name"], matches("[a-z][a-z0-9_]*"), "must be a lower-case letter, then a-z, 0-9 and _"),
    (CLASS, matches("[A-Z](?=.*[a-z])[A-Za-z0-9_]*"), "must be a name in CapWords: of A-Z, a-z, 0-9 and _"),
    (NAMES + CLASS, matches(".{,30}"), "must have at most 30 characters"),
    (NAMES, is_free_module, "must not be a name that Python, Windows, a dependency or the project uses"),
    (CLASS, is_free_class, "must not be a name that Python or the project uses"),
    (DIRECTORY + PATTERN, matches(".{,75}"), "must have at most 75 characters"),
    (DIRECTORY, is_for_logs_alone, "must be a directory for logs alone, none that the project has"),
    (DIRECTORY, is_portable_directory, PORTABLE),
    (["log_format"], matches("jsonl|text"), "must be jsonl or text"),
    (PATTERN, has_codes_in_fields, "must have codes such as %Y in a field, as {started_at:%Y-%m-%d}"),
    (PATTERN, has_no_slash_in_a_time, "must have no / in a time; write {started_at:%Y}/{started_at:%m}"),
    (PATTERN, has_known_fields, "must have only {collection}, {request_id:.8}, {started_at:%Y-%m-%d}"),
    (PATTERN, has_a_field, "must have a field, or all requests share one file"),
    (PATTERN, suits_the_format, "must not end with .json or .jsonl if log_format is text"),
    (PATTERN, is_portable_pattern, PORTABLE),
    (["open_source_license"], matches(LICENCES), f"must be one of {LICENCES}"),
    (["ci"], matches("github|gitlab|none"), "must be github, gitlab or none"),
]


def find_problems():
    """Return the first rule that each refused answer breaks, by its question."""
    problems = {}
    for questions, is_kept, rule in RULES:
        for question in questions:
            if question not in problems and not is_kept(ANSWERS[question]):
                problems[question] = rule
    return problems


def command_with(good):
    """Return a command that asks again, with the good answers filled in."""
    output_dir = CONTEXT.get("_output_dir") or os.path.dirname(os.getcwd())
    options = [CONTEXT["_template"], "--output-dir", output_dir]
    if os.listdir():  # there is a project already
        options.append("--overwrite-if-exists")

    if "_commit" in CONTEXT:
        return shlex.join(["cruft", "create", *options, "--extra-context", json.dumps(good)])
    assigned = [f"{question}={answer}" for question, answer in good.items()]
    return shlex.join(["cookiecutter", *options, *assigned])


def is_update():
    """Return whether `cruft update` makes this project in a temporary folder, to compare it with the real one."""
    folder_of_output = os.path.dirname(os.path.dirname(os.getcwd()))
    return "_commit" in CONTEXT and os.path.samefile(folder_of_output, tempfile.gettempdir())


problems = find_problems()
if problems:
    message = "These answers cannot work:\n"
    for question, answer in ANSWERS.items():
        if question in problems:
            message += f"  {question} {answer!r} {problems[question]}; for example {EXAMPLES[question]!r}\n"

    if is_update():
        other = {question: EXAMPLES[question] for question in problems}
        message += f"Give cruft others, such as\n  --variables-to-update {shlex.quote(json.dumps(other))}"
    else:
        good = {question: answer for question, answer in ANSWERS.items() if question not in problems}
        message += f"To keep the others, run\n  {command_with(good)}"
    sys.exit(message)
