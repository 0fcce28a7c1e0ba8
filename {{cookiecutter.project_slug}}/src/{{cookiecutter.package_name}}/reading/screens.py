"""What the command shows, as lines for a terminal."""

import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from operator import add

import click

from ..formats import UNKNOWN_ERROR, show_errors
from .causes import UNKNOWN, explaining_error
from .parsing import Request, Row, name_of
from .terminal import columns, cut, one_line, pad, table, visible, width, wrap

COLORS = {"ok": None, "failed": "red", "unfinished": "yellow"}

LIST_COLUMNS = ["started", "id", "collection", "outcome", "seconds", "calls", "tokens", "question"]
NARROW_DROPS = ["tokens", "calls", "collection", "seconds", "started"]  # in this order
LEAST_QUESTION = 24  # columns that a question has also on a narrow terminal
REASON_LINES = 3  # lines for the reason of a failure
AT_MOST = "< means at most: put `recording()` around the `ask` to know the error and when it came"

STATS_COLUMNS = ["requests", "failed", "unfinished", "p50", "p95", "calls", "tokens"]
NUMBERS = set(STATS_COLUMNS) | {"seconds"}
LEAST_GROUP = 16  # columns that the name of a group has also on a narrow terminal

LABEL_WIDTH = 14  # columns before the values that `show` lists
SHOWN_ROWS = 10  # of a result
EVENT_NAME = 22  # columns, at least
BESIDE_BAR = 16  # columns of a time line for numbers and spaces
SHORTEST_BAR = 8  # columns
WIDEST_TIME_LINE = 120  # columns
TIME_LINE_IN_PIPE = 80  # columns


def list_lines(requests: list[Request], explain: Callable[[Request], list[str]]) -> Iterator[str]:
    """Yield a line for each request, and below each that failed the reason.

    Args:
        requests: in the order in which they are shown.
        explain: returns the reason of a failure, in lines; see `causes.explain`.
    """
    limit = columns()
    rows = [_list_cells(request, limit) for request in requests]
    names = _fitting_columns(rows, limit)
    header, *lines = table(names, ([row[name] for name in names] for row in rows), NUMBERS)

    yield click.style(cut(header, limit), dim=True)
    for request, line in zip(requests, lines, strict=True):
        color = COLORS[request.outcome]
        yield click.style(cut(line, limit), fg=color)
        if request.outcome == "failed":
            for reason in explain(request):
                yield from _styled(wrap(one_line(reason), limit, REASON_LINES, "  "), fg=color)

    if any(_is_upper_bound(request) for request in requests):
        yield from _styled(wrap(AT_MOST, limit, REASON_LINES, ""), dim=True)


def _styled(lines: Iterable[str], fg: str | None = None, dim: bool = False) -> Iterator[str]:
    for line in lines:
        yield click.style(line, fg=fg, dim=dim or None)


