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
from functools import partial
from io import StringIO
from typing import Any

import click

from .formats import show as show_record
from .logfile import FILENAME_PATTERN, LOG_DIR, LogFile
from .reading import (
    File,
    Request,
    events,
    find_files,
    newest,
    read_lines,
    records,
    requests,
    with_id,
)
from .reading.parsing import Row
from .reading.pruning import Pruned, prune
from .reading.screens import (
    NO_NAME,
    STATS_FIELDS,
    group_requests,
    list_lines,
    show_lines,
    stats_lines,
)
from .reading.terminal import escape_hidden

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
PROGRESS_DELAY = 1.0  # seconds until a progress bar is shown
SHOWN_IDS = 10  # if several begin alike
CHECKED_FILES = 100  # to tell why there are no requests

NOTHING = (
    "No request in {} matches. Ask something with the handler, use fewer options, or name other "
    "files or directories."
)
TEXT_FILES = (
    "There are records as text, which this command does not read: use less or grep, or let the "
    'handler write log_format="jsonl".'
)


def parse_duration(text: str) -> float:
    """Return the seconds that a text such as 30d stands for."""
    return _parse_quantity(text, SECONDS, "30d")


def parse_size(text: str) -> float:
    """Return the bytes that a text such as 1GB stands for."""
    return _parse_quantity(text, BYTES, "1GB")


def _parse_quantity(text: str, units: dict[str, float], example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]+)", text)
    if not match or match[2] not in units:
        raise click.BadParameter(
            f"{text!r} must be a number and a unit ({', '.join(units)}); for example {example}"
        )
    return float(match[1]) * units[match[2]]


def parse_time(text: str) -> float:
    """Return, in seconds since 1970, when a text such as 1h ago or 2026-11-27 was."""
    with suppress(ValueError, OverflowError, OSError):  # Windows knows no time before 1970
        return datetime.fromisoformat(text).timestamp()
    with suppress(click.BadParameter):
        return time.time() - parse_duration(text)
    raise click.BadParameter(f"{text!r} must be a duration, such as 1h, or a date: 2026-11-27")


def parse_label(text: str) -> tuple[str, str]:
    """Return the name and the value that a text such as user=ann stands for."""
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f"{text!r} must be KEY=VALUE; for example user=ann")
    return name, value


class Commands(click.Group):
    """The commands, of which `list` is the default."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before arguments that do not begin with a command.

        But not for a shell that completes words: the next word may be a command.
        """
        if not ctx.resilient_parsing and self._is_for_list(args):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def _is_for_list(self, args: list[str]) -> bool:
        if not args:
            return True
        first = args[0]
        if first in self.commands or first in ("-h", "--help"):
            return False
        is_path = os.sep in first or os.path.exists(first)
        return is_path or first.startswith("-")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command. If there is none, say which one may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            for similar in get_close_matches(args[0], self.commands, n=1):
                error.message += f" Did you mean {similar!r}?"
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. If something cannot be read or written, say so in one line."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click knows how to end then
        except OSError as error:
            raise click.ClickException(escape_hidden(str(error))) from None


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
    """Write lines to standard output."""
    text = "".join(f"{line}\n" for line in lines)
    try:
        click.echo(text, nl=False)
    except OSError:
        sys.stdout = StringIO()  # or else Python tries again at its end, and complains
        raise


