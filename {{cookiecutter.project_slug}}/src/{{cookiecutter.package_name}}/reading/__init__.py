"""Log files, read back: `for request in requests("logs"): print(request.question)`.

Files hold one record a line, as JSON; see `formats.format_json`. Everything else is skipped: files
of other programs, lines that were cut short, records that no recorder writes. Each damaged or
unreadable file is logged once. A path that the caller names and that cannot be read raises
`OSError`.

Nothing here imports db-ally, so that the command starts at once.
"""

import os
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TypeAlias

from .files import File, StrPath, find_files, read_lines, warn, warn_of_error
from .parsing import OUTCOMES, Request, Row, make_request, parse_record, time_of

__all__ = ["Request", "events", "newest", "records", "requests", "with_id"]

IsWanted: TypeAlias = Callable[[Request], bool]
OnRead: TypeAlias = Callable[[int, int], object]  # bytes that were read, bytes in all

# Seconds by which the clock of a disk, such as a file share, may be behind that of a process.
CLOCK_SKEW = 300.0

# Where a line may be the first or the last record of a request. Quotes inside a text are escaped,
# so that no text can look like this.
MARKS = (b'"kind":"request_', b'"kind": "request_')

DIGITS_IN_NAMES = 8  # of an id; fewer may be in the name of a file by chance


def _ignore(read: int, total: int) -> None:
    """Do nothing with the progress."""


def requests(*paths: StrPath, on_read: OnRead = _ignore) -> Iterator[Request]:
    """Yield the requests in files and directories, the most recently modified file first.

    Only the first records of requests that have not ended are kept in memory, for one file.

    Args:
        paths: files, and directories of files.
        on_read: called after each request with how many bytes were read, of how many.

    Raises:
        OSError: a path is missing or may not be read.
    """
    files = find_files(*paths)
    return _read_files(files, _size_of(files), on_read)


def newest(
    *paths: StrPath,
    most: int,
    since: float = 0,
    is_wanted: IsWanted = lambda request: True,
    on_read: OnRead = _ignore,
) -> list[Request]:
    """Return the requests that started last, the newest last.

    Files that were last modified before those requests started are not read. Clocks may differ by
    `CLOCK_SKEW`.

    Args:
        paths: files, and directories of files.
        most: how many requests at most.
        since: when they started at the earliest, in seconds since 1970.
        is_wanted: whether to take a request.
        on_read: as for `requests`.

    Raises:
        OSError: a path is missing or may not be read.
    """
    files = find_files(*paths)
    found: list[Request] = []

    def earliest_start() -> float:
        if len(found) < most:
            return since
        return found[0].started.timestamp()

    def recent_files() -> Iterator[File]:
        # The next file is asked for when the one before it was read, so `found` is up to date.
        for file in files:
            if file.modified + CLOCK_SKEW < earliest_start():
                return
            yield file

    for request in _read_files(recent_files(), _size_of(files), on_read):
        if request.started.timestamp() >= earliest_start() and is_wanted(request):
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
    if len(start) >= DIGITS_IN_NAMES:
        digits = start[:DIGITS_IN_NAMES]
        named_files = [file for file in files if digits in os.path.basename(file.path)]
        found = _find_id(start, named_files)
        if found:
            return found
    return _find_id(start, files)


def _find_id(start: str, files: list[File]) -> list[Request]:
    found = _read_files(files, _size_of(files), _ignore)
    return [request for request in found if request.request_id.startswith(start)]


def _size_of(files: list[File]) -> int:
    return sum(file.size for file in files)


def _read_files(files: Iterable[File], total: int, on_read: OnRead) -> Iterator[Request]:
    done = 0
    ended_ids: set[str] = set()

    for file in files:
        try:
            for request, position in read_file(file, ended_ids):
                on_read(done + min(position, file.size), total)
                yield request

        except OSError as error:
            if file.is_explicit:
                raise
            warn_of_error(file.path, error)
        done += file.size


def read_file(file: File, ended_ids: set[str]) -> Iterator[tuple[Request, int]]:
    """Yield the requests of one file, each with how many bytes were read until then.

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
                yield make_request(start, row, file.path, start_offset), position
    except OSError as error:
        problem = error

    for request_id, (start, start_offset) in starts.items():
        if request_id not in ended_ids:
            yield make_request(start, start, file.path, start_offset), position

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
