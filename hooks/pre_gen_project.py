"""Refuse answers that cannot work before a file is written: all of them at once, each with its rule and an example.

Which directories and patterns there can be, only the package knows: `post_gen_project.py` asks it.
"""

import builtins
import json
import keyword
import re
import shlex
import sys
from pathlib import PurePosixPath

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")

FOLDERS = ["src", "tests", "examples", "docs"]
# What else a package may not be called: the modules beside it, and what it, its tests and its build depend on.
MODULES = """
    application ask canaries check conftest files scripted_llm test
    click dateutil dbally dbally_cli dbally_codegen dotenv greenlet hatchling hypothesis litellm mypy numpy opentelemetry packaging
    pandas pip pluggy pygments pytest pytest_asyncio pytest_timeout pytz ruff setuptools six sqlalchemy tabulate tzdata uv wheel
"""
# The other names in the modules that name the handler.
CLASSES = """
    Any Collection Column ColumnElement DbAllyError EventHandler FILENAME_PATTERN Handler Integer LLM LOG_DIR LOG_FORMAT LiteLLM
    LogFile MetaData Path PathLike ROWS Record Recorder SCRIPT STAFF ScriptedLLM Select SqlAlchemyBaseView StaffView StaticPool
    String Table
"""
DEVICE = r"con|prn|aux|nul|(com|lpt)\d"  # Windows takes no folder of such a name


def is_text(answer):
    """Return whether `answer` stays what it is between quotes, in Markdown, and when cookiecutter renders it."""
    return answer.isprintable() and answer.strip() == answer != "" and not re.search(r'["\\]|\{[#%{]', answer)


def is_free(name):
    taken = {*sys.stdlib_module_names, *keyword.kwlist, *FOLDERS, *MODULES.split()}
    return len(name) <= 40 and name not in taken and not re.fullmatch(DEVICE, name)


def is_slug(answer):
    return re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", answer) and is_free(answer.replace("-", "_"))


def is_package(answer):
    return re.fullmatch("[a-z][a-z0-9_]*", answer) and is_free(answer)


def is_class(answer):
    is_in_use = answer in CLASSES.split() or hasattr(builtins, answer)
    return re.fullmatch("[A-Z][A-Za-z0-9_]{,39}", answer) and not is_in_use


def is_directory(answer):
    first_folder = PurePosixPath(answer.casefold()).parts[:1]
    return is_text(answer) and not answer.endswith("/") and not {*FOLDERS}.intersection(first_folder)


def is_pattern(answer):
    return is_text(answer) and "{" in answer


def is_choice(*choices):
    return choices.__contains__


TEXT = 'must be printable text in one line, without " or \\, spaces around it, or { before {, % or #'
FREE = "at most 40 characters, and no name that Python, Windows, the project or what it depends on uses"
RULES = {  # to each question: whether an answer can work, the rule, an answer that can
    "project_name": (is_text, TEXT, "Audit Log"),
    "project_slug": (is_slug, f"must be words of a-z and 0-9 joined by dashes, {FREE}", "audit-log"),
    "package_name": (is_package, f"must be a letter, then a-z, 0-9 and _, {FREE}", "audit_log"),
    "handler_class": (is_class, f"must be a capital letter, then A-Z, a-z, 0-9 and _, {FREE}", "AuditHandler"),
    "log_directory": (is_directory, f"{TEXT}, or / at its end, and not in {', '.join(FOLDERS)}", "/var/log/ask"),
    "log_format": (is_choice("jsonl", "text"), "must be jsonl or text", "jsonl"),
    "filename_pattern": (is_pattern, f"{TEXT}, and with a field in it", "{started_at:%Y-%m-%d}/{collection}.jsonl"),
    "full_name": (is_text, TEXT, "Ada Lovelace"),
    "open_source_license": (
        is_choice("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"),
        "must be MIT, Apache-2.0, BSD-3-Clause or Proprietary",
        "MIT",
    ),
    "ci": (is_choice("github", "gitlab", "none"), "must be github, gitlab or none", "github"),
}

problems = []
good = []
for question, (can_work, rule, example) in RULES.items():
    answer = str(ANSWERS.get(question, ""))
    if can_work(answer):
        good.append(f"{question}={answer}")
    else:
        problems.append(f"\n  {question} {answer!r}: {rule}; for example {example!r}")

if problems:
    sys.exit(
        f"These answers cannot work:{''.join(problems)}\nTo keep the others, run it again with\n  {shlex.join(good)}"
    )
