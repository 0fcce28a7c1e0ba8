import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from pages import (
    FORKED_REQUESTS,
    HOSTILE_RECORDS,
    HOSTILE_REQUESTS,
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
    run_code,
)
from servers import Server, start_s3

PAGE = blocks("object-store.md")
OUTLIVED = """
import asyncio
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from db_ally_file_handler import recording
{app}
async def ask():
    tracker = EventTracker.initialize_with_handlers([handler])
    slow = tracker.track_event(LLMEvent("prompt", "Prompt"))
    try:
        with recording():
            await tracker.request_start(RequestStart(collection_name="staff", question="Who?"))
            await slow.__aenter__()
            raise ConnectionError("the other half")
    except ConnectionError:
        await slow.__aexit__(None, None, None)

asyncio.run(ask())
{ship}
"""

WHILE_ASKING = """
import asyncio, subprocess, sys
from application import make_collection, make_engine, say
{app}
reply = say()

async def start_another(conversation):
    if "Decision:" not in conversation:
        subprocess.run([sys.executable, "-c", {another!r}], check=True)
    return await reply(conversation)

asyncio.run(make_collection(make_engine(), handler, reply=start_another).ask("Who?"))
print(handler.lost_records)
"""
HOUR = 60 * 60


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[Server, dict[str, str]]]:
    server, env = start_s3()
    yield server, env
    server.stop()


@pytest.fixture
def server(s3: tuple[Server, dict[str, str]]) -> Server:
    return s3[0]


@pytest.fixture
def env(s3: tuple[Server, dict[str, str]]) -> dict[str, str]:
    return s3[1]


