"""The command that shows what was recorded: `python -m {{ cookiecutter.package_name }} --help`."""

import json
import os
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from .formats import escape
from .logfile import FILENAME_PATTERN, LOG_DIR, LogFile
from .reading import Wanted, newest, records, requests, with_id
from .reading.pruning import prune
from .reading.screens import list_lines, show_lines, stats_lines


def duration(text: str) -> float:
    """Return the seconds that a text such as 30d stands for."""
    return _quantity(text, {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}, "30d")


def size(text: str) -> float:
    """Return the bytes that a text such as 1GB stands for."""
    return _quantity(text, {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}, "1GB")


def _quantity(text: str, units: dict[str, float], example: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([A-Za-z]+)", text)
    if not found or found[2] not in units:
        raise click.BadParameter(
            f"{text!r}: a number and one of {', '.join(units)}; for example {example}"
        )
    return float(found[1]) * units[found[2]]


_NOTHING = (
    "Nothing is recorded in {}: ask something with the handler, or name other files or directories."
)


class Commands(click.Group):
    """Commands of which `list` need not be named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` in front of what names no command."""
        first = args[0] if args else "-"
        is_path = (
            first.startswith("-") or os.sep in first or os.path.exists(first)
        )  # else it is a command, misspelt
        is_list = is_path and first not in {*self.commands, "-h", "--help"}
        return super().parse_args(ctx, ["list", *args] if is_list else args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end with what is wrong where files may not be read or a pattern cannot work."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # which click knows how to end
        except (OSError, ValueError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(ctx: click.Context) -> None:
    """Show what was recorded, in text or JSON lines, compressed or not; without PATHS in the handler's directory."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":  # https://no-color.org
        ctx.color = False
    elif os.environ.get("FORCE_COLOR"):  # https://force-color.org, for a pipe to `less -R`
        ctx.color = True
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # some consoles cannot spell it all


def _given(ctx: click.Context, param: click.Parameter, paths: tuple[str, ...]) -> tuple[str, ...]:
    paths = paths or (LogFile().log_dir,)
    if not os.path.exists(paths[0]):
        click.echo(_NOTHING.format(paths[0]))
        ctx.exit()
    return paths


_paths = click.argument("paths", nargs=-1, type=click.Path(exists=True), callback=_given)
_since = click.option(
    "--since", type=duration, default="5000w", help="Those that started within a time, such as 1h."
)


@main.command("list")
@_paths
@click.option("--failed", is_flag=True, help="Those that failed.")
@click.option("--unfinished", is_flag=True, help="Those that neither ended nor failed.")
@click.option(
    "--slow", type=duration, default="0s", help="Those that took as long or longer, such as 2s."
)
@click.option("-c", "--collection", default="", help="Those of a collection.")
@click.option(
    "-q", "--question", metavar="TEXT", default="", help="Those with a text in their question."
)
@click.option("--label", "labels", metavar="KEY=VALUE", multiple=True, help="Those with a label.")
@_since
@click.option(
    "-n",
    "most",
    metavar="N",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="At most.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a request, with all that is known of it.",
)
def list_requests(
    paths: tuple[str, ...], most: int, since: float, as_json: bool, **wanted: Any
) -> None:
    """List the newest requests. The newest is last: when, id, collection, outcome, seconds, calls, tokens, question."""
    found = newest(*paths, most=most, since=time.time() - since, is_wanted=_filter(**wanted))
    if as_json:
        for request in found:
            click.echo(
                escape(
                    json.dumps(
                        asdict(request), default=lambda time: time.isoformat(), ensure_ascii=False
                    )
                )
            )
    else:
        _print(list_lines(found) if found else [_none(paths)])


def _print(lines: Iterable[str]) -> None:
    click.echo("\n".join(lines))


def _none(paths: tuple[str, ...]) -> str:
    is_any = any(requests(*paths))
    return (
        f"None of the requests in {' '.join(paths)} is like that."
        if is_any
        else _NOTHING.format(" ".join(paths))
    )


def _filter(
    failed: bool, unfinished: bool, slow: float, collection: str, question: str, labels: list[str]
) -> Wanted:
    outcomes = ["failed"] * failed + ["unfinished"] * unfinished or ["ok", "failed", "unfinished"]
    pairs = [label.partition("=")[::2] for label in labels]
    return lambda request: (
        request.outcome in outcomes
        and (request.elapsed or 0) >= slow
        and collection in ("", request.collection)
        and question.casefold() in str(request.question).casefold()
        and all(str((request.labels or {}).get(name)) == value for name, value in pairs)
    )


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("request_id", metavar="ID")
@_paths
@click.option(
    "--text", "as_text", is_flag=True, help="All its records, as the text format has them."
)
def show(request_id: str, paths: tuple[str, ...], as_text: bool) -> None:
    """Show one request. Its ID is as many of the first digits as tell it; -1 is the newest, -2 the one before it."""
    if re.fullmatch(r"-[1-9]\d*", request_id):
        number = -int(request_id)
        found = newest(*paths, most=number)[::-1][number - 1 :]
    else:
        found = with_id(request_id, *paths)
    if not found:
        raise click.ClickException(
            f"no request {request_id} in {' '.join(paths)}: `list` shows which there are"
        )
    if len(found) > 1:
        several = "\n  ".join(
            [
                f"{request_id} begins several ids; type more of one:",
                *(each.request_id for each in found),
            ]
        )
        raise click.ClickException(several)
    (request,) = found
    own = [
        record
        for record in records(request.path)
        if request.request_id.startswith(record.request_id)
    ]
    lines = (record.text().rstrip("\n") for record in own) if as_text else show_lines(request, own)
    _print(lines)


@main.command()
@_paths
@click.option(
    "--by",
    default="collection",
    show_default=True,
    help="collection, view, or the name of a label.",
)
@_since
def stats(paths: tuple[str, ...], by: str, since: float) -> None:
    """Count requests and what they used. The columns p50 and p95 are seconds of those that ended or failed."""
    start = time.time() - since
    found = (each for each in requests(*paths) if each.started.timestamp() >= start)
    header, *lines = stats_lines(by, found)
    _print([header, *lines] if lines else [_none(paths)])


@main.command("prune")
@click.argument("log_dir", required=False, type=click.Path(exists=True, file_okay=False))
@click.option(
    "--older-than", type=duration, help="Remove what was written last before that, such as 30d."
)
@click.option(
    "--max-bytes", type=size, help="Remove the oldest until no more is left, such as 1GB."
)
@click.option(
    "--gzip-after", type=duration, help="Compress what was written last before that, such as 1d."
)
@click.option(
    "--pattern",
    default=FILENAME_PATTERN,
    show_default=True,
    help="What the handler calls its files.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def prune_files(log_dir: str | None, pattern: str, dry_run: bool, **limits: float | None) -> None:
    """Remove and compress old files. Those that the handler cannot have made stay."""
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        raise click.UsageError(
            "say --older-than, --max-bytes or --gzip-after; for example --older-than 30d"
        )
    for action, file in prune(LogFile(log_dir or LOG_DIR, pattern), **given, dry_run=dry_run):
        click.echo(f"{'would ' * dry_run}{action} {escape(file.path)} of {file.size:,} bytes")


if __name__ == "__main__":
    main(prog_name="python -m {{ cookiecutter.package_name }}")
