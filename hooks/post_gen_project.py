"""Say what to do next. Writes nothing, so it may run again in any update.

It takes away the folders of a pipeline that was not asked for: cookiecutter can leave out a file, but no folder.
"""

import contextlib
import os
import sys


def is_for_comparison() -> bool:
    """Return whether this is one of the projects that `cruft update` bakes beside the real one, to compare them."""
    if "{{ '_commit' in cookiecutter }}" == "False":
        return False
    import tempfile  # it takes longer than Python itself, and cookiecutter's users need none of it

    return os.path.realpath(os.getcwd()).startswith(os.path.realpath(tempfile.gettempdir()) + os.sep)


def show(message: str) -> None:
    """Print `message`, or do without: cookiecutter removes a project whose hook fails."""
    try:
        sys.stdout.reconfigure(errors="replace")
        print(message, flush=True)
    except (AttributeError, OSError):  # no output, or nobody reads it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again at its end, which must not fail either


for folder in (".github/workflows", ".github"):
    with contextlib.suppress(OSError):
        os.rmdir(folder)  # which refuses one that holds anything

if not is_for_comparison():
    show(f"""
Your project is in {os.getcwd()}
Go there and try it:

    uv run python examples/ask.py   # asks questions, says where the logs are
    uv run python -m {{ cookiecutter.package_name }}   # lists them
    uv run check.py   # proves that it works here

README.md says how to wire it in, and how to do all this without uv. In a uv workspace, the
override-dependencies of its pyproject.toml belong into that of the workspace's root.
""")
