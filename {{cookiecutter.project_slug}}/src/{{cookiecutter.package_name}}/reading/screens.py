"""What the command shows, as lines for a terminal."""

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from typing import Any

import click

from ..formats import UNKNOWN_ERROR, show_errors
from .causes import UNKNOWN, explain, explaining_error
from .parsing import Request, Row, name_of
from .terminal import columns, cut, escape_hidden, one_line, pad, table, width, wrap

COLORS = {"ok": None, "failed": "red", "unfinished": "yellow"}

# The columns of `list`, each with how many columns a terminal must have to show it. So a question
# has 24 columns also on a narrow terminal.
LIST_COLUMNS = {
    "started": 56,
    "id": 0,
    "collection": 76,
    "outcome": 0,
    "seconds": 64,
    "calls": 84,
    "tokens": 92,
    "question": 0,
}
BOUND_NOTE = (
    "< means at most. Put `recording()` directly around the `ask` to record the error and its time."
)

STATS_COLUMNS = ["requests", "failed", "unfinished", "p50", "p95", "calls", "tokens"]
STATS_FIELDS = ("collection", "view", "error")  # other groups are those of a label
NO_NAME = "(none)"
NUMBERS = {*STATS_COLUMNS, "seconds"}

LABEL_WIDTH = 14  # columns before the values that `show` lists
SHOWN_ROWS = 10  # of a result
BESIDE_BAR = 16  # columns of a time line for numbers and spaces
SHORTEST_BAR = 8  # columns
SHORTEST_TIME = 1e-6  # seconds that a time line stands for
WIDEST_TIME_LINE = 120  # columns


def list_lines(requests: list[Request]) -> Iterator[str]:
    """Yield a line for each request, and below each that failed the reason."""
    limit = columns()
    names = [name for name, least in LIST_COLUMNS.items() if limit >= least]
    cells = [names]
    for request in requests:
        cells_by_name = _list_cells(request, limit)
        cells.append([cells_by_name[name] for name in names])

    header, *lines = table(cells, NUMBERS)
    yield click.style(cut(header, limit), dim=True)

    for request, line in zip(requests, lines, strict=True):
        color = COLORS[request.outcome]
        yield click.style(cut(line, limit), fg=color)

        if request.outcome == "failed":
            for reason in explain(request):
                for part in wrap(one_line(reason), limit, indent="  "):
                    yield click.style(part, fg=color)

    if any(map(_is_upper_bound, requests)):
        for part in wrap(BOUND_NOTE, limit):
            yield click.style(part, dim=True)


