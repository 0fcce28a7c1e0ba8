"""Log files, read back: `for request in requests("logs"): print(request.question)`.

Files hold one record a line, as JSON; see `formats.format_json`. Everything else is passed over:
files of other programs, lines that were cut short, records that no recorder writes. What is damaged
or may not be read is said through `logging`, in one line for each file. A path that the caller
names and that cannot be read raises `OSError`.

Nothing here imports db-ally, so that the command starts at once.
"""

import os
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias

from .files import StrPath, find_files, read_lines, warn
from .parsing import OUTCOMES, File, Request, Row, make_events, make_request, parse_record

__all__ = ["Request", "events", "newest", "records", "requests", "with_id"]

Wanted: TypeAlias = Callable[[Request], bool]
OnRead: TypeAlias = Callable[[int, int], object]  # bytes that were read, bytes in all

# Seconds by which the clock of a disk, a file share for example, may be behind that of a process.
CLOCK_SKEW = 60.0

# Where a line may be the first or the last record of a request. Quotes inside a text are escaped,
# so that no text can look like this.
MARKS = (b'"kind":"request_', b'"kind": "request_')


def _ignore(read: int, total: int) -> None:
    """Do nothing with the progress."""


def requests(*paths: StrPath, on_read: OnRead = _ignore) -> Iterator[Request]:
    """Yield the requests in files and directories; those of the file that was written last first.

    Only the first records of requests that have not ended are kept in memory, for one file.

    Args:
        paths: files, and directories of files.
        on_read: called after each request with how many bytes were read, of how many.

    Raises:
        OSError: a path is missing or may not be read.
    """
    return read_requests(find_files(*paths), on_read)


def read_requests(files: Iterable[File], on_read: OnRead = _ignore) -> Iterator[Request]:
    """Yield the requests in files that were found, file by file."""
    files = list(files)
    total = sum(file.size for file in files)
    done = 0
    ended: set[str] = set()  # in a file that was written later than the one they started in

    for file in files:
        try:
            for request, position in _requests_in(file, ended):
                on_read(done + min(position, file.size), total)
                yield request

        except OSError as error:
            if file.is_named:
                raise
            if not isinstance(error, FileNotFoundError):  # it was removed meanwhile
                warn(file.path, str(error.strerror))
        done += file.size


def _requests_in(file: File, ended: set[str]) -> Iterator[tuple[Request, int]]:
    """Yield the requests of one file, each with how many bytes were read until then."""
    started: dict[str, tuple[Row, int]] = {}
    damaged = position = 0

    for line in read_lines(file.path):
        offset = position
        position += len(line)
        if MARKS[0] not in line and MARKS[1] not in line:
            continue

        row = parse_record(line)
        if row is None:
            damaged += 1
        elif row["kind"] == "request_start":
            started[row["request_id"]] = row, offset
        elif row["kind"] in OUTCOMES:
            start, first = started.pop(row["request_id"], (None, 0))
            if start is None:
                ended.add(row["request_id"])
            yield make_request(start, row, file, first), position

    for request_id, (start, first) in started.items():
        if request_id not in ended:
            yield make_request(start, start, file, first), position

    if damaged:
        warn(file.path, f"{damaged} damaged records are left out")


def newest(
    *paths: StrPath,
    most: int,
    since: float = 0,
    is_wanted: Wanted = lambda request: True,
    on_read: OnRead = _ignore,
) -> list[Request]:
    """Return the requests that started last, the newest last.

    Files that were written before those requests started are not read. A file cannot be older than
    what it holds: if one seems to be by more than `CLOCK_SKEW`, that is allowed for from then on.

    Args:
        paths: files, and directories of files.
        most: how many requests at most.
        since: when they started at the earliest, in seconds since 1970.
        is_wanted: whether to take a request.
        on_read: as for `requests`.

    Raises:
        OSError: a path is missing or may not be read.
    """
    found: list[Request] = []
    skew = CLOCK_SKEW

    for request in requests(*paths, on_read=on_read):
        started = request.started.timestamp()
        ended = started + (request.elapsed or 0)
        skew = max(skew, ended - request.written)

        earliest = since
        if len(found) == most:
            earliest = found[0].started.timestamp()
        if request.written + skew < earliest:
            break

        if started >= earliest and is_wanted(request):
            insort(found, request, key=lambda each: each.started)
            del found[:-most]

    return found


def with_id(start: str, *paths: StrPath) -> list[Request]:
    """Return the requests whose id begins with `start`.

    If there are files with these digits in their names, no others are read.

    Raises:
        OSError: a path is missing or may not be read.
    """
    files = find_files(*paths)
    named = [file for file in files if start[:8] in os.path.basename(file.path)]

    for candidates in (named, files):
        found = [each for each in read_requests(candidates) if each.request_id.startswith(start)]
        if found:
            return found
    return []


def records(path: StrPath, request_id: str = "", offset: int = 0) -> Iterator[Row]:
    """Yield the records of a file in their order, each as the `dict` that its line holds.

    Args:
        path: of a file.
        request_id: of the one request to take; empty for all.
        offset: where a line begins, in bytes; what is before it is left out.

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

    The file is read again. There are no events if it is gone, or if it is a pipe.
    """
    if not os.path.isfile(request.path):
        return []

    with suppress(OSError):
        return make_events(records(request.path, request.request_id, request.offset))
    return []
