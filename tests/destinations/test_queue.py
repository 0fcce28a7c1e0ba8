import asyncio
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from pages import (
    FORKED_REQUESTS,
    OF_A_FAILED_REQUEST,
    RECORDS_OF_A_REQUEST,
    Application,
    ask_in_workers,
    bake_page,
    blocks,
    check,
    end_by_an_error,
    pass_contract,
    run_code,
)
from servers import Server, start_nats, wait_until

PAGE = blocks("queue.md")


@pytest.fixture
def nats_and_env(tmp_path: Path) -> Iterator[tuple[Server, dict[str, str]]]:
    server, env = start_nats(tmp_path / "nats")
    yield server, env
    server.stop()


@pytest.fixture
def server(nats_and_env: tuple[Server, dict[str, str]]) -> Server:
    return nats_and_env[0]


@pytest.fixture
def env(nats_and_env: tuple[Server, dict[str, str]]) -> dict[str, str]:
    return nats_and_env[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake_page(tmp_path_factory.mktemp("queue"), "background.md", "queue.md")


def consume(project: Path, env: dict[str, str]) -> list[list[str]]:
    return [line.split() for line in run_code(project, PAGE["consume.py"], env).splitlines()]


def stored(env: dict[str, str]) -> int:
    """Return how many messages the server has."""

    async def count() -> int:
        client = await nats.connect(env["NATS_URL"])
        try:
            return int((await client.jetstream().stream_info("dbally")).state.messages)
        finally:
            await client.close()

    return asyncio.run(count())


def test_the_project_is_green_after_the_pages(project: Path) -> None:
    check(project)


def test_the_contract_holds(project: Path, env: dict[str, str]) -> None:
    pass_contract(project, {"TEST_NATS_URL": env["NATS_URL"]})


def test_a_consumer_gets_every_record_in_order_and_once(project: Path, env: dict[str, str]) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(200)

    received = consume(project, env)
    assert len(received) == 200 * RECORDS_OF_A_REQUEST
    assert {subject for subject, _, _ in received} == {"dbally.staff"}
    assert [kind for _, _, kind in received[:8]] == ["request_start", *["event_start", "event_end"] * 3, "request_end"]
    assert len({request_id for _, request_id, _ in received}) == 200
    assert consume(project, env) == []


def test_a_kill_loses_nothing_that_was_acknowledged(project: Path, env: dict[str, str]) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(2)
        wait_until(lambda: stored(env) == 2 * RECORDS_OF_A_REQUEST)
        application.die_in_a_request()

    assert 2 * RECORDS_OF_A_REQUEST <= len(consume(project, env)) <= 2 * RECORDS_OF_A_REQUEST + 4


def test_a_kill_loses_what_waits_in_the_background(project: Path, env: dict[str, str], server: Server) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(2)
        server.hang()
        application.ask(5)
        application.die_in_a_request()
    server.go_on()

    on_its_way = 1
    assert len(consume(project, env)) <= 2 * RECORDS_OF_A_REQUEST + on_its_way


def test_a_normal_exit_loses_nothing(project: Path, env: dict[str, str]) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(20)

    assert stored(env) == 20 * RECORDS_OF_A_REQUEST


def test_a_server_that_restarts_does_not_reach_the_user_and_loses_nothing(
    project: Path, env: dict[str, str], server: Server
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(5)
        server.stop()
        stopped = application.ask(5)
        server.start()
        application.ask(5)
        wait_until(lambda: stored(env) == 15 * RECORDS_OF_A_REQUEST)
        restarted = application.ask(0)

    assert stopped["rows"] == 5
    assert stopped["seconds"] < 10  # a second for each of 40 records, if they waited
    assert (restarted["lost"], restarted["warnings"]) == (0, [])
    received = consume(project, env)
    assert [kind for _, _, kind in received].count("request_end") == 15
    assert len(received) == 15 * RECORDS_OF_A_REQUEST


def test_a_server_that_hangs_does_not_reach_the_user_and_loses_nothing(
    project: Path, env: dict[str, str], server: Server
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(5)
        server.hang()
        hanging = application.ask(5)
        server.go_on()
        wait_until(lambda: stored(env) == 10 * RECORDS_OF_A_REQUEST)
        gone_on = application.ask(0)

    assert hanging["rows"] == 5
    assert hanging["seconds"] < 10  # a second for each of 40 records, if they waited
    assert (gone_on["lost"], gone_on["warnings"]) == (0, [])


def test_the_largest_record_fits_into_a_message_and_a_larger_one_counts_as_lost(
    project: Path, env: dict[str, str]
) -> None:
    ask = """
import asyncio
from application import make_collection, make_engine
for letter in ("x", "\\0", "\\u202e", "\\U0001f98a"):
    asyncio.run(make_collection(make_engine(), handler).ask(letter * 1_500_000))
"""
    code = PAGE["app.py"] + ask + "print(handler.lost_records)"
    assert run_code(project, code, env) == "0\n"
    assert stored(env) == 4 * RECORDS_OF_A_REQUEST

    unbounded = """
from db_ally_file_handler.background import Background
background = Background(stream, patience=0.1)
handler = Recorder(background, max_chars=None)
"""
    code = (
        "import logging, sys\nlogging.basicConfig(stream=sys.stdout)\n"
        + PAGE["app.py"]
        + unbounded
        + ask.replace('"\\0", "\\u202e", "\\U0001f98a"', "")
        + "background.flush(60)\nprint(background.lost)"
    )
    *warnings, lost = run_code(project, code, env).splitlines()
    assert int(lost) > 0
    assert len([warning for warning in warnings if "lost: nats: maximum payload exceeded" in warning]) == int(lost)


def test_two_workers_may_start_at_once(project: Path, env: dict[str, str]) -> None:
    with Application(project, PAGE["app.py"], env) as one, Application(project, PAGE["app.py"], env) as another:
        for application in (one, another):
            application.ask(5)

    assert stored(env) == 2 * 5 * RECORDS_OF_A_REQUEST


def test_forked_workers_lose_nothing(project: Path, env: dict[str, str]) -> None:
    ask_in_workers(project, PAGE["app.py"], env)

    assert len(consume(project, env)) == FORKED_REQUESTS * RECORDS_OF_A_REQUEST


@pytest.mark.parametrize("block", [True, False])
def test_an_exit_by_an_uncaught_error_loses_nothing_without_a_word(
    project: Path, env: dict[str, str], block: bool
) -> None:
    said = end_by_an_error(project, PAGE["app.py"], env, block=block)

    kinds = [kind for _, _, kind in consume(project, env)]
    assert kinds[RECORDS_OF_A_REQUEST:] == OF_A_FAILED_REQUEST[: None if block else -1]
    assert ("records lost so far: 1; the last one: the process ends" in said) == (not block)
