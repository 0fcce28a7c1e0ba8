"""Proves that `prune` removes old files of the log, and no other file.

Delete this file together with `reading/pruning.py` and the command `prune`.
"""

import errno
import gzip
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from files import ask, logs, posix_only

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }} import LogFile
from {{ cookiecutter.package_name }}.__main__ import main
from {{ cookiecutter.package_name }}.reading import requests
from {{ cookiecutter.package_name }}.reading.pruning import prune

HOUR = 3600.0
DAY = 24 * HOUR
ID = "0123456789abcdef" * 2


def record(kind: str, days: float = 0) -> str:
    """Return a record that was made so many days ago, as a line."""
    moment = f"{datetime.now(UTC) - timedelta(days):%Y-%m-%dT%H:%M:%S.%fZ}"
    return json.dumps({"time": moment, "request_id": ID, "kind": kind, "elapsed": 1.0}) + "\n"


def make_file(log_dir: Path, name: str, seconds: float, content: str | None = None) -> Path:
    """Make a file that was written so many seconds ago; it holds a whole request."""
    path = log_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        content = record("request_start") + record("request_end")
    path.write_text(content, "utf-8")
    set_age(path, seconds)
    return path


def set_age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def removed(log: LogFile, **limits: Any) -> list[str]:
    return [Path(file.path).name for file in prune(log, **limits).removed]


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
            "{started_at:%Y}/{started_at:%m.%d}/{collection}+",
            ["2026/01.02/staff+"],
            ["2026-01.02/staff+", "2026/01x02/staff+", "2026/01.02/stafff", "26/01.02/staff+"],
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
        path = make_file(log_dir, name, DAY)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(path.read_bytes()))
            set_age(path, DAY)

    prune(LogFile(log_dir, pattern), older_than=0, max_bytes=0)
    assert logs(log_dir) == sorted(foreign)


ALL_CODES = [f"%{code}" for code in map(chr, range(33, 127)) if code not in "{}"]


@pytest.mark.parametrize("code", [*ALL_CODES, "%-d", "%_d", "%0d", "%^a", "%Od", "%#m", "%"])
async def test_files_of_any_code_of_a_time_are_found_or_the_pattern_is_refused(
    code: str, log_dir: Path
) -> None:
    try:
        handler = Handler(log_dir, "{started_at:x" + code + "x}", "jsonl")
    except ValueError as refusal:
        assert "filename_pattern" in str(refusal)
        return

    await ask(handler)
    (name,) = logs(log_dir)
    set_age(log_dir / name, DAY)
    assert removed(handler.sink, older_than=HOUR) == [Path(name).name]


@pytest.mark.parametrize("code", ["%-d", "%_d", "%0d", "%^a", "%Od", "%D", "%x", "%s", "%Q", "%"])
def test_a_code_that_differs_between_systems_is_refused(code: str, log_dir: Path) -> None:
    with pytest.raises(ValueError, match="the codes of a time must be among %Y"):
        LogFile(log_dir, "{started_at:x" + code + "}")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "127.0.0.1 - - [02/Jan/2026] GET /\n",
        '{"time": "2026-01-02T03:04:05Z", "level": "info"}\n' + record("request_start", 90),
        "\0" * 100 + "\n" + record("request_start", 90),
        record("request_end", 90).removesuffix("\n"),
        "0123abcd 2026-01-02 03:04:05.006 request_start\n",
    ],
    ids=["empty", "nginx", "another JSON", "NUL", "no end", "text"],
)
def test_a_file_that_does_not_begin_with_a_record_stays(content: str, log_dir: Path) -> None:
    make_file(log_dir, "nginx.log", 90 * DAY, content)
    make_file(log_dir, "staff.log", 90 * DAY)

    assert removed(LogFile(log_dir, "{collection}.log"), older_than=DAY) == ["staff.log"]
    assert logs(log_dir) == ["nginx.log"]


