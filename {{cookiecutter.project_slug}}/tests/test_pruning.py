"""Old files go, or are compressed; nothing else does, and nothing is lost on the way."""

import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from files import ask, logs, posix_only, run_python, start_python

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.logfile import LogFile
from {{ cookiecutter.package_name }}.reading import find_files, pruning, requests
from {{ cookiecutter.package_name }}.reading.pruning import prune

HOUR = 3600.0
DAY = 24 * HOUR


def age(path: Path, seconds: float) -> Path:
    """Let a file seem to be written so many seconds ago."""
    os.utime(path, (time.time() - seconds,) * 2)
    return path


async def make_file(log_dir: Path, name: str, seconds: float, question: str = "Who?") -> Path:
    await ask(Handler(log_dir, name, "jsonl"), question=question)
    return age(log_dir / name, seconds)


def done(log: LogFile, **limits: Any) -> list[str]:
    return [f"{action} {Path(file.path).name}" for action, file in prune(log, **limits)]


def questions(log_dir: Path) -> list[str]:
    return sorted(str(request.question) for request in requests(log_dir))


@pytest.mark.parametrize(
    ("pattern", "own", "foreign"),
    [
        (
            "{started_at:%Y%m%dT%H%M%S.%fZ}-{request_id:.8}.log",
            ["20260102T030405.000006Z-0123abcd.log", "20260102T030405.000006Z-0123abcd.log.gz"],
            [
                "app.log",
                "20260102T030405.000006Z-0123abcd.log.1",
                "x20260102T030405.000006Z-0123abcd.log",
                "a/b.log",
            ],
        ),
        (
            "{collection}.jsonl",
            ["staff.jsonl", "Z_y~0123456789abcdef0123.jsonl"],
            ["a.b.jsonl", "a/b.jsonl", "staff.log"],
        ),
        (
            "{started_at:%Y/%m}/{collection}.%d",
            ["2026/01/staff.%d"],
            ["2026-01/staff.%d", "2026/01/staff.05"],
        ),
        (
            "x-{started_at:%b %d}.log",
            ["x-Jan 02.log"],
            ["x-Jan.log", "Jan 02.log", "a/x-Jan 02.log"],
        ),
        ("all.log", ["all.log"], ["allxlog", "all.log.bak"]),
    ],
)
def test_only_files_that_the_pattern_can_have_made_are_removed(
    pattern: str, own: list[str], foreign: list[str], log_dir: Path
) -> None:
    for name in [*own, *foreign]:
        (log_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (log_dir / name).touch()
        age(log_dir / name, DAY)

    list(prune(LogFile(log_dir, pattern), older_than=0, max_bytes=0, gzip_after=0))
    assert logs(log_dir) == sorted(foreign)


async def test_the_oldest_go_first_until_no_more_bytes_are_left(log_dir: Path) -> None:
    assert done(LogFile(log_dir, "{collection}"), max_bytes=0) == []  # nothing was recorded yet
    for day in range(5):
        await make_file(log_dir, f"{day}x", (9 - day) * DAY)
    log = LogFile(log_dir, "{collection}")
    size = sum((log_dir / f"{day}x").stat().st_size for day in (2, 3, 4))

    assert done(log, max_bytes=size) == ["remove 0x", "remove 1x"]
    assert done(log, max_bytes=size) == []
    assert done(log, older_than=6.5 * DAY) == ["remove 2x"]
    assert logs(log_dir) == ["3x", "4x"]


async def test_what_may_still_be_written_to_stays(log_dir: Path) -> None:
    await make_file(log_dir, "young", HOUR - 60)
    await make_file(log_dir, "ended", 2 * HOUR)
    for name, days in (("open", 6.9), ("killed", 7.1)):
        await make_file(log_dir, name, 0)
        row = json.loads((log_dir / name).read_text("utf-8").split("\n")[0])
        row["time"] = f"{datetime.now(UTC) - timedelta(days):%Y-%m-%dT%H:%M:%S.%fZ}"
        (log_dir / name).write_text(json.dumps(row) + "\n", "utf-8")
        age(log_dir / name, 2 * HOUR)

    said = done(LogFile(log_dir, "{collection}"), older_than=0)
    assert sorted(said) == ["remove ended", "remove killed"]
    assert logs(log_dir) == ["open", "young"]


async def test_a_dry_run_only_says_what_would_be_done(log_dir: Path) -> None:
    await make_file(log_dir, "old", 9 * DAY)
    await make_file(log_dir, "older", 99 * DAY)
    log = LogFile(log_dir, "{collection}")

    said = [*prune(log, older_than=30 * DAY, gzip_after=DAY, dry_run=True)]
    assert [action for action, _ in said] == ["remove", "compress"]
    assert logs(log_dir) == ["old", "older"]
    assert done(log, older_than=30 * DAY, gzip_after=DAY) == ["remove older", "compress old"]
    assert logs(log_dir) == ["old.gz"]


async def test_what_is_compressed_is_read_as_before(log_dir: Path) -> None:
    log = LogFile(log_dir, "{collection}")
    for question in (
        "first",
        "second",
        "third",
    ):  # into a file that was compressed before, each time
        await make_file(log_dir, "all", 2 * DAY, question)
        assert done(log, gzip_after=DAY) == ["compress all"]
    assert logs(log_dir) == ["all.gz"]
    assert questions(log_dir) == ["first", "second", "third"]
    assert (log_dir / "all.gz").stat().st_mtime == pytest.approx(time.time() - 2 * DAY, abs=60)
    assert (log_dir / "all.gz").stat().st_mode & 0o077 == 0 or os.name != "posix"
    assert done(log, gzip_after=DAY) == []


async def test_what_comes_while_a_file_is_compressed_or_removed_stays(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside, late = pruning._set_aside, (await make_file(log_dir, "all", 0, "late")).read_bytes()

    def append(path: str) -> int:
        with open(path, "ab") as file:
            return file.write(late)

    for limits in ({"gzip_after": DAY}, {"older_than": DAY}):
        for name in logs(log_dir):
            (log_dir / name).unlink()
        await make_file(log_dir, "all", 2 * DAY, "early")
        monkeypatch.setattr(
            pruning, "_set_aside", lambda path: (append(path), set_aside(path), append(path))[1]
        )
        done(LogFile(log_dir, "{collection}"), **limits)
        assert questions(log_dir) == ["early", "late", "late"]
        assert (log_dir / "all").read_bytes() == late


async def test_what_a_killed_run_has_set_aside_goes_first(log_dir: Path) -> None:
    await make_file(log_dir, "all", 2 * HOUR, "second")
    aside = await make_file(log_dir, "all.aside", 0, "first")
    whole = aside.read_bytes()
    aside.write_bytes(whole.splitlines(True)[0])
    age(aside, 3 * HOUR)
    assert done(LogFile(log_dir, "all"), older_than=0) == []  # its request may still run
    aside.write_bytes(whole)
    age(aside, 3 * HOUR)
    assert done(LogFile(log_dir, "all"), gzip_after=0) == ["compress all.aside", "compress all"]
    assert questions(log_dir) == ["first", "second"]


@posix_only
@pytest.mark.parametrize("call", ["replace", "unlink", "utime", "fsync"])
@pytest.mark.parametrize("number", [1, 2])
async def test_a_kill_at_any_point_loses_nothing(call: str, number: int, log_dir: Path) -> None:
    for name, question in (("a", "first"), ("b", "second")):
        await make_file(log_dir, name, 2 * DAY, question)
    code = """
import itertools, signal
from {package}.reading.pruning import prune
count, call = itertools.count(1), getattr(os, sys.argv[2])
def killed(*args, **options):
    if next(count) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*args, **options)
setattr(os, sys.argv[2], killed)
list(prune(LogFile(sys.argv[1], "{collection}"), gzip_after=86400))
"""
    process = run_python(
        code.replace("{package}", pruning.__name__.split(".")[0]), str(log_dir), call, str(number)
    )
    assert process.returncode == -signal.SIGKILL, process.stderr

    assert questions(log_dir) == ["first", "second"]
    done(LogFile(log_dir, "{collection}"), gzip_after=DAY)
    assert questions(log_dir) == ["first", "second"]
    for path in log_dir.glob("*.part"):
        age(path, DAY)
    done(LogFile(log_dir, "{collection}"), gzip_after=DAY)
    assert logs(log_dir) == ["a.gz", "b.gz"]
    assert questions(log_dir) == ["first", "second"]


async def test_what_another_run_has_done_already_is_no_error(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_file(log_dir, "all", 2 * DAY)
    log, found = LogFile(log_dir, "{collection}"), find_files(log_dir)
    assert done(log, older_than=DAY) == ["remove all"]
    monkeypatch.setattr(pruning, "find_files", lambda _: found)
    assert done(log, older_than=DAY) == ["remove all"]


SERVICE = """
async def serve():
    handler = Handler(sys.argv[1], "{collection}.jsonl", "jsonl")
    for number in range(300):
        await ask(handler, collection=f"c{number % 7}", question=f"{sys.argv[2]}-{number}")
    print(handler.lost_records)

asyncio.run(serve())
"""


def test_beside_a_service_at_work_nothing_is_lost(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "_YOUNGEST", 0.0)  # as if each file had not been touched for long
    workers = [start_python(SERVICE, str(log_dir), str(number)) for number in range(2)]
    compressed = 0
    while any(worker.poll() is None for worker in workers):
        compressed += (
            len(done(LogFile(log_dir, "{collection}.jsonl"), gzip_after=0))
            if log_dir.exists()
            else 0
        )
    assert [worker.communicate()[0] for worker in workers] == ["0\n", "0\n"]

    assert compressed
    assert questions(log_dir) == sorted(
        f"{worker}-{number}" for worker in range(2) for number in range(300)
    )


def run(*arguments: object) -> list[str]:
    shown = CliRunner().invoke(main, ["prune", *map(str, arguments)], catch_exceptions=False)
    return shown.output.splitlines()


async def test_prune_says_what_it_does(log_dir: Path) -> None:
    for _ in range(2):
        await ask(Handler(log_dir))  # the pattern of the project
    for name in logs(log_dir):
        os.utime(log_dir / name, (1, 1))
    removed = {
        f"remove {log_dir / name} of {(log_dir / name).stat().st_size:,} bytes"
        for name in logs(log_dir)
    }
    assert set(run(log_dir, "--older-than", "30d", "--dry-run")) == {
        f"would {line}" for line in removed
    }
    assert set(run(log_dir, "--older-than", "30d")) == removed
    assert logs(log_dir) == []
    assert run(log_dir, "--older-than", "30d") == []


async def test_prune_can_be_told_another_pattern(log_dir: Path) -> None:
    await make_file(log_dir, "a b", 90 * DAY)
    assert run(log_dir, "--older-than", "30d") == []
    (removed,) = run(log_dir, "--older-than", "30d", "--pattern", "a b")
    assert removed.startswith(f"remove {log_dir / 'a b'} of ")
    assert (
        "filename_pattern '../x': each part"
        in run(log_dir, "--older-than", "30d", "--pattern", "../x")[-1]
    )


def test_files_of_another_user_are_an_error(log_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log_dir.mkdir()
    monkeypatch.setattr(
        os, "listdir", Mock(side_effect=PermissionError(13, "Permission denied", str(log_dir)))
    )
    (said,) = run(log_dir, "--older-than", "30d")
    assert said == f"Error: [Errno 13] Permission denied: {str(log_dir)!r}"
