"""Say what to do next. Writes nothing, so it may run again in any update."""

import json
import sys
import tempfile
from pathlib import Path

ANSWERS = json.loads(r"""{{ cookiecutter | tojson }}""")
PROJECT = Path.cwd()
# `cruft update` bakes an old and a new project beside the real one, to compare them.
IS_FOR_COMPARISON = "_commit" in ANSWERS and Path(tempfile.gettempdir()).resolve() in PROJECT.parents

if not IS_FOR_COMPARISON:
    sys.stdout.reconfigure(errors="replace")
    print(
        f"""
Your project is in {PROJECT}
Go there and try it:

    uv run python examples/ask.py    # asks a small database and shows the logs
    uv run pytest                    # proves that it works here

README.md says how to wire it in, and how to do all this without uv.
"""
    )
