"""Check directory and pattern by the package's own rules, then say what to do next.

The hook writes nothing. It removes the empty folders of a pipeline that was not chosen: cookiecutter can leave out a
file, but no folder.
"""

import contextlib
import json
import os
import runpy
import sys
import tempfile
from datetime import datetime, timezone

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PACKAGE = ANSWERS["package_name"]

filenames = runpy.run_path(f"src/{PACKAGE}/filenames.py")


def check(question, check_answer):
    """End the hook, and with it the project, if the package refuses an answer that `pre_gen_project.py` let pass."""
    try:
        check_answer(ANSWERS[question])
    except ValueError as error:
        sys.exit(f"This answer cannot work:\n  {question} {ANSWERS[question]!r}: {error}")


def is_update():
    """Return whether `cruft update` makes this project in a temporary folder, to compare it with the real one."""
    folder_of_output = os.path.dirname(os.path.dirname(os.getcwd()))
    return "_commit" in ANSWERS and os.path.samefile(folder_of_output, tempfile.gettempdir())


def show(message):
    """Print `message` if possible: cookiecutter removes a project whose hook fails."""
    try:
        sys.stdout.reconfigure(errors="replace")
        print(message, flush=True)
    except (AttributeError, OSError):  # there is no output, or nobody reads it
        os._exit(0)  # at once: Python would flush again at its end, and fail


check("log_directory", filenames["check_directory"])
check("filename_pattern", filenames["check_pattern"])

for folder in (".github/workflows", ".github"):
    with contextlib.suppress(OSError):  # it holds something, or does not exist
        os.rmdir(folder)

if not is_update():
    now = datetime.now(timezone.utc)
    path = filenames["fill"](ANSWERS["filename_pattern"], now, "staff", os.urandom(16).hex())
    show(f"""
Your project is in {os.getcwd()}
Go there and try it:

    uv run python examples/ask.py   # ask a small database some questions
    uv run python -m {PACKAGE}   # list what was recorded
    uv run check.py   # check that everything works here

A request to the collection staff, made now, would be recorded in
    {os.path.join(ANSWERS["log_directory"], path)}

README.md says how to use it in your application, and how to do this without uv.
In a uv workspace, copy override-dependencies from pyproject.toml to that of its
root.
""")
