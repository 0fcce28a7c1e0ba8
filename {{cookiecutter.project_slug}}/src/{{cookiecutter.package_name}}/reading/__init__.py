"""Log files of either format, read back: `for request in requests("logs"): print(request.question)`."""

import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from heapq import heappush, heappushpop
from typing import Any, Literal, NamedTuple, TypeAlias

from .parsing import Facts, LogRecord, parse_line

StrPath: TypeAlias = str | os.PathLike[str]

_LONGEST_LINE = 1 << 28  # bytes; a longer one is none of a log
_COARSEST = 2.0  # seconds between two times that a file can have, on FAT
_OUTCOMES: dict[str, Literal["ok", "failed"]] = {"request_end": "ok", "request_failed": "failed"}


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


_FIELDS = frozenset(field.name for field in fields(Request))


Wanted: TypeAlias = Callable[[Request], bool]


def requests(*paths: StrPath) -> Iterator[Request]:
    """Yield the requests in files, and in all files of directories; those of the file written last come first.

    No more is in memory than the requests of one file that have not ended.

    Raises:
        OSError: a path is not there, or may not be read.
    """
    ended: set[str] = set()  # in a file that was written later than the one they started in
    files = find_files(*paths)
    packed = {(file.at, file.path) for file in files if file.path.endswith(".gz")}
    for at, _, path in files:
        if path.endswith(".part") or (at, f"{path}.gz") in packed:
            continue  # `prune` is at work on it, or was
        started: dict[str, LogRecord] = {}
        for record in records(path):
            if record.kind == "request_start":
                started[record.request_id] = record
            elif record.kind in _OUTCOMES:
                start = started.pop(record.request_id, None)
                if not start:
                    ended.add(record.request_id)
                yield _request(path, at, start, record)
        for start in started.values():
            if start.request_id not in ended:
                yield _request(path, at, start, None)


def newest(*paths: StrPath, most: int, since: float = 0, is_wanted: Wanted = lambda request: True) -> list[Request]:
    """Return the requests that started last, newest last; files written before they started are not read.

    Args:
        paths: files, and directories of files.
        most: of requests.
        since: when they started at the earliest, in seconds since 1970.
        is_wanted: whether to take a request.
    """
    heap: list[tuple[datetime, int, Request]] = []
    for number, request in enumerate(requests(*paths)):
        if request.written + _COARSEST < (heap[0][0].timestamp() if len(heap) == most else since):
            break  # what follows was written, and so started, before those that are found
        if request.started.timestamp() >= since and is_wanted(request):
            (heappush if len(heap) < most else heappushpop)(heap, (request.started, number, request))
    return [request for *_, request in sorted(heap)]


def with_id(start: str, *paths: StrPath) -> list[Request]:
    """Return the requests whose id begins so; where files have it in their names, no others are read."""
    named = [file.path for file in find_files(*paths) if start[:8] in os.path.basename(file.path)]
    found = {each.request_id: each for each in requests(*named) if each.request_id.startswith(start)}
    return [*found.values()] or [each for each in requests(*paths) if each.request_id.startswith(start)]


def _request(path: str, written: float, start: LogRecord | None, last: LogRecord | None) -> Request:
    facts: Facts = {"outcome": _OUTCOMES[last.kind] if last else "unfinished"}
    for record in filter(None, (start, last)):
        facts = (
            {"request_id": record.request_id, "started": datetime.fromisoformat(record.time)} | facts | record.facts()
        )
    if not start:
        facts["started"] -= timedelta(seconds=facts.get("elapsed", 0))
    return Request(path=path, written=written, **{name: value for name, value in facts.items() if name in _FIELDS})


class Found(NamedTuple):
    """A file.

    Attributes:
        at: when it was written last, in seconds since 1970.
        size: in bytes.
        path: where it is.
    """

    at: float
    size: int
    path: str


def find_files(*paths: StrPath) -> list[Found]:
    """Return files, and of directories all the files in them, that written last first."""
    return sorted((found for path in paths for found in _entries(os.fspath(path))), reverse=True)


def _entries(path: str) -> Iterator[Found]:
    if not os.path.isdir(path):
        status = os.stat(path)
        yield Found(status.st_mtime, status.st_size, path)
        return
    with os.scandir(path) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # it was removed meanwhile
                if entry.is_dir(follow_symlinks=False):
                    yield from _entries(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield Found(entry.stat().st_mtime, entry.stat().st_size, entry.path)


def records(path: StrPath) -> Iterator[LogRecord]:
    """Yield the records of a file in their order; what is none, or was cut short, is passed over."""
    record: LogRecord | None = None
    lines: list[bytes] = []  # of a record as text, behind its headline
    for line in _lines(os.fspath(path)):
        if found := parse_line(line):
            if record:
                yield _whole(record, lines)
            record, lines = found, []
        elif record and not line.startswith(b"{") and line.startswith(record.raw[:9]):
            lines.append(line)
    if record:
        yield _whole(record, lines)


def _whole(record: LogRecord, lines: list[bytes]) -> LogRecord:
    return record._replace(raw=b"".join([record.raw, *lines])) if lines else record


def _lines(path: str) -> Iterator[bytes]:
    with suppress(EOFError, gzip.BadGzipFile, zlib.error, FileNotFoundError):  # it is none, or was removed
        if not os.path.exists(path):
            path += ".gz"  # compressed since it was found
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            while line := file.readline(_LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield line
