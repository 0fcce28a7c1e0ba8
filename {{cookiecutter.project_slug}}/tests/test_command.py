"""Proves what `python -m` of the package does with its arguments, and with anything in its way.

Delete this file together with `__main__.py`.
"""

import asyncio
import contextlib
import errno
import gc
import gzip
import io
import json
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from application import say
from click.shell_completion import BashComplete
from click.testing import CliRunner, Result
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from dbally.collection.collection import Collection
from dbally.views.exceptions import ViewExecutionError
from files import HEADLINE, ask, posix_only, start_python

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }} import LogFile, recording
from {{ cookiecutter.package_name }}.__main__ import main, parse_duration, parse_size, parse_time
from {{ cookiecutter.package_name }}.formats import UNKNOWN_ERROR

MakeCollection = Callable[..., Collection]
PACKAGE = Handler.__module__.split(".")[0]
RUN = f"import runpy; sys.argv[0] = {PACKAGE!r}; runpy.run_module({PACKAGE!r}, run_name='__main__')"


def run(*arguments: object, columns: int | None = 200, color: bool = False, **env: str) -> Result:
    """Run the command in this process; an exception that it does not catch is raised here."""
    runner = CliRunner(env=env | {"COLUMNS": str(columns) if columns else None})
    texts = [str(argument) for argument in arguments]
    return runner.invoke(main, texts, color=color, catch_exceptions=False)


def run_module(*arguments: object, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run the command in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **options.pop("env", {})}
    command = [sys.executable, "-m", PACKAGE, *map(str, arguments)]
    options.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(command, stderr=subprocess.PIPE, env=env, **options)


def nothing_in(log_dir: Path) -> str:
    return (
        f"No request in {log_dir} matches. Ask something with the handler, use fewer options, or "
        "name other files or directories."
    )


async def down(conversation: str) -> str:
    raise ConnectionError("the model \x1b[31mis down")


async def fail(handler: Handler, make_collection: MakeCollection) -> None:
    with pytest.raises(ViewExecutionError), recording(user="eve", beta=True):
        await make_collection(handler, reply=down).ask("Who is slow?")


@pytest.fixture
async def three(log_dir: Path, make_collection: MakeCollection) -> AsyncIterator[Path]:
    """Yield a directory with a request that ended, one that failed and one that is open."""
    handler = Handler(log_dir, "{started_at:%Y}/all", "jsonl")
    with recording(user="ann", tier=1, beta="true"):
        await ask(handler, collection="orders")
    await fail(handler, make_collection)
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", None))  # type: ignore[arg-type]
    async with tracker.track_event(LLMEvent("prompt", "Prompt")):
        yield log_dir


