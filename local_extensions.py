"""What the template knows about answers: which ones cannot work, and how to write the others down as data."""

from __future__ import annotations

import builtins
import importlib.util
import json
import keyword
import re
import sys
import tokenize
import unicodedata
from collections.abc import Callable, Mapping
from email.errors import MessageError
from email.headerregistry import Address
from pathlib import Path, PurePosixPath
from typing import Any

from cookiecutter.exceptions import InvalidModeException
from jinja2 import Environment
from jinja2.ext import Extension

_PROJECT = Path(__file__).parent / "{{cookiecutter.project_slug}}"
_PACKAGE = _PROJECT / "src" / "{{cookiecutter.package_name}}"

# What the generated project imports, and what that imports: a package of such a name would hide it.
_DEPENDENCIES = {
    *("dbally", "numpy", "pandas", "sqlalchemy", "greenlet", "tabulate", "copier", "dateutil", "pytz", "tzdata", "six"),
    *("typing_extensions", "opentelemetry", "eval_type_backport", "rich", "litellm", "openai", "httpx", "pydantic"),
    *(
        "pytest",
        "pytest_asyncio",
        "pluggy",
        "iniconfig",
        "packaging",
        "hypothesis",
        "attr",
        "attrs",
        "sortedcontainers",
    ),
    *("mypy", "ruff", "hatchling", "tests", "conftest", "ask", "scripted_llm", "src"),
}
_LONGEST_IDENTIFIER = 40  # so that no generated line grows beyond what the generated project's formatter allows


class Answers(Extension):
    """Jinja filters: `check_answers` refuses, the others write one answer down."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        for function in (check_answers, literal, authors, markdown, gitignore):
            environment.filters[function.__name__] = function


def check_answers(answers: Mapping[str, Any]) -> str:
    """Return nothing to write; raise cookiecutter's own error, which it prints bare, naming all wrong answers.

    The project is not made yet when the last private answer is rendered, which no option can skip: a
    hook would run too late, print a traceback, or not run at all.
    """
    problems = []
    for question, broken_rule in _RULES.items():
        value = str(answers[question])
        rule = _unwritable(value) or broken_rule(value)
        if rule:
            problems.append(f"  {question} {value!r}: {rule}")
    if problems:
        raise InvalidModeException("\n".join(["Nothing was written, these answers cannot work:", *problems]))
    return ""


def literal(answer: str) -> str:
    """Return `answer` as a string literal of Python, TOML and JSON alike."""
    return json.dumps(str(answer), ensure_ascii=False).replace("\x7f", "\\u007f")


def authors(full_name: str, email: str) -> str:
    """Return the TOML array of a project's authors. What is no mail address that packaging takes stands as a name."""
    if _is_address(full_name, email):
        return f"[{{ name = {literal(full_name)}, email = {literal(email)} }}]"
    return f"[{{ name = {literal(full_name)} }}, {{ name = {literal(email)} }}]"


def markdown(answer: str) -> str:
    """Return Markdown that shows the very text of `answer`: a code span, if any character could mean something else."""
    if not re.search(r"[\\`*_{}\[\]<>#|~&$!]|^[-+=>]|^\d+[.)]|://|@", answer):
        return answer
    fence = "`" * (max((len(run) for run in re.findall("`+", answer)), default=0) + 1)
    space = " " if answer.startswith("`") or answer.endswith("`") else ""
    return f"{fence}{space}{answer}{space}{fence}"


def gitignore(log_directory: str) -> str:
    """Return the line that ignores the log directory, or none where it is outside the project."""
    path = PurePosixPath(log_directory)
    if path.is_absolute() or not path.parts or {"..", "~"} & set(path.parts) or re.search(r"[:\\]", log_directory):
        return ""
    return "/" + re.sub(r"([ \[\]])", r"\\\1", str(path)) + "/"


