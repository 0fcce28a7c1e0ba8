"""Log files, read back: `for request in requests("logs"): print(request.question)`.

Files hold one record a line, as JSON; see `formats.format_json`. Everything else is skipped: files
of other programs, lines that were cut short, records that no recorder writes. Each damaged or
unreadable file is logged once. A path that the caller names and that cannot be read raises
`OSError`.

In a directory, only regular files are read, and links are not followed. A path that the caller
names is read whatever it is: a link, a pipe, a file that is compressed according to its name.

Nothing here imports db-ally, so that the command starts at once.
"""

import errno
import gzip
import logging
import os
import stat
import zlib
from bisect import insort
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import NamedTuple, TypeAlias

from .parsing import OUTCOMES, Request, Row, make_request, parse_record, time_of
from .terminal import escape_hidden

__all__ = ["Request", "events", "newest", "records", "requests", "with_id"]

StrPath: TypeAlias = str | os.PathLike[str]
IsWanted: TypeAlias = Callable[[Request], bool]
OnRead: TypeAlias = Callable[[int, int], object]  # bytes that were read, bytes in all

# Seconds by which the clock of a disk, such as a file share, may be behind that of a process.
CLOCK_SKEW = 300.0

# Where a line may be the first or the last record of a request. Quotes inside a text are escaped,
# so that no text can look like this.
MARKS = (b'"kind":"request_', b'"kind": "request_')

LONGEST_LINE = 1 << 28  # bytes; a longer line is read in parts, none of which is a record
DIGITS_IN_NAMES = 8  # of an id; fewer may be in the name of a file by chance

logger = logging.getLogger(__name__.partition(".")[0])  # the package has one


class File(NamedTuple):
    """A file that was found.

    Attributes:
        path: where it is, absolute.
        modified: when it was last modified, in seconds since 1970.
        size: in bytes.
        is_explicit: the caller named it; it was not found in a directory.
    """

    path: str
    modified: float
    size: int
    is_explicit: bool = False


def _ignore(read: int, total: int) -> None:
    """Do nothing with the progress."""


def requests(*paths: StrPath, since: float = 0, on_read: OnRead = _ignore) -> Iterator[Request]:
    """Yield the requests in files and directories, the most recently modified file first.

    Only the first records of requests that have not ended are kept in memory, for one file. Files
    that were last modified before `since` are not read. Clocks may differ by `CLOCK_SKEW`.

    Args:
        paths: files, and directories of files.
        since: when they started at the earliest, in seconds since 1970.
        on_read: called now and then with about how many bytes were read, of how many.

    Raises:
        OSError: a path is missing or may not be read.
    """
    return _read_files(find_files(*paths), lambda: since, on_read)


def newest(
    *paths: StrPath,
    most: int,
    since: float = 0,
    is_wanted: IsWanted = lambda request: True,
    on_read: OnRead = _ignore,
) -> list[Request]:
    """Return the requests that started last, the newest last.

    Files that were last modified before those requests started are not read.

    Args:
        paths: files, and directories of files.
        most: how many requests at most.
        since: as for `requests`.
        is_wanted: whether to take a request.
        on_read: as for `requests`.

    Raises:
        OSError: a path is missing or may not be read.
    """
    found: list[Request] = []

    def earliest_start() -> float:
        if len(found) < most:
            return since
        return found[0].started.timestamp()

    for request in _read_files(find_files(*paths), earliest_start, on_read):
        if is_wanted(request):
            insort(found, request, key=lambda each: each.started)
            del found[:-most]
    return found


def with_id(start: str, *paths: StrPath) -> list[Request]:
    """Return the requests whose id begins with `start`.

    If files with these digits in their names have such a request, no other files are read.

    Raises:
        OSError: a path is missing or may not be read.
    """
    files = find_files(*paths)
    digits = start[:DIGITS_IN_NAMES]
    named_files = []
    if len(digits) == DIGITS_IN_NAMES:
        named_files = [file for file in files if digits in os.path.basename(file.path)]

    for candidate_files in (named_files, files):
        found = []
        for request in _read_files(candidate_files):
            if request.request_id.startswith(start):
                found.append(request)
        if found:
            return found
    return []


def _read_files(
    files: list[File],
    earliest_start: Callable[[], float] = lambda: 0,
    on_read: OnRead = _ignore,
) -> Iterator[Request]:
    """Yield the requests in files that started at the earliest then.

    `earliest_start` is called again for each file and request: it may depend on what was yielded.
    """
    total = sum(file.size for file in files)
    read = 0
    ended_ids: set[str] = set()

    for file in files:
        if file.modified + CLOCK_SKEW < earliest_start():
            return  # all that follow are older

        try:
            for request in read_file(file, ended_ids):
                on_read(read + min(request.offset, file.size), total)
                if request.started.timestamp() >= earliest_start():
                    yield request

        except OSError as error:
            if file.is_explicit:
                raise
            warn_of_error(file.path, error)
        read += file.size
        on_read(read, total)


