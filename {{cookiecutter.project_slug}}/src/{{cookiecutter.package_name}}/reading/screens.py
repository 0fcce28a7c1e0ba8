"""What the command shows, as lines for a terminal."""

import sys
from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate
from shutil import get_terminal_size
from typing import Any
from unicodedata import category, east_asian_width

import click

from ..formats import escape, show_errors
from . import Request
from .parsing import Facts, LogRecord

_COLORS = {"ok": None, "failed": "red", "unfinished": "yellow"}
_COLUMNS = ["started", "id", "collection", "outcome", "seconds", "calls", "tokens", "question"]
_COUNTS = ["requests", "failed", "unfinished", "p50", "p95", "calls", "tokens"]
_NUMBERS = {*_COUNTS, "seconds"}  # columns that are aligned to the right
_AROUND = ("ViewExecutionError", "Text2SQLError")  # which db-ally puts around what went wrong
_NAME, _BAR, _ROWS = (
    22,
    40,
    10,
)  # columns of the time line: of a name at least, and of bars in a pipe; rows of a result


def list_lines(requests: Sequence[Request]) -> Iterator[str]:
    """Yield a line for each request, and one below each that failed with what went wrong."""
    header, *lines = _table(_COLUMNS, map(_cells, requests))
    yield click.style(header, dim=True)
    for request, line in zip(requests, lines, strict=True):
        yield click.style(line, fg=_COLORS[request.outcome])
        errors = show_errors(request.error)
        for error in [each for each in errors if not each.startswith(_AROUND)][:1] or errors[-1:]:
            yield click.style(_cut(f"  {error}"), fg="red")


def _cells(request: Request) -> list[Any]:
    started, today = request.started.astimezone(), datetime.now().date()
    when = f"{started:%H:%M:%S}" if started.date() == today else f"{started:%m-%d %H:%M}"
    used = [_seconds(request), request.calls, request.total_tokens]
    return [
        when,
        request.request_id[:8],
        _cut(request.collection, 4),
        request.outcome,
        *used,
        request.question,
    ]


def _seconds(request: Request) -> str:
    is_late = request.outcome == "failed" and request.error is None  # so that it is an upper bound
    return "" if request.elapsed is None else f"{'<' * is_late}{request.elapsed:.3f}"


def _table(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> Iterator[str]:
    cells = [
        ["" if cell is None else _in_one_line(str(cell)) for cell in row] for row in [header, *rows]
    ]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield _cut(" ".join(map(_align, header, row, widths)).rstrip())


def _align(name: str, cell: str, width: int) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if name in _NUMBERS else cell + gap


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return sum(
        (category(char) not in ("Mn", "Me")) + (east_asian_width(char) in "WF") for char in text
    )


def _in_one_line(text: str) -> str:
    return escape(text).replace("\n", " ")


def _cut(text: str, parts: int = 1) -> str:
    """Return `text` in one line, as far as there is room for it in one of so many parts of a line of the terminal."""
    line, columns = (
        _in_one_line(text),
        get_terminal_size((sys.maxsize, 0)).columns // parts,
    )  # of a pipe, all
    ends = [*accumulate(map(_width, line))]
    return (
        line if not ends or ends[-1] <= columns else f"{line[: bisect_right(ends, columns - 1)]}…"
    )


def show_lines(request: Request, records: Iterable[LogRecord]) -> Iterator[str]:
    """Yield what there is to know of a request, with a bar for each event on its time line."""
    title = f"{request.request_id}  {request.outcome}  {_seconds(request)}"
    yield click.style(title.rstrip(), fg=_COLORS[request.outcome])
    started = f"{request.started.astimezone():%Y-%m-%d %H:%M:%S %z}"
    labels = ", ".join(f"{name}={value}" for name, value in (request.labels or {}).items())
    yield from _fields(
        Started=started, Process=request.process, File=request.path, Collection=request.collection
    )
    yield from _fields(Labels=labels, Question=request.question)
    yield from ["", *_time_line(request, records), ""]
    failed, tokens = request.failed_calls or 0, request.total_tokens or 0
    calls = f"{request.calls} calls, {failed} failed, {tokens} tokens" if request.calls else None
    yield from _fields(
        Error="\ncaused by ".join(show_errors(request.error)), Model=calls, View=request.view
    )
    yield from _fields(SQL=request.sql, Rows=_rows(request), Answer=request.answer)


def _fields(**values: Any) -> Iterator[str]:
    for label, value in values.items():
        if value not in (None, ""):
            yield click.style(f"  {label:<12}", dim=True) + escape(str(value)).replace(
                "\n", "\n" + " " * 14
            )


def _rows(request: Request) -> str | int | None:
    """Return the first rows of a result as a table, where they have columns, and how many more there are."""
    rows, count = request.rows, request.row_count
    if not (isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows)):
        return count
    names = [*dict.fromkeys(name for row in rows for name in row)]
    lines = [*_table(names, ([row.get(name) for name in names] for row in rows[:_ROWS]))]
    more = (count or len(rows)) - len(rows[:_ROWS])
    return "\n".join(lines + [f"... and {more:,} more"] * (more > 0))


