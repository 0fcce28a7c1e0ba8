"""Every operation of a disk fails, a record is cut short at any byte: what is left is whole."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from files import HEADLINE, ask, posix_only, read

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler

OPERATIONS = ("open", "write", "close", "mkdir", "lseek", "fstat")


class Disk:
    """The disk operations of the package, of which the `failing`-th fails, and each write is `short` by some bytes."""

    def __init__(
        self, patch: pytest.MonkeyPatch, failing: int, shorten: Callable[[int], int] | None = None
    ) -> None:
        self.calls = 0
        self._failing = failing
        self._shorten = shorten
        for name in OPERATIONS:
            patch.setattr(os, name, self._wrap(getattr(os, name)))

    def _wrap(self, operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if (
                operation.__name__ == "write" and self._shorten and args[1].strip()
            ):  # but for the blank line
                return self._cut_short(operation, *args)
            if self.calls != self._failing:
                return operation(*args, **kwargs)
            if operation.__name__ == "close":
                operation(*args)  # Linux closes it all the same
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return wrapped

    def _cut_short(self, write: Callable[..., int], file: int, data: bytes) -> int:
        """Write less than there is, and let another process append a line behind it."""
        assert self._shorten
        written = write(file, data[: self._shorten(len(data))]) if self._shorten(len(data)) else 0
        end = os.lseek(file, 0, os.SEEK_CUR)
        write(file, WHOLE)
        os.lseek(file, end, os.SEEK_SET)
        if self.calls == self._failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return written


WHOLE = b'{"of":"another process"}\n'


@posix_only
@pytest.mark.parametrize("raise_errors", [False, True])
async def test_whichever_disk_operation_fails_the_rest_is_whole(
    raise_errors: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    number, has_failed = 0, True
    while has_failed:
        number += 1
        log_dir = tmp_path / str(number)
        handler = Handler(log_dir, "{collection}/log.jsonl", "jsonl", raise_errors=raise_errors)
        caplog.clear()
        open_files = len(os.listdir("/dev/fd"))
        raised = False
        with monkeypatch.context() as patch:
            disk = Disk(patch, number)
            try:
                await ask(handler)
            except OSError as error:
                raised = True
                assert error.errno == errno.EIO
        has_failed = disk.calls >= number

        assert len(os.listdir("/dev/fd")) == open_files
        lines = read(log_dir).splitlines()
        assert all(json.loads(line) for line in lines)
        assert raised == (raise_errors and has_failed)
        if not raise_errors:
            assert handler.lost_records == has_failed
            assert len(lines) >= 4 - has_failed
            assert (
                len([record for record in caplog.records if "fails" in record.message])
                == has_failed
            )

    assert number > 3 * 4


CUTS = {
    "nothing": lambda size: 0,
    "one byte": lambda size: 1,
    "half": lambda size: size // 2,
    "all but the newline": lambda size: size - 1,
}


@posix_only
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
async def test_a_record_cut_short_spoils_no_other_one(
    cut: str,
    log_format: str,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Handler(log_dir, "{collection}", log_format)
    await ask(handler)
    open_files = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as patch:
        Disk(patch, 0, CUTS[cut])
        await ask(handler)
    assert len(os.listdir("/dev/fd")) == open_files
    await ask(handler)

    text = read(log_dir)
    assert text.splitlines().count(WHOLE.decode().strip()) == 4
    if log_format == "jsonl":
        assert len([json.loads(line) for line in text.splitlines() if line.strip()]) == 8 + 4
    else:
        assert len(HEADLINE.findall(text)) == 8
    assert handler.lost_records == 4
    assert f"[Errno {errno.ENOSPC}] room for" in caplog.text


@posix_only
@pytest.mark.parametrize("size", range(0, 60, 7))
async def test_a_record_cut_at_any_byte_leaves_an_empty_line_at_most(
    size: int, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Handler(log_dir, "{collection}.jsonl", "jsonl")
    with monkeypatch.context() as patch:
        Disk(patch, 0, lambda whole: min(size, whole))
        await ask(handler)

    assert {line.strip() for line in read(log_dir).splitlines()} <= {"", WHOLE.decode().strip()}


@posix_only
async def test_even_where_the_stump_cannot_be_blanked_nothing_leaks_and_the_loss_is_counted(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 8):
        handler = Handler(log_dir / str(number), "{collection}.jsonl", "jsonl")
        open_files = len(os.listdir("/dev/fd"))
        with monkeypatch.context() as patch:
            Disk(patch, number, lambda size: size // 2)
            await ask(handler)
        assert len(os.listdir("/dev/fd")) == open_files
        assert handler.lost_records == 4
    assert all("[Errno " in message for message in caplog.messages if "fails" in message)
