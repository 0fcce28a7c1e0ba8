"""How a record gets into a file on any machine: modes, links, pipes, what others remove."""

import asyncio
import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestStart
from files import HEADLINE, RESULT, ask, logs, posix_only, read

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler


@posix_only
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
async def test_only_the_owner_may_read_whatever_the_umask(umask: int, log_dir: Path) -> None:
    before = os.umask(umask)
    try:
        await ask(Handler(log_dir / "deep", "{collection}/{collection}.log"))
    finally:
        os.umask(before)

    modes = {
        stat.S_IMODE(path.stat().st_mode)
        for path in [log_dir, *log_dir.rglob("*")]
        if path.is_dir()
    }
    assert modes == {0o700}
    assert stat.S_IMODE((log_dir / "deep/staff/staff.log").stat().st_mode) == 0o600


@posix_only
async def test_a_planted_link_is_not_followed(
    log_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (log_dir / "staff").mkdir(parents=True)
    (log_dir / "staff" / "staff.log").symlink_to(tmp_path / "target")
    before = logs(tmp_path)

    await ask(Handler(log_dir, "{collection}/{collection}.log"))

    assert logs(tmp_path) == before
    assert re.search(
        rf"\[Errno {errno.ELOOP}\] {os.strerror(errno.ELOOP)}: '.*staff\.log'", caplog.text
    )


@posix_only
async def test_a_directory_that_is_not_mounted_is_an_error_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")

    with pytest.raises(FileNotFoundError, match=r"link"):
        await ask(Handler(tmp_path / "link" / "logs", "{collection}.log", raise_errors=True))


async def test_a_drive_that_is_not_there_is_an_error_like_any_other(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(os.path, "isdir", lambda path: False)  # not even the root
    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(FileNotFoundError, match=r"staff\.log"):
        await ask(Handler(log_dir, "{collection}.log", raise_errors=True))


@posix_only
async def test_a_planted_pipe_stops_nobody(log_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    log_dir.mkdir()
    os.mkfifo(log_dir / "staff.log")

    await asyncio.wait_for(ask(Handler(log_dir, "{collection}.log", "text")), 5)

    assert "staff.log" in caplog.text


async def test_a_deleted_directory_comes_back(log_dir: Path) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    await ask(handler)
    (log_dir / "staff.log").unlink()
    log_dir.rmdir()
    await ask(handler)

    assert len(HEADLINE.findall(read(log_dir))) == 4
    assert handler.lost_records == 0


async def test_a_file_moved_away_in_the_middle_of_a_request_is_begun_anew(log_dir: Path) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", "Who?"))
    (log_dir / "staff.log").rename(log_dir / "staff.log.1")
    await tracker.request_end(RESULT)

    kinds = [
        HEADLINE.findall((log_dir / name).read_text("utf-8"))
        for name in ("staff.log.1", "staff.log")
    ]
    assert kinds == [[("request", "start")], [("request", "end")]]
    assert handler.lost_records == 0


@posix_only
async def test_a_drive_that_knows_no_modes_costs_no_record(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for name in ("chmod", "fchmod", "lchmod", "fchmodat"):
        monkeypatch.setattr(os, name, refuse, raising=False)
    handler = Handler(log_dir, "{collection}/{collection}.log", "text", raise_errors=True)
    await ask(handler)

    assert len(HEADLINE.findall(read(log_dir))) == 4