def _time_line(request: Request, records: Iterable[LogRecord]) -> Iterator[str]:
    """Yield a line for each event with a bar from its start to its end, and below it why it failed."""
    events: dict[int, Facts] = {}
    for facts in (record.facts() for record in records):
        if number := facts.get("event_id"):
            begin = (facts["time"] - request.started).total_seconds()
            events[number] = {
                "begin": begin,
                **facts,
                **events.get(number, {}),
            }  # it began with its first record
    ends = [event["begin"] + event.get("elapsed", 0) for event in events.values()]
    names = {number: _in_one_line(event["event"]) for number, event in events.items()}
    widest = max([_NAME, *map(_width, names.values())])
    size = max(min(get_terminal_size((widest + 18 + _BAR, 0)).columns, 120) - widest - 18, 8)
    scale = size / max([request.elapsed or 1e-6, *ends])
    mark = "━" if sys.stdout.encoding.lower().startswith("utf") else "="
    for number, event in events.items():
        elapsed = event.get("elapsed")
        first = min(int(event["begin"] * scale), size - 1)
        length = size if elapsed is None else max(round(elapsed * scale), 1)
        bar = f"{' ' * first}{mark * length}"[:size].ljust(size)
        took = (
            "no end"
            if elapsed is None
            else f"{elapsed:.3f} s"
            if elapsed >= 1
            else f"{elapsed * 1000:.1f} ms"
        )
        color = "yellow" if elapsed is None else "red" if "error" in event else "cyan"
        yield f"{number:3} {_align('', names[number], widest)} {click.style(bar, fg=color)} {took:>10}"
        for error in show_errors(event.get("error")):
            yield click.style(_cut(f"{'':6}{error}"), fg="red")


def stats_lines(by: str, requests: Iterable[Request]) -> Iterator[str]:
    """Yield a line for each collection, view or value of a label; its percentiles are those of requests with an end."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, array[float]] = defaultdict(lambda: array("d"))
    for each in requests:
        name = str(
            (getattr(each, by) if by in ("collection", "view") else (each.labels or {}).get(by))
            or "(none)"
        )
        counts[name].update(["requests", each.outcome])
        counts[name].update({"calls": each.calls or 0, "tokens": each.total_tokens or 0})
        if each.elapsed is not None:
            seconds[name].append(each.elapsed)
    rows = {name: {**counts[name], **_percentiles(seconds[name])} for name in sorted(counts)}
    return _table(
        [by, *_COUNTS],
        ([name, *(row.get(column, 0) for column in _COUNTS)] for name, row in rows.items()),
    )


def _percentiles(seconds: Iterable[float]) -> dict[str, str]:
    ordered = sorted(seconds)
    return {
        f"p{part}": f"{ordered[len(ordered) * part // 100]:.3f}" if ordered else ""
        for part in (50, 95)
    }
