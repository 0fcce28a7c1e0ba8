"""The page of viewers: what lnav, SQLite, DuckDB and a receiver of traces make of the files."""

import gzip
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bake import bake
from otlp import CONVENTIONS, ERROR, Backend, plain
from pages import Application, blocks
from servers import free_port, start_collector, wait_until

PAGE = blocks("viewers.md")
FORMATS = json.loads(PAGE["dbally.json"])
LNAV = FORMATS["dbally_jsonl"]
HANDLER = """
from db_ally_file_handler import FileEventHandler
handler = FileEventHandler(log_format="jsonl", filename_pattern="{started_at:%Y-%m-%d}.jsonl")
"""
ASKED, FAILED = 4, 2
LEVELS = {
    "request_start": "info",
    "request_end": "info",
    "request_failed": "error",
    "event_start": "debug",
    "event_end": "debug",
    "event_failed": "warning",
}
QUESTIONS = ("failed", "tokens", "slowest")
OPENINFERENCE = {"input.value", "output.value"}

Row = dict[str, Any]

needs_lnav = pytest.mark.skipif(
    not shutil.which("lnav"), reason="lnav is not installed: only the levels of its format are tested"
)


@pytest.fixture(scope="module", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the commands keep their bytecode in a folder of this module: to compile it is half of what they take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the page prints, and the logs of a process that was killed in a request."""
    folder = tmp_path_factory.mktemp("viewers")
    project = bake(folder)
    with Application(project, HANDLER) as application:
        application.ask(ASKED)
        application.fail(FAILED)
        application.die_in_a_request()
    for name, code in PAGE.items():
        (project / name).write_text(code, "utf-8")
    return project


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """Return a copy of that, for one test."""
    for name in ("logs", *PAGE):
        source = written / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    return tmp_path


def records_in(folder: Path) -> list[Row]:
    return [
        json.loads(line) for file in (folder / "logs").glob("*.jsonl") for line in file.read_text("utf-8").splitlines()
    ]


def shell(folder: Path, command: str, **env: str) -> str:
    """Run a line of the page, with the commands of this environment."""
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-ec", command],
        cwd=folder,
        env={**os.environ, **own, **env},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_kind_has_one_level() -> None:
    for kind, level in LEVELS.items():
        assert [found for found, pattern in LNAV["level"].items() if re.search(pattern, kind)] == [level]


@pytest.fixture
def lnav(folder: Path) -> Path:
    """Return the folder, in which lnav knows the formats."""
    said = shell(folder, "(lnav -i dbally.json && lnav -C) 2>&1", XDG_CONFIG_HOME=str(folder))
    assert "warning" not in said
    return folder


@needs_lnav
def test_lnav_knows_what_each_record_is(lnav: Path) -> None:
    question = ";SELECT kind, log_level, log_opid, event_id, step, elapsed FROM dbally_jsonl"
    command = f"lnav -n -c '{question}' -c ':write-jsonlines-to -' logs/*.jsonl"

    rows = [json.loads(line) for line in shell(lnav, command, XDG_CONFIG_HOME=str(lnav)).splitlines()]

    records = records_in(lnav)
    assert Counter((row["kind"], row["log_level"]) for row in rows) == Counter(
        (record["kind"], LEVELS[record["kind"]]) for record in records
    )
    assert Counter(str(row["event_id"]) for row in rows) == Counter(str(record.get("event_id")) for record in records)
    assert {row["log_opid"][:8] for row in rows} == {record["request_id"][:8] for record in records}
    assert {row["step"] for row in rows} >= {"filter decision", "filters", None}
    assert all((row["elapsed"] is None) == row["kind"].endswith("start") for row in rows)


@needs_lnav
def test_lnav_shows_a_record_a_line_and_takes_one_request_out_of_many(lnav: Path) -> None:
    records = records_in(lnav)
    wanted = next(record for record in records if record["kind"] == "request_failed")["request_id"]

    lines = shell(lnav, "lnav -n logs/*.jsonl", XDG_CONFIG_HOME=str(lnav)).splitlines()
    one = shell(lnav, f"lnav -n -c ':filter-in {wanted[:8]}' logs/*.jsonl", XDG_CONFIG_HOME=str(lnav)).splitlines()
    failed = shell(lnav, "lnav -n -c ':set-min-log-level error' logs/*.jsonl", XDG_CONFIG_HOME=str(lnav)).splitlines()

    assert len(lines) == len(records)
    assert len(one) == sum(record["request_id"] == wanted for record in records)
    assert all(wanted[:8] in line for line in one)
    assert len(failed) == FAILED
    assert all("ViewExecutionError Error while executing view StaffView" in line for line in failed)


def truth(folder: Path) -> tuple[list[Row], list[Row], list[Row]]:
    """Return what the three questions have to answer, by other means."""
    ended = [record for record in records_in(folder) if "summary" in record]
    failed = [
        {
            "time": record["time"],
            "id": record["request_id"][:8],
            "question": "Who?",
            "error": "ViewExecutionError",
            "message": record["error"]["message"],
            "cause": record["error"]["causes"][-1]["type"],
            "cause_message": record["error"]["causes"][-1]["message"],
        }
        for record in sorted(ended, key=lambda record: str(record["time"]), reverse=True)
        if record["kind"] == "request_failed"
    ]
    tokens: Counter[str] = Counter()
    for record in ended:
        tokens[record["time"][:10]] += record["summary"]["total_tokens"]
    requests = Counter(record["time"][:10] for record in ended)
    slowest = [
        {
            "elapsed": record["elapsed"],
            "id": record["request_id"][:8],
            "kind": record["kind"],
            "question": "Who?",
            "calls": record["summary"]["calls"],
        }
        for record in sorted(ended, key=lambda record: float(record["elapsed"]), reverse=True)
    ]
    assert len(failed) == FAILED
    assert len(slowest) == ASKED + FAILED
    return failed, [{"day": day, "requests": requests[day], "tokens": tokens[day]} for day in sorted(tokens)], slowest


def answers_of_sqlite(folder: Path) -> tuple[list[Row], ...]:
    shell(folder, PAGE["load.sh"])
    database = sqlite3.connect(folder / "requests.db")
    database.row_factory = sqlite3.Row
    answers = [[dict(row) for row in database.execute(f"SELECT * FROM {name}")] for name in QUESTIONS]
    database.close()
    return tuple(answers)


def answers_of_duckdb(folder: Path) -> tuple[list[Row], ...]:
    command = "duckdb -json -init records.sql -f {}.sql"
    return tuple(json.loads(shell(folder, command.format(name)) or "[]") for name in QUESTIONS)


@pytest.mark.parametrize("answers", [answers_of_sqlite, answers_of_duckdb])
def test_a_torn_line_changes_no_answer_and_neither_does_asking_again(answers: Any, folder: Path) -> None:
    file = next((folder / "logs").glob("*.jsonl"))
    cause = '{"type":"ConnectionError","message":"the model is away"}'
    file.write_text(file.read_text("utf-8").replace(cause, cause + ',{"type":"OSError","message":"no route"}'), "utf-8")
    expected = truth(folder)
    assert expected[0][0]["cause"] == "OSError"
    (folder / "logs" / "torn.jsonl").write_text('{"time":"2026-11-25T10:54:07.049123Z","request_id":"ecde41', "utf-8")
    (folder / "logs" / "empty.jsonl").touch()

    assert answers(folder) == expected
    assert answers(folder) == expected


@pytest.mark.parametrize("answers", [answers_of_sqlite, answers_of_duckdb])
def test_where_nothing_failed_or_ended_there_are_no_rows(answers: Any, folder: Path) -> None:
    file = next((folder / "logs").glob("*.jsonl"))
    file.write_text(file.read_text("utf-8").partition("\n")[0] + "\n", "utf-8")

    assert answers(folder) == ([], [], [])


def test_duckdb_reads_compressed_files(folder: Path) -> None:
    expected = truth(folder)
    for file in (folder / "logs").glob("*.jsonl"):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()

    assert answers_of_duckdb(folder) == expected


def test_datasette_and_sqlite_utils_show_the_answers(folder: Path) -> None:
    shell(folder, PAGE["load.sh"])
    failed, _, slowest = truth(folder)

    assert json.loads(shell(folder, "datasette requests.db --get '/requests/slowest.json?_shape=array'")) == slowest
    assert "the model is away" in shell(folder, "datasette requests.db --get /requests/failed")
    assert shell(folder, "sqlite-utils rows requests.db failed --table").count(failed[0]["message"]) == FAILED


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


@pytest.fixture
def collector(backend: Backend) -> Iterator[dict[str, str]]:
    """Start a collector, which takes OTLP as JSON, as MLflow does; return the environment of its clients."""
    server, env = start_collector(f"http://127.0.0.1:{backend.server.server_port}")
    yield env
    server.stop()


def test_the_script_is_in_form(folder: Path) -> None:
    ruff = f"{sys.executable} -m ruff"
    shell(folder, f"{ruff} format --isolated --line-length 100 --check traces.py")
    shell(folder, f"{ruff} check --isolated --line-length 100 --select E,F,B,I,RUF,SIM,UP traces.py")


@pytest.mark.parametrize("command", ["python traces.py logs/*.jsonl", "cat logs/*.jsonl | python traces.py"])
def test_each_request_arrives_as_a_trace(
    command: str, folder: Path, backend: Backend, collector: dict[str, str]
) -> None:
    records = records_in(folder)

    said = shell(folder, command, **collector)

    requests = {record["request_id"] for record in records}
    assert said.startswith(f"{len(requests)} requests sent to http://127.0.0.1:")
    events = {(record["request_id"], record.get("event_id")) for record in records}
    wait_until(lambda: len(backend.spans) >= len(events))
    assert len(backend.spans) == len(events)
    assert len({(span.trace_id, span.span_id) for span in backend.spans}) == len(events)
    roots = {span.trace_id.hex(): span for span in backend.spans if not span.parent_span_id}
    assert roots.keys() == requests
    for span in backend.spans:
        root = roots[span.trace_id.hex()]
        assert span is root or span.parent_span_id == root.span_id
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        names = plain(span.attributes).keys()
        assert {name for name in names if not name.startswith("dbally.")} <= CONVENTIONS | OPENINFERENCE


def spans_of(kind: str, folder: Path, backend: Backend, env: dict[str, str]) -> tuple[list[Row], list[Any]]:
    """Return the records and the spans of a request whose last record is of that kind, the request's own first."""
    ids = [record["request_id"] for record in records_in(folder) if record["kind"] == kind]
    alone = [one for one in ids if [r["kind"] for r in records_in(folder) if r["request_id"] == one][-1] == kind]
    records = [record for record in records_in(folder) if record["request_id"] == alone[0]]
    shell(folder, f"grep -h {alone[0]} logs/*.jsonl | python traces.py", **env)
    count = len({record.get("event_id") for record in records})
    wait_until(lambda: len(backend.spans) >= count)
    return records, sorted(backend.spans, key=lambda span: bool(span.parent_span_id))


def test_a_trace_tells_what_was_asked_and_said_and_when(
    folder: Path, backend: Backend, collector: dict[str, str]
) -> None:
    records, (root, *spans) = spans_of("request_end", folder, backend, collector)

    about = plain(root.attributes)
    assert (root.name, about["gen_ai.operation.name"]) == ("staff", "invoke_workflow")
    assert (about["input.value"], json.loads(about["output.value"])) == ("Who?", [{"name": "Ann", "city": "Kraków"}])
    assert root.end_time_unix_nano - root.start_time_unix_nano == int(records[-1]["elapsed"] * 1e9)
    assert Counter(span.name for span in spans) == {"filter decision": 1, "filters": 1, "SimilarityEvent": 1}
    assert all(span.status.code != ERROR for span in (root, *spans))
    start = next(record for record in records if record.get("step") == "filters")
    end = next(record for record in reversed(records) if record.get("step") == "filters")
    chat = plain(next(span for span in spans if span.name == "filters").attributes)
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.usage.input_tokens"] == end["data"]["prompt_tokens"]
    assert chat["gen_ai.usage.output_tokens"] == end["data"]["completion_tokens"]
    asked = [(message["role"], message["parts"][0]["content"]) for message in json.loads(chat["gen_ai.input.messages"])]
    assert asked == [(message["role"], message["content"]) for message in start["data"]["prompt"]]
    (answer,) = json.loads(chat["gen_ai.output.messages"])
    assert answer == {"role": "assistant", "parts": [{"type": "text", "content": end["data"]["response"]}]}
    lookup = plain(next(span for span in spans if span.name == "SimilarityEvent").attributes)
    assert (lookup["input.value"], lookup["output.value"]) == ("kraków", "Kraków")


def test_a_failed_request_is_an_error_with_its_causes(
    folder: Path, backend: Backend, collector: dict[str, str]
) -> None:
    records, (root, call) = spans_of("request_failed", folder, backend, collector)

    error = records[-1]["error"]
    assert root.status.code == call.status.code == ERROR
    assert root.status.message == f"ViewExecutionError: {error['message']}"
    assert call.status.message == "ConnectionError: the model is away"
    assert plain(root.attributes)["error.type"] == "ViewExecutionError"
    assert [event.name for event in root.events] == ["exception"] * (1 + len(error["causes"]))
    assert [plain(event.attributes) for event in root.events] == [
        {"exception.type": each["type"], "exception.message": each["message"]} for each in (error, *error["causes"])
    ]


def test_what_has_not_ended_is_an_error_that_lasts_until_the_last_record(
    folder: Path, backend: Backend, collector: dict[str, str]
) -> None:
    records, (root, *spans) = spans_of("event_start", folder, backend, collector)

    unfinished = [span for span in spans if span.status.code == ERROR]
    assert (root.status.code, root.status.message) == (ERROR, "request_unfinished")
    assert [span.status.message for span in unfinished] == ["event_unfinished"]
    assert len(spans) > len(unfinished)
    assert root.end_time_unix_nano == unfinished[0].end_time_unix_nano >= max(span.end_time_unix_nano for span in spans)
    assert "request_end" not in {record["kind"] for record in records}


def test_compressed_withheld_and_foreign_lines_are_taken(
    folder: Path, backend: Backend, collector: dict[str, str]
) -> None:
    records = records_in(folder)
    shutil.rmtree(folder / "logs")
    (folder / "logs").mkdir()
    withheld = {"prompt": "[withheld]", "response": "[withheld]", "question": "[withheld]", "results": "[withheld]"}
    for record in records:
        for data in (record.get("data") or {}, (record.get("data") or {}).get("result", {})):
            data |= {name: text for name, text in withheld.items() if name in data}
    lines = [*map(json.dumps, records), '{"level": 30}', "[1, 2]", "7", "no JSON", "", '{"time": "2026', "null"]
    lines += [json.dumps({"time": "2026-11-25", "request_id": "no request of ours", "kind": "x"})]
    lines += [json.dumps({"time": "yesterday", "request_id": 7, "kind": "x"})]
    (folder / "logs" / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))

    said = shell(folder, "python traces.py logs/*", **collector)

    assert said.startswith(f"{len({record['request_id'] for record in records})} requests sent")
    wait_until(lambda: len(backend.spans) >= len({(r["request_id"], r.get("event_id")) for r in records}))
    assert {plain(span.attributes).get("gen_ai.input.messages") for span in backend.spans} == {None, "[withheld]"}


def test_that_nobody_listens_is_said(folder: Path) -> None:
    command = "python traces.py logs/*.jsonl 2>&1 || echo exit code $?"

    said = shell(folder, command, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")

    assert "Connection refused" in said
    assert "Traceback" not in said
    assert said.endswith("exit code 1\n")
