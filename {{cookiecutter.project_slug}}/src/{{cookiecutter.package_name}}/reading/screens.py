"""What the command shows, as lines for a terminal."""

import sys
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

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
SHORTEST_TIME = 1e-6  # seconds that a time line stands for
WIDEST_TIME_LINE = 120  # columns
TIME_LINE_IN_PIPE = 80  # columns


def list_lines(requests: list[Request], explain: Callable[[Request], list[str]]) -> Iterator[str]:
    """Yield a line for each request, and below each that failed the reason.

    Args:
        requests: in the order in which they are shown.
        explain: returns the reason of a failure, in lines; see `causes.explain`.
    """
    limit = columns()
    cells = [_list_cells(request, limit) for request in requests]
    header, *lines = _fitting_table(cells, limit)
    yield click.style(cut(header, limit), dim=True)

    for request, line in zip(requests, lines, strict=True):
        color = COLORS[request.outcome]
        yield click.style(cut(line, limit), fg=color)

        if request.outcome == "failed":
            for reason in explain(request):
                for part in wrap(one_line(reason), limit, REASON_LINES, "  "):
                    yield click.style(part, fg=color)

    if any(map(_is_upper_bound, requests)):
        for part in wrap(AT_MOST, limit, REASON_LINES, ""):
            yield click.style(part, dim=True)


def _list_cells(request: Request, limit: int) -> dict[str, str]:
    """Return a cell for each of `LIST_COLUMNS`."""
    started = request.started.astimezone()
    when = f"{started:%m-%d %H:%M}"
    if started.date() == datetime.now().date():
        when = f"{started:%H:%M:%S}"

    return {
        "started": when,
        "id": request.request_id[:8],
        "collection": cut(one_line(request.collection), max(limit // 6, 8)),
        "outcome": request.outcome,
        "seconds": _seconds(request),
        "calls": _number(request.calls),
        "tokens": _number(request.total_tokens),
        "question": one_line(request.question or ""),
    }


def _number(value: int | None) -> str:
    if value is None:
        return ""
    return str(value)


def _fitting_table(cells: list[dict[str, str]], limit: int) -> list[str]:
    """Return the lines of `list`, with those columns beside which a question has room."""
    names = LIST_COLUMNS
    for dropped in NARROW_DROPS:
        header = _table_of(names, cells)[0]
        if header.index("question") + LEAST_QUESTION <= limit:
            break
        names = [name for name in names if name != dropped]
    return _table_of(names, cells)


def _table_of(names: list[str], cells: list[dict[str, str]]) -> list[str]:
    return table(names, ([row[name] for name in names] for row in cells), NUMBERS)


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
    """Yield each value behind its label, in as many lines as it has; nothing if there is none."""
    for label, value in values.items():
        if not value:
            continue

        head = f"  {label}".ljust(LABEL_WIDTH)
        margin = "\n" + " " * LABEL_WIDTH
        yield click.style(head, dim=True) + visible(value).replace("\n", margin)


def _rows(request: Request) -> list[str]:
    """Return the first rows of a result as a table if they have columns, or else their number."""
    rows = request.rows
    count = request.row_count
    if not _have_columns(rows):
        return [] if count is None else [str(count)]

    names: dict[str, None] = {}  # in the order in which they come
    for row in rows[:SHOWN_ROWS]:
        names.update(dict.fromkeys(row))

    cells = []
    for row in rows[:SHOWN_ROWS]:
        cells.append([one_line(row.get(name)) for name in names])

    limit = columns() - LABEL_WIDTH
    lines = [cut(line, limit) for line in table(list(map(one_line, names)), cells)]
    more = (count or len(rows)) - len(cells)
    if more > 0:
        lines.append(f"... and {more:,} more")
    return lines


def _have_columns(rows: Any) -> bool:
    if not isinstance(rows, list) or not rows:
        return False
    return all(isinstance(row, dict) for row in rows)


def _time_line(request: Request, events: list[Row]) -> Iterator[str]:
    """Yield a line for each event, with a bar from its start to its end, and below it its error."""
    names = [one_line(name_of(event)) for event in events]
    name_width = max(EVENT_NAME, max(map(width, names)))

    limit = columns()
    total = TIME_LINE_IN_PIPE
    if limit < sys.maxsize:
        total = min(limit, WIDEST_TIME_LINE)
    bar_width = max(total - name_width - BESIDE_BAR, SHORTEST_BAR)

    end = max(_end(request, event) for event in events)
    seconds = max(end, request.elapsed or 0, SHORTEST_TIME)

    for event, name in zip(events, names, strict=True):
        number = str(event["event_id"]).rjust(3)
        bar = _bar(request, event, bar_width, seconds)
        took = _duration(event.get("elapsed"))
        yield f"{number} {pad(name, name_width)} {bar} {took:>10}"

        for error in show_errors(event.get("error")):
            for part in wrap(one_line(error), limit, REASON_LINES, " " * 6):
                yield click.style(part, fg="red")


def _begin(request: Request, event: Row) -> float:
    """Return how many seconds after the start of its request an event started."""
    begin: timedelta = event["started"] - request.started
    return max(begin.total_seconds(), 0)


def _end(request: Request, event: Row) -> float:
    return _begin(request, event) + (event.get("elapsed") or 0)


def _bar(request: Request, event: Row, bar_width: int, seconds: float) -> str:
    """Return the bar of an event where `bar_width` columns stand for so many seconds."""
    scale = bar_width / seconds
    first = min(int(_begin(request, event) * scale), bar_width - 1)
    length = bar_width - first

    elapsed = event.get("elapsed")
    if elapsed is None:
        color = "yellow"
    else:
        color = "red" if event.get("error") else "cyan"
        length = min(max(round(elapsed * scale), 1), length)

    bar = " " * first + _mark() * length
    return click.style(pad(bar, bar_width), fg=color)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "no end"
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.3f} s"


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
    cells = []
    for group in groups:
        cells.append(_stats_cells(counts[group], sorted(durations[group])))
    header, *lines = table(STATS_COLUMNS, cells, NUMBERS)

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
    name: Any
    if by == "collection":
        name = request.collection
    elif by == "view":
        name = request.view
    elif by == "error":
        name = _name_of_error(request)
    else:
        name = request.labels.get(by)

    if name is None or name == "":
        return "(none)"
    return one_line(name)


def _name_of_error(request: Request) -> Any:
    if request.error is None:
        return f"({UNKNOWN})"
    return explaining_error(request.error)["type"]
