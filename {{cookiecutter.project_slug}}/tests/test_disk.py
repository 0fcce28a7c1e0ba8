"""How a record gets into a file on any machine: modes, links, pipes, and files that others move.

Delete this file with `logfile.py`, if your records go nowhere near a disk.
"""

import asyncio
import errno
import os
import re
import stat

import pytest
from files import HEADLINE, RESULT, ask, file_recorder, logs, posix_only, read, start


@pytest.fixture
def umask(request):
    """Set the umask of the process to the test's parameter."""
    before = os.umask(request.param)
    yield
    os.umask(before)


@posix_only
@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct, indirect=True)
async def test_only_the_owner_may_read_whatever_the_umask(log_dir):
    await ask(file_recorder(log_dir / "deep", "{collection}/{collection}.jsonl"))

    folders = [log_dir, log_dir / "deep", log_dir / "deep" / "staff"]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    file = log_dir / "deep" / "staff" / "staff.jsonl"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@posix_only
async def test_a_planted_link_is_not_followed(log_dir, tmp_path, caplog):
    log_dir.mkdir()
    (log_dir / "staff.jsonl").symlink_to(tmp_path / "target")

    await ask(file_recorder(log_dir, "{collection}.jsonl"))

    assert not (tmp_path / "target").exists()
    refusal = rf"\[Errno {errno.ELOOP}\] {os.strerror(errno.ELOOP)}: '.*staff\.jsonl'"
    assert re.search(refusal, caplog.text)


@posix_only
async def test_a_planted_pipe_stops_nobody(log_dir, caplog):
    log_dir.mkdir()
    os.mkfifo(log_dir / "staff.jsonl")

    await asyncio.wait_for(ask(file_recorder(log_dir, "{collection}.jsonl")), timeout=5)

    assert "staff.jsonl" in caplog.text


@posix_only
async def test_a_directory_that_is_not_mounted_is_an_error_like_any_other(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")
    handler = file_recorder(tmp_path / "link" / "logs", "{collection}", raise_errors=True)

    with pytest.raises(FileNotFoundError, match="link"):
        await ask(handler)


async def test_a_drive_that_is_not_there_is_an_error_like_any_other(log_dir, monkeypatch):
    def refuse(*args):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    # As on Windows, where not even the root is there.
    monkeypatch.setattr(os.path, "isdir", lambda path: False)
    monkeypatch.setattr(os, "mkdir", refuse)

    with pytest.raises(FileNotFoundError, match=r"staff\.jsonl"):
        await ask(file_recorder(log_dir, "{collection}.jsonl", raise_errors=True))


@posix_only
async def test_a_drive_that_has_no_modes_costs_no_record(log_dir, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    for name in ("chmod", "fchmod", "lchmod"):
        monkeypatch.setattr(os, name, refuse, raising=False)

    await ask(file_recorder(log_dir, "{collection}/{collection}.jsonl", raise_errors=True))

    assert read(log_dir).count("\n") == 4


async def test_a_deleted_directory_comes_back(log_dir):
    handler = file_recorder(log_dir, "{collection}.jsonl")
    await ask(handler)
    (log_dir / "staff.jsonl").unlink()
    log_dir.rmdir()

    await ask(handler)

    assert read(log_dir).count("\n") == 4
    assert handler.lost_records == 0


async def test_a_file_that_is_moved_away_in_the_middle_of_a_request_is_begun_anew(log_dir):
    handler = file_recorder(log_dir, "{collection}.log", "text")
    tracker = await start(handler)
    (log_dir / "staff.log").rename(log_dir / "staff.log.1")

    await tracker.request_end(RESULT)

    assert logs(log_dir) == ["staff.log", "staff.log.1"]
    moved = (log_dir / "staff.log.1").read_text("utf-8")
    begun = (log_dir / "staff.log").read_text("utf-8")
    assert HEADLINE.findall(moved) == [("request", "start")]
    assert HEADLINE.findall(begun) == [("request", "end")]
    assert handler.lost_records == 0