async def test_list_shows_a_line_a_request_and_why_one_failed(three: Path) -> None:
    shown = run("list", three)

    header, good, failed, why, unfinished = shown.output.splitlines()
    assert header.split()[:4] == ["started", "id", "collection", "outcome"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d [0-9a-f]{8} orders +ok +\d\.\d{3} +1 +0 Who\?", good)
    assert re.search(r" staff +failed +\d\.\d{3} +\d +0 Who is slow\?$", failed)
    assert why == r"  filter decision: ConnectionError: the model \u001b[31mis down"
    assert re.search(r" staff +unfinished$", unfinished)
    assert run(three).output == shown.output  # `list` is the default
    assert shown.exit_code == 0


@pytest.mark.parametrize(
    ("options", "questions"),
    [
        (["--failed"], ["Who is slow?"]),
        (["--unfinished"], [None]),
        (["--failed", "--unfinished"], ["Who is slow?", None]),
        (["-c", "orders"], ["Who?"]),
        (["-q", "WHO"], ["Who?", "Who is slow?"]),
        (["-q", "one"], []),
        (["--label", "user=eve"], ["Who is slow?"]),
        (["--label", "user=ann", "--label", "tier=1"], ["Who?"]),
        (["--label", "beta=true"], ["Who?", "Who is slow?"]),
        (["--label", "beta=True"], []),
        (["--label", "gone=null"], []),
        (["--label", "user=ann=b"], []),
        (["--since", "1h"], ["Who?", "Who is slow?", None]),
        (["--since", "0s"], []),
        (["--slow", "2s"], []),
        (["--slow", "0.001ms"], ["Who?", "Who is slow?"]),
        (["-n", "1"], [None]),
    ],
)
async def test_list_takes_only_what_is_asked_for(
    options: list[str], questions: list[str | None], three: Path
) -> None:
    shown = run("list", three, *options, "--json")
    lines = shown.output.splitlines()
    if not questions:
        assert lines == [nothing_in(three)]
        return

    rows = [json.loads(line) for line in lines]

    assert [row["question"] for row in rows] == questions
    assert all(re.fullmatch(r"[-\d]+T[:.\d]+\+00:00", row["started"]) for row in rows)


async def test_a_date_begins_at_midnight_of_this_place(three: Path) -> None:
    today = datetime.now().date()
    midnight = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

    assert parse_time(today.isoformat()) == midnight
    assert len(run("list", three, "--since", today, "--json").output.splitlines()) == 3
    tomorrow = today + timedelta(days=1)
    assert "No request in" in run("list", three, "--since", tomorrow).output


def test_units() -> None:
    units = ("ms", "s", "m", "h", "d", "w")

    assert [parse_duration(f"40{unit}") for unit in units] == [
        0.04,
        40,
        40 * 60,
        40 * 3600,
        40 * 24 * 3600,
        40 * 7 * 24 * 3600,
    ]
    sizes = [parse_size(f"1.5{unit}") for unit in ("B", "kB", "MB", "GB", "TB")]
    assert sizes == [1.5, 1.5e3, 1.5e6, 1.5e9, 1.5e12]
    assert parse_time("1h") == pytest.approx(time.time() - 3600, abs=60)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_the_commands(option: str) -> None:
    shown = run(option).output

    assert all(f"\n  {name} " in shown for name in ("list", "show", "stats", "prune"))


UNITS = "must be a number and a unit"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--slow", "2"], f"'2' {UNITS} (ms, s, m, h, d, w); for example 30d"),
        (["list", "--since", "soon"], "'soon' must be a duration, such as 1h, or a date"),
        (["prune", "--max-bytes", "1 GB"], f"'1 GB' {UNITS} (B, kB, MB, GB, TB); for example 1GB"),
        (["list", "--label", "user"], "'user' must be KEY=VALUE; for example user=ann"),
        (["list", "-n", "0"], "0 is not in the range x>=1"),
        (["sho", "-1"], "No such command 'sho'. Did you mean 'show'?"),
        (["stat"], "No such command 'stat'. Did you mean 'stats'?"),
        (["nothing-like-it"], "No such command 'nothing-like-it'.\n"),
        (["show", "--txt"], "No such option: --txt"),
        (["show", "-1", "--texts"], "No such option: --texts"),
        (["show"], "Missing argument 'ID'"),
    ],
)
def test_what_is_wrong_is_said_with_an_example(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PACKAGE}.__main__.LogFile", lambda: LogFile(tmp_path))
    shown = run(*arguments)

    assert message in shown.output
    assert shown.exit_code == 2


