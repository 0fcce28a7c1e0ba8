"""What the template knows about answers: which ones cannot work, and how to write the others down as data."""

from __future__ import annotations

import builtins
import io
import json
import keyword
import re
import sys
import tokenize
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from types import ModuleType

from cookiecutter.exceptions import InvalidModeException
from jinja2 import Environment
from jinja2.ext import Extension
from slugify import slugify

if not hasattr(sys, "stdlib_module_names"):  # cookiecutter shows this error without a traceback
    raise ImportError("this template needs cookiecutter on Python 3.10 or newer")

_TEMPLATE = Path(__file__).parent
_PROJECT = _TEMPLATE / "{{cookiecutter.project_slug}}"
_CHOICES = json.loads((_TEMPLATE / "cookiecutter.json").read_text("utf-8"))

# What the generated project depends on, directly or not, and what installs it: a project of such a name cannot be.
_DISTRIBUTIONS = """
    ast-serialize click dbally greenlet hatchling hypothesis iniconfig librt litellm mypy mypy-extensions numpy
    opentelemetry-api packaging pandas pathspec pip pluggy pygments pytest pytest-asyncio pytest-timeout python-dateutil
    python-dotenv pytz ruff setuptools six sortedcontainers sqlalchemy tabulate tomlkit trove-classifiers typing-extensions tzdata
    uv wheel
"""
# What those are imported by, where that is another name: a package of such a name would hide it. And what they look
# for, and use where it is there: they would take the package for it.
_MODULES = """
    _hypothesis_ftz_detector _hypothesis_globals _hypothesis_pytestplugin _pytest
    dateutil dbally_cli dbally_codegen dotenv mypyc opentelemetry pkg_resources py

    bottleneck chromadb colorama elasticsearch faiss langsmith numexpr org pyarrow rich sitecustomize usercustomize
    wcwidth
"""
# Python's standard library on 3.11 to 3.14, but for what is in it on the Python that cookiecutter runs on.
_STANDARD_LIBRARY = """
    _wmi aifc annotationlib asynchat asyncore audioop cgi cgitb chunk compression crypt distutils imghdr imp lib2to3 mailcap
    msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib
"""
_TEMPLATE_SYNTAX = re.compile(r"\{[{%#]")
# Where a repository shows its files, by host; what cookiecutter abbreviates each host as, and what else it clones from.
_FORGES = {"github.com": "blob/HEAD", "gitlab.com": "-/blob/HEAD", "bitbucket.org": "src/HEAD"}
_HOSTS = {"gh": "github.com", "gl": "gitlab.com", "bb": "bitbucket.org"}
_REPOSITORY = re.compile(
    r"((?P<short>gh|gl|bb):|(git\+)?(?P<scheme>https?)://([^/@]*@)?(?P<host>[\w.:-]+)/"
    r"|(ssh://)?\w+@(?P<ssh>[\w.-]+)(:\d+/|[:/]))(?P<path>[\w~-][\w.~-]*(/[\w~-][\w.~-]*?)+?)(\.git)?/?",
    re.ASCII,
)
_LONGEST_IDENTIFIER = 40  # columns, so that the generated project's formatter breaks no line


class WrongAnswers(InvalidModeException, SystemExit):  # type: ignore[misc]  # cookiecutter has no types
    """An error that ends with its message and exit code 1: cookiecutter knows the first base, Python itself the second."""

    def __init__(self, message: str) -> None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"  # which may lack characters of an answer
        message = message.encode(encoding, "backslashreplace").decode(encoding)
        super().__init__(message)
        self.code = message


class Answers(Extension):
    """Refuses answers that cannot work, and brings the filters that write the others down."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._is_checked = False
        for function in (check_answers, slug, package, literal, markdown, gitignore, page):
            environment.filters[function.__name__] = function
        sys.modules.pop(__name__, None)  # cruft bakes an old and a new template in one process: each needs its own

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Check the answers when the name of the project's folder is rendered, before anything is written.

        No option, replay file or private answer leads past it, but for one that takes this extension
        away, and with it the filters that the files need. A hook would run too late, print a traceback,
        or not run at all.
        """
        if source == _PROJECT.name:
            self._is_checked = True
            return "{{ cookiecutter | check_answers }}" + source
        # Before that, cookiecutter renders the answers themselves; beside them, a hook, which has several lines.
        is_answer = not self._is_checked and name is None and "\n" not in source and source not in _CHOICES.values()
        if is_answer and _TEMPLATE_SYNTAX.search(source):
            raise WrongAnswers(f"Nothing was written, this answer cannot work:\n  {source!r}: {_unwritable(source)}")
        return source


