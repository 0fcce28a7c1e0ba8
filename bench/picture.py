"""The pictures of the READMEs: `python -m bench.picture` draws what a terminal shows, in its colours.

One is the way from the template to the first log, the other what the command shows of requests. They
are dark, as terminals are, and so look the same on light and dark pages.
"""

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from typing import Any

import pexpect
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).parent.parent
PACKAGE = "db_ally_file_handler"
COLUMNS = 92
QUESTIONS = 10
ENVIRONMENT = {
    **os.environ,
    "TERM": "xterm-256color",
    "FORCE_COLOR": "1",
    "COLUMNS": str(COLUMNS),
    "TZ": "UTC",
    "PYTHONPATH": os.pathsep.join(["src", "examples"]),
    "PYTHONUTF8": "1",
}

# The example, with a model that thinks about as long as a real one.
SLOW_EXAMPLE = """
import asyncio, ask

reply = ask.scripted_reply

async def think(conversation):
    await asyncio.sleep(0.2 + len(conversation) % 700 / 1000)
    return await reply(conversation)

ask.scripted_reply = think
asyncio.run(ask.main())
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        answered = answer_questions(folder)
        project = folder / "db-ally-file-handler"
        asked = run(project, "-c", SLOW_EXAMPLE)
        journey = (
            prompt("cookiecutter gh:org/dbally-handler-template")
            + answered
            + prompt("cd db-ally-file-handler && uv run python examples/ask.py")
            + asked
            + prompt(f"python -m {PACKAGE} show -4 --text | grep -v ' | '  # without the prompts")
            + without_blocks(run(project, "-m", PACKAGE, "show", "-4", "--text"))
        )

        requests = ""
        for arguments in ([], ["show", "-1"], ["show", "-3"]):
            requests += prompt(" ".join(["python -m", PACKAGE, *arguments]))
            requests += run(project, "-m", PACKAGE, *arguments)

    home = f"{folder.resolve()}{os.sep}"
    draw(journey.replace(home, "~/"), ROOT / "docs" / "journey.svg")
    for picture in (ROOT / "docs" / "requests.svg", ROOT / "{{cookiecutter.project_slug}}" / "requests.svg"):
        draw(requests.replace(home, "~/"), picture)


def answer_questions(folder: Path) -> str:
    """Bake the template as a person does who likes all defaults; return what the terminal shows."""
    terminal: Any = pexpect.spawn(
        sys.executable,
        ["-m", "cookiecutter", str(ROOT)],
        cwd=str(folder),
        env=ENVIRONMENT,
        dimensions=(60, COLUMNS),
        encoding="utf-8",
        timeout=30,
    )
    screen = ""
    for number in range(1, QUESTIONS + 1):
        default_is_shown = r"\)\x1b\[0m: "
        terminal.expect(rf"\[{number}/{QUESTIONS}\][^\0]*{default_is_shown}")
        screen += terminal.before + terminal.after
        terminal.sendline("")

    terminal.expect(pexpect.EOF)
    screen += terminal.before
    return str(screen.replace("\r", ""))


def run(project: Path, *arguments: str) -> str:
    """Return what Python prints in a project."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=project, env=ENVIRONMENT, check=True, capture_output=True, encoding="utf-8")
    return done.stdout


def prompt(command: str) -> str:
    return f"\n\x1b[1m$ {command}\x1b[0m\n"


def without_blocks(text: str) -> str:
    """Return the lines that `grep -v ' | '` leaves."""
    return "".join(line for line in text.splitlines(keepends=True) if " | " not in line)


def draw(shown: str, path: Path) -> None:
    """Write an SVG that needs nothing from elsewhere: the fonts are those of who looks at it."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.strip()))
    svg = console.export_svg(title="dbally-handler-template", theme=MONOKAI, unique_id=path.stem)
    path.write_text(re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL) + "\n", "utf-8")


if __name__ == "__main__":
    main()
