"""The command that shows what was recorded: `python -m {{ cookiecutter.package_name }} --help`."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import click

from .formats import show as show_record
from .logfile import FILENAME_PATTERN, LOG_DIR, LogFile
from .reading import Request, events, newest, records, requests, with_id
from .reading.causes import explain
from .reading.files import find_files, read_lines
from .reading.parsing import File, Row
from .reading.pruning import prune
from .reading.screens import list_lines, show_lines, stats_lines
from .reading.terminal import visible

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
PATIENCE = 1.0  # seconds until a progress bar is shown
MOST_IDS = 10  # that are shown if several begin alike
MOST_FILES = 100  # that are looked at to tell why there are no requests

NOTHING = (
    "Nothing is recorded in {} yet: ask something with the handler, or name other files or "
    "directories."
)
ONLY_TEXT = (
    "{} holds records as text, which this command does not read: use less or grep, or let the "
    'handler write log_format="jsonl".'
)


def duration(text: str) -> float:
    """Return the seconds that a text such as 30d stands for."""
    return _quantity(text, SECONDS, "30d")


def size(text: str) -> float:
    """Return the bytes that a text such as 1GB stands for."""
    return _quantity(text, BYTES, "1GB")


def _quantity(text: str, units: dict[str, float], example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]+)", text)
    if not match or match[2] not in units:
        raise click.BadParameter(
            f"{text!r} must be a number and one of {', '.join(units)}; for example {example}"
        )
    return float(match[1]) * units[match[2]]


def moment(text: str) -> float:
    """Return, in seconds since 1970, when a text such as 1h ago or 2026-11-27 was."""
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).timestamp()
    with suppress(click.BadParameter):
        return time.time() - duration(text)
    raise click.BadParameter(f"{text!r} must be a duration, such as 1h, or a date: 2026-11-27")


def label(text: str) -> tuple[str, str]:
    """Return the name and the value that a text such as user=ann stands for."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} must be KEY=VALUE; for example user=ann")
    return name, value


class Commands(click.Group):
    """The commands, of which `list` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before arguments that begin with an option or a path."""
        first = args[0] if args else "-"
        is_option = first.startswith("-") and first not in ("-h", "--help")
        is_path = os.sep in first or os.path.exists(first)
        if is_option or (is_path and first not in self.commands):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command. If there is none, say which one may be meant."""
        if args[0] not in self.commands:
            message = f"No such command {args[0]!r}."
            for similar in get_close_matches(args[0], self.commands, n=1):
                message += f" Did you mean {similar!r}?"
            ctx.fail(message)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. If something cannot be read or written, say so in one line."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click knows how to end then
        except OSError as error:
            message = error.strerror or str(error)
            if error.filename is not None:
                message += f": {error.filename}"
            raise click.ClickException(visible(message)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(ctx: click.Context) -> None:
    """Show what was recorded as JSON lines.

    Without PATHS, the commands read the directory of the handler. Files may be compressed (.gz).
    """
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":  # https://no-color.org
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):  # https://force-color.org, for a pipe to `less -R`
        ctx.color = True

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # it can be closed, and not every encoding knows every character
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output; nothing if there are none."""
    text = "".join(f"{line}\n" for line in lines)
    try:
        click.echo(text, nl=False)
    except OSError:
        # Python would try again at its end, and complain.
        with suppress(OSError):  # not every output has a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how much is read, if that takes longer than a second."""
    due = time.monotonic() + PATIENCE
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    bars: list[Any] = []  # none or one

    def show_progress(read: int, total: int) -> None:
        if is_terminal and not bars and time.monotonic() > due:
            bars.append(click.progressbar(length=total, label="Reading", file=sys.stderr))
        for bar in bars:
            bar.update(read - bar.pos)

    yield show_progress
    for bar in bars:
        bar.render_finish()


