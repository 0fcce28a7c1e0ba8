"""Refuse a directory or pattern that the package itself would refuse; then say what to do next.

It writes nothing, so it may run again in any update, but takes away the folders of a pipeline that was not asked for:
cookiecutter can leave out a file, but no folder.
"""

import contextlib
import json
import os
import runpy
import shlex
import sys
import tempfile
from datetime import datetime, timezone

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = "{{ cookiecutter.package_name }}"
QUESTIONS = [question for question in ANSWERS if not question.startswith("_")]

filenames = runpy.run_path(f"src/{PACKAGE}/filenames.py")
CHECKS = {
    "log_directory": (filenames["check_directory"], "/var/log/ask"),
    "filename_pattern": (filenames["check_pattern"], "{started_at:%Y-%m-%d}/{collection}.jsonl"),
}


def problems():
    """Return those answers that the package refuses, each with the rule and an example."""
    found = {}
    for question, (check, example) in CHECKS.items():
        try:
            check(ANSWERS[question])
        except ValueError as error:
            found[question] = f"\n  {question} {ANSWERS[question]!r}: {error}; for example {example!r}"
    return found


def is_for_comparison():
    """Return whether this is one of the projects that `cruft update` bakes beside the real one, to compare them."""
    folder = os.path.realpath(tempfile.gettempdir())
    return "_commit" in ANSWERS and os.path.realpath(os.getcwd()).startswith(folder + os.sep)


def show(message):
    """Print `message`, or do without: cookiecutter removes a project whose hook fails."""
    try:
        sys.stdout.reconfigure(errors="replace")
        print(message, flush=True)
    except (AttributeError, OSError):  # no output, or nobody reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again at its end, which must not fail either


if bad := problems():
    good = [f"{question}={ANSWERS[question]}" for question in QUESTIONS if question not in bad]
    refused = "".join(bad.values())
    sys.exit(f"These answers cannot work:{refused}\nTo keep the others, run it again with\n  {shlex.join(good)}")

for folder in (".github/workflows", ".github"):
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # which refuses one that holds anything

if not is_for_comparison():
    now = datetime.now(timezone.utc)
    path = filenames["fill"](ANSWERS["filename_pattern"], now, "staff", os.urandom(16).hex())
    show(f"""
Your project is in {os.getcwd()}
A request to the collection `staff`, made now, would be in {ANSWERS["log_directory"]}/{path}
Go there and try it:

    uv run python examples/ask.py   # asks questions, says where the logs are
    uv run python -m {PACKAGE}   # lists them
    uv run check.py   # proves that it works here

README.md says how to wire it in, and how to do all this without uv. In a uv workspace, the
override-dependencies of its pyproject.toml belong into that of the workspace's root.
""")
