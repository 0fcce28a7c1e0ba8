"""What `python -m` of the package shows."""

import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from unicodedata import east_asian_width

import pytest
from click.testing import CliRunner, Result
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from dbally.collection.collection import Collection
from dbally.views.exceptions import ViewExecutionError
from files import ask

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.__main__ import duration, main, size
from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.logfile import LogFile

MakeCollection = Callable[..., Collection]
FORMATS = pytest.mark.parametrize("log_format", ["text", "jsonl"])


def run(*arguments: object, columns: int | None = 200, color: bool = False, **env: str) -> Result:
    runner = CliRunner(env=env | {"COLUMNS": str(columns) if columns else None})
    return runner.invoke(
        main, [str(each) for each in arguments], color=color, catch_exceptions=False
    )


async def down(conversation: str) -> str:
    raise ConnectionError("the model \x1b[31mis down")


async def fail(handler: Handler, make_collection: MakeCollection) -> None:
    with pytest.raises(ViewExecutionError), recording(user="eve"):
        await make_collection(handler, reply=down).ask("Who is slow?")


@pytest.fixture
async def three(log_dir: Path, make_collection: MakeCollection) -> AsyncIterator[Path]:
    """Yield a directory with three requests: one that ended, one that failed, one that did neither."""
    handler = Handler(log_dir, "{started_at:%Y}/all", "jsonl")
    with recording(user="ann", tier=1):
        await ask(handler, collection="orders")
    await fail(handler, make_collection)
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", "Open?"))
    async with tracker.track_event(LLMEvent("prompt", "Prompt")):
        yield log_dir


async def test_list_shows_a_line_a_request_and_why_one_failed(three: Path) -> None:
    shown = run("list", three)
    header, good, failed, why, unfinished = shown.output.splitlines()

    assert header.split() == [
        "started",
        "id",
        "collection",
        "outcome",
        "seconds",
        "calls",
        "tokens",
        "question",
    ]
    assert re.fullmatch(r"\d\d:\d\d:\d\d [0-9a-f]{8} orders +ok +\d\.\d{3} +1 +0 Who\?", good)
    assert re.search(r" staff +failed +\d\.\d{3} +\d +0 Who is slow\?$", failed)
    assert why == r"  ConnectionError: the model \u001b[31mis down"
    assert re.search(r" staff +unfinished +Open\?$", unfinished)
    assert run(three).output == shown.output  # `list` need not be named
    assert shown.exit_code == 0


@pytest.mark.parametrize(
    ("options", "questions"),
    [
        (["--failed"], ["Who is slow?"]),
        (["--unfinished"], ["Open?"]),
        (["--failed", "--unfinished"], ["Who is slow?", "Open?"]),
        (["-c", "orders"], ["Who?"]),
        (["-q", "WHO"], ["Who?", "Who is slow?"]),
        (["--label", "user=eve"], ["Who is slow?"]),
        (["--label", "user=ann", "--label", "tier=1"], ["Who?"]),
        (["--since", "1h"], ["Who?", "Who is slow?", "Open?"]),
        (["--since", "0s"], []),
        (["--slow", "2s"], []),
        (["--slow", "0.0000001s"], ["Who?", "Who is slow?"]),
        (["--label", "user=ann=b"], []),
        (["--slow", "0s", "-n", "1"], ["Open?"]),
    ],
)
async def test_list_takes_only_what_is_wanted(
    options: list[str], questions: list[str], three: Path
) -> None:
    rows = [json.loads(line) for line in run("list", three, *options, "--json").output.splitlines()]
    assert [row["question"] for row in rows] == questions
    assert all(re.fullmatch(r"[-\d]+T[:.\d]+\+00:00", row["started"]) for row in rows)