def check_answers(answers: Mapping[str, object]) -> str:
    """Return nothing to write; raise `WrongAnswers` that names them all."""
    problems = [problem for question in _RULES if (problem := _problem(question, answers.get(question)))]
    if problems:
        raise WrongAnswers("\n  ".join(["Nothing was written, these answers cannot work:", *problems]))
    return ""


def slug(project_name: object) -> str:
    """Return the slug to offer for a project of that name."""
    words = slugify(str(project_name), max_length=40, word_boundary=True)
    is_free = words and words not in _DISTRIBUTIONS.split() and not _filenames().is_device(words)
    return words if is_free else f"handler-{words}".rstrip("-")


def package(project_slug: object) -> str:
    """Return the package to offer for a project of that slug."""
    name = str(project_slug).replace("-", "_")[:_LONGEST_IDENTIFIER]
    return f"handler_{name}"[:_LONGEST_IDENTIFIER] if _module(name) else name


def literal(answer: str) -> str:
    """Return `answer` as a string literal of Python, TOML and JSON alike."""
    return json.dumps(answer, ensure_ascii=False)


def markdown(answer: str) -> str:
    """Return Markdown that shows the very text of `answer`: a code span, if any character could mean something else."""
    if answer == answer.strip() and not re.search(r"[\\`*_{}\[\]<>#|~&$!@]|^[-+=]|^\d+[.)]|:\S", answer):
        return answer
    fence = "`" * (max((len(run) for run in re.findall("`+", answer)), default=0) + 1)
    space = " " if re.search("^[ `]|[ `]$", answer) else ""
    return f"{fence}{space}{answer}{space}{fence}"


def gitignore(log_directory: str) -> str:
    """Return the line that ignores the log directory; nothing where that is outside the project or among its files."""
    path = PurePosixPath(log_directory)
    if path.is_absolute() or not path.parts or {"..", "~"} & set(path.parts) or re.search(r"[:\\]", log_directory):
        return ""
    if (_PROJECT / path.parts[0]).exists() or path.parts[0].startswith("~"):
        return ""
    return "/" + re.sub(r"([ \[\]])", r"\\\1", str(path)) + "/\n"


def page(name: str, template: object) -> str:
    """Return Markdown that names a page of the template, and links it where `template`, as it was typed, is on the web.

    Of a host that may show its files anywhere, that is the repository; of a folder, an archive or another way to get at
    one there is no link. What a URL says before `@` is a secret.
    """
    found = _REPOSITORY.fullmatch(str(template))
    host = str(found and (_HOSTS.get(found["short"]) or found["host"] or found["ssh"]))
    if not found or found["path"].endswith(".zip") or not (found["scheme"] or host in _FORGES):
        return f"`{name}`"
    repository = f"{found['scheme'] or 'https'}://{host}/{found['path']}"
    return f"[{name}]({repository}/{_FORGES[host]}/{name})" if host in _FORGES else f"[{name}]({repository})"


def _problem(question: str, answer: object) -> str | None:
    broken_rule, example = _RULES[question]
    rule = (_unwritable(answer) or broken_rule(answer)) if isinstance(answer, str) else "it is not text"
    return rule and f"{question} {answer!r}: {rule}; for example {example!r}"


def _unwritable(answer: str) -> str | None:
    if re.search("[\udc80-\udcff]", answer):  # how Python keeps bytes that it could not decode
        return (
            "what was typed is no text in this terminal's encoding; set PYTHONUTF8=1 or a UTF-8 locale and answer again"
        )
    if any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in answer):
        return "it has a line break or a control character"
    if re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", answer):
        return "it has a character that reorders the text around it"
    if _TEMPLATE_SYNTAX.search(answer):
        return "cookiecutter would take {{, {% or {# for its own syntax"
    return None