def _unwritable(value: str) -> str | None:
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in "\u061c\u200e\u200f" for char in value):
        return "it has a line break or a control character; for example 'Audit Log'"
    if re.search("[\u202a-\u202e\u2066-\u2069]", value):
        return "it has a character that reorders the text around it; for example 'Audit Log'"
    if re.search(r"\{[{%#]", value):
        return "cookiecutter would take {{, {% or {# for its own syntax; for example '{collection}.log'"
    return None


def _project_name(value: str) -> str | None:
    return None if value.strip() else "it is empty; for example 'Audit Log'"


def _project_slug(value: str) -> str | None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", value):
        return "it has words of a-z and 0-9, joined by single dashes; for example 'audit-log'"
    if value.replace("-", "_") in _DEPENDENCIES:
        return "the project depends on a distribution of that name; for example 'audit-log'"
    if _rules_for_names.is_device(value):
        return "Windows keeps that name for a device; for example 'audit-log'"
    return None if len(value) <= 100 else "it is longer than 100 characters; for example 'audit-log'"


def _package_name(value: str) -> str | None:
    rule = _identifier(value)
    if not rule and (value in sys.stdlib_module_names or re.fullmatch("__.*__", value)):
        rule = "it is a name of Python's standard library"
    if not rule and value.lower() in _DEPENDENCIES:
        rule = "it is a name of something that the package depends on"
    if not rule and _rules_for_names.is_device(value):
        rule = "Windows keeps that name for a device"
    return rule and f"{rule}; for example 'audit_log'"


def _handler_class(value: str) -> str | None:
    rule = _identifier(value)
    if not rule and (hasattr(builtins, value) or value in _names_in_use()):
        rule = "the package uses that name already"
    return rule and f"{rule}; for example 'AuditHandler'"


def _identifier(value: str) -> str | None:
    if not value.isidentifier() or unicodedata.normalize("NFKC", value) != value:
        return "it is not a Python identifier"
    if keyword.iskeyword(value) or keyword.issoftkeyword(value):
        return "it is a keyword of Python"
    return None if len(value) <= _LONGEST_IDENTIFIER else f"it is longer than {_LONGEST_IDENTIFIER} characters"


def _names_in_use() -> set[str]:
    names = set()
    for path in _PROJECT.rglob("*.py"):
        with tokenize.open(path) as file:
            names |= {token.string for token in tokenize.generate_tokens(file.readline) if token.type == tokenize.NAME}
    return names


def _filename_rule(check: Callable[[str], None]) -> Callable[[str], str | None]:
    """Return the handler's own check of an argument as a rule for the answer, without the part that repeats the value."""

    def broken_rule(value: str) -> str | None:
        try:
            check(value)
        except ValueError as error:
            return str(error).split(f"{value!r}: ", 1)[1]
        return None

    return broken_rule


def _one_of(*choices: str) -> Callable[[str], str | None]:
    return lambda value: None if value in choices else f"it is one of {', '.join(choices)}; for example {choices[0]!r}"


def _email(value: str) -> str | None:
    return None if value.strip() else "it is empty; for example 'ada@example.com'"


def _is_address(full_name: str, email: str) -> bool:
    try:
        return bool(str(Address(display_name=full_name, addr_spec=email)))
    except (MessageError, ValueError, IndexError):
        return False


def _load_rules_for_names() -> Any:
    spec = importlib.util.spec_from_file_location("_rules_for_names", _PACKAGE / "filenames.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_rules_for_names = _load_rules_for_names()  # the generated handler's own: one source for answers and arguments
_RULES: dict[str, Callable[[str], str | None]] = {
    "project_name": _project_name,
    "project_slug": _project_slug,
    "package_name": _package_name,
    "handler_class": _handler_class,
    "log_directory": _filename_rule(_rules_for_names.check_directory),
    "log_format": _one_of("text", "jsonl"),
    "filename_pattern": _filename_rule(_rules_for_names.check_pattern),
    "full_name": _project_name,
    "email": _email,
    "open_source_license": _one_of("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"),
}