def print_hint(text: str) -> None:
    """Write a sentence to standard error, so that standard output has only what was asked for."""
    click.echo(escape_hidden(text), err=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how much is read, if that takes longer than a second."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    due = time.monotonic() + PROGRESS_DELAY
    bar: Any = None

    def show_progress(read: int, total: int) -> None:
        nonlocal bar
        if bar is None and is_terminal and time.monotonic() > due:
            bar = click.progressbar(length=total, label="Reading", file=sys.stderr)
        if bar is not None:
            bar.update(max(read - bar.pos, 0))

    try:
        yield show_progress
    finally:
        if bar is not None:
            bar.render_finish()  # which shows the cursor again


def _paths_or_default(ctx: click.Context, param: click.Parameter, paths: Any) -> Any:
    """Return the paths, or the directory of the handler; end if that does not exist yet."""
    for path in paths:
        if path.startswith("-"):  # `show` takes -1, and so everything that looks like an option
            raise click.NoSuchOption(path, ctx=ctx)
    if paths or ctx.resilient_parsing:
        return paths

    log_dir = LogFile().log_dir
    if not os.path.exists(log_dir):
        print_hint(NOTHING.format(log_dir))
        ctx.exit()
    return (log_dir,)


paths_argument = click.argument("paths", nargs=-1, callback=_paths_or_default)
since_option = click.option(
    "--since",
    type=parse_time,
    metavar="TIME",
    help="Only requests that started within 1h, or since a date.",
)


@main.command("list")
@paths_argument
@click.option(
    "--failed",
    is_flag=True,
    help="Only requests that failed.",
)
@click.option(
    "--unfinished",
    is_flag=True,
    help="Only requests that neither ended nor failed.",
)
@click.option(
    "--slow",
    type=parse_duration,
    metavar="DURATION",
    help="Only requests that took at least this long, such as 500ms.",
)
@click.option(
    "-c",
    "--collection",
    help="Only requests to this collection.",
)
@click.option(
    "-q",
    "--question",
    metavar="TEXT",
    help="Only requests with this text in their question.",
)
@click.option(
    "--label",
    "labels",
    type=parse_label,
    metavar="KEY=VALUE",
    multiple=True,
    help="Only requests with this label.",
)
@since_option
@click.option(
    "-n",
    "most",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Show at most this many.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object for each request.",
)
def list_requests(
    paths: tuple[str, ...], most: int, since: float | None, as_json: bool, **filters: Any
) -> None:
    """List the newest requests, the newest last.

    Below a failed request are the failed step and the reason. A `<` before the seconds means at
    most: the error of the request is not known, nor when it came.
    """
    is_wanted = partial(_matches, **filters)
    with progress_bar() as on_read:
        found = newest(*paths, most=most, since=since or 0, is_wanted=is_wanted, on_read=on_read)

    if not found:
        _explain_nothing(paths)
    elif as_json:
        print_lines(map(_to_json, found))
    else:
        print_lines(list_lines(found))


def _matches(
    request: Request,
    failed: bool,
    unfinished: bool,
    slow: float | None,
    collection: str | None,
    question: str | None,
    labels: list[tuple[str, str]],
) -> bool:
    """Return whether a request is one that the options of `list` ask for."""
    outcomes = {"failed": failed, "unfinished": unfinished}
    if any(outcomes.values()) and not outcomes.get(request.outcome):
        return False
    if slow is not None and (request.elapsed or 0) < slow:
        return False
    if collection is not None and request.collection != collection:
        return False
    if question and question.casefold() not in (request.question or "").casefold():
        return False
    return all(_has_label(request, *label) for label in labels)


def _has_label(request: Request, name: str, text: str) -> bool:
    """Return whether a request has a label with this value, or one that JSON spells so."""
    if name not in request.labels:
        return False
    value = request.labels[name]
    return text in (value, json.dumps(value, ensure_ascii=False))


def _to_json(request: Request) -> str:
    """Return a request as JSON; its escapes make it the same in every encoding."""
    values = {**vars(request), "started": request.started.isoformat()}
    return escape_hidden(json.dumps(values))


def _explain_nothing(paths: tuple[str, ...]) -> None:
    """Say what to do if there are no requests to show."""
    print_hint(NOTHING.format(" ".join(paths)))
    if any(map(_is_text_log, find_files(*paths)[:CHECKED_FILES])):
        print_hint(TEXT_FILES)


def _is_text_log(file: File) -> bool:
    """Return whether a file begins with a headline of the text format."""
    if not os.path.isfile(file.path):
        return False  # a pipe cannot be read twice
    with suppress(OSError):
        headline = next(read_lines(file.path), b"")
        return headline.split()[3:4] == [b"request_start"]
    return False


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("request_id", metavar="ID")
@paths_argument
@click.option("--text", "as_text", is_flag=True, help="Print all its records as text.")
def show(request_id: str, paths: tuple[str, ...], as_text: bool) -> None:
    """Show one request.

    ID is as many of its first digits as it takes; -1 is the newest, -2 the one before it.
    """
    request = _find(request_id, paths)
    if not as_text:
        print_lines(show_lines(request, events(request)))
    elif not os.path.isfile(request.path):
        raise click.ClickException(f"{request.path} is a pipe, which `show` cannot read twice")
    else:
        rows = records(request.path, request.request_id, request.offset)
        print_lines(map(_to_text, rows))


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
        names = escape_hidden(" ".join(paths))
        raise click.ClickException(f"no request {request_id!r} in {names}: `list` shows them")

    ids = {request.request_id for request in found}
    if len(ids) > 1:
        shown = "\n  ".join(sorted(ids)[:SHOWN_IDS])
        raise click.ClickException(
            f"{len(ids):,} requests begin with {request_id!r}; type more:\n  {shown}"
        )
    if len(found) > 1:
        copies = ", ".join(request.path for request in found)
        print_hint(f"The request is in {len(found)} files, of which this is the first: {copies}")
    return found[0]


def _to_text(row: Row) -> str:
    """Return a record as the text format has it, or as JSON if no recorder can have written it."""
    try:
        return show_record(row).removesuffix("\n")
    except Exception:  # anything can be in a damaged file
        return escape_hidden(json.dumps(row))


@main.command()
@paths_argument
@click.option(
    "--by",
    default="collection",
    show_default=True,
    help="collection, view, error, or a label.",
)
@since_option
def stats(paths: tuple[str, ...], by: str, since: float | None) -> None:
    """Count requests and what they used.

    The columns p50 and p95 are seconds of requests that ended or failed. A time that `list` shows
    with `<` counts as it is. `--by error` counts requests that failed.
    """
    with progress_bar() as on_read:
        found = requests(*paths, since=since or 0, on_read=on_read)
        groups = group_requests(by, found)

    if not groups:
        _explain_nothing(paths)
    elif list(groups) == [NO_NAME] and by not in STATS_FIELDS:
        print_hint(f"No request has a label {by!r}: --by takes collection, view, error or a label.")
    else:
        print_lines(stats_lines(by, groups))


@main.command("prune")
@click.argument("log_dir", required=False, type=click.Path(file_okay=False))
@click.option(
    "--older-than",
    type=parse_duration,
    metavar="DURATION",
    help="Files last written more than 30d ago.",
)
@click.option(
    "--max-bytes",
    type=parse_size,
    metavar="SIZE",
    help="The oldest files, until at most 1GB is left.",
)
@click.option(
    "--pattern",
    default=FILENAME_PATTERN,
    show_default=True,
    help="The filename_pattern of the handler.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Remove nothing; say what would be removed.",
)
def prune_files(
    log_dir: str | None,
    pattern: str,
    dry_run: bool,
    older_than: float | None,
    max_bytes: float | None,
) -> None:
    """Remove old files of the handler.

    A file stays if its name does not fit the pattern, if it does not begin with a record, if it was
    written within the last hour, if it cannot be read, or if a request of the last week may still
    run.
    """
    if older_than is None and max_bytes is None:
        raise click.UsageError("give --older-than or --max-bytes; for example --older-than 30d")
    try:
        log = LogFile(log_dir or LOG_DIR, pattern)
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    if log_dir is None and not os.path.exists(log.log_dir):
        print_hint(NOTHING.format(log.log_dir))
        return

    pruned = prune(log, older_than=older_than, max_bytes=max_bytes, dry_run=dry_run)
    if pruned.own:
        print_lines(_pruned_lines(pruned, "would remove" if dry_run else "removed"))
    else:
        print_hint(f"no file in {log.log_dir} fits the pattern {pattern} and begins with a record")


def _pruned_lines(pruned: Pruned, verb: str) -> list[str]:
    lines = []
    for file in pruned.removed:
        lines.append(f"{verb} {escape_hidden(file.path)}, {file.size:,} bytes")

    count = f"{len(pruned.removed):,} of {len(pruned.own):,} files"
    total = sum(file.size for file in pruned.removed)
    lines.append(f"{verb} {count}, {total:,} bytes")
    if pruned.kept:
        lines.append(
            f"kept {len(pruned.kept):,} more, which may still be written to, or cannot be read or "
            "removed"
        )
    return lines


if __name__ == "__main__":
    main(prog_name="python -m {{ cookiecutter.package_name }}")
