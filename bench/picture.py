"""The picture of both READMEs, `python -m bench.picture`: what the command prints of the example's requests, in its colours."""

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TEMPLATE = Path(__file__).parent.parent

PICTURES = [folder / "requests.svg" for folder in (TEMPLATE / "docs", TEMPLATE / "{{cookiecutter.project_slug}}")]
COLUMNS = 92

# The example, with a model that thinks as long as one would.
ASK = """
import asyncio, ask

reply = ask.scripted_reply

async def think(conversation):
    await asyncio.sleep(0.2 + len(conversation) % 700 / 1000)
    return await reply(conversation)

ask.scripted_reply = think
asyncio.run(ask.main())
"""


def screens(folder: Path) -> str:
    """Return what the two commands print in a terminal of the project that is baked into `folder`."""
    bake = [
        sys.executable,
        "-m",
        "cookiecutter",
        "--no-input",
        "--accept-hooks",
        "no",
        "-o",
        str(folder),
        str(TEMPLATE),
    ]
    subprocess.run(bake, check=True, capture_output=True)
    project = folder / "db-ally-file-handler"
    env = {**os.environ, "PYTHONPATH": f"src{os.pathsep}examples", "COLUMNS": str(COLUMNS), "TZ": "UTC"}
    subprocess.run([sys.executable, "-c", ASK], cwd=project, env=env, check=True, capture_output=True)
    shown = ""
    for arguments in ([], ["show", "-1"], ["show", "-3"]):
        command = " ".join(["python -m db_ally_file_handler", *arguments])
        code = (
            "import sys, click, db_ally_file_handler.__main__ as command\n"
            "command.main(sys.argv[1:], color=True, standalone_mode=False)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=project,
            env=env,
            check=True,
            capture_output=True,
            encoding="utf-8",
        )
        shown += f"\x1b[1m$ {command}\x1b[0m\n{done.stdout}\n"
    return shown


def draw(shown: str) -> str:
    """Return the SVG of it: dark, as a terminal, on light and dark pages alike, and without anything from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.rstrip()))
    svg = console.export_svg(title="db-ally requests", theme=MONOKAI, unique_id="requests")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        picture = draw(screens(Path(folder)))
    for path in PICTURES:
        path.write_text(picture, "utf-8")
