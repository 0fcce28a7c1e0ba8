import json
from pathlib import Path

import pytest
from pages import RECORDS_OF_A_REQUEST, Application, bake_page, check, end_by_an_error, run_code
from servers import wait_until

OF_A_REQUEST = ["request_start", *["event_start", "event_end"] * 3, "request_end"]
BEHIND = """
import os, threading, time
from db_ally_file_handler import LogFile, Recorder
from db_ally_file_handler.background import Background

to_file = LogFile("logs", "all.jsonl", "jsonl")
{sink}
handler = Recorder(Background(sink, {options}))
"""
CLOSED = """
def sink(record):
    while not os.path.exists("open"):
        time.sleep(0.01)
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
errors = {}
def sink(record):
    if record.kind == "request_start":
        raise errors.setdefault(record.request_id, TimeoutError() if errors else ConnectionError("not this one"))
    to_file(record)
"""
AWAY = """
def sink(record):
    if not os.path.exists("open"):
        raise ConnectionError("away")
    to_file(record)
"""
SILENT = """
def sink(record):
    to_file(record)
    threading.Event().wait()
"""
RECORDS = """
import gc, os, queue, random, sys, threading, time
from datetime import UTC, datetime
from db_ally_file_handler.background import Background
from db_ally_file_handler.records import Record

def record(number):
    now = datetime.now(UTC)
    return Record(
        request_id=str(number), collection="staff", started_at=now, process="host:1", labels={},
        time=now, kind="request_start",
    )

received = []
"""
THREADS = """
background = Background(lambda record: received.append(int(record.request_id)))

def send(first):
    for number in range(first, first + 1_000):
        background(record(number))

threads = [threading.Thread(target=send, args=(first,)) for first in range(0, 8_000, 1_000)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert background.flush(60)
print(sorted(received) == [*range(8_000)], [n for n in received if n < 1_000] == [*range(1_000)])
"""
FORK = """
go_on = []  # no lock, which the fork could copy while it is held

def sink(record):
    while not go_on:
        time.sleep(0.01)
    os.write(1, (record.request_id + os.linesep).encode())  # in one piece

background = Background(sink)
background(record("at the sink"))
background(record("waiting"))
child = os.fork()
go_on.append(True)
background(record("child's" if child == 0 else "parent's"))
if child:
    os.waitpid(child, 0)
"""
# A collection ends a failed request wherever it happens to run. Here it runs all the time, and nearly
# every allocation is one that may have to record: on both threads, inside of `put`, `get` and the sink.
GARBAGE = """
class Dropped:
    def __init__(self, number):
        self.number, self.itself = number, self

    def __del__(self):
        background(record(self.number))

def sink(record):
    Dropped(-1) if record.request_id != "-1" else None
    received.append(record.request_id)

background = Background(sink, size=1_000_000)
for number in range(5_000):
    gc.set_threshold(random.randrange(1, 20))
    Dropped(number)
    background(record("put"))
gc.collect()
assert background.flush(60)
gc.collect()
assert background.flush(60)
print(received.count("put"), len({*received} - {"put", "-1"}), received.count("-1"))
"""
EXIT = """
sys.stderr = sys.stdout  # where warnings go

def sink(record):
    if record.request_id == "3":
        threading.Event().wait()
    time.sleep(0.1)
    print(record.request_id, flush=True)

background = Background(sink)
for number in range({records}):
    background(record(number))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return bake_page(tmp_path, "background.md")


def in_files(project: Path) -> list[str]:
    files = sorted((project / "logs").glob("*"))
    return [json.loads(line)["request_id"] for file in files for line in file.read_text("utf-8").splitlines()]


def kinds(project: Path) -> list[str]:
    file = project / "logs" / "all.jsonl"
    return [json.loads(line)["kind"] for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def test_the_project_is_green_after_the_page(project: Path) -> None:
    check(project)


def test_nobody_waits_for_a_slow_destination_and_it_gets_everything(project: Path) -> None:
    with Application(project, BEHIND.format(sink=CLOSED, options="")) as application:
        answer = application.ask(10)
        assert not (project / "logs").exists()
        (project / "open").touch()

    assert (answer["rows"], answer["lost"]) == (10, 0)
    assert len(in_files(project)) == 10 * RECORDS_OF_A_REQUEST


def test_a_destination_that_stumbles_gets_everything_in_order(project: Path) -> None:
    with Application(project, BEHIND.format(sink=STUMBLING, options="")) as application:
        application.ask(2)
        wait_until(lambda: len(in_files(project)) == 2 * RECORDS_OF_A_REQUEST)
        answer = application.ask(0)

    assert kinds(project) == OF_A_REQUEST * 2
    assert (answer["lost"], answer["warnings"]) == (0, [])


def test_what_is_refused_for_good_is_lost_with_a_warning(project: Path) -> None:
    with Application(project, BEHIND.format(sink=REFUSING, options="patience=0.1")) as application:
        application.ask(2)
        wait_until(lambda: len(in_files(project)) == 2 * (RECORDS_OF_A_REQUEST - 1))
        answer = application.ask(0)

    assert answer["lost"] == 0
    assert answer["warnings"] == ["A record is lost: not this one", "A record is lost: TimeoutError()"]


def test_a_destination_that_is_away_for_longer_than_its_patience_loses_one_record_each_time(project: Path) -> None:
    with Application(project, BEHIND.format(sink=AWAY, options="patience=0.1")) as application:
        application.ask()
        wait_until(lambda: application.ask(0)["warnings"] != [])
        (project / "open").touch()
        wait_until(lambda: "request_end" in kinds(project))
        lost = application.ask(0)["warnings"]

    assert 0 < len(lost) < RECORDS_OF_A_REQUEST
    assert kinds(project) == OF_A_REQUEST[len(lost) :]


def test_what_has_no_room_is_lost_with_one_warning_and_the_process_still_ends(project: Path) -> None:
    with Application(project, BEHIND.format(sink=SILENT, options="size=8")) as application:
        application.ask(1)
        wait_until((project / "logs" / "all.jsonl").exists)  # the first record is at the sink: one has room
        answer = application.ask(2)

    assert answer["rows"] == 2
    assert answer["lost"] == 2 * RECORDS_OF_A_REQUEST - 1
    assert "8 records wait" in answer["warnings"][0]


def test_threads_may_share_it_and_the_order_of_each_stays(project: Path) -> None:
    assert run_code(project, RECORDS + THREADS) == "True True\n"


def test_a_forked_process_hands_on_its_own_records_and_no_others(project: Path) -> None:
    received = run_code(project, RECORDS + FORK).splitlines()

    assert sorted(received) == ["at the sink", "child's", "parent's", "waiting"]


def test_a_garbage_collection_may_record_wherever_it_happens(project: Path) -> None:
    assert run_code(project, RECORDS + GARBAGE) == "5000 5000 10000\n"


def test_an_exit_waits_for_what_still_waits(project: Path) -> None:
    assert run_code(project, RECORDS + EXIT.format(records=3)).split() == ["0", "1", "2"]


def test_an_exit_does_not_wait_for_ever_and_counts_what_is_lost(project: Path) -> None:
    *received, warning = run_code(project, RECORDS + EXIT.format(records=6)).splitlines()

    assert received == ["0", "1", "2"]
    assert warning.startswith("3 records still wait for <function sink")


PRINTING = """
from db_ally_file_handler import Recorder
from db_ally_file_handler.background import Background
handler = Recorder(Background(lambda record: print(record.kind, file=sys.stderr, flush=True)))
"""


@pytest.mark.parametrize("block", [True, False])
def test_an_exit_by_an_uncaught_error_loses_nothing_without_a_word(project: Path, block: bool) -> None:
    said = end_by_an_error(project, "import sys" + PRINTING, block=block)

    assert ("request_failed" in said.splitlines()) == block
    assert ("the process ends" in said) == (not block)
