import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from otlp import CONVENTIONS, ERROR, Backend, plain
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
from servers import Server, start_collector, wait_until

PAGE = blocks("opentelemetry.md")
BETWEEN_CLOCKS = 50_000_000  # nanoseconds that a busy machine may take from one clock to the other


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as backend:
        yield backend


@pytest.fixture
def collector(backend: Backend) -> Iterator[tuple[Server, dict[str, str]]]:
    server, env = start_collector(f"http://127.0.0.1:{backend.server.server_port}")
    yield server, env
    server.stop()


@pytest.fixture
def server(collector: tuple[Server, dict[str, str]]) -> Server:
    return collector[0]


@pytest.fixture
def env(collector: tuple[Server, dict[str, str]]) -> dict[str, str]:
    return collector[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bake_page(tmp_path_factory.mktemp("opentelemetry"), "background.md", "opentelemetry.md")


def test_the_project_is_green_after_the_pages(project: Path) -> None:
    check(project)


def test_a_request_arrives_as_a_trace_with_the_names_of_the_conventions(
    project: Path, env: dict[str, str], backend: Backend
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(20)

    wait_until(lambda: len(backend.spans) >= 20 * 4 and len(backend.logs) >= 20 * RECORDS_OF_A_REQUEST)
    assert backend.services == {"staff-search"}
    assert Counter(span.name for span in backend.spans) == {
        "chat": 40,
        "retrieval": 20,
        "invoke_workflow staff": 20,
    }
    roots = {span.trace_id: span for span in backend.spans if not span.parent_span_id}
    assert {trace_id.hex() for trace_id in roots} == {
        json.loads(record.body.string_value)["request_id"] for record in backend.logs
    }
    for span in backend.spans:
        assert plain(span.attributes).keys() <= CONVENTIONS | {"dbally.step"}
        assert span.status.code != ERROR
        root = roots[span.trace_id]
        assert span is root or span.parent_span_id == root.span_id
        assert root.start_time_unix_nano <= span.start_time_unix_nano + BETWEEN_CLOCKS
        assert span.start_time_unix_nano < span.end_time_unix_nano <= root.end_time_unix_nano + BETWEEN_CLOCKS
    chat = plain(next(span for span in backend.spans if span.name.startswith("chat")).attributes)
    assert chat["gen_ai.usage.input_tokens"] > chat["gen_ai.usage.output_tokens"] > 0


def test_a_failed_request_arrives_as_an_error(project: Path, env: dict[str, str], backend: Backend) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.fail(3)

    wait_until(lambda: len(backend.spans) >= 3 and len(backend.logs) >= 9)
    assert [span.status.code for span in backend.spans] == [ERROR] * len(backend.spans)
    assert Counter((span.name, plain(span.attributes)["error.type"]) for span in backend.spans) == {
        ("chat", "ConnectionError"): 3,
        ("invoke_workflow staff", "ViewExecutionError"): 3,
    }
    assert {span.status.message for span in backend.spans if span.parent_span_id} == {"the model is away"}
    errors = [record for record in backend.logs if record.severity_number >= 17]
    assert len(errors) == len(backend.spans)


def test_a_kill_loses_what_was_not_exported_yet(project: Path, env: dict[str, str], backend: Backend) -> None:
    soon = {"OTEL_BLRP_SCHEDULE_DELAY": "200", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    with Application(project, PAGE["app.py"], env | soon) as application:
        application.ask(5)
        wait_until(lambda: len(backend.logs) == 5 * RECORDS_OF_A_REQUEST and len(backend.spans) == 5 * 4)
        application.die_in_a_request()

    assert len(backend.spans) == 5 * 4
    assert len(backend.logs) <= 5 * RECORDS_OF_A_REQUEST + 4


def test_a_collector_that_is_gone_or_hangs_does_not_reach_the_user(
    project: Path, env: dict[str, str], backend: Backend, server: Server
) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(10)
        server.hang()
        hanging = application.ask(10)
        server.go_on()
        server.stop()
        gone = application.ask(10)
        server.start()

    for answer in (hanging, gone):
        assert (answer["rows"], answer["lost"], answer["warnings"]) == (10, 0, [])
        assert answer["seconds"] < 10  # what OpenTelemetry waits for one answer; a request has eight records


LABELLED = """
import asyncio, datetime
from application import make_collection, make_engine
{app}
from db_ally_file_handler import recording
with recording(model="gpt-4o-mini", traceparent="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"):
    asyncio.run(make_collection(make_engine(), handler).ask("Who?"))
from db_ally_file_handler.records import Record
now = datetime.datetime.now(datetime.UTC)
later = now + datetime.timedelta(seconds=60)  # and then the clock is set back
handler.sink(Record(
    request_id="f" * 32, collection="staff", started_at=later, process="host:1", labels={{}},
    time=now, kind="request_end", elapsed=0.5,
))
"""


def test_labels_name_the_model_and_the_trace_and_no_span_ends_before_it_starts(
    project: Path, env: dict[str, str], backend: Backend
) -> None:
    run_code(project, LABELLED.format(app=PAGE["app.py"]), env)

    wait_until(lambda: len(backend.spans) >= 5)
    joined = [span for span in backend.spans if span.trace_id == bytes.fromhex("ab" * 16)]
    assert Counter((span.name, span.kind) for span in joined) == {
        ("chat gpt-4o-mini", 3): 2,  # CLIENT
        ("retrieval", 1): 1,  # INTERNAL
        ("invoke_workflow staff", 1): 1,
    }
    assert bytes.fromhex("cd" * 8) in {span.parent_span_id for span in joined}
    assert {plain(span.attributes).get("dbally.step") for span in joined} == {"filter decision", "filters", None}
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in backend.spans)


@pytest.mark.parametrize("bound", [True, False])
def test_no_text_breaks_a_batch(project: Path, env: dict[str, str], backend: Backend, bound: bool) -> None:
    ask_hostile(project, PAGE["app.py"], env, bound=bound)

    wait_until(lambda: len(backend.logs) >= HOSTILE_RECORDS and len(backend.spans) >= 4 * 4 + 2)
    records = [json.loads(log.body.string_value) for log in backend.logs]
    starts = [record for record in records if record["kind"] == "request_start"]
    assert [record["data"]["question"][: len(READABLE)] for record in starts] == [
        *("before", READABLE, READABLE, READABLE, "after")
    ]
    assert {record["labels"]["user"] for record in starts} == {READABLE}
    assert len({span.trace_id for span in backend.spans}) == HOSTILE_REQUESTS
    assert {f"chat {READABLE}", f"invoke_workflow {READABLE}"} <= {span.name for span in backend.spans}
    assert READABLE in {span.status.message for span in backend.spans}


LARGE = """
import datetime, logging, sys
logging.basicConfig(stream=sys.stdout)
{app}
from db_ally_file_handler.records import Record
now = datetime.datetime.now(datetime.UTC)
for number in range(150):
    data = dict(question="x" * {characters})
    telemetry(Record(
        request_id="%032x" % (number + 1), collection="staff", started_at=now, process="host:1", labels={{}},
        time=now, kind="request_start", data=data,
    ))
"""


def test_a_batch_of_large_records_is_not_too_large_for_a_collector(project: Path, backend: Backend) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.server.server_port}"}

    assert run_code(project, LARGE.format(app=PAGE["app.py"], characters=150_000), env) == ""

    assert len(backend.logs) == 150


def test_a_batch_that_is_too_large_is_refused_with_a_warning(project: Path, backend: Backend) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{backend.server.server_port}"}

    said = run_code(project, LARGE.format(app=PAGE["app.py"], characters=300_000), env)

    assert "413" in said
    assert len(backend.logs) == 50  # the second batch


def kinds(backend: Backend) -> list[str]:
    return [json.loads(log.body.string_value)["kind"] for log in backend.logs]


def test_workers_and_what_they_fork_lose_nothing(project: Path, env: dict[str, str], backend: Backend) -> None:
    with Application(project, PAGE["app.py"], env) as application:
        application.ask(5)
        ask_in_workers(project, PAGE["app.py"], env)

    wait_until(lambda: len(backend.logs) >= (FORKED_REQUESTS + 5) * RECORDS_OF_A_REQUEST)
    wait_until(lambda: len(backend.spans) >= (FORKED_REQUESTS + 5) * 4)
    assert Counter(kinds(backend))["request_end"] == FORKED_REQUESTS + 5


@pytest.mark.parametrize("block", [True, False])
def test_an_exit_by_an_uncaught_error_loses_nothing_without_a_word(
    project: Path, env: dict[str, str], backend: Backend, block: bool
) -> None:
    said = end_by_an_error(project, PAGE["app.py"], env, block=block)

    expected = OF_A_FAILED_REQUEST[: None if block else -1]
    wait_until(lambda: len(backend.logs) >= RECORDS_OF_A_REQUEST + len(expected))
    assert kinds(backend)[RECORDS_OF_A_REQUEST:] == expected
    assert ("records lost so far: 1; the last one: the process ends" in said) == (not block)
