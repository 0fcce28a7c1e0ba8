"""The pictures of the READMEs, `python -m bench.picture`: what a terminal shows, in its colours."""

import os
import re
import sys
import tempfile
from io import StringIO
from pathlib import Path
from typing import Any

import pexpect
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from .project import ROOT, run

PICTURES = {
    "journey": [ROOT / "docs" / "journey.svg"],
    "requests": [ROOT / "docs" / "requests.svg", ROOT / "{{cookiecutter.project_slug}}" / "requests.svg"],
}
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
COMMAND = """
import sys
import db_ally_file_handler.__main__ as command

command.main(sys.argv[1:], color=True, standalone_mode=False)
"""


def journey(folder: Path) -> tuple[str, str]:
    """Return what a terminal shows of the way to a first log, and of what the command prints then."""
    command = ["-m", "cookiecutter", "--accept-hooks", "yes", str(ROOT)]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "TZ": "UTC"}
    terminal: Any = pexpect.spawn(
        sys.executable, command, cwd=str(folder), env=env, dimensions=(60, COLUMNS), encoding="utf-8", timeout=30
    )
    screen = ""
    for number in range(1, 11):
        terminal.expect(rf"\[{number}/10\][^\0]*\)\x1b\[0m: ")
        screen += terminal.before + terminal.after
        terminal.sendline("")
    terminal.expect(pexpect.EOF)
    screen += terminal.before
    project = folder / "db-ally-file-handler"
    asked = run(project, project, "-c", ASK, env=env)
    log = sorted((project / "logs").iterdir())[0]
    headlines = "".join(line for line in log.read_text("utf-8").splitlines(True) if line[8:11] != " | ")
    shown = (
        _prompt("cookiecutter gh:org/dbally-handler-template")
        + screen.replace("\r", "").replace(f"{folder}/", "~/")
        + _prompt("cd db-ally-file-handler && uv run python examples/ask.py")
        + asked
        + _prompt(f"grep -v '^........ |' logs/{log.name}  # without the prompts")
        + headlines
    )
    requests = ""
    for arguments in ([], ["show", "-1"], ["show", "-3"]):
        requests += _prompt(" ".join(["python -m db_ally_file_handler", *arguments]))
        requests += run(project, project, "-c", COMMAND, *arguments, env=env)
    return shown, requests


def _prompt(command: str) -> str:
    return f"\n\x1b[1m$ {command}\x1b[0m\n"


def draw(shown: str, name: str) -> str:
    """Return the SVG of it: dark, as a terminal, on light and dark pages alike, and without anything from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.strip()))
    svg = console.export_svg(title="dbally-handler-template", theme=MONOKAI, unique_id=name)
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for name, shown in zip(PICTURES, journey(Path(temporary)), strict=True):
            for path in PICTURES[name]:
                path.write_text(draw(shown, name), "utf-8")