def _paths_or_default(ctx: click.Context, param: click.Parameter, paths: Any) -> Any:
    """Return the paths, or the directory of the handler; end if that does not exist yet."""
    if paths:
        return paths

    log_dir = LogFile().log_dir
    if not os.path.exists(log_dir):
        print_lines([NOTHING.format(log_dir)])
        ctx.exit()
    return (log_dir,)


paths_argument = click.argument("paths", nargs=-1, callback=_paths_or_default)
since_option = click.option(
    "--since",
    type=moment,
    default="1970-01-01",
    help="Those that started since 1h or a date.",
)


@main.command("list")
@paths_argument
@click.option(
    "--failed",
    is_flag=True,
    help="Those that failed.",
)
@click.option(
    "--unfinished",
    is_flag=True,
    help="Those that neither ended nor failed.",
)
@click.option(
    "--slow",
    type=duration,
    help="Those that took as long or longer, such as 500ms.",
)
@click.option(
    "-c",
    "--collection",
    help="Those of a collection.",
)
@click.option(
    "-q",
    "--question",
    metavar="TEXT",
    help="Those with a text in their question.",
)
@click.option(
    "--label",
    "labels",
    type=label,
    metavar="KEY=VALUE",
    multiple=True,
    help="Those with a label.",
)
@since_option
@click.option(
    "-n",
    "most",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="At most.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a request.",
)
def list_requests(
    paths: tuple[str, ...], most: int, since: float, as_json: bool, **options: Any
) -> None:
    """List the newest requests, the newest last.

    Below a request that failed stand the step and the reason. A `<` before the seconds means at
    most: the error of the request is not known, nor when it came.
    """
    with progress_bar() as on_read:
        is_wanted = _filter(**options)
        found = newest(*paths, most=most, since=since, is_wanted=is_wanted, on_read=on_read)

    if as_json:
        print_lines(map(_to_json, found))
    elif found:
        print_lines(list_lines(found, explain))
    else:
        print_lines([_why_nothing(paths)])


def _filter(
    failed: bool,
    unfinished: bool,
    slow: float | None,
    collection: str | None,
    question: str | None,
    labels: list[tuple[str, str]],
) -> Callable[[Request], bool]:
    """Return a function that says whether a request is one that these options ask for."""
    outcomes = {"failed": failed, "unfinished": unfinished}

    def is_wanted(request: Request) -> bool:
        if (failed or unfinished) and not outcomes.get(request.outcome):
            return False
        if slow is not None and (request.elapsed is None or request.elapsed < slow):
            return False
        if collection is not None and request.collection != collection:
            return False
        if question is not None:
            asked = request.question
            if asked is None or question.casefold() not in asked.casefold():
                return False
        return all(_has_label(request, *each) for each in labels)

    return is_wanted


def _has_label(request: Request, name: str, text: str) -> bool:
    """Return whether a request has a label with this value, or one that JSON spells so."""
    if name not in request.labels:
        return False
    value = request.labels[name]
    return text in (value, json.dumps(value, ensure_ascii=False))


def _to_json(request: Request) -> str:
    values = {**vars(request), "started": request.started.isoformat()}
    if sys.stdout is None or not sys.stdout.encoding.lower().startswith("utf"):
        return json.dumps(values)  # escapes what another encoding may not know
    return visible(json.dumps(values, ensure_ascii=False))


def _why_nothing(paths: tuple[str, ...]) -> str:
    """Return a sentence that says why there are no requests to show."""
    names = visible(" ".join(paths))
    for path in paths:
        is_pipe = not os.path.isfile(path) and not os.path.isdir(path)
        if is_pipe or any(requests(path)):  # a pipe cannot be read twice
            return f"No request in {names} matches."

    for file in find_files(*paths)[:MOST_FILES]:
        if _is_text_log(file):
            return ONLY_TEXT.format(names)
    return NOTHING.format(names)