def _list_cells(request: Request, limit: int) -> dict[str, str]:
    started = request.started.astimezone()
    is_today = started.date() == datetime.now().date()
    calls, tokens = request.calls, request.total_tokens
    return {
        "started": f"{started:%H:%M:%S}" if is_today else f"{started:%m-%d %H:%M}",
        "id": request.request_id[:8],
        "collection": cut(one_line(request.collection), max(limit // 6, 8)),
        "outcome": request.outcome,
        "seconds": _seconds(request),
        "calls": "" if calls is None else str(calls),
        "tokens": "" if tokens is None else str(tokens),
        "question": one_line(request.question or ""),
    }


def _fitting_columns(rows: list[dict[str, str]], limit: int) -> list[str]:
    """Return the columns of `list` beside which a question has room."""
    names = LIST_COLUMNS.copy()
    for dropped in NARROW_DROPS:
        others = table(names[:-1], ([row[name] for name in names[:-1]] for row in rows))
        if max(map(width, others)) + 1 + LEAST_QUESTION <= limit:
            break
        names.remove(dropped)
    return names


def _is_upper_bound(request: Request) -> bool:
    return request.outcome == "failed" and request.error is None


def _seconds(request: Request) -> str:
    if request.elapsed is None:
        return ""
    sign = "<" if _is_upper_bound(request) else ""
    return f"{sign}{request.elapsed:.3f}"


def show_lines(request: Request, events: list[Row]) -> Iterator[str]:
    """Yield what is known of a request, with a bar for each event on its time line."""
    title = f"{request.request_id}  {request.outcome}  {_seconds(request)}"
    yield click.style(title.rstrip(), fg=COLORS[request.outcome])

    labels = [f"{name}={one_line(value)}" for name, value in request.labels.items()]
    yield from _fields(
        {
            "Started": f"{request.started.astimezone():%Y-%m-%d %H:%M:%S %z}",
            "Process": request.process,
            "File": request.path,
            "Collection": request.collection,
            "View": request.view,
            "Labels": ", ".join(labels),
            "Question": request.question,
        }
    )
    if events:
        yield ""
        yield from _time_line(request, events)
        yield ""

    errors = show_errors(request.error)
    if _is_upper_bound(request):
        errors = [UNKNOWN_ERROR]
    model = None
    if request.calls:
        failed, tokens = request.failed_calls or 0, request.total_tokens or 0
        model = f"{request.calls} calls, {failed} failed, {tokens} tokens"

    yield from _fields(
        {
            "Failed step": request.failed_step,
            "Error": "\ncaused by ".join(errors),
            "Model": model,
            "SQL": request.sql,
            "Rows": "\n".join(_rows(request)),
            "Answer": request.answer,
        }
    )


def _fields(values: dict[str, str | None]) -> Iterator[str]:
    for label, value in values.items():
        if value:
            text = visible(value).replace("\n", "\n" + " " * LABEL_WIDTH)
            yield click.style(f"  {label}".ljust(LABEL_WIDTH), dim=True) + text


def _rows(request: Request) -> list[str]:
    """Return the first rows of a result as a table if they have columns, or else their number."""
    rows, count = request.rows, request.row_count
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return [] if count is None else [str(count)]

    shown = rows[:SHOWN_ROWS]
    names: dict[str, None] = {}  # in the order in which they come
    for row in shown:
        names.update(dict.fromkeys(row))

    cells = ([one_line(row.get(name)) for name in names] for row in shown)
    lines = table([one_line(name) for name in names], cells)
    lines = [cut(line, columns() - LABEL_WIDTH) for line in lines]
    more = (count or len(rows)) - len(shown)
    if more > 0:
        lines.append(f"... and {more:,} more")
    return lines


def _time_line(request: Request, events: list[Row]) -> Iterator[str]:
    """Yield a line for each event, with a bar from its start to its end, and below it its error."""
    names = [one_line(name_of(event)) for event in events]
    name_width = max(EVENT_NAME, *map(width, names))
    begins = [(event["started"] - request.started).total_seconds() for event in events]
    durations = [event.get("elapsed") or 0 for event in events]

    limit = columns()
    total = min(TIME_LINE_IN_PIPE if limit == sys.maxsize else limit, WIDEST_TIME_LINE)
    size = max(total - name_width - BESIDE_BAR, SHORTEST_BAR)
    scale = size / max(request.elapsed or 1e-6, *map(add, begins, durations))

    for event, name, begin in zip(events, names, begins, strict=True):
        first = min(max(int(begin * scale), 0), size - 1)
        length, took, color = size - first, "no end", "yellow"
        elapsed = event.get("elapsed")
        if elapsed is not None:
            length = min(max(round(elapsed * scale), 1), length)
            took = f"{elapsed:.3f} s" if elapsed >= 1 else f"{elapsed * 1000:.1f} ms"
            color = "red" if event.get("error") else "cyan"

        bar = click.style(pad(" " * first + _mark() * length, size), fg=color)
        yield f"{event['event_id']:3} {pad(name, name_width)} {bar} {took:>10}"
        for error in show_errors(event.get("error")):
            yield from _styled(wrap(one_line(error), limit, REASON_LINES, " " * 6), fg="red")


def _mark() -> str:
    """Return what bars are made of; consoles of old code pages have no such line."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    return "━" if encoding.lower().startswith("utf") else "="


def stats_lines(by: str, requests: Iterable[Request]) -> list[str]:
    """Return a header, and a line for each group of requests; percentiles are in seconds.

    Args:
        by: "collection", "view", "error" (of requests that failed), or the name of a label.
        requests: in any order.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    durations: dict[str, array[float]] = defaultdict(lambda: array("d"))
    for request in requests:
        if by == "error" and request.outcome != "failed":
            continue

        group = _group(request, by)
        count = counts[group]
        count["requests"] += 1
        count[request.outcome] += 1
        count["calls"] += request.calls or 0
        count["tokens"] += request.total_tokens or 0
        if request.elapsed is not None:
            durations[group].append(request.elapsed)

    groups = sorted(counts)
    rows = [_stats_cells(counts[group], sorted(durations[group])) for group in groups]
    header, *lines = table(STATS_COLUMNS, rows, NUMBERS)
    limit = max(columns() - len(header) - 1, LEAST_GROUP)
    names = [cut(group, limit) for group in groups]
    return table([one_line(by), header], zip(names, lines, strict=True))


def _stats_cells(count: Counter[str], durations: list[float]) -> list[str]:
    """Return a cell for each of `STATS_COLUMNS`."""
    cells = {name: str(count[name]) for name in STATS_COLUMNS}
    for name, percent in (("p50", 50), ("p95", 95)):
        cells[name] = ""
        if durations:
            cells[name] = f"{durations[len(durations) * percent // 100]:.3f}"
    return list(cells.values())


def _group(request: Request, by: str) -> str:
    """Return the name of the group that a request belongs to, in one line."""
    name = request.labels.get(by)
    if by == "collection":
        name = request.collection
    elif by == "view":
        name = request.view
    elif by == "error":
        error = request.error
        name = f"({UNKNOWN})" if error is None else explaining_error(error)["type"]
    return "(none)" if name in (None, "") else one_line(name)
