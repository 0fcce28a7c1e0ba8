from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pages import RECORDS_OF_A_REQUEST, Application, bake_page, blocks, pass_contract
from sqlalchemy import Connection, create_engine, text

PAGE = blocks("database.md")
LONG_AGO = "2000-01-01"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake_page(tmp_path_factory.mktemp("database"), "database.md")


class TestDatabase:
    """What the page says, of SQLite; a subclass says it of another by its `url`."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/records.db"

    @pytest.fixture
    def env(self, url: str) -> dict[str, str]:
        return {"RECORDS_URL": url}

    @pytest.fixture
    def database(self, url: str) -> Iterator[Connection]:
        engine = create_engine(url)
        with engine.connect() as connection:
            yield connection
        engine.dispose()

    def test_the_contract_holds(self, project: Path, env: dict[str, str]) -> None:
        pass_contract(project, env)

    def test_a_kill_loses_nothing(self, project: Path, env: dict[str, str], database: Connection) -> None:
        with Application(project, PAGE["app.py"], env) as application:
            application.ask(2)
            application.die_in_a_request()

        kinds = database.scalars(text("SELECT kind FROM records ORDER BY id")).all()
        assert len(kinds) == 2 * RECORDS_OF_A_REQUEST + 4
        assert kinds[-4:] == ["request_start", "event_start", "event_end", "event_start"]

    def test_the_queries_answer(self, project: Path, env: dict[str, str], database: Connection) -> None:
        with Application(project, PAGE["app.py"], env) as application:
            application.ask(12)
            application.fail(3)

        slowest = database.execute(text(PAGE["slowest.sql"]), {"since": LONG_AGO}).all()
        failures = database.execute(text(PAGE["failures.sql"]), {"since": LONG_AGO}).all()
        tokens = database.execute(text(PAGE["tokens.sql"]), {"since": LONG_AGO}).all()
        assert len(slowest) == 10
        assert [row.elapsed for row in slowest] == sorted((row.elapsed for row in slowest), reverse=True)
        assert {(row.collection, row.question) for row in slowest} == {("staff", "Who?")}
        assert failures == [("staff", 3, 15)]
        days = {datetime.now(UTC).date(), (datetime.now(UTC) - timedelta(minutes=5)).date()}
        assert {str(row.day) for row in tokens} <= {str(day) for day in days}
        assert sum(row.tokens for row in tokens) == database.scalar(
            text("SELECT sum(CAST(record -> 'data' ->> 'total_tokens' AS integer)) FROM records")
        )

    def test_nothing_older_than_asked_for_is_counted(
        self, project: Path, env: dict[str, str], database: Connection
    ) -> None:
        with Application(project, PAGE["app.py"], env) as application:
            application.ask()

        for query in ("slowest.sql", "failures.sql", "tokens.sql"):
            assert database.execute(text(PAGE[query]), {"since": "2999-01-01"}).all() == []

    @pytest.mark.parametrize("query", ["slowest.sql", "failures.sql", "tokens.sql"])
    def test_an_index_serves_the_query(
        self, query: str, project: Path, env: dict[str, str], database: Connection
    ) -> None:
        with Application(project, PAGE["app.py"], env) as application:
            application.ask()
        self.multiply(database, 10_000)

        plan = self.plan(database, PAGE[query])

        assert "records_by_kind_and_time" in plan

    def multiply(self, database: Connection, times: int) -> None:
        database.execute(
            text(
                "WITH RECURSIVE numbers(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :n)"
                " INSERT INTO records (time, request_id, collection, kind, elapsed, tokens, record)"
                " SELECT time, request_id || number, collection, 'event_start', elapsed, tokens, record"
                " FROM records CROSS JOIN numbers WHERE kind = 'request_start'"
            ),
            {"n": times},
        )

    def plan(self, database: Connection, query: str) -> str:
        return str(database.execute(text(f"EXPLAIN QUERY PLAN {query}"), {"since": LONG_AGO}).all())

    def test_a_table_that_is_gone_does_not_reach_the_user(
        self, project: Path, env: dict[str, str], database: Connection
    ) -> None:
        with Application(project, PAGE["app.py"], env) as application:
            application.ask()
            database.execute(text("DROP TABLE records"))
            database.commit()
            answer = application.ask(3)

        assert answer["rows"] == 3
        assert answer["lost"] == 3 * RECORDS_OF_A_REQUEST
        assert len(answer["warnings"]) == 1