def test_units() -> None:
    assert [duration(f"1{unit}") for unit in "smhdw"] == [1, 60, 3600, 24 * 3600, 7 * 24 * 3600]
    assert [size(f"1.5{unit}") for unit in ("B", "kB", "MB", "GB", "TB")] == [
        1.5,
        1.5e3,
        1.5e6,
        1.5e9,
        1.5e12,
    ]


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_commands(option: str) -> None:
    assert all(f"\n  {name} " in run(option).output for name in ("list", "show", "stats", "prune"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--slow", "2"], "'2': a number and one of s, m, h, d, w; for example 30d"),
        (["list", "--since", "soon"], "'soon': a number and one of s, m, h, d, w; for example 30d"),
        (
            ["prune", "--max-bytes", "1 GB"],
            "'1 GB': a number and one of B, kB, MB, GB, TB; for example 1GB",
        ),
        (["prune"], "say --older-than, --max-bytes or --gzip-after; for example --older-than 30d"),
        (["list", "/no/such/path"], "'/no/such/path' does not exist"),
        (["list", "-n", "0"], "0 is not in the range x>=1"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(arguments: list[str], message: str) -> None:
    shown = run(*arguments)
    assert message in shown.output
    assert shown.exit_code == 2


async def test_lines_are_cut_to_the_width_of_a_terminal_as_it_shows_them(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all"), collection="x" * 70, question="\n")
    for question in ("日本" * 40, "👩" * 60, "e\u0301" * 100, "x" * 300, "short"):
        await ask(Handler(log_dir, "all"), question=question)
    for columns in (70, 80, 81, 120):
        lines = run("list", log_dir, columns=columns).output.splitlines()
        widths = [
            sum(1 + (east_asian_width(char) in "WF") - (char == "\u0301") for char in line)
            for line in lines
        ]
        assert max(widths) <= columns
        assert min(widths[2:6]) >= columns - 1
        assert [line[-1] for line in lines[2:6]] == ["…"] * 4
        assert lines[6].endswith(" short")
    assert ("x" * 300) in run("list", log_dir, columns=None).output


async def test_colors_are_for_terminals_that_want_them(three: Path) -> None:
    for command in (["list"], ["show", "-1"], ["show", "-2"], ["stats"]):
        plain = run(*command, three).output
        assert "\x1b" not in plain
        assert run(*command, three, color=True, NO_COLOR="1").output == plain
        assert re.sub(r"\x1b\[\d+m", "", run(*command, three, color=True).output) == plain
    assert "\x1b[31m" in run("list", three, color=True).output
    assert "\x1b[33m" in run("list", three, color=True).output


@FORMATS
async def test_show_draws_events_on_one_time_line(log_format: str, log_dir: Path) -> None:
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "all", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    first, second = (tracker.track_event(LLMEvent("prompt", "Prompt")) for _ in range(2))
    await first.__aenter__()
    await asyncio.sleep(0.05)
    await second.__aenter__()
    await asyncio.sleep(0.05)
    await first.__aexit__(None, None, None)
    await asyncio.sleep(0.1)
    await second.__aexit__(None, None, None)

    one, two = (line for line in run("show", "-1", log_dir).output.splitlines() if "━" in line)
    assert re.fullmatch(r"  1 LLMEvent   *━+ +\d+\.\d ms", one)
    assert re.fullmatch(r"  2 LLMEvent   +━+ +\d+\.\d ms", two)
    assert two.index("━") < one.rindex("━") < two.rindex("━")  # they overlap, and can be seen to
    assert len(one) == len(two)


@FORMATS
async def test_show_tells_what_failed_and_why(
    log_format: str, log_dir: Path, make_collection: MakeCollection
) -> None:
    await fail(Handler(log_dir, "all", log_format), make_collection)
    shown = run("show", "-1", log_dir).output

    assert re.match(r"[0-9a-f]{32}  failed  \d", shown)
    assert "\n  Labels      user=eve\n  Question    Who is slow?\n" in shown
    assert r"      ConnectionError: the model \u001b[31mis down" in shown
    error = "ViewExecutionError: Error while executing view StaffView"
    assert f"\n  Error       {error}\n              caused by Conn" in shown


@FORMATS
async def test_show_tells_what_came_of_it(
    log_format: str, log_dir: Path, make_collection: MakeCollection
) -> None:
    await make_collection(Handler(log_dir, "all", log_format)).ask(
        "Who?", return_natural_response=True
    )
    shown = run("show", "-1", log_dir).output

    assert "\n  SQL         SELECT staff.name, staff.city \n              FROM staff \n" in shown
    assert "\n  View        StaffView\n" in shown
    assert (
        "\n  Rows        name city\n              Ann  Kraków\n  Answer      Ann does.\n" in shown
    )
    assert shown.count("━ ") == 4
    assert "SimilarityEvent" in shown


async def test_show_says_what_has_no_end(three: Path) -> None:
    shown = run("show", "-1", three).output
    assert re.match(r"[0-9a-f]{32}  unfinished\n", shown)
    assert re.search(r"  1 LLMEvent  +━+ +no end\n", shown)


@FORMATS
async def test_one_request_comes_out_of_a_shared_file_as_text(
    log_format: str, log_dir: Path
) -> None:
    with recording() as made:
        await ask(Handler(log_dir, "all", log_format), question="first")
    await ask(Handler(log_dir, "all", log_format), question="second")

    shown = run("show", made.request_id, log_dir, "--text").output
    assert run("show", (made.request_id or "")[:8], log_dir, "--text").output == shown
    assert len(re.findall(r"(?m)^[0-9a-f]{8} \S+ \S+ (?:request|event)_", shown)) == 4
    assert "Question: first" in shown
    assert "second" not in shown
    if log_format == "text":
        assert shown in (log_dir / "all").read_text("utf-8")


async def test_what_is_missing_or_broken_is_passed_over(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"))
    _, begin, _, end = (log_dir / "all").read_bytes().splitlines(True)
    (log_dir / "all").write_bytes(begin.replace(b'"data"', b"data") + end)

    assert re.match(
        r"[0-9a-f]{32}  ok  0\.\d{3}\n  Started +\S+ \S+ \S+\n  File +\S+\n  Coll",
        run("show", "-1", log_dir).output,
    )
    assert "data:{" in run("show", "-1", log_dir, "--text").output


async def test_an_id_that_none_or_several_have_is_told(three: Path) -> None:
    for wanted, told in (
        ("ffffffff", "no request ffffffff in"),
        ("-4", "no request -4"),
        ("", "begins several ids"),
    ):
        shown = run("show", wanted, three)
        assert told in shown.output
        assert shown.exit_code == 1


async def test_stats_count_and_measure(three: Path) -> None:
    header, orders, staff = run("stats", three).output.splitlines()
    assert header == "collection requests failed unfinished   p50   p95 calls tokens"
    assert re.fullmatch(r"orders +1 +0 +0 +\d\.\d{3} +\d\.\d{3} +1 +0", orders)
    assert re.fullmatch(r"staff +2 +1 +1 +\d\.\d{3} +\d\.\d{3} +\d +0", staff)
    for by, names in (("user", ["(none)", "ann", "eve"]), ("view", ["(none)", "StaffView"])):
        assert [
            line.split()[0] for line in run("stats", three, "--by", by).output.splitlines()
        ] == [by, *names]
    assert "is like that" in run("stats", three, "--since", "0s").output


def test_nothing_recorded_yet_is_no_error(log_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("{{ cookiecutter.package_name }}.__main__.LogFile", lambda: LogFile(log_dir))
    said = f"Nothing is recorded in {log_dir}: ask something with the handler, or name other files or directories.\n"
    assert (run().output, run().exit_code) == (said, 0)
    log_dir.mkdir()
    assert (run().output, run().exit_code) == (said, 0)


def test_it_runs_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = Handler.__module__.split(".")[0]
    monkeypatch.setattr(sys, "argv", [package, "--help"])
    monkeypatch.delitem(sys.modules, f"{package}.__main__")
    with pytest.raises(SystemExit):
        runpy.run_module(package, run_name="__main__")
    assert capsys.readouterr().out.startswith(f"Usage: python -m {package} ")


def test_the_command_does_not_import_db_ally() -> None:
    package = Handler.__module__.split(".")[0]
    code = f"import sys, {package}.__main__; print('dbally' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        ).stdout
        == "False\n"
    )


def test_a_command_that_is_misspelt_is_no_path() -> None:
    assert "No such command 'sho'" in run("sho").output
    assert "Path '/no/such' does not exist" in run("/no/such").output
