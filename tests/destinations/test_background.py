import json
from pathlib import Path

import pytest
from pages import RECORDS_OF_A_REQUEST, Application, bake_page, pass_contract, run_code
from sqlalchemy import create_engine, text

WITHOUT_TRY = """
from db_ally_file_handler import FileEventHandler

def to_file(record):
    raise OSError("no space")

def both(record):
    to_file(record)
    print("the second got one", file=sys.stderr)

handler = FileEventHandler(sink=both)
"""
SEVERAL = """
from db_ally_file_handler import FileEventHandler
from db_ally_file_handler.database import ENGINE, RECORDS, store
from db_ally_file_handler import several
{change}
handler = FileEventHandler(sink=several.both)
"""
A_HANDLER_EACH = """
import asyncio, os
from application import make_collection, make_engine
from db_ally_file_handler import FileEventHandler
from db_ally_file_handler.database import ENGINE, RECORDS, store

handlers = [FileEventHandler(log_format="jsonl"), FileEventHandler(sink=store)]
answer = asyncio.run(make_collection(make_engine(), *handlers).ask("Who?"))
print(len(answer.results), *(handler.lost_records for handler in handlers))
"""
BEHIND = """
import threading, time
from db_ally_file_handler import FileEventHandler
from db_ally_file_handler.background import Background
from db_ally_file_handler.formats import format_json
from db_ally_file_handler.logfile import LogFile

to_file = LogFile("logs", "all.jsonl", format_json)
{sink}
handler = FileEventHandler(sink=Background(sink, size={size}))
"""
SLOW = """
def sink(record):
    time.sleep(0.02)
    to_file(record)
"""
STUMBLING = """
refusals = [1, 2]
def sink(record):
    if record.kind == "event_start" and refusals:
        raise ConnectionError(refusals.pop())
    to_file(record)
"""
REFUSING = """
def sink(record):
    if record.kind == "request_start":
        raise ConnectionError("not this one")
    to_file(record)
"""
SILENT = """
def sink(record):
    threading.Event().wait()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return bake_page(tmp_path, "background.md", "database.md")


@pytest.fixture
def env(project: Path) -> dict[str, str]:
    """Return where the table is; it is there."""
    env = {"RECORDS_URL": f"sqlite:///{project}/records.db"}
    create = "from db_ally_file_handler.database import ENGINE, RECORDS; RECORDS.metadata.create_all(ENGINE)"
    run_code(project, create, env)
    return env


def in_files(project: Path) -> list[str]:
    files = sorted((project / "logs").glob("*"))
    return [json.loads(line)["request_id"] for file in files for line in file.read_text("utf-8").splitlines()]


def in_table(env: dict[str, str]) -> list[str]:
    engine = create_engine(env["RECORDS_URL"])
    with engine.connect() as connection:
        ids = connection.scalars(text("SELECT request_id FROM records ORDER BY id")).all()
    engine.dispose()
    return list(ids)


def test_the_contract_holds(tmp_path: Path) -> None:
    pass_contract(bake_page(tmp_path, "background.md"))


def test_both_get_every_record_with_the_same_ids(project: Path, env: dict[str, str]) -> None:
    with Application(project, SEVERAL.format(change=""), env) as application:
        answer = application.ask(3)

    assert (answer["rows"], answer["lost"], answer["warnings"]) == (3, 0, [])
    assert in_files(project) == in_table(env)
    assert len(in_table(env)) == 3 * RECORDS_OF_A_REQUEST


def test_what_the_first_refuses_reaches_the_second(project: Path, env: dict[str, str]) -> None:
    (project / "logs").touch()

    with Application(project, SEVERAL.format(change=""), env) as application:
        answer = application.ask(3)

    assert (answer["rows"], answer["lost"], len(answer["warnings"])) == (3, 3 * RECORDS_OF_A_REQUEST, 1)
    assert len(in_table(env)) == 3 * RECORDS_OF_A_REQUEST


def test_what_the_second_refuses_reaches_the_first(project: Path, env: dict[str, str]) -> None:
    change = "RECORDS.metadata.drop_all(ENGINE); several.to_database = store"

    with Application(project, SEVERAL.format(change=change), env) as application:
        answer = application.ask(3)

    assert (answer["rows"], answer["lost"], len(answer["warnings"])) == (3, 3 * RECORDS_OF_A_REQUEST, 1)
    assert len(in_files(project)) == 3 * RECORDS_OF_A_REQUEST


def test_when_both_refuse_a_failed_request_is_still_over_at_once(project: Path, env: dict[str, str]) -> None:
    (project / "logs").touch()
    change = "RECORDS.metadata.drop_all(ENGINE); several.to_database = store; import gc; gc.disable()"

    with Application(project, SEVERAL.format(change=change), env) as application:
        answer = application.fail()

    assert answer["lost"] == len(["request_start", "event_start", "event_failed", "request_failed"])


def test_without_try_the_second_never_sees_what_the_first_refuses(
    project: Path, env: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    with Application(project, WITHOUT_TRY) as application:
        answer = application.ask(3)

    assert (answer["rows"], answer["lost"], len(answer["warnings"])) == (3, 3 * RECORDS_OF_A_REQUEST, 1)
    assert "the second got one" not in capfd.readouterr().err


def test_a_handler_each_keeps_losses_apart(project: Path, env: dict[str, str]) -> None:
    (project / "logs").touch()

    assert run_code(project, A_HANDLER_EACH, env) == f"1 {RECORDS_OF_A_REQUEST} 0\n"
    assert len(in_table(env)) == RECORDS_OF_A_REQUEST


def test_nobody_waits_for_a_slow_destination_and_it_gets_everything(project: Path) -> None:
    with Application(project, BEHIND.format(sink=SLOW, size=1_000)) as application:
        answer = application.ask(10)

    assert answer["lost"] == 0
    assert answer["seconds"] < 0.02 * 10 * RECORDS_OF_A_REQUEST
    assert len(in_files(project)) == 10 * RECORDS_OF_A_REQUEST


def test_a_destination_that_stumbles_gets_everything_in_order(project: Path) -> None:
    with Application(project, BEHIND.format(sink=STUMBLING, size=1_000)) as application:
        answer = application.ask(2)

    kinds = [json.loads(line)["kind"] for line in (project / "logs" / "all.jsonl").read_text("utf-8").splitlines()]
    assert kinds == ["request_start", *["event_start", "event_end"] * 3, "request_end"] * 2
    assert (answer["lost"], answer["warnings"]) == (0, [])


def test_what_is_refused_for_good_is_lost_with_a_warning(project: Path) -> None:
    patience = BEHIND.format(sink=REFUSING, size=1_000) + "time.sleep = lambda seconds: None\n"

    with Application(project, patience) as application:
        application.ask(2)
        handler_flushed = application.ask(0)

    assert handler_flushed["lost"] == 0
    assert handler_flushed["warnings"] == ["A record is lost: not this one"] * 2
    assert len(in_files(project)) == 2 * (RECORDS_OF_A_REQUEST - 1)


def test_what_has_no_room_is_lost_with_one_warning_and_the_process_still_ends(project: Path) -> None:
    with Application(project, BEHIND.format(sink=SILENT, size=8)) as application:
        answer = application.ask(3)

    at_the_sink = 1
    assert answer["rows"] == 3
    assert answer["lost"] == 3 * RECORDS_OF_A_REQUEST - 8 - at_the_sink
    assert answer["warnings"] == [answer["warnings"][0]]
    assert "8 records wait" in answer["warnings"][0]