def _text(answer: str) -> str | None:
    return None if answer.strip() else "it is empty"


def _project_slug(answer: str) -> str | None:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", answer):
        return "it has words of a-z and 0-9, joined by single dashes"
    if answer in _DISTRIBUTIONS.split():
        return "the project depends on a distribution of that name"
    if _filenames().is_device(answer):
        return "Windows keeps that name for a device"
    return None if len(answer) <= 100 else "it is longer than 100 characters"


def _package_name(answer: str) -> str | None:
    return _module(answer) or ("Windows keeps that name for a device" if _filenames().is_device(answer) else None)


def _module(answer: str) -> str | None:
    name = answer.lower()  # as a file system may see it
    if rule := _identifier(answer):
        return rule
    if name in sys.stdlib_module_names or name in _STANDARD_LIBRARY.split():
        return "it is a name of Python's standard library"
    if name.replace("_", "-") in _DISTRIBUTIONS.split() or name in _MODULES.split():
        return "it is a name of something that the package depends on"
    if name in {
        "src",
        "test",
        "tests",
        "examples",
        *(path.stem for glob in ("*.py", "*/*.py") for path in _PROJECT.glob(glob)),
    }:
        return "the project uses that name already"
    return None


def _handler_class(answer: str) -> str | None:
    if rule := _identifier(answer):
        return rule
    return "the package uses that name already" if hasattr(builtins, answer) or _is_in_use(answer) else None


def _identifier(answer: str) -> str | None:
    if not answer.isidentifier() or unicodedata.normalize("NFKC", answer) != answer:
        return "it is not a Python identifier"
    if answer in {*keyword.kwlist, *keyword.softkwlist, "type"} or re.fullmatch("__.*__", answer):
        return "Python has a meaning for it"
    columns = sum(1 + (unicodedata.east_asian_width(char) in "FW") for char in answer)
    return None if columns <= _LONGEST_IDENTIFIER else f"it is longer than {_LONGEST_IDENTIFIER} columns"


def _is_in_use(name: str) -> bool:
    sources = (path.read_text("utf-8") for path in _PROJECT.rglob("*.py"))
    return any(name in source and name in _names(source) for source in sources)


def _names(source: str) -> set[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


@cache
def _filenames() -> ModuleType:
    """Return the generated handler's own rules, so that an answer and an argument are refused alike.

    They are run, not imported: Python would leave a __pycache__ in the project that is copied. And
    only when they are asked for: cookiecutter loads this module three times for a bake.
    """
    path = _PROJECT / "src/{{cookiecutter.package_name}}/filenames.py"
    module = ModuleType(path.stem)
    exec(compile(path.read_text("utf-8"), path, "exec"), vars(module))
    return module


def _argument(check: str) -> Callable[[str], str | None]:
    """Return the handler's own `check` of an argument as a rule, in its own words."""

    def broken_rule(answer: str) -> str | None:
        try:
            getattr(_filenames(), check)(answer)
        except ValueError as error:
            return str(error)
        return None

    return broken_rule


def _log_directory(answer: str) -> str | None:
    if rule := _argument("check_directory")(answer):
        return rule
    first, *_ = PurePosixPath(answer).parts or (".",)
    return "the project has a file of that name" if (_PROJECT / first).is_file() else None


def _choice(question: str) -> Callable[[str], str | None]:
    choices = _CHOICES[question]
    return lambda answer: None if answer in choices else f"it is one of {', '.join(choices)}"


# To each question the rule that an answer breaks, and an answer that breaks none.
_RULES: dict[str, tuple[Callable[[str], str | None], str]] = {
    "project_name": (_text, "Audit Log"),
    "project_slug": (_project_slug, "audit-log"),
    "package_name": (_package_name, "audit_log"),
    "handler_class": (_handler_class, "AuditHandler"),
    "log_directory": (_log_directory, "logs"),
    "log_format": (_choice("log_format"), "text"),
    "filename_pattern": (_argument("check_pattern"), "{started_at:%Y-%m-%d}/{collection}.log"),
    "full_name": (_text, "Ada Lovelace"),
    "open_source_license": (_choice("open_source_license"), "MIT"),
    "ci": (_choice("ci"), "github"),
}