def read_file(file: File, ended_ids: set[str]) -> Iterator[Request]:
    """Yield the requests of one file.

    Args:
        file: the file.
        ended_ids: requests whose end, but not their start, was in a file that was read before. They
            are not yielded as unfinished. Such requests of this file are added.

    Raises:
        OSError: the file cannot be read to its end. Requests that were read are yielded before.
    """
    starts: dict[str, tuple[Row, int]] = {}  # records of requests that have not ended, and offsets
    damaged = position = 0
    problem: OSError | None = None

    try:
        for line in read_lines(file.path):
            offset = position
            position += len(line)
            if MARKS[0] not in line and MARKS[1] not in line:
                continue

            row = parse_record(line)
            if row is None:
                damaged += 1
            elif row["kind"] == "request_start":
                starts[row["request_id"]] = row, offset
            elif row["kind"] in OUTCOMES:
                start, start_offset = starts.pop(row["request_id"], (None, 0))
                if start is None:
                    ended_ids.add(row["request_id"])
                yield make_request(start, row, file.path, start_offset)
    except OSError as error:
        problem = error

    for request_id, (start, start_offset) in starts.items():
        if request_id not in ended_ids:
            yield make_request(start, start, file.path, start_offset)

    if damaged:
        warn(file.path, f"{damaged} damaged records are left out")
    if problem is not None:
        raise problem


def records(path: StrPath, request_id: str = "", offset: int = 0) -> Iterator[Row]:
    """Yield the records of a file in their order, each as the `dict` that its line holds.

    Args:
        path: of a file.
        request_id: id of the request; empty means all.
        offset: where a line begins, in bytes; earlier lines are skipped.

    Raises:
        OSError: the file is missing or may not be read.
    """
    mark = request_id.encode()
    for line in read_lines(path, offset):
        if mark not in line:
            continue

        row = parse_record(line)
        if row is not None and row["request_id"].startswith(request_id):
            yield row


def events(request: Request) -> list[Row]:
    """Return the last record of each event of a request, with `started`, when the event started.

    The file is read again, from the first to the last record of the request. There are no events if
    it is gone, or if it is a pipe.
    """
    if not os.path.isfile(request.path):
        return []

    found: dict[int, Row] = {}
    with suppress(OSError):
        for row in records(request.path, request.request_id, request.offset):
            if row["kind"] in OUTCOMES:
                break

            number = row.get("event_id")
            if number in found:
                found[number] = {**row, "started": found[number]["started"]}
            elif number is not None:
                elapsed = timedelta(seconds=row.get("elapsed") or 0)
                found[number] = {**row, "started": time_of(row) - elapsed}
    return list(found.values())


def find_files(*paths: StrPath) -> list[File]:
    """Return these files, and all files in these directories, the most recently modified first.

    Raises:
        OSError: one of `paths` is missing or may not be read.
    """
    files: dict[str, File] = {}
    for path in map(os.path.abspath, paths):
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            for file in _files_in(path):
                files.setdefault(file.path, file)
        else:
            files[path] = File(path, status.st_mtime, status.st_size, is_explicit=True)

    return sorted(files.values(), key=lambda file: file.modified, reverse=True)


def _files_in(directory: str) -> Iterator[File]:
    def on_error(error: OSError) -> None:
        if error.filename == directory:
            raise error
        warn_of_error(error.filename, error)

    for folder, _, names in os.walk(directory, onerror=on_error):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError as error:
                warn_of_error(folder, error)
                continue

            if stat.S_ISREG(status.st_mode):
                yield File(path, status.st_mtime, status.st_size)


def read_lines(path: StrPath, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines of a file. The last line is left out if it has no end yet.

    Args:
        path: of a file.
        offset: where a line begins, in bytes; earlier lines are skipped.

    Raises:
        OSError: the file is missing, may not be read, or ends in .gz but is not gzip.
    """
    opener = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            if offset:
                file.seek(offset)
            while line := file.readline(LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield line

    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise OSError(errno.EIO, str(error), path) from error
    except OSError as error:
        if error.filename is None:  # not every system call knows it
            error.filename = path
        raise


def warn_of_error(path: str, error: OSError) -> None:
    """Log what may not be read, unless it was removed meanwhile."""
    if not isinstance(error, FileNotFoundError):
        warn(path, str(error.strerror))


@cache  # so that it is logged once, however often the file is read
def warn(path: str, problem: str) -> None:
    """Log what is wrong with a file. Unless the application decides otherwise, Python shows it."""
    logger.warning("%s: %s", escape_hidden(path), problem)