def _list_cells(request: Request, limit: int) -> dict[str, str]:
    """Return a cell for each of `LIST_COLUMNS`."""
    return {
        "started": _short_time(request.started),
        "id": request.request_id[:8],
        "collection": cut(one_line(request.collection), max(limit // 8, 10)),
        "outcome": request.outcome,
        "seconds": _seconds(request),
        "calls": _number(request.calls),
        "tokens": _number(request.total_tokens),
        "question": one_line(request.question or ""),
    }


def _short_time(time: datetime) -> str:
    """Return a local time in at most 11 columns."""
    time = time.astimezone()
    now = datetime.now()
    if time.date() == now.date():
        return f"{time:%H:%M:%S}"
    if time.year == now.year:
        return f"{time:%m-%d %H:%M}"
    return f"{time:%Y-%m-%d}"


def _number(value: int | None) -> str:
    if value is None:
        return ""
    return str(value)


def _is_upper_bound(request: Request) -> bool:
    return request.outcome == "failed" and request.error is None


def _seconds(request: Request) -> str:
    if request.elapsed is None:
        return ""
    seconds = f"{request.elapsed:.3f}"
    if _is_upper_bound(request):
        return f"<{seconds}"
    return seconds


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
        model = (
            f"{request.calls} calls, {request.failed_calls or 0} failed, "
            f"{request.total_tokens or 0} tokens"
        )

    yield from _fields(
        {
            "Failed step": request.failed_step,
            "Error": "\ncaused by ".join(errors),
            "Model": model,
            "SQL": request.sql,
            "Rows": _rows(request),
            "Answer": request.answer,
        }
    )


def _fields(values: dict[str, str | None]) -> Iterator[str]:
    """Yield each value behind its label, in as many lines as it has; nothing if there is none."""
    for label, value in values.items():
        if value:
            head = f"  {label}".ljust(LABEL_WIDTH)
            margin = "\n" + " " * LABEL_WIDTH
            yield click.style(head, dim=True) + escape_hidden(value).replace("\n", margin)


def _rows(request: Request) -> str:
    """Return the first rows of a result as a table if they have columns, or else their number."""
    rows = request.rows
    if not _have_columns(rows):
        return _number(request.row_count)

    names = list(rows[0])
    lines = [[one_line(name) for name in names]]
    for row in rows[:SHOWN_ROWS]:
        lines.append([one_line(row.get(name)) for name in names])

    limit = columns() - LABEL_WIDTH
    shown = [cut(line, limit) for line in table(lines)]
    more = (request.row_count or len(rows)) - SHOWN_ROWS
    if more > 0:
        shown.append(f"... and {more:,} more")
    return "\n".join(shown)


def _have_columns(rows: Any) -> bool:
    if not isinstance(rows, list) or not rows:
        return False
    return all(isinstance(row, dict) and row for row in rows)


def _time_line(request: Request, events: list[Row]) -> Iterator[str]:
    """Yield a line for each event, with a bar from its start to its end, and below it its error."""
    name_width = max(width(one_line(name_of(event))) for event in events)
    limit = min(shutil.get_terminal_size().columns, WIDEST_TIME_LINE)
    bar_width = max(limit - name_width - BESIDE_BAR, SHORTEST_BAR)

    seconds = max(request.elapsed or 0, SHORTEST_TIME)
    for event in events:
        seconds = max(seconds, _start(request, event) + (event.get("elapsed") or 0))

    for event in events:
        number = str(event["event_id"]).rjust(3)
        name = pad(one_line(name_of(event)), name_width)
        bar = _bar(request, event, bar_width, seconds)
        yield f"{number} {name} {bar} {_duration(event.get('elapsed')):>10}"

        for error in show_errors(event.get("error")):
            for part in wrap(one_line(error), columns(), indent=" " * 6):
                yield click.style(part, fg="red")


def _start(request: Request, event: Row) -> float:
    """Return how many seconds after the start of its request an event started."""
    start: float = (event["started"] - request.started).total_seconds()
    return max(start, 0)  # the clock may have been set back


def _bar(request: Request, event: Row, bar_width: int, seconds: float) -> str:
    """Return the bar of an event where `bar_width` columns stand for so many seconds."""
    scale = bar_width / seconds
    before = min(int(_start(request, event) * scale), bar_width - 1)
    length = bar_width - before
    color = "yellow"  # it has no end

    elapsed = event.get("elapsed")
    if elapsed is not None:
        length = min(max(round(elapsed * scale), 1), length)
        color = "red" if event.get("error") else "cyan"

    bar = " " * before + _mark() * length
    return click.style(bar.ljust(bar_width), fg=color)


def _mark() -> str:
    """Return what bars are made of. Consoles with old code pages have no such line."""
    encoding = getattr(sys.stdout, "encoding", None) or ""
    if encoding.lower().startswith("utf"):
        return "━"
    return "="


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "no end"
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds:.3f} s"


@dataclass
class Group:
    """What is counted of requests that belong together; durations are in seconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    tokens: int = 0
    durations: list[float] = field(default_factory=list)

    def add(self, request: Request) -> None:
        """Count a request."""
        self.outcomes[request.outcome] += 1
        self.calls += request.calls or 0
        self.tokens += request.total_tokens or 0
        if request.elapsed is not None:
            self.durations.append(request.elapsed)


def group_requests(by: str, requests: Iterable[Request]) -> dict[str, Group]:
    """Count requests in groups; the names of the groups are single lines.

    Args:
        by: "collection", "view", "error" (of requests that failed), or the name of a label.
        requests: in any order.
    """
    groups: dict[str, Group] = {}
    for request in requests:
        if by != "error" or request.outcome == "failed":
            group = groups.setdefault(_group_of(request, by), Group())
            group.add(request)
    return groups


def _group_of(request: Request, by: str) -> str:
    """Return the name of the group that a request belongs to."""
    name: Any
    if by == "collection":
        name = request.collection
    elif by == "view":
        name = request.view
    elif by != "error":
        name = request.labels.get(by)
    elif request.error is None:
        name = f"({UNKNOWN})"
    else:
        name = explaining_error(request.error)["type"]

    if name is None or name == "":
        return NO_NAME
    return one_line(name)


def stats_lines(by: str, groups: dict[str, Group]) -> list[str]:
    """Return a header, and a line for each group of requests; percentiles are in seconds."""
    limit = columns() // 3
    lines = [[one_line(by), *STATS_COLUMNS]]
    for name, group in sorted(groups.items()):
        lines.append(
            [
                cut(name, limit),
                str(group.outcomes.total()),
                str(group.outcomes["failed"]),
                str(group.outcomes["unfinished"]),
                _percentile(group.durations, 50),
                _percentile(group.durations, 95),
                str(group.calls),
                str(group.tokens),
            ]
        )
    return table(lines, NUMBERS)


def _percentile(durations: list[float], percent: int) -> str:
    """Return the least duration that so many percent of all do not exceed (nearest rank)."""
    if not durations:
        return ""
    rank = ceil(len(durations) * percent / 100)
    return f"{sorted(durations)[rank - 1]:.3f}"
