"""The file sink: the only module that touches the disk."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from weakref import WeakKeyDictionary

from .filenames import check_directory, check_pattern, fill
from .records import Record, Request

_APPEND = os.O_WRONLY | os.O_APPEND
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # follow no link, wait for no pipe, translate no newline
    _APPEND |= getattr(os, _name, 0)


class LogFile:
    """A sink that appends each record to the file of its request.

    A record is handed to the system in one append before the call returns, and nothing stays
    open. No fsync: what was recorded survives the process, not a power cut.

    Args:
        log_dir: the directory. What is missing of it is made, for its owner alone.
        filename_pattern: decides which requests share a file.
        format_record: returns a record as text that ends with a newline.

    Raises:
        ValueError: the directory or the pattern cannot work.
    """

    def __init__(self, log_dir: str, filename_pattern: str, format_record: Callable[[Record], str]) -> None:
        check_directory(log_dir)
        check_pattern(filename_pattern)
        self._log_dir = os.path.abspath(os.path.expanduser(log_dir))
        self._pattern = filename_pattern
        self._format_record = format_record
        # As long as a request is under way: its name is made once, and thousands of them leave nothing behind.
        self._places: WeakKeyDictionary[Request, tuple[str, list[str]]] = WeakKeyDictionary()

    def __call__(self, record: Record) -> None:
        """Append `record`. Raises `OSError` that names the file when the disk refuses."""
        place = self._places.get(record.request)
        if place is None:
            place = self._places[record.request] = self._find_place(record.request)
        path, folders = place
        data = self._format_record(record).encode()
        try:
            for folder in folders:
                if os.path.islink(folder):
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            _append(path, data, is_first=record.kind == "request_start")
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error

    def path_of(self, request: Request) -> str:
        """Return the absolute path of the file for `request`."""
        return self._find_place(request)[0]

    def _find_place(self, request: Request) -> tuple[str, list[str]]:
        """Return the path of the file, and of each folder between it and the directory."""
        parts = fill(self._pattern, request.started_at, request.collection, request.request_id)
        *folders, path = accumulate([self._log_dir, *parts], os.path.join)
        return path, folders[1:]


def _append(path: str, data: bytes, is_first: bool) -> None:
    file, is_new = _open(path, is_first)
    try:
        if is_new and hasattr(os, "fchmod"):
            os.fchmod(file, 0o600)  # whatever the umask
        written = os.write(file, data)
        if written < len(data):
            _take_back(file, written)
            raise OSError(errno.ENOSPC, f"room for {written} of {len(data)} bytes only")
    finally:
        os.close(file)


def _open(path: str, is_first: bool) -> tuple[int, bool]:
    """Open a file to append to it, and tell whether it is new, as it probably is for the first record of a request."""
    try:
        if is_first:
            return os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o600), True
        return os.open(path, _APPEND), False
    except FileExistsError:
        return os.open(path, _APPEND), False
    except FileNotFoundError:
        _make_folder(os.path.dirname(path))
        return os.open(path, _APPEND | os.O_CREAT, 0o600), True


def _make_folder(folder: str) -> None:
    parent = os.path.dirname(folder)
    if os.path.isdir(folder) or parent == folder:  # as of a drive that is not there
        return
    _make_folder(parent)
    with suppress(FileExistsError):  # another process was faster
        os.mkdir(folder, 0o700)
        os.chmod(folder, 0o700)  # whatever the umask


def _take_back(file: int, written: int) -> None:
    """Remove a record that was cut short, so that the next one starts on a line of its own."""
    end = os.lseek(file, 0, os.SEEK_CUR)
    if os.fstat(file).st_size == end:  # nobody has appended behind it
        os.ftruncate(file, end - written)