@pytest.fixture
def store(env: dict[str, str]) -> s3fs.S3FileSystem:
    store = s3fs.S3FileSystem(
        key="key",
        secret="secret",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    if store.exists("requests"):
        store.rm("requests", recursive=True)
    store.mkdir("requests")
    return store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return bake_page(tmp_path, "object-store.md")


def records_of(store: s3fs.S3FileSystem, name: str) -> list[str]:
    return [json.loads(line)["kind"] for line in store.cat_file(name).splitlines()]


def test_the_project_is_green_after_the_page(project: Path) -> None:
    check(project)


def test_each_request_becomes_an_object_in_the_folder_of_its_day(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(20)
        application.fail(5)

    assert run_code(project, PAGE["ship.py"], env) == "25 shipped\n"
    names = store.find("requests")
    assert len(names) == 25
    for name in names:
        kinds = records_of(store, name)
        first = json.loads(store.cat_file(name).splitlines()[0])
        assert name == f"requests/{first['time'][:10]}/{first['request_id']}.jsonl"
        assert kinds[0] == "request_start"
        assert kinds[-1] in ("request_end", "request_failed")
    assert run_code(project, PAGE["ship.py"], env) == "0 shipped\n"


def age(project: Path, seconds: float) -> None:
    """Let the last record of each open file be `seconds` old."""
    then = time.time() - seconds
    for file in (project / "logs" / "spool").glob("*.open"):
        os.utime(file, (then, then))


def test_a_kill_loses_nothing(project: Path, env: dict[str, str], store: s3fs.S3FileSystem) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(2)
        application.die_in_a_request()
    assert run_code(project, PAGE["ship.py"], env) == "2 shipped\n"

    age(project, 2 * HOUR)

    assert run_code(project, PAGE["ship.py"], env) == "1 shipped\n"
    assert {".rest-" in name: len(records_of(store, name)) for name in store.find("requests")} == {
        False: RECORDS_OF_A_REQUEST,
        True: 4,
    }


def test_an_event_that_outlives_its_request_replaces_nothing(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem
) -> None:
    assert run_code(project, OUTLIVED.format(app=PAGE["app.py"], ship=PAGE["ship.py"]), env) == "1 shipped\n"
    age(project, 2 * HOUR)
    assert run_code(project, PAGE["ship.py"], env) == "1 shipped\n"

    whole, rest = sorted(store.find("requests"))
    assert records_of(store, whole) == ["request_start", "event_start", "request_failed"]
    assert records_of(store, rest) == ["event_end"]
    assert rest.startswith(whole.replace(".jsonl", ".rest-"))


def test_a_request_that_pauses_for_long_is_not_overwritten(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem
) -> None:
    spool = project / "logs" / "spool"
    spool.mkdir(parents=True)
    for pause in (3, 2):
        (spool / "2026-11-25_1.open").write_text(f'{{"kind": "{pause}"}}\n', "utf-8")
        age(project, pause * HOUR)
        assert run_code(project, PAGE["ship.py"], env) == "1 shipped\n"

    assert sorted(records_of(store, name)[0] for name in store.find("requests")) == ["2", "3"]


def test_a_worker_that_starts_cuts_no_request_of_another(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem
) -> None:
    code = WHILE_ASKING.format(app=PAGE["app.py"], another=PAGE["app.py"] + PAGE["ship.py"])
    assert run_code(project, code, env) == "0 shipped\n0\n"
    assert run_code(project, PAGE["ship.py"], env) == "1 shipped\n"

    (name,) = store.find("requests")
    assert len(records_of(store, name)) == RECORDS_OF_A_REQUEST


def test_a_store_that_does_not_answer_does_not_reach_the_user_and_loses_nothing(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem, server: Server
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(10)
        server.hang()
        hanging = application.ask(10)
        server.go_on()

    assert (hanging["rows"], hanging["lost"], hanging["warnings"]) == (10, 0, [])
    assert run_code(project, PAGE["ship.py"], env) == "20 shipped\n"


def test_a_store_that_refuses_leaves_the_files_for_the_next_run(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(3)
    store.rm("requests", recursive=True)

    with pytest.raises(AssertionError, match="bucket does not exist"):
        run_code(project, PAGE["ship.py"], env)

    store.mkdir("requests")
    assert run_code(project, PAGE["ship.py"], env) == "3 shipped\n"


@pytest.mark.parametrize("bound", [True, False])
def test_no_text_breaks_an_object(project: Path, env: dict[str, str], store: s3fs.S3FileSystem, bound: bool) -> None:
    ask_hostile(project, PAGE["app.py"], env, bound=bound)

    assert run_code(project, PAGE["ship.py"], env) == f"{HOSTILE_REQUESTS} shipped\n"
    records = [json.loads(line) for name in store.find("requests") for line in store.cat_file(name).splitlines()]
    assert len(records) == HOSTILE_RECORDS
    questions = [record["data"]["question"] for record in records if record["kind"] == "request_start"]
    assert sorted(question[: len(READABLE)] for question in questions) == [
        *(READABLE, READABLE, READABLE, "after", "before")
    ]


def test_forked_workers_lose_nothing(project: Path, env: dict[str, str], store: s3fs.S3FileSystem) -> None:
    ask_in_workers(project, PAGE["app.py"], env)

    assert run_code(project, PAGE["ship.py"], env) == f"{FORKED_REQUESTS} shipped\n"
    assert {len(records_of(store, name)) for name in store.find("requests")} == {RECORDS_OF_A_REQUEST}


@pytest.mark.parametrize("block", [True, False])
def test_an_exit_by_an_uncaught_error_loses_nothing(
    project: Path, env: dict[str, str], store: s3fs.S3FileSystem, block: bool
) -> None:
    end_by_an_error(project, PAGE["app.py"], env, block=block)

    assert run_code(project, PAGE["ship.py"], env) == "2 shipped\n"
    requests = [records_of(store, name) for name in store.find("requests")]
    assert OF_A_FAILED_REQUEST in requests
    assert {len(records) for records in requests} == {RECORDS_OF_A_REQUEST, len(OF_A_FAILED_REQUEST)}
