"""A person at a terminal answers the questions."""

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from bake import QUESTIONS, TEMPLATE

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminal that pexpect can drive", allow_module_level=True)

import pexpect


def answer(tmp_path: Path, answers: dict[str, str] | None = None, **variables: str) -> tuple[str, int]:
    """Type `answers`, and Enter at the other questions; return what is on the screen, and the exit code."""
    terminal: Any = pexpect.spawn(
        sys.executable,
        ["-m", "cookiecutter", "--output-dir", str(tmp_path), str(TEMPLATE)],
        env={**os.environ, "TERM": "dumb", **variables},
        dimensions=(60, 80),
        encoding="utf-8",
        timeout=30,
    )
    screen = ""
    for number, question in enumerate(QUESTIONS, 1):
        terminal.expect(rf"\[{number}/{len(QUESTIONS)}\][^\0]*\): ")
        screen += terminal.before + terminal.after
        terminal.sendline((answers or {}).get(question, ""))
    terminal.expect(pexpect.EOF)
    screen += terminal.before
    terminal.close()
    return screen.replace("\r", ""), terminal.exitstatus


def test_enter_at_every_question_gives_a_project_and_says_what_to_do_next(tmp_path: Path) -> None:
    screen, code = answer(tmp_path)

    assert code == 0
    questions, _, end = screen.partition("\nYour project is in ")
    asked = re.split(r"(?m)^  \[\d+/\d+\] ", questions)[1:]
    assert len(asked) == len(QUESTIONS)
    assert all("such as" in question or "for example" in question or "Choose from" in question for question in asked)
    assert max(len(line) for line in questions.splitlines()) <= 80

    _, *lines = end.splitlines()
    assert (tmp_path / "db-ally-file-handler" / "README.md").exists()
    assert max(len(line) for line in lines) <= 80
    for command in ("examples/ask.py", "-m db_ally_file_handler", "check.py"):
        assert re.search(f"^    uv run .*{command}", end, re.MULTILINE)


def test_defaults_follow_the_answers_before(tmp_path: Path) -> None:
    screen, code = answer(tmp_path, {"project_name": "Logs of «Zażółć»", "log_format": "2"})

    pattern = "{started_at:%Y%m%dT%H%M%S.%fZ}-{request_id:.8}.log"
    assert code == 0
    assert "(logs-of-zazolc):" in screen
    assert "(logs_of_zazolc):" in screen
    assert f"({pattern}):" in screen
    logfile = (tmp_path / "logs-of-zazolc" / "src" / "logs_of_zazolc" / "logfile.py").read_text("utf-8")
    assert f'FILENAME_PATTERN = "{pattern}"' in logfile
    assert 'LOG_FORMAT = "text"' in logfile


def test_typed_text_comes_out_as_it_went_in(tmp_path: Path) -> None:
    text = "it's {0} %s # [bold]<b>&amp;[/] zażółć 🤖"
    typed = {
        "project_name": text,
        "project_slug": "audit-log",
        "full_name": text,
        "open_source_license": "4",
        "ci": "2",
    }

    screen, code = answer(tmp_path, typed)

    assert code == 0, screen
    project = tomllib.loads((tmp_path / "audit-log" / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["description"] == text
    assert project["authors"][0]["name"] == text
    assert project["license"] == "LicenseRef-Proprietary"
    assert (tmp_path / "audit-log" / ".gitlab-ci.yml").exists()


def test_typed_answers_that_cannot_work_are_refused(tmp_path: Path) -> None:
    wrong = {
        "project_slug": "../x",
        "package_name": "class",
        "handler_class": "EventHandler",
        "log_directory": "src",
        "filename_pattern": "{{ 1 + 1 }}",
    }

    screen, code = answer(tmp_path / "out", wrong)

    assert code == 1
    assert re.findall(r"^  (\w+) '(.*?)' must ", screen, re.MULTILINE) == list(wrong.items())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list((tmp_path / "out").iterdir()) == []


def test_a_name_that_the_locale_cannot_spell_is_refused(tmp_path: Path) -> None:
    ascii_alone = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    typed = {"full_name": "José"}

    refused, code = answer(tmp_path / "out", typed, **ascii_alone)
    _, code_with_utf8 = answer(tmp_path / "out", typed, **{**ascii_alone, "PYTHONUTF8": "1"})

    assert (code, code_with_utf8) == (1, 0)
    assert "  full_name 'Jos\\udcc3\\udca9' must be one line of printable characters" in refused
    assert "José" in (tmp_path / "out" / "db-ally-file-handler" / "LICENSE").read_text("utf-8")
