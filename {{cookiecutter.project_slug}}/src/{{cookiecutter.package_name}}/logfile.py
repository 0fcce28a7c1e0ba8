"""The file sink: the only module that touches the disk."""

import errno
import os
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from .filenames import check_directory, check_pattern, fill
from .formats import FORMATS
from .records import Record

LOG_DIR = {{ cookiecutter.log_directory | literal }}
FILENAME_PATTERN = {{ cookiecutter.filename_pattern | literal }}
LOG_FORMAT = {{ cookiecutter.log_format | literal }}

_EXAMPLE = "{started_at:%Y-%m-%d}/{collection}-{request_id:.8}.log"
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # follow no link, wait for no pipe, translate no newline
    _APPEND |= getattr(os, _name, 0)


class LogFile:
    """A sink that appends each record to the file of its request.

    A record is handed to the system in one append before the call returns, and nothing stays
    open. No fsync: what was recorded survives the process, not a power cut.

    Args:
        log_dir: directory of the files. What is missing of it is made, for its owner alone.
        filename_pattern: format string over `started_at` (UTC), `collection` and `request_id`;
            requests that it gives the same name share a file.
        log_format: "text" for people or "jsonl" for programs.

    Attributes:
        log_dir: the directory, absolute.
        filename_pattern: the pattern.

    Raises:
        ValueError: the directory, the pattern or the format cannot work.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = LOG_DIR,
        filename_pattern: str = FILENAME_PATTERN,
        log_format: str = LOG_FORMAT,
    ) -> None:
        if log_format not in [*FORMATS]:
            raise ValueError(f"log_format {log_format!r}: one of {sorted(FORMATS)}; for example 'jsonl'")
        try:
            check_pattern(filename_pattern)
        except (TypeError, ValueError) as error:
            raise ValueError(f"filename_pattern {filename_pattern!r}: {error}; for example {_EXAMPLE!r}") from None
        self.log_dir = _absolute(log_dir)
        self.filename_pattern = filename_pattern
        self._format = FORMATS[log_format]
        self._find_path = lru_cache(maxsize=256)(self._fill)  # a request has several records

    def __call__(self, record: Record) -> None:
        """Append `record`. Raises `OSError` that names the file when the disk refuses."""
        *folders, path = self._find_path(record.started_at, record.collection, record.request_id)
        data = self._format(record).encode()
        try:
            for folder in folders:
                if os.path.islink(folder):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            try:
                _append(path, data)
            except FileNotFoundError:
                _make_folders(path)
                _append(path, data)
        except OSError as error:
            error.filename = path  # not every system call knows it
            raise

    def path_of(self, record: Record) -> str:
        """Return the absolute path of the file for `record`."""
        return self._find_path(record.started_at, record.collection, record.request_id)[-1]

    def _fill(self, *request: Any) -> list[str]:
        """Return the folders between the directory and the file of a request, and the file."""
        return [*accumulate([self.log_dir, *fill(self.filename_pattern, *request)], os.path.join)][1:]


def _absolute(log_dir: str | os.PathLike[str]) -> str:
    try:
        path = Path(log_dir)  # which takes no bytes
        check_directory(os.fspath(log_dir))
        return os.path.abspath(path.expanduser())
    except FileNotFoundError:
        rule = "the working directory was deleted"
    except (TypeError, ValueError, RuntimeError) as error:  # the last where nobody knows that home
        rule = str(error)
    raise ValueError(f"log_dir {log_dir!r}: {rule}; for example '/var/log/ask'")


def _append(path: str, data: bytes) -> None:
    files = [*map(os.open, [path], [_APPEND], [0o600])]  # in this form no signal handler can raise before they are kept
    try:
        written = os.write(files[0], data)
        if written < len(data):
            with suppress(OSError):
                _blank(path, files, written)
            raise OSError(errno.ENOSPC, f"room for {written} of {len(data)} bytes only")
    finally:
        for file in files:
            os.close(file)


def _blank(path: str, files: list[int], written: int) -> None:
    """Turn a record that was cut short into an empty line, in place: others may have appended behind it."""
    end = os.lseek(files[0], 0, os.SEEK_CUR)
    files += map(os.open, (path,), (_APPEND & ~(os.O_APPEND | os.O_CREAT),))
    if written and os.path.samestat(*map(os.fstat, files)):
        os.lseek(files[1], end - written, os.SEEK_SET)
        os.write(files[1], b" " * (written - 1) + b"\n")


def _make_folders(path: str) -> None:
    for folder in reversed(Path(path).parents):
        if not os.path.isdir(folder):
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(folder, 0o700)
