"""Log files of either format, read back: `for request in requests("logs"): print(request.question)`."""

import gzip
import os
import stat
import zlib
from bisect import insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

from .parsing import Facts, LogRecord, parse_line

StrPath: TypeAlias = str | os.PathLike[str]

_LONGEST_LINE = 1 << 28  # characters; a longer one is none of a log
_OUTCOMES = {"request_end": "ok", "request_failed": "failed"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What files tell of a request; `None` where they tell nothing, as text does of kinds of tokens.

    Attributes:
        request_id: 32 hex digits; 8 where the start of a text file is missing.
        outcome: unfinished is what neither ended nor failed, as when its process was killed.
        elapsed: seconds; an upper bound if `error` is `None` although it failed.
        rows: those of the result, as far as they were recorded.
        row_count: how many there were.
        error: `type`, `message` and `causes`, outermost first.
        path: of the file that holds its last record.
        written: when that was written last, in seconds since 1970.
    """

    request_id: str
    started: datetime
    outcome: Literal["ok", "failed", "unfinished"]
    elapsed: float | None = None
    collection: str = ""
    question: str | None = None
    labels: Facts | None = None
    process: str | None = None
    view: str | None = None
    iql: Any = None
    sql: str | None = None
    answer: str | None = None
    rows: Any = None
    row_count: int | None = None
    error: Facts | None = None
    calls: int | None = None
    failed_calls: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    path: str
    written: float


_FIELDS = [field.name for field in fields(Request)]

Wanted: TypeAlias = Callable[[Request], bool]


class Found(NamedTuple):
    """A file.

    Attributes:
        written: when it was written last, in seconds since 1970.
        size: in bytes.
        path: where it is.
    """

    written: float
    size: int
    path: str


def requests(*paths: StrPath) -> Iterator[Request]:
    """Yield the requests in files, and in all files of directories; those of the file written last come first.

    No more is in memory than the requests of one file that have not ended.

    Raises:
        OSError: a path is not there, or may not be read.
    """
    ended: set[str] = set()  # in a file that was written later than the one they started in
    files = find_files(*paths)
    copies = find_copies(files)
    for file in files:
        if (file.written, file.path) in copies:
            continue
        started: dict[str, LogRecord] = {}
        for record in records(file.path):
            if record.kind == "request_start":
                started[record.request_id] = record
            elif record.kind in _OUTCOMES:
                start = started.pop(record.request_id, record)
                if start is record:
                    ended.add(record.request_id)
                yield _request(file, start, record)
        yield from (
            _request(file, start, start)
            for start in started.values()
            if start.request_id not in ended
        )


def newest(
    *paths: StrPath, most: int, since: float = 0, is_wanted: Wanted = lambda request: True
) -> list[Request]:
    """Return the requests that started last, newest last; files written before they started are not read.

    Args:
        paths: files, and directories of files.
        most: of requests.
        since: when they started at the earliest, in seconds since 1970.
        is_wanted: whether to take a request.
    """
    found: list[Request] = []
    for request in requests(*paths):
        earliest = found[0].started.timestamp() if len(found) == most else since
        if (
            request.written + 2 < earliest
        ):  # 2 seconds: the coarsest time that a file can have, on FAT
            break  # what follows was written, and so started, before those that are found
        if request.started.timestamp() >= earliest and is_wanted(request):
            insort(found, request, key=lambda each: each.started)
            del found[:-most]
    return found


def with_id(start: str, *paths: StrPath) -> list[Request]:
    """Return the requests whose id begins so; where files have it in their names, no others are read."""
    named = [file.path for file in find_files(*paths) if start[:8] in os.path.basename(file.path)]
    found = [each for each in requests(*named) if each.request_id.startswith(start)]
    return found or [each for each in requests(*paths) if each.request_id.startswith(start)]


def _request(file: Found, start: LogRecord, end: LogRecord) -> Request:
    """Return what two records tell, which are the same where the files hold but one of them."""
    facts = end.facts() | start.facts()
    since = facts.get("elapsed", 0) if start is end else 0
    facts |= {
        "outcome": _OUTCOMES.get(end.kind, "unfinished"),
        "started": facts["time"] - timedelta(seconds=since),
    }
    facts |= {"path": file.path, "written": file.written}
    return Request(**{name: facts[name] for name in _FIELDS if name in facts})


def find_files(*paths: StrPath) -> list[Found]:
    """Return files, and of directories all the files in them, that written last first; links in them are not followed."""
    return sorted(
        (found for path in paths for found in _files(os.path.realpath(path, strict=True))),
        reverse=True,
    )


def _files(path: str) -> Iterator[Found]:
    with suppress(FileNotFoundError):  # it was removed meanwhile
        status = os.lstat(path)
        if stat.S_ISDIR(status.st_mode):
            for name in os.listdir(path):
                yield from _files(os.path.join(path, name))
        elif stat.S_ISREG(status.st_mode):
            yield Found(status.st_mtime, status.st_size, path)


def find_copies(files: Iterable[Found]) -> set[tuple[float, str]]:
    """Return the `written` and `path` of what holds only what others hold, too: `prune` is at work on it, or was killed."""
    packed = {
        (file.written, f"{file.path.removesuffix('.gz')}.aside")
        for file in files
        if file.path.endswith(".gz")
    }
    return packed | {(file.written, file.path) for file in files if file.path.endswith(".part")}


def records(path: StrPath) -> Iterator[LogRecord]:
    """Yield the records of a file in their order; what is none, or was cut short, is passed over."""
    record: LogRecord | None = None
    opened = gzip.open if str(path).endswith(".gz") else open
    with (
        suppress(
            EOFError, gzip.BadGzipFile, zlib.error, FileNotFoundError
        ),  # it is none, or was removed
        opened(path, "rt", encoding="utf-8", errors="replace", newline="\n") as file,
    ):
        while (line := file.readline(_LONGEST_LINE)).endswith(
            "\n"
        ):  # the last may still be under way
            if found := parse_line(line):
                if record:
                    yield record
                record = found
            elif record and line.startswith(f"{record.request_id[:8]} "):
                record.lines.append(line)  # of text, behind its headline
    if record:
        yield record