def test_a_file_that_cannot_be_read_stays_and_is_told(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = make_file(log_dir, "all.gz", 90 * DAY, "no gzip")
    gone = make_file(log_dir, "all", 90 * DAY)
    real_open = open

    def open_late(path: Any, *args: Any) -> Any:
        if path == str(gone):
            gone.unlink()
        return real_open(path, *args)

    monkeypatch.setattr("builtins.open", open_late)
    assert removed(LogFile(log_dir, "all"), older_than=DAY) == []
    assert logs(log_dir) == ["all.gz"]
    assert caplog.messages == [f"{broken}: Not a gzipped file (b'no')"]


def test_a_record_that_was_blanked_out_is_no_first_line(log_dir: Path) -> None:
    content = " " * 80 + "\n" + record("request_start") + record("request_end")
    make_file(log_dir, "all", 90 * DAY, content)

    assert removed(LogFile(log_dir, "all"), older_than=DAY) == ["all"]


def test_the_oldest_go_first_until_no_more_bytes_are_left(log_dir: Path) -> None:
    log = LogFile(log_dir, "{collection}")
    for day in range(5):
        make_file(log_dir, f"{day}x", (9 - day) * DAY)
    make_file(log_dir, "foreign", 99 * DAY, "x" * 10_000)
    size = sum((log_dir / f"{day}x").stat().st_size for day in (2, 3, 4))

    assert removed(log, max_bytes=size) == ["0x", "1x"]
    assert removed(log, max_bytes=size) == []
    assert removed(log, older_than=6.5 * DAY) == ["2x"]
    assert logs(log_dir) == ["3x", "4x", "foreign"]


def test_what_may_still_be_written_to_stays(log_dir: Path) -> None:
    make_file(log_dir, "young", HOUR - 60)
    make_file(log_dir, "ended", 2 * HOUR)
    make_file(log_dir, "open", 2 * HOUR, record("request_start", 6.9))
    make_file(log_dir, "killed", 2 * HOUR, record("request_start", 7.1))

    said = removed(LogFile(log_dir, "{collection}"), older_than=0, max_bytes=0)
    assert sorted(said) == ["ended", "killed"]
    assert logs(log_dir) == ["open", "young"]


def after_reading(name: str, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something between the checks of a file and its removal, as another process would."""
    real_lstat = os.lstat

    def lstat(path: Any) -> os.stat_result:
        if os.path.basename(path) == name and not done:
            done.append(path)
        elif os.path.basename(path) == name:
            action()
        return real_lstat(path)

    done: list[Any] = []  # the directory was read: the next look is the one before the removal
    monkeypatch.setattr(os, "lstat", lstat)


def test_what_is_written_to_while_prune_runs_stays(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_file(log_dir, f"{number}x", (9 - number) * DAY)
    after_reading("1x", lambda: make_file(log_dir, "1x", 0), monkeypatch)

    result = prune(LogFile(log_dir, "{collection}"), older_than=DAY)
    assert [Path(file.path).name for file in result.kept] == ["1x"]
    assert logs(log_dir) == ["1x"]


def test_what_another_run_has_removed_is_no_error(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        make_file(log_dir, f"{number}x", (9 - number) * DAY)
    after_reading("0x", (log_dir / "0x").unlink, monkeypatch)
    size = (log_dir / "2x").stat().st_size

    assert removed(LogFile(log_dir, "{collection}"), max_bytes=2 * size) == ["0x"]
    assert logs(log_dir) == ["1x", "2x"]
    assert caplog.messages == []


@posix_only
def test_what_may_not_be_removed_is_told(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_file(log_dir, "all", 9 * DAY)

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "unlink", refuse)
    assert removed(LogFile(log_dir, "all"), older_than=DAY) == []
    assert caplog.messages == [f"{path}: Permission denied"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prune", *map(str, arguments)], catch_exceptions=False)


def lines_of(verb: str, paths: Iterable[Path]) -> list[str]:
    sizes = {path: path.stat().st_size for path in paths}
    lines = [f"{verb} {path}, {size:,} bytes" for path, size in sizes.items()]
    count = f"{len(sizes)} of {len(sizes)} files"
    return [*lines, f"{verb} {count}, {sum(sizes.values()):,} bytes"]


async def test_a_dry_run_says_what_would_be_removed_and_a_total(log_dir: Path) -> None:
    handler = Handler(log_dir, log_format="jsonl")  # the pattern of the project
    for days in (90, 60):
        await ask(handler)
        for name in logs(log_dir):
            if (log_dir / name).stat().st_mtime > time.time() - DAY:
                set_age(log_dir / name, days * DAY)
    paths = [log_dir / name for name in logs(log_dir)]
    paths.sort(key=lambda path: path.stat().st_mtime)
    would = lines_of("would remove", paths)
    did = lines_of("removed", paths)

    assert run(log_dir, "--older-than", "30d", "--dry-run").output.splitlines() == would
    assert run(log_dir, "--max-bytes", "0B", "--dry-run").output.splitlines() == would
    assert run(log_dir, "--older-than", "30d").output.splitlines() == did
    assert logs(log_dir) == []
    await ask(handler)
    nothing = run(log_dir, "--older-than", "30d", "--dry-run")
    assert nothing.output == "would remove 0 of 1 files, 0 bytes\n"


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_prune_says_if_no_file_is_of_the_log(options: list[str], log_dir: Path) -> None:
    make_file(log_dir, "x.log", 90 * DAY, "text\n")
    make_file(log_dir, "x.jsonl", 90 * DAY)

    pattern = "{collection}.log"

    shown = run(log_dir, "--older-than", "30d", "--pattern", pattern, *options)
    told = f"no file in {log_dir} fits the pattern {pattern} and begins with a record\n"
    assert shown.output == told
    assert shown.exit_code == 0
    assert logs(log_dir) == ["x.jsonl", "x.log"]


def test_prune_says_how_many_files_it_kept(log_dir: Path) -> None:
    make_file(log_dir, "young", HOUR - 60)
    make_file(log_dir, "open", 2 * HOUR, record("request_start", 6.9))
    old = make_file(log_dir, "old", 2 * HOUR)
    size = old.stat().st_size

    shown = run(log_dir, "--max-bytes", "0B", "--pattern", "{collection}").output.splitlines()
    assert shown[1:] == [
        f"removed 1 of 3 files, {size} bytes",
        "kept 2 more, which may still be written to, or cannot be read or removed",
    ]


def spoil(path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    """Let a file be readable for its first record only."""
    if damage == "torn gzip":
        more = "".join(record("event_start", 1).replace(ID, f"{n:032x}") for n in range(9_999))
        path.write_bytes(gzip.compress((path.read_text("utf-8") + more).encode())[:-100])
        set_age(path, 90 * DAY)
        return

    real_open = open

    def open_disk(name: Any, *args: Any) -> Any:
        file = real_open(name, *args)
        if name == str(path):
            return BadDisk(file)
        return file

    monkeypatch.setattr("builtins.open", open_disk)


class BadDisk:
    """A file of which only the first line can be read."""

    def __init__(self, file: Any) -> None:
        self.lines = [file.readline()]
        file.close()

    def __enter__(self) -> "BadDisk":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def readline(self, limit: int) -> Any:
        if not self.lines:
            raise OSError(errno.EIO, "Input/output error")
        return self.lines.pop()


@pytest.mark.parametrize(
    ("damage", "problem"),
    [("torn gzip", "Compressed file ended before"), ("disk", "Input/output error")],
)
@pytest.mark.parametrize("days", [1, 90])
def test_a_file_that_cannot_be_read_to_its_end_stays(
    damage: str,
    problem: str,
    days: float,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = make_file(log_dir, "all.gz" if "gzip" in damage else "all", 90 * DAY)
    path.write_text(record("request_start", days), "utf-8")
    set_age(path, 90 * DAY)
    spoil(path, monkeypatch, damage)

    result = prune(LogFile(log_dir, "all"), older_than=DAY)
    assert (len(result.removed), len(result.kept)) == (0, 1)
    assert path.exists()
    assert (
        caplog.messages == [] if days == 1 else caplog.messages[0].startswith(f"{path}: {problem}")
    )
    (request,) = requests(log_dir)
    assert request.outcome == "unfinished"  # `list` shows what could be read
    with pytest.raises(OSError, match=problem) as caught:
        list(requests(path))
    assert caught.value.filename == str(path)


def test_prune_removes_all_even_if_nobody_reads_its_output(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        make_file(log_dir, f"{number}x", 90 * DAY)

    def fail_to_write(text: str, nl: bool) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("click.echo", fail_to_write)
    shown = run(log_dir, "--older-than", "30d", "--pattern", "{collection}")
    assert (shown.output, shown.exit_code) == ("", 1)
    assert logs(log_dir) == []


def test_prune_can_be_told_another_pattern(log_dir: Path) -> None:
    make_file(log_dir, "a b", 90 * DAY)

    shown = run(log_dir, "--older-than", "30d", "--pattern", "a b")
    assert re.match(f"removed {log_dir / 'a b'}, ", shown.output)
    refused = run(log_dir, "--older-than", "30d", "--pattern", "../x")
    assert (refused.exit_code, "filename_pattern '../x'" in refused.output) == (2, True)
    without_limit = run(log_dir)
    assert without_limit.exit_code == 2
    assert "give --older-than or --max-bytes; for example --older-than 30d" in without_limit.output


def test_prune_works_without_standard_output(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_file(log_dir, "all", 90 * DAY)
    arguments = ["prune", str(log_dir), "--pattern", "all", "--older-than", "30d"]
    monkeypatch.setattr("sys.stdout", None)

    main(arguments, standalone_mode=False)
    assert logs(log_dir) == []


def test_a_directory_that_may_not_be_read_is_an_error(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_dir.mkdir()

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    shown = run(log_dir, "--older-than", "30d")
    assert shown.output == f"Error: [Errno 13] Permission denied: '{log_dir}'\n"
    assert shown.exit_code == 1