@pytest.mark.parametrize("command", ["list", "show", "stats", "prune"])
def test_a_path_that_is_missing_is_an_error(command: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing 日本"
    arguments = {"show": ["-1"], "prune": ["--older-than", "1d"]}.get(command, [])
    shown = run(command, *arguments, missing)

    assert shown.output == f"Error: [Errno 2] No such file or directory: '{missing}'\n"
    assert shown.exit_code == 1


async def test_colors_are_for_terminals_that_want_them(three: Path) -> None:
    for command in (["list"], ["show", "-1"], ["show", "-2"], ["stats"]):
        plain = run(*command, three).output
        assert "\x1b" not in plain
        assert run(*command, three, color=True, NO_COLOR="1").output == plain
        assert run(*command, three, color=True, TERM="dumb").output == plain
        colored = run(*command, three, FORCE_COLOR="1").output
        assert re.sub(r"\x1b\[\d+m", "", colored) == plain
        assert run(*command, three, color=True).output == colored
    assert "\x1b[31m" in run("list", three, color=True).output
    assert "\x1b[33m" in run("list", three, color=True).output


async def test_show_tells_what_came_of_a_request(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    handler = Handler(log_dir, "all", "jsonl")
    with recording() as block:
        await make_collection(handler).ask("Who?", return_natural_response=True)
    await ask(handler, question="Another?")

    shown = run("show", str(block.request_id)[:8], log_dir).output
    assert shown == run("show", "-2", log_dir).output
    assert f"  File        {log_dir / 'all'}\n" in shown
    assert "\n  SQL         SELECT staff.name, staff.city \n              FROM staff \n" in shown
    table = "\n  Rows        name city\n              Ann  Kraków\n  Answer      Ann does.\n"
    assert table in shown
    assert shown.count("━ ") == 4
    assert "SimilarityEvent" in shown


async def test_show_tells_what_failed_and_why(three: Path) -> None:
    failed = run("show", "-2", three).output
    unfinished = run("show", "-1", three).output

    assert re.match(r"[0-9a-f]{32}  failed  \d", failed)
    assert "  Labels      user=eve, beta=true\n  Question    Who is slow?\n" in failed
    assert r"      ConnectionError: the model \u001b[31mis down" in failed
    assert "  Failed step filter decision\n  Error       ViewExecutionError: " in failed
    assert "\n              caused by ConnectionError: the model" in failed
    assert re.match(r"[0-9a-f]{32}  unfinished\n", unfinished)
    assert re.search(r"  1 LLMEvent  +━+ +no end\n", unfinished)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
async def test_json_has_escapes_where_an_encoding_has_no_characters(
    encoding: str, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(Handler(log_dir, "all", "jsonl"), question="👩")
    runner = CliRunner(charset=encoding)

    shown = runner.invoke(main, ["list", "--json", str(log_dir)], catch_exceptions=False)
    assert r'"question": "\ud83d\udc69"' in shown.output


async def test_list_tells_what_the_model_replied_if_nothing_could_be_done_with_it(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    for iql in ("UNSUPPORTED QUERY", "lives_in(", ""):
        collection = make_collection(Handler(log_dir, "all", "jsonl"), reply=say(iql=iql))
        with pytest.raises(ViewExecutionError), recording():
            await collection.ask("Who?")

    lines = [line for line in run("list", log_dir).output.splitlines() if line.startswith("  ")]
    assert lines == [
        "  after filters: UnsupportedQueryError",
        "  the model replied: UNSUPPORTED QUERY",
        "  after filters: IQLSyntaxError: Syntax error in: lives_in(",
        "  the model replied: lives_in(",
        "  after filters: IQLNoStatementError: Empty IQL",
        "  the model replied: nothing",
    ]


async def test_a_failure_of_unknown_cause_says_what_is_known_and_what_to_do(
    log_dir: Path, make_collection: MakeCollection
) -> None:
    with contextlib.suppress(ViewExecutionError):
        await make_collection(Handler(log_dir, "all", "jsonl"), reply=down).ask("Who?")
    await asyncio.sleep(0)
    gc.collect()

    listed = run("list", log_dir).output
    assert r"  filter decision: ConnectionError: the model" in listed
    assert "\n< means at most. Put `recording()` directly around the `ask`" in listed
    assert f"\n  Error       {UNKNOWN_ERROR}\n" in run("show", "-1", log_dir).output


async def test_one_request_comes_out_of_a_shared_file_as_text(log_dir: Path) -> None:
    with recording() as block:
        await ask(Handler(log_dir, "all", "jsonl"), question="first")
    await ask(Handler(log_dir, "all", "jsonl"), question="second")

    shown = run("show", block.request_id, log_dir, "--text").output
    assert len(HEADLINE.findall(shown)) == 4
    assert "Question: first" in shown
    assert "second" not in shown


async def test_an_id_that_none_or_several_have_is_told(three: Path) -> None:
    for wanted, told in (
        ("ffffffff", "no request 'ffffffff' in"),
        ("zzz", "no request 'zzz' in"),
        ("-4", "no request '-4' in"),
        ("", "3 requests begin with ''; type more:\n  "),
    ):
        shown = run("show", wanted, three)
        assert told in shown.output
        assert shown.exit_code == 1


async def test_stats_group_by_anything(three: Path) -> None:
    header, orders, staff = run("stats", three).output.splitlines()

    assert header == "collection requests failed unfinished   p50   p95 calls tokens"
    assert re.fullmatch(r"orders +1 +0 +0 +\d\.\d{3} +\d\.\d{3} +1 +0", orders)
    assert re.fullmatch(r"staff +2 +1 +1 +\d\.\d{3} +\d\.\d{3} +\d +0", staff)
    for by, names in (
        ("user", ["(none)", "ann", "eve"]),
        ("view", ["(none)", "StaffView"]),
        ("error", ["ConnectionError"]),
    ):
        lines = run("stats", three, "--by", by).output.splitlines()
        assert [line.split()[0] for line in lines] == [by, *names]


@pytest.mark.parametrize("command", [[], ["list"], ["stats"], ["show", "-1"]])
def test_nothing_recorded_yet_is_no_error(
    command: list[str], log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PACKAGE}.__main__.LogFile", lambda: LogFile(log_dir))
    told = nothing_in(log_dir) + "\n"

    assert (run(*command).output, run(*command).exit_code) == (told, 0)
    if command[:1] != ["show"]:
        log_dir.mkdir()
        (log_dir / "foreign").write_text("text\n", "utf-8")
        (log_dir / "foreign.gz").write_text("text\n", "utf-8")
        assert (run(*command).output, run(*command).exit_code) == (told, 0)


async def test_no_request_that_matches_is_told(three: Path) -> None:
    for command in (["list", "-q", "nope"], ["stats", "--since", "0s"]):
        assert run(*command, three).output == nothing_in(three) + "\n"


async def test_standard_output_has_only_what_was_asked_for(
    three: Path, log_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (
        ["list", "--json", "-q", "nope"],
        ["list", "-q", "nope"],
        ["stats", "--by", "x"],
    ):
        main([*arguments, str(three)], standalone_mode=False)
        written = capsys.readouterr()
        assert (written.out, written.err.count("\n")) == ("", 1)

    monkeypatch.setattr(f"{PACKAGE}.__main__.LogFile", lambda: LogFile(log_dir / "missing"))
    main(["list", "--json"], standalone_mode=False)
    written = capsys.readouterr()
    assert (written.out, written.err.count("\n")) == ("", 1)


async def test_stats_by_a_label_that_no_request_has_say_so(three: Path) -> None:
    shown = run("stats", three, "--by", "colection").output

    assert shown == (
        "No request has a label 'colection': --by takes collection, view, error or a label.\n"
    )
    assert run("stats", three, "--by", "view", "-c", "x").exit_code == 2
    assert run("stats", three, "--by", "user").output.startswith("user ")


async def test_no_match_in_a_folder_with_text_and_json_says_both(three: Path) -> None:
    await ask(Handler(three, "all.log", "text"))

    lines = run("list", three, "-q", "nope").output.splitlines()
    assert lines[0] == nothing_in(three)
    assert lines[1].startswith("There are records as text")


async def test_a_request_in_two_files_is_shown_from_the_first(log_dir: Path) -> None:
    with recording() as block:
        await ask(Handler(log_dir, "all", "jsonl"))
    (log_dir / "all.gz").write_bytes(gzip.compress((log_dir / "all").read_bytes()))
    os.utime(log_dir / "all.gz", (0, 0))

    shown = run("show", block.request_id, log_dir)
    told, *lines = shown.output.splitlines()
    paths = f"{log_dir / 'all'}, {log_dir / 'all.gz'}"
    assert told == f"The request is in 2 files, of which this is the first: {paths}"
    assert lines[0].startswith(f"{block.request_id}  ok")
    assert f"  File        {log_dir / 'all'}" in lines
    assert shown.exit_code == 0


async def test_a_file_that_cannot_be_read_to_its_end_is_named(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"))
    torn = log_dir / "all.gz"
    torn.write_bytes(gzip.compress((log_dir / "all").read_bytes())[:-12])
    (log_dir / "all").unlink()

    assert "  Question    Who?" in run("show", "-1", log_dir).output.splitlines()
    shown = run("show", "-1", log_dir, "--text")
    problem = "Compressed file ended before the end-of-stream marker was reached"
    assert shown.output == f"Error: [Errno 5] {problem}: '{torn}'\n"
    assert shown.exit_code == 1


def completions(*words: str, incomplete: str) -> list[str]:
    complete = BashComplete(main, {}, PACKAGE, f"_{PACKAGE.upper()}_COMPLETE")
    return [item.value for item in complete.get_completions(list(words), incomplete)]


def test_a_shell_completes_commands_and_options(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"{PACKAGE}.__main__.LogFile", lambda: LogFile(log_dir))

    assert completions(incomplete="sh") == ["show"]
    assert completions(incomplete="") == ["list", "prune", "show", "stats"]
    assert completions("list", incomplete="--fa") == ["--failed"]
    assert completions("stats", incomplete="--b") == ["--by"]
    assert completions("show", "-1", incomplete="--t") == ["--text"]
    assert completions("sho", incomplete="--t") == []
    assert capfd.readouterr() == ("", "")


async def test_since_needs_no_time_before_1970(
    three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WindowsDatetime(datetime):
        def timestamp(self) -> float:
            if self.tzinfo is None and self.year <= 1970:
                raise OSError(22, "Invalid argument")
            return super().timestamp()

    monkeypatch.setattr(f"{PACKAGE}.__main__.datetime", WindowsDatetime)
    assert run("list", three).exit_code == 0
    assert run("stats", three).exit_code == 0
    refused = run("list", three, "--since", "1970-01-01")
    assert "'1970-01-01' must be a duration" in refused.output
    assert refused.exit_code == 2


async def test_a_folder_that_holds_only_text_is_told(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "text"))

    for command in ("list", "stats"):
        shown = run(command, log_dir)
        nothing, told = shown.output.splitlines()
        assert nothing == nothing_in(log_dir)
        assert told.startswith("There are records as text, which this command does not read")
        assert 'log_format="jsonl"' in shown.output
        assert shown.exit_code == 0


EXPECTED_JSON = {"question": "Who? 👩 日本 \x85", "collection": "staff"}


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "cp437", "latin-1", "ascii"])
async def test_json_is_json_in_any_encoding(encoding: str, log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"), question=EXPECTED_JSON["question"])

    done = run_module("list", "--json", log_dir, env={"PYTHONIOENCODING": encoding})
    row = json.loads(done.stdout.decode(encoding))
    assert row | EXPECTED_JSON == row
    assert done.stderr == b""


def test_it_starts_without_db_ally() -> None:
    heavy = ("dbally", "litellm", "pandas", "sqlalchemy", "numpy")
    code = f"import sys, {PACKAGE}.__main__; print({heavy!r}, *sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, encoding="utf-8", check=True
    )

    modules = done.stdout.partition(")")[2].split()
    assert f"{PACKAGE}.reading.screens" in modules
    assert not {name.partition(".")[0] for name in modules}.intersection(heavy)


def test_it_runs_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [PACKAGE, "--help"])
    monkeypatch.delitem(sys.modules, f"{PACKAGE}.__main__")

    with pytest.raises(SystemExit):
        runpy.run_module(PACKAGE, run_name="__main__")
    assert capsys.readouterr().out.startswith(f"Usage: python -m {PACKAGE} ")


@posix_only
async def test_standard_output_that_is_closed_or_full_takes_one_line(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"))

    closed = run_module("list", log_dir, stdout=None, preexec_fn=lambda: os.close(1))
    assert (closed.returncode, closed.stderr) == (0, b"")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = run_module("list", log_dir, stdout=full)
        assert done.stderr == b"Error: [Errno 28] No space left on device\n"
        assert done.returncode == 1


@pytest.mark.slow
@posix_only
async def test_who_reads_only_the_first_line_is_told_of_no_error(log_dir: Path) -> None:
    for _ in range(100):  # more than a pipe takes
        await ask(Handler(log_dir, "all", "jsonl"), question="x" * 2_000)

    with start_python(RUN, "list", "--json", "-n", "100", str(log_dir)) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.stderr
        assert process.stderr.read() == ""


def make_nasty_directory(log_dir: Path) -> None:
    """Put everything beside a good file that can be in a directory."""
    nasty = log_dir / "nasty \x1b]0;x\x07 \u202e name"
    nasty.mkdir(parents=True)
    good = json.loads((log_dir / "all").read_bytes().splitlines()[0])
    end = {**good, "kind": "request_end", "elapsed": 1.0, "data": {}}
    deep = json.dumps(good).replace('"staff"', "[" * 100_000)
    for levels in range(880, 1000, 7):  # about as deep as Python can go
        rows = "[" * levels + "]" * levels
        text = json.dumps(
            {**end, "request_id": f"{levels:032x}", "data": {"result": {"results": 0}}}
        )
        with (nasty / "deep.jsonl").open("a", encoding="utf-8") as file:
            file.write(text.replace('"results": 0', f'"results": {rows}') + "\n")
    lines = [
        json.dumps(good)[:50],
        deep,
        json.dumps({**good, "time": "2026-02-30T00:00:00Z"}),
        json.dumps({**good, "labels": 5}),
        json.dumps({**good, "request_id": "e" * 32, "process": "\x1b]0;x\x07\ud83d"}),
        json.dumps({**end, "request_id": "d" * 32, "summary": {"rows": 10**300}}),
        json.dumps({**good, "kind": "event_start", "event_id": [1]}),
        json.dumps(
            {**end, "request_id": "c" * 32, "data": {"result": {"results": [{}, {"a": 1}]}}}
        ),
        "\0" * 1000,
    ]
    (nasty / "torn.jsonl").write_text("\n".join(lines), "utf-8")
    (nasty / "binary.jsonl").write_bytes(os.urandom(10_000))
    (nasty / "no.gz").write_bytes(b"no gzip")
    (nasty / "dangling").symlink_to("nowhere")
    os.mkfifo(nasty / "pipe")


@pytest.mark.slow
@posix_only
async def test_whatever_is_in_the_directory_each_command_shows_what_it_can(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"), question="Good?")
    make_nasty_directory(log_dir)
    commands = [
        ["list", "-n", "99"],
        ["list", "-n", "99", "--json"],
        ["list", "--failed"],
        ["stats"],
        ["stats", "--by", "error"],
        ["show", "e" * 32],
        ["show", "e" * 32, "--text"],
        ["show", "c" * 32],
        ["show", f"{880:032x}", "--text"],
        ["show", "-1"],
    ]

    for arguments in commands:
        done = run_module(*arguments, log_dir, stdin=subprocess.DEVNULL)
        said = done.stderr.decode()
        assert done.returncode == 0, said
        assert "Traceback" not in said
        assert b"\x1b" not in done.stdout + done.stderr
        assert len(said.splitlines()) == len(set(said.splitlines())) <= 4, said
        if arguments[0] == "list" and "--failed" not in arguments:
            assert b"Good?" in done.stdout
            assert "torn.jsonl: 3 damaged records are left out" in said
            assert "no.gz: Not a gzipped file" in said


class StandardError(io.StringIO):
    """Standard error that is a terminal, or is not."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal

    def reconfigure(self, errors: str) -> None:
        """Take an option of real files."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("is_terminal", "delay", "is_shown"),
    [(True, -1.0, True), (True, 60.0, False), (False, -1.0, False)],
)
async def test_a_progress_bar_is_shown_on_a_terminal_if_reading_takes_long(
    is_terminal: bool,
    delay: float,
    is_shown: bool,
    log_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        await ask(Handler(log_dir, log_format="jsonl"))
    errors = StandardError(is_terminal)
    monkeypatch.setattr(f"{PACKAGE}.__main__.PROGRESS_DELAY", delay)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", errors)

    main(["stats", str(log_dir)], standalone_mode=False)
    shown = errors.getvalue()
    assert ("Reading" in shown and "100%" in shown) is is_shown
    assert bool(shown) is is_shown


@posix_only
async def test_a_pipe_is_read_once(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"))
    answers = []
    for command in (["list"], ["list", "-q", "nope"], ["show", "-1"], ["show", "-1", "--text"]):
        read_end, write_end = os.pipe()
        os.write(write_end, (log_dir / "all").read_bytes())
        os.close(write_end)
        answers.append(run(*command, f"/dev/fd/{read_end}").output)
        os.close(read_end)

    listed, unmatched, shown, text = answers
    assert listed.endswith(" Who?\n")
    assert re.fullmatch(r"No request in /dev/fd/\d+ matches\. Ask something .*\n", unmatched)
    assert "\n  Question    Who?\n" in shown
    assert re.fullmatch(r"Error: /dev/fd/\d+ is a pipe, which `show` cannot read twice\n", text)


async def test_a_record_that_no_recorder_writes_is_shown_as_json(log_dir: Path) -> None:
    await ask(Handler(log_dir, "all", "jsonl"))
    row = json.loads((log_dir / "all").read_bytes().splitlines()[0])
    (log_dir / "all").write_text(json.dumps({**row, "cut": "\x1b]0;x\x07"}) + "\n", "utf-8")

    shown = json.loads(run("show", "-1", log_dir, "--text").output)
    assert shown["cut"] == "\x1b]0;x\x07"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "Error: [Errno 28] No space left on device\n",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ""),
    ],
)
async def test_output_that_fails_takes_one_line_at_most(
    error: OSError, told: str, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(Handler(log_dir, "all", "jsonl"))

    def fail_to_write(text: str, nl: bool) -> None:
        raise error

    monkeypatch.setattr("click.echo", fail_to_write)
    shown = run("list", log_dir)
    assert (shown.output, shown.exit_code) == (told, 1)


def test_prune_of_a_directory_that_does_not_exist_yet_is_no_error(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{PACKAGE}.__main__.LOG_DIR", str(log_dir))
    shown = run("prune", "--older-than", "30d")

    assert shown.output.startswith(nothing_in(log_dir))
    assert shown.exit_code == 0
