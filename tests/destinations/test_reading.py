import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import quantiles

import pytest
import s3fs
from pages import HOSTILE_REQUESTS, Application, ask_hostile, bake_page, blocks, run_code
from servers import Server, free_port, start_s3

PAGE = blocks("reading.md")
WRITE = """
from db_ally_file_handler import FileEventHandler
handler = FileEventHandler(log_format="jsonl", filename_pattern="{started_at:%Y-%m-%d}/{request_id}.jsonl")
"""
ASKED, FAILED = 6, 2
OTHERS = {
    "text.jsonl": "2026-11-24T00:19:02.964188+00:00 3523 request_start\n  Collection: staff\n  Question: 42\n\n",
    "other.jsonl": '{"time": "yesterday", "kind": "x", "request_id": "y"}\n{"level": 30}\n[1, 2]\n"text"\nnull\n7\n',
    "torn.jsonl": '{"time": "2026-11-24T00:19:25.512844+00:00", "request_id": "ecde41b7d304414c963e13cc',
    "binary.jsonl": "\0\x7f{}\n",
    "empty.jsonl": "",
    "text.log": "no line of JSON\n",
}
BLANK_LINES = 1

Table = list[list[str]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that has asked, failed, and died in the middle of a request."""
    project = bake_page(tmp_path_factory.mktemp("reading"), "object-store.md")
    with Application(project, WRITE) as application:
        application.ask(ASKED)
        application.fail(FAILED)
        application.die_in_a_request()
    return project


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, code in PAGE.items():
        (tmp_path / name).write_text(code, "utf-8")
    return tmp_path


@pytest.fixture
def logs(folder: Path, written: Path) -> Path:
    """Return the folder with the files of the requests in `logs`."""
    for file in (written / "logs").rglob("*.jsonl"):
        copy = folder / "logs" / file.relative_to(written / "logs")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return folder


def ask(folder: Path, script: str, *queries: str, **env: str) -> list[Table]:
    """Run a script of the page and return the cells of the tables that it prints."""
    command = [sys.executable, "-W", "error", script, *queries]
    done = subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    tables: list[Table] = []
    for line in done.stdout.split("\n"):
        if line.startswith("┌"):
            tables.append([])
        elif line.startswith("│"):
            tables[-1].append([cell.strip() for cell in line.strip("│").split("│")])
    return [table[2:] for table in tables]  # below the names and the types


def truth(folder: Path) -> tuple[Table, Table]:
    """Return what `collections.sql` and `days.sql` have to answer, by other means."""
    files = [file.read_text("utf-8").splitlines() for file in (folder / "logs").rglob("*/*.jsonl")]
    requests = [[json.loads(line) for line in lines] for lines in files]
    elapsed = [records[-1]["elapsed"] for records in requests if records[-1]["kind"] == "request_end"]
    percentiles = quantiles(elapsed, n=100, method="inclusive")
    days, tokens = Counter(records[0]["time"][:10] for records in requests), Counter[str]()
    for records in requests:
        tokens[records[0]["time"][:10]] += sum((record.get("data") or {}).get("total_tokens", 0) for record in records)
    return (
        [["staff", str(ASKED + FAILED + 1), str(FAILED), "1", *(str(round(percentiles[n], 3)) for n in (49, 98))]],
        [[day, str(days[day]), str(tokens[day])] for day in sorted(days)],
    )


def test_each_query_answers(logs: Path) -> None:
    collections, days, failures, others = ask(
        logs, "ask.py", "collections.sql", "days.sql", "failures.sql", "others.sql"
    )

    assert (collections, days) == truth(logs)
    assert sum(int(tokens) for _, _, tokens in days) > 0
    assert failures == [["LLMEvent", "ConnectionError", "2"], ["request", "ViewExecutionError", "2"]]
    assert others == [["0"]]


@pytest.mark.parametrize("text", ["", OTHERS["text.jsonl"]])
def test_where_no_record_is_there_are_no_rows(text: str, folder: Path) -> None:
    (folder / "logs").mkdir()
    (folder / "logs" / "a.jsonl").write_text(text, "utf-8")

    assert ask(folder, "ask.py", "collections.sql", "days.sql", "failures.sql") == [[], [], []]
    assert ask(folder, "many.py", "collections.sql", "days.sql") == [[], []]


@pytest.mark.parametrize("there", ["no directory", "an empty one"])
@pytest.mark.parametrize(
    ("script", "said"), [("ask.py", 'No files found that match the pattern "logs/'), ("many.py", "no files: logs/**")]
)
def test_that_no_file_is_there_is_said(script: str, said: str, there: str, folder: Path) -> None:
    if there == "an empty one":
        (folder / "logs").mkdir()

    done = subprocess.run([sys.executable, script], cwd=folder, capture_output=True, text=True)

    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("script", ["ask.py", "many.py"])
def test_what_is_no_record_is_passed_over(script: str, logs: Path) -> None:
    for name, text in OTHERS.items():
        (logs / "logs" / name).write_text(text, "utf-8")

    assert (*ask(logs, script, "collections.sql", "days.sql"),) == truth(logs)
    if script == "ask.py":
        lines = sum(text.count("\n") + (not text.endswith("\n")) for name, text in OTHERS.items() if text)
        assert ask(logs, script, "others.sql") == [[[str(lines - BLANK_LINES - 1)]]]  # text.log is none of them


def test_a_request_whose_last_record_is_torn_is_unfinished(logs: Path) -> None:
    ended = next(file for file in (logs / "logs").rglob("*.jsonl") if "request_end" in file.read_text("utf-8"))
    ended.write_bytes(ended.read_bytes()[:-20])

    ((collection,),) = ask(logs, "ask.py", "collections.sql")

    assert collection[:4] == ["staff", str(ASKED + FAILED + 1), str(FAILED), "2"]


@pytest.mark.parametrize("script", ["ask.py", "many.py"])
def test_files_are_read_under_each_name_that_logrotate_gives(script: str, logs: Path) -> None:
    expected = truth(logs)
    names = cycle([".1", ".2.gz", "-20261125", "-20261124.gz", ".gz", ""])
    for file, more in zip(sorted((logs / "logs").rglob("*.jsonl")), names, strict=False):
        data = file.read_bytes()
        file.unlink()
        file.with_name(file.name + more).write_bytes(gzip.compress(data) if more.endswith(".gz") else data)

    assert (*ask(logs, script, "collections.sql", "days.sql"),) == expected


def test_a_rotation_in_the_middle_of_a_request_leaves_it_whole(logs: Path) -> None:
    expected = truth(logs)
    whole = next(file for file in (logs / "logs").rglob("*.jsonl") if "request_end" in file.read_text("utf-8"))
    lines = whole.read_bytes().splitlines(keepends=True)
    whole.with_name(whole.name + ".1").write_bytes(b"".join(lines[:3]))
    whole.write_bytes(b"".join(lines[3:]))

    assert (*ask(logs, "ask.py", "collections.sql", "days.sql"),) == expected


def test_a_request_in_two_files_is_one_here_and_two_there(logs: Path) -> None:
    file = next(file for file in (logs / "logs").rglob("*.jsonl") if "request_end" in file.read_text("utf-8"))
    lines = file.read_text("utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:3]), "utf-8")
    file.with_name("rest.jsonl").write_text("".join(lines[3:]), "utf-8")

    assert sum(int(row[1]) for row in ask(logs, "ask.py", "collections.sql")[0]) == ASKED + FAILED + 1
    assert sum(int(row[1]) for row in ask(logs, "many.py", "collections.sql")[0]) == ASKED + FAILED + 2


def test_the_objects_of_a_store_give_the_same_answers_on_a_cluster(written: Path, folder: Path) -> None:
    server, env = start_s3()
    store = s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=env["AWS_ENDPOINT_URL"])
    store.mkdir("requests")
    page = blocks("object-store.md")
    with Application(written, page["app.py"], env) as application:
        application.ask(20)
        application.fail(5)
    assert run_code(written, page["ship.py"], env) == "25 shipped\n"

    env["LOGS"] = "s3://requests/**/*.jsonl"
    alone = ask(folder, "ask.py", "collections.sql", "days.sql", **env)
    with cluster(env) as address:
        together = ask(folder, "many.py", "collections.sql", "days.sql", **env, DASK_SCHEDULER_ADDRESS=address)
    server.stop()

    assert alone[0][0][:4] == ["staff", "25", "5", "0"]
    assert together == alone


@contextmanager
def cluster(env: dict[str, str]) -> Iterator[str]:
    """Start a scheduler and a worker as on machines of their own; give the scheduler's address."""
    port, worker_port = free_port(), free_port()
    address = f"tcp://127.0.0.1:{port}"
    command = ["env", *(f"{name}={value}" for name, value in env.items()), sys.executable, "-m", "dask"]
    scheduler = Server([*command, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], port)
    worker = Server(
        [*command, "worker", address, "--host", "127.0.0.1", "--worker-port", str(worker_port), "--no-dashboard"],
        worker_port,
    )
    yield address
    worker.stop()
    scheduler.stop()


@pytest.mark.parametrize("bound", [True, False], ids=["bounded", "unbounded"])
@pytest.mark.parametrize("script", ["ask.py", "many.py"])
def test_no_text_keeps_a_reader_from_the_records(script: str, bound: bool, folder: Path, tmp_path: Path) -> None:
    project = bake_page(tmp_path / "hostile", "object-store.md")
    ask_hostile(project, f"from db_ally_file_handler import Recorder\n{WRITE}", bound=bound)
    (project / "logs").rename(folder / "logs")

    (collections,) = ask(folder, script, "collections.sql")
    assert sum(int(row[1]) for row in collections) == HOSTILE_REQUESTS
    assert sum(int(row[2]) for row in collections) == 1
