import json
import os
import time
from pathlib import Path

import pytest
from pages import (
    FORKED_REQUESTS,
    HOSTILE_RECORDS,
    OF_A_FAILED_REQUEST,
    READABLE,
    RECORDS_OF_A_REQUEST,
    Application,
    ask_hostile,
    ask_in_workers,
    bake_page,
    blocks,
    check,
    end_by_an_error,
)

PAGE = blocks("logging.md")
DAY = 24 * 60 * 60
INTO_OWN_LOGS = """
import logging
from db_ally_file_handler import Recorder
from db_ally_file_handler.application_log import log, logger

logging.basicConfig(filename="application.log", format="%(levelname)s %(name)s %(message)s")
logger.setLevel(logging.INFO)
handler = Recorder(log)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return bake_page(tmp_path, "logging.md")


def kinds(file: Path) -> list[str]:
    return [json.loads(line)["kind"] for line in file.read_text("utf-8").splitlines()]


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def test_the_project_is_green_after_the_page(project: Path) -> None:
    check(project)


def test_a_kill_loses_nothing(project: Path) -> None:
    with Application(project, PAGE["app.py"]) as application:
        application.ask(2)
        application.die_in_a_request()

    assert len(kinds(project / "logs" / "requests.jsonl")) == 2 * RECORDS_OF_A_REQUEST + 4


def test_a_disk_that_refuses_does_not_reach_the_user(project: Path) -> None:
    with Application(project, PAGE["app.py"] + 'file.stream = open("/dev/full", "w")') as application:
        answer = application.ask(3)
        application.die_in_a_request()

    assert (answer["rows"], answer["lost"], bool(answer["warnings"])) == (3, 3 * RECORDS_OF_A_REQUEST, True)


def test_a_failed_request_is_an_error_in_the_logs_of_the_application(project: Path) -> None:
    with Application(project, INTO_OWN_LOGS) as application:
        application.ask()
        application.fail()

    entries = [line.split() for line in (project / "application.log").read_text("utf-8").splitlines()]
    assert [entry[:4] for entry in entries[-2:]] == [
        ["WARNING", "dbally.requests", "event_failed", "'staff'"],
        ["ERROR", "dbally.requests", "request_failed", "'staff'"],
    ]
    assert [entry[2] for entry in entries if entry[0] == "INFO"].count("request_end") == 1


def test_the_file_of_yesterday_is_put_aside_and_thirty_are_kept(project: Path) -> None:
    (project / "logs").mkdir()
    for day in range(1, 29):
        for month in ("01", "02"):
            (project / "logs" / f"requests.jsonl.2020-{month}-{day:02}").touch()
    yesterday = project / "logs" / "requests.jsonl"
    yesterday.write_text('{"kind": "of yesterday"}\n')
    age(yesterday, 1.5)

    with Application(project, PAGE["app.py"]) as application:
        application.ask()

    assert len(kinds(project / "logs" / "requests.jsonl")) == RECORDS_OF_A_REQUEST
    put_aside = sorted((project / "logs").glob("requests.jsonl.*"))
    assert len(put_aside) == 30
    assert kinds(put_aside[-1]) == ["of yesterday"]


TURNED_OFF = """
import logging.config
{app}
logging.config.dictConfig({{"version": 1{more}}})
"""


def test_a_logger_that_is_turned_off_loses_no_record_without_a_word(project: Path) -> None:
    with Application(project, TURNED_OFF.format(app=PAGE["app.py"], more="")) as application:
        off = application.ask()
    kept = ', "disable_existing_loggers": False'
    with Application(project, TURNED_OFF.format(app=PAGE["app.py"], more=kept)) as application:
        on = application.ask()

    assert (off["rows"], off["lost"], on["lost"]) == (1, RECORDS_OF_A_REQUEST, 0)
    assert len(kinds(project / "logs" / "requests.jsonl")) == RECORDS_OF_A_REQUEST


@pytest.mark.parametrize("bound", [True, False])
def test_no_text_breaks_a_line(project: Path, bound: bool) -> None:
    ask_hostile(project, PAGE["app.py"], bound=bound)

    records = [json.loads(line) for line in (project / "logs" / "requests.jsonl").read_text("utf-8").splitlines()]
    assert len(records) == HOSTILE_RECORDS
    assert [record["data"]["question"][: len(READABLE)] for record in records if record["kind"] == "request_start"] == [
        *("before", READABLE, READABLE, READABLE, "after")
    ]


def test_forked_workers_lose_nothing(project: Path) -> None:
    ask_in_workers(project, PAGE["app.py"])

    assert len(kinds(project / "logs" / "requests.jsonl")) == FORKED_REQUESTS * RECORDS_OF_A_REQUEST


@pytest.mark.parametrize("block", [True, False])
def test_an_exit_by_an_uncaught_error_loses_nothing(project: Path, block: bool) -> None:
    end_by_an_error(project, PAGE["app.py"], block=block)

    assert kinds(project / "logs" / "requests.jsonl")[RECORDS_OF_A_REQUEST:] == OF_A_FAILED_REQUEST
