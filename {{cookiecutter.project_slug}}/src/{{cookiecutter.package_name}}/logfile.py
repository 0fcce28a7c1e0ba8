"""The file sink: how a record gets into a file. No other module that records uses a disk.

A record is handed to the system in one append, so that several processes can share a file, and
nothing stays open afterwards. There is no fsync: what was recorded survives the process, but not a
power cut.
"""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .filenames import check_directory, check_pattern, fill
from .formats import FORMATS

if TYPE_CHECKING:  # the command uses this module, and must start without importing db-ally
    from .records import Record

LOG_DIR = "{{ cookiecutter.log_directory }}"
FILENAME_PATTERN = "{{ cookiecutter.filename_pattern }}"
LOG_FORMAT = "{{ cookiecutter.log_format }}"

EXAMPLE_PATTERN = "{started_at:%Y-%m-%d}/{collection}-{request_id:.8}.jsonl"

# Windows does not have O_NOFOLLOW and O_NONBLOCK, and only Windows has O_BINARY.
NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # refuse a file that is a symbolic link
NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # do not wait for the reader of a pipe
BINARY = getattr(os, "O_BINARY", 0)  # do not translate newlines
OVERWRITE_FLAGS = os.O_WRONLY | NO_FOLLOW | NO_WAIT | BINARY
APPEND_FLAGS = OVERWRITE_FLAGS | os.O_APPEND | os.O_CREAT

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class LogFile:
    """A sink that appends each record to the file of its request.

    It cannot be changed. To write elsewhere, make another one: `handler.sink = LogFile("logs2")`.

    Args:
        log_dir: directory of the files. It is created, for its owner alone, if it is missing. As an
            attribute it is absolute.
        filename_pattern: format string over `started_at` (UTC), `collection` and `request_id`.
            Requests that it gives the same name share a file.
        log_format: "jsonl" for JSON lines, which the command reads, or "text" for people.

    Raises:
        ValueError: the directory, the pattern or the format cannot work.
    """

    log_dir: str | os.PathLike[str] = LOG_DIR
    filename_pattern: str = FILENAME_PATTERN
    log_format: str = LOG_FORMAT

    def __post_init__(self) -> None:
        if self.log_format not in list(FORMATS):  # a list, because not every value is hashable
            raise ValueError(
                f"log_format {self.log_format!r} must be one of {sorted(FORMATS)}; "
                "for example 'jsonl'"
            )

        try:
            check_pattern(self.filename_pattern)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"filename_pattern {self.filename_pattern!r}: {error}; "
                f"for example {EXAMPLE_PATTERN!r}"
            ) from None

        # This is how a frozen dataclass sets what it computes.
        object.__setattr__(self, "log_dir", _absolute_path(self.log_dir))

    def __call__(self, record: "Record") -> None:
        """Append a record. Raises `OSError` that names the file if the disk refuses."""
        path = self.path_of(record)
        line = FORMATS[self.log_format](record)

        try:
            _append_in_directory(path, line.encode())
        except OSError as error:
            if error.filename is None:  # not every system call knows it
                error.filename = path
            raise

    def path_of(self, record: "Record") -> str:
        """Return the absolute path of the file for a record."""
        return _path_of_request(
            os.fspath(self.log_dir),
            self.filename_pattern,
            record.started_at,
            record.collection,
            record.request_id,
        )


def _absolute_path(log_dir: str | os.PathLike[str]) -> str:
    try:
        path = Path(log_dir)  # which refuses bytes
        check_directory(os.fspath(log_dir))
        return os.path.abspath(path.expanduser())

    except FileNotFoundError:
        rule = "the working directory was deleted"
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: there is no such home
        rule = str(error)

    raise ValueError(f"log_dir {log_dir!r}: {rule}; for example '/var/log/ask'")


@lru_cache(maxsize=256)  # a request has several records
def _path_of_request(
    log_dir: str, pattern: str, started_at: datetime, collection: str, request_id: str
) -> str:
    return os.path.join(log_dir, fill(pattern, started_at, collection, request_id))


def _append_in_directory(path: str, data: bytes) -> None:
    try:
        _append(path, data)
    except FileNotFoundError:
        _make_directories(path)
        _append(path, data)


def _append(path: str, data: bytes) -> None:
    descriptor = os.open(path, APPEND_FLAGS, FILE_MODE)
    try:
        written = os.write(descriptor, data)

        if written < len(data):
            with suppress(OSError):
                _blank_out(path, descriptor, written)
            raise OSError(errno.ENOSPC, f"room for {written} of {len(data)} bytes only")
    finally:
        os.close(descriptor)


def _blank_out(path: str, descriptor: int, written: int) -> None:
    """Turn the record that was just written in part into an empty line.

    This is done in place, because other processes may have appended behind it by now. It takes a
    second descriptor: one that is opened to append writes at the end wherever it is positioned.
    """
    if written == 0:
        return

    end = os.lseek(descriptor, 0, os.SEEK_CUR)
    overwriting = os.open(path, OVERWRITE_FLAGS)
    try:
        # Somebody may have put another file in its place meanwhile, as log rotation does.
        is_same_file = os.path.samestat(os.fstat(descriptor), os.fstat(overwriting))

        if is_same_file:
            os.lseek(overwriting, end - written, os.SEEK_SET)
            os.write(overwriting, b" " * (written - 1) + b"\n")
    finally:
        os.close(overwriting)


def _make_directories(path: str) -> None:
    """Create what is missing of the directories above a file."""
    for directory in reversed(Path(path).parents):
        if not os.path.isdir(directory):
            with suppress(FileExistsError):  # another process was faster
                os.mkdir(directory, DIRECTORY_MODE)
