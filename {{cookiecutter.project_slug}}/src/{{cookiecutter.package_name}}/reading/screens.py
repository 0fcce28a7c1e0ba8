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

from ..formats import escape, show_seconds
from . import Request
from .parsing import Facts, LogRecord

_COLORS = {"failed": "red", "unfinished": "yellow"}
_COLUMNS = ["started", "id", "collection", "outcome", "seconds", "calls", "tokens", "question"]
_STATS = ["requests", "failed", "unfinished", "p50", "p95", "calls", "tokens"]
_NUMBERS = {*_STATS, "seconds"}
_AROUND = ("ViewExecutionError", "Text2SQLError")  # which db-ally puts around what went wrong
_PIPED = 1_000_000  # columns where there is no terminal: nothing is cut there


def list_lines(requests: Sequence[Request]) -> Iterator[str]:
    """Yield a line for each request, and one below each that failed with what went wrong."""
    header, *lines = map(_cut, table(_COLUMNS, [_cells(request) for request in requests]))
    yield click.style(header, dim=True)
    for request, line in zip(requests, lines, strict=True):
        yield click.style(line, fg=_COLORS.get(request.outcome))
        errors = _errors(request.error)
        for error in [each for each in errors if not each.startswith(_AROUND)][:1] or errors[-1:]:
            yield click.style(_cut(f"  {error}"), fg="red")


def _cells(request: Request) -> list[str]:
    started, today = request.started.astimezone(), datetime.now().date()
    when = f"{started:%H:%M:%S}" if started.date() == today else f"{started:%m-%d %H:%M}"
    used = ("" if count is None else str(count) for count in (request.calls, request.total_tokens))
    about = _cut(request.collection, 4), request.outcome, _seconds(request), *used, str(request.question or "")
    return [when, request.request_id[:8], *about]


def _seconds(request: Request) -> str:
    is_late = request.outcome == "failed" and request.error is None  # so that it is an upper bound
    return "" if request.elapsed is None else f"{'<' * is_late}{request.elapsed:.3f}"


def _errors(error: Facts | None) -> list[str]:
    errors = [error, *error.get("causes", [])] if error else []
    return [": ".join(filter(None, (each["type"], each["message"]))) for each in errors]


def table(header: list[str], rows: Sequence[list[str]]) -> list[str]:
    """Return a header and rows as lines of aligned columns, numbers to the right."""
    cells = [[_in_one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return [" ".join(map(_align, header, row, widths)).rstrip() for row in cells]


def _align(name: str, cell: str, width: int) -> str:
    gap = " " * (width - _width(cell))
    return gap + cell if name in _NUMBERS else cell + gap


def _in_one_line(text: str) -> str:
    return escape(text).replace("\n", " ")


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return sum((category(char) not in ("Mn", "Me")) + (east_asian_width(char) in "WF") for char in text)


def _cut(line: str, parts: int = 1) -> str:
    """Return `line` as far as there is room for it in one of so many parts of a line of the terminal."""
    line = _in_one_line(line)
    columns, widths = get_terminal_size((_PIPED, 0)).columns // parts, [*accumulate(map(_width, line))]
    return line if not line or widths[-1] <= columns else f"{line[: bisect_right(widths, columns - 1)]}…"


def show_lines(request: Request, records: Iterable[LogRecord]) -> Iterator[str]:
    """Yield what there is to know of a request, with a bar for each event on its time line."""
    color = _COLORS.get(request.outcome, "green")
    yield click.style(f"{request.request_id}  {request.outcome}  {_seconds(request)}".rstrip(), fg=color)
    yield from _field("Started", f"{request.started.astimezone():%Y-%m-%d %H:%M:%S %z}")
    yield from _field("Process", request.process)
    yield from _field("Collection", request.collection)
    yield from _field("Labels", ", ".join(f"{name}={value}" for name, value in (request.labels or {}).items()))
    yield from _field("Question", request.question)
    yield from ["", *_time_line(request, records), ""]
    for number, error in enumerate(_errors(request.error)):
        yield from _field("Caused by" if number else "Error", error, fg="red")
    if request.calls:
        failed, tokens = request.failed_calls or 0, request.total_tokens or 0
        yield from _field("Model", f"{request.calls} calls, {failed} failed, {tokens} tokens")
    yield from _field("View", request.view)
    yield from _field("SQL", request.sql)
    yield from _field("Rows", request.row_count)
    yield from _field("Answer", request.answer)


def _field(label: str, value: Any, **style: Any) -> Iterator[str]:
    if value not in (None, ""):
        yield click.style(f"  {label:<12}" + escape(str(value)).replace("\n", "\n" + " " * 14), **style)


def _time_line(request: Request, records: Iterable[LogRecord]) -> Iterator[str]:
    """Yield a line for each event; those that happen within a fallback stand further in."""
    events: dict[int, Facts] = {}
    depth = 0
    for record in records:
        facts = record.facts()
        number, name = facts.get("event_id"), facts.get("event")
        if number and record.kind == "event_start":
            begin = max((datetime.fromisoformat(record.time) - request.started).total_seconds(), 0.0)
            events[number] = {"begin": begin, "name": f"{number:3} {'  ' * depth}{name}"}
            depth += name == "FallbackEvent"
        elif number in events:
            events[number] |= facts
            depth -= name == "FallbackEvent"
    ends = [event["begin"] + event.get("elapsed", 0) for event in events.values()]
    names = max([_width(event["name"]) for event in events.values()], default=0)
    for event in events.values():
        yield from _bar(event, max([request.elapsed or 1e-6, *ends]), names)


def _bar(event: Facts, whole: float, names: int) -> Iterator[str]:
    """Yield the line of an event on a scale of `whole` seconds, and below it why it failed."""
    columns = max(min(get_terminal_size().columns, 120) - names - 14, 10)
    elapsed = event.get("elapsed")
    first = min(int(event["begin"] / whole * columns), columns - 1)
    length = max(1, min(round((whole if elapsed is None else elapsed) / whole * columns), columns - first))
    ended, unended = "━╌" if sys.stdout.encoding.lower().startswith("utf") else "=-"
    bar = f"{' ' * first}{(unended if elapsed is None else ended) * length}".ljust(columns)
    name = escape(event["name"]) + " " * (names - _width(event["name"]))
    took = "no end" if elapsed is None else show_seconds(elapsed)
    color = "yellow" if elapsed is None else "red" if "error" in event else "cyan"
    yield f"{name}  {click.style(bar, fg=color)}  {took:>10}"
    for error in _errors(event.get("error")):
        yield click.style(_cut(f"{'':6}{error}"), fg="red")


def stats_lines(by: str, requests: Iterable[Request]) -> list[str]:
    """Return a line for each collection, view or value of a label; its percentiles are those of requests with an end."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: dict[str, array[float]] = defaultdict(lambda: array("d"))
    for each in requests:
        name = str((getattr(each, by) if by in ("collection", "view") else (each.labels or {}).get(by)) or "(none)")
        counts[name].update(["requests", each.outcome])
        counts[name].update({"calls": each.calls or 0, "tokens": each.total_tokens or 0})
        if each.elapsed is not None:
            seconds[name].append(each.elapsed)
    rows = {name: {**counts[name], **_percentiles(seconds[name])} for name in sorted(counts)}
    return table([by, *_STATS], [[name, *(str(row.get(column, 0)) for column in _STATS)] for name, row in rows.items()])


def _percentiles(seconds: Iterable[float]) -> dict[str, str]:
    ordered = sorted(seconds)
    return {f"p{part}": f"{ordered[len(ordered) * part // 100]:.3f}" if ordered else "" for part in (50, 95)}