def _is_text_log(file: File) -> bool:
    """Return whether a file begins with a headline of the text format."""
    with suppress(OSError):
        headline = next(read_lines(file.path), b"")
        return headline.split()[3:4] == [b"request_start"]
    return False


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("request_id", metavar="ID")
@paths_argument
@click.option("--text", "as_text", is_flag=True, help="All its records, as the text format.")
def show(request_id: str, paths: tuple[str, ...], as_text: bool) -> None:
    """Show one request.

    ID is as many of its first digits as it takes; -1 is the newest, -2 the one before it.
    """
    request = _find(request_id, paths)
    if not os.path.isfile(request.path):
        raise click.ClickException(f"{request.path} is a pipe, which `show` cannot read twice")

    if as_text:
        print_lines(map(_to_text, records(request.path, request.request_id, request.offset)))
    else:
        print_lines(show_lines(request, events(request)))


def _find(request_id: str, paths: tuple[str, ...]) -> Request:
    if re.fullmatch(r"-[1-9]\d{0,8}", request_id):
        number = -int(request_id)
        found = newest(*paths, most=number)
        found = found[:1] if len(found) == number else []
    elif request_id.startswith("-"):
        raise click.NoSuchOption(request_id)
    else:
        found = with_id(request_id, *paths)

    if not found:
        names = visible(" ".join(paths))
        raise click.ClickException(f"no request {request_id!r} in {names}: `list` shows them")
    if len(found) > 1:
        ids = [f"  {each.request_id}" for each in found[:MOST_IDS]]
        lines = [f"{len(found):,} requests begin with {request_id!r}; type more:", *ids]
        raise click.ClickException("\n".join(lines))
    return found[0]


def _to_text(row: Row) -> str:
    """Return a record as the text format has it, or as JSON if no recorder can have written it."""
    try:
        return show_record(row).removesuffix("\n")
    except Exception:  # anything can be in a damaged file
        return visible(json.dumps(row))


@main.command()
@paths_argument
@click.option(
    "--by",
    default="collection",
    show_default=True,
    help="collection, view, error, or a label.",
)
@since_option
def stats(paths: tuple[str, ...], by: str, since: float) -> None:
    """Count requests and what they used.

    The columns p50 and p95 are seconds of requests that ended or failed. `--by error` counts
    requests that failed.
    """
    with progress_bar() as on_read:
        found = requests(*paths, on_read=on_read)
        lines = stats_lines(by, (each for each in found if each.started.timestamp() >= since))

    if len(lines) == 1:  # there is only the header
        lines = [_why_nothing(paths)]
    print_lines(lines)


@main.command("prune")
@click.argument("log_dir", required=False, type=click.Path(file_okay=False))
@click.option(
    "--older-than",
    type=duration,
    help="Files that were written last before 30d.",
)
@click.option(
    "--max-bytes",
    type=size,
    help="The oldest files, until at most 1GB is left.",
)
@click.option(
    "--pattern",
    default=FILENAME_PATTERN,
    show_default=True,
    help="What files are called.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Remove nothing; say what would be removed.",
)
def prune_files(log_dir: str | None, pattern: str, dry_run: bool, **limits: float | None) -> None:
    """Remove old files of the handler.

    A file stays if its name does not fit the pattern, if it does not begin with a record, if it was
    written within the last hour, or if a request of the last week may still run.
    """
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        raise click.UsageError("say --older-than or --max-bytes; for example --older-than 30d")
    try:
        log = LogFile(log_dir or LOG_DIR, pattern)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if log_dir is None and not os.path.exists(log.log_dir):
        return  # nothing was recorded yet

    verb = "would remove" if dry_run else "removed"
    sizes = []
    for file in prune(log, **given, dry_run=dry_run):
        sizes.append(file.size)
        print_lines([f"{verb} {visible(file.path)}, {file.size:,} bytes"])

    if sizes or dry_run:
        noun = "file" if len(sizes) == 1 else "files"
        print_lines([f"{verb} {len(sizes):,} {noun}, {sum(sizes):,} bytes"])


if __name__ == "__main__":
    main(prog_name="python -m {{ cookiecutter.package_name }}")
