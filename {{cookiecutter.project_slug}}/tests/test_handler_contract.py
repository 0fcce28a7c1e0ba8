"""What db-ally and its users may expect of the handler, wherever its records go."""

import asyncio
import contextlib
import dataclasses
import datetime
import enum
import gc
import logging
import math
from collections import UserString
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import dbally
import numpy
import pandas
import pytest
from application import ROWS, UnableView, say
from canaries import SECRETS, CacheEvent, ask_with_canaries, canary
from conftest import MakeHandler, ReadRecords
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import Event, LLMEvent, RequestEnd, RequestStart
from dbally.collection.collection import Collection
from dbally.collection.results import ExecutionResult
from dbally.iql_generator.prompt import UnsupportedQueryError
from dbally.views.exceptions import ViewExecutionError
from scripted_llm import Reply
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.privacy import NEEDED_SWITCHES
from {{ cookiecutter.package_name }}.recorder import EventContext, RequestContext

MakeCollection = Callable[..., Collection]
Records = list[dict[str, Any]]


def by_request(records: Records) -> dict[str, Records]:
    requests: dict[str, Records] = {}
    for record in records:
        requests.setdefault(record["request_id"], []).append(record)
    return requests


def kinds(records: Records) -> list[str]:
    return [record["kind"] for record in records]


def of_kind(records: Records, kind: str) -> Records:
    return [record for record in records if record["kind"] == kind]


async def start(*handlers: Any, collection: str = "staff", question: str = "who?") -> EventTracker:
    tracker = EventTracker.initialize_with_handlers(list(handlers))
    await tracker.request_start(RequestStart(collection_name=collection, question=question))
    return tracker


def result(rows: list[dict[str, Any]], **context: Any) -> RequestEnd:
    return RequestEnd(ExecutionResult(rows, context, 0.25, 0.125, "StaffView", "Ann does."))


def down(times: int = 100) -> Reply:
    """Return the replies of a model that cannot be reached for the first calls."""
    calls = iter(range(times))

    async def reply(conversation: str) -> str:
        if next(calls, None) is not None:
            raise dbally.LLMConnectionError
        return await say()(conversation)

    return reply


async def never(conversation: str) -> str:
    await asyncio.sleep(3600)
    return ""


# What a log tells


async def test_a_request_is_recorded_from_question_to_answer(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    answer = await make_collection(make_handler()).ask(
        "Who lives in Kraków?", return_natural_response=True
    )

    records = await read_records()
    assert kinds(records) == ["request_start", *["event_start", "event_end"] * 4, "request_end"]
    assert len({record["request_id"] for record in records}) == 1
    assert records[0]["data"] == {"collection_name": "staff", "question": "Who lives in Kraków?"}
    assert [record["event"] for record in of_kind(records, "event_end")] == [
        "LLMEvent",
        "LLMEvent",
        "SimilarityEvent",
        "LLMEvent",
    ]
    end = records[-1]["data"]["result"]
    assert end["results"] == answer.results == ROWS[:1]
    assert end["textual_response"] == "Ann does."
    assert "WHERE" in end["context"]["sql"]


async def test_an_event_end_holds_what_its_start_did_not(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    await make_collection(make_handler()).ask("Who?")

    llm_start, llm_end = (await read_records())[1:3]
    assert llm_start["data"].keys() == {"prompt"}
    assert llm_start["data"]["prompt"][1]["content"].startswith("Question: Who?")
    assert llm_end["data"].keys() == {
        "response",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    }
    assert llm_end["data"]["response"] == "Decision: true"
    assert llm_start["event_id"] == llm_end["event_id"] == 1


async def test_times_are_utc_and_elapsed_seconds_add_up(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    async with tracker.track_event(LLMEvent("prompt", "Prompt")):
        await asyncio.sleep(0.05)
    await tracker.request_end(result([]))

    records = await read_records()
    assert all(record["time"].endswith("Z") for record in records)
    assert records[0]["time"] <= records[1]["time"] < records[2]["time"] <= records[3]["time"]
    assert [record.get("elapsed") is None for record in records] == [True, True, False, False]
    assert 0.05 <= records[2]["elapsed"] <= records[3]["elapsed"] < 5


async def test_overlapping_events_are_told_apart(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    first, second = LLMEvent("first", "Prompt"), LLMEvent("second", "Prompt")
    first_span, second_span = tracker.track_event(first), tracker.track_event(second)
    (await first_span.__aenter__())(first)
    (await second_span.__aenter__())(second)
    first.response, second.response = "of the first", "of the second"
    await first_span.__aexit__(None, None, None)
    await second_span.__aexit__(None, None, None)

    ends = of_kind(await read_records(), "event_end")
    assert [(end["event_id"], end["data"]["response"]) for end in ends] == [
        (1, "of the first"),
        (2, "of the second"),
    ]


async def test_a_chain_of_fallbacks_is_one_request(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    handler = make_handler()
    first, second = (
        make_collection(handler, name=name, view=UnableView) for name in ("first", "second")
    )
    first.set_fallback(second).set_fallback(make_collection(handler, name="third"))

    await first.ask("Who?")

    records = await read_records()
    assert len(by_request(records)) == 1
    assert kinds(records)[-3:] == ["event_end", "event_end", "request_end"]
    to_second, to_third = (record["data"] for record in of_kind(records, "event_start")[:2])
    assert (to_second["triggering_collection_name"], to_second["fallback_collection_name"]) == (
        "first",
        "second",
    )
    assert (to_third["triggering_collection_name"], to_third["fallback_collection_name"]) == (
        "second",
        "third",
    )
    assert "UnsupportedQueryError" in to_second["error_description"]
    assert records[-2]["data"] == {}


async def test_an_event_without_an_end_object_ends(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    async with tracker.track_event(LLMEvent("prompt", "Prompt")):
        pass

    assert (await read_records())[-1]["kind"] == "event_end"
    assert (await read_records())[-1]["data"] is None


# What belongs to which request


async def test_concurrent_requests_are_not_mixed_up(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    handler = make_handler()
    collections = [make_collection(handler, name=f"c{number}") for number in range(20)]

    await asyncio.gather(
        *(c.ask(f"question {n} of {c.name}") for c in collections for n in range(5))
    )

    requests = by_request(await read_records())
    assert len(requests) == 100
    for records in requests.values():
        asked = records[0]["data"]
        assert asked["question"].endswith(f"of {asked['collection_name']}")
        assert kinds(records) == ["request_start", *["event_start", "event_end"] * 3, "request_end"]
        assert all(
            asked["question"] in str(record["data"])
            for record in records
            if "prompt" in record["data"]
        )


async def test_threads_with_a_loop_each_may_share_a_handler(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    handler = make_handler()

    async def ask() -> None:
        await asyncio.gather(*(make_collection(handler).ask("Who?") for _ in range(4)))

    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(asyncio.run, ask()) for _ in range(16)]:
            done.result()

    requests = by_request(await read_records())
    assert len(requests) == 64
    assert all(kinds(records)[-1] == "request_end" for records in requests.values())


async def test_two_handlers_record_the_same_request_each(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    await make_collection(make_handler(), make_handler()).ask("Who?")

    one, other = by_request(await read_records()).values()
    assert kinds(one) == kinds(other)


async def test_two_events_may_be_one_object(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    event = CacheEvent("always the same")
    async with tracker.track_event(event), tracker.track_event(event):
        pass

    records = (await read_records())[1:]
    assert [record["event_id"] for record in records] == [1, 2, 2, 1]


# What goes wrong with a request


async def test_a_retried_event_has_failed_but_its_request_has_not(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    await make_collection(make_handler(), reply=down(times=2)).ask("Who?")

    records = await read_records()
    failed = of_kind(records, "event_failed")
    assert [(record["event_id"], record["event"]) for record in failed] == [
        (1, "LLMEvent"),
        (2, "LLMEvent"),
    ]
    assert failed[0]["error"] == {
        "type": "LLMConnectionError",
        "message": "Connection error.",
        "causes": [],
    }
    assert 0 <= failed[0]["elapsed"] < 5
    assert records[-1]["kind"] == "request_end"
    assert not of_kind(records, "request_failed")


async def test_an_event_has_failed_before_its_caller_knows(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    known: Records = []
    try:
        async with tracker.track_event(LLMEvent("prompt", "Prompt")):
            raise RuntimeError("the model is away")
    except RuntimeError:
        known = await read_records()

    assert known[-1]["error"] == {
        "type": "RuntimeError",
        "message": "the model is away",
        "causes": [],
    }


def fails_with_model_down(collection: MakeCollection, *handlers: Any) -> Any:
    return collection(*handlers, reply=down()).ask("Who?")


def fails_with_no_view(collection: MakeCollection, *handlers: Any) -> Any:
    return collection(*handlers, view=None).ask("Who?")


def fails_with_bad_iql(collection: MakeCollection, *handlers: Any) -> Any:
    return collection(*handlers, reply=say("no_such_filter()")).ask("Who?")


def fails_with_bad_sql(collection: MakeCollection, *handlers: Any) -> Any:
    return collection(*handlers, reply=say("is_broken()")).ask("Who?")


def fails_with_no_fallback(collection: MakeCollection, *handlers: Any) -> Any:
    return collection(*handlers, view=UnableView).ask("Who?")


def fails_with_timeout(collection: MakeCollection, *handlers: Any) -> Any:
    return asyncio.wait_for(collection(*handlers, reply=never).ask("Who?"), 0.05)


FAILURES = {
    fails_with_model_down: ViewExecutionError,
    fails_with_no_view: ValueError,
    fails_with_bad_iql: ViewExecutionError,
    fails_with_bad_sql: OperationalError,
    fails_with_no_fallback: UnsupportedQueryError,
    fails_with_timeout: TimeoutError,
}


@pytest.mark.parametrize(
    ("ask", "error"), FAILURES.items(), ids=lambda value: getattr(value, "__name__", "")
)
async def test_a_failed_request_says_so_and_its_caller_sees_the_error(
    ask: Any,
    error: type[Exception],
    make_handler: MakeHandler,
    read_records: ReadRecords,
    make_collection: MakeCollection,
) -> None:
    with pytest.raises(error) as without_handler:
        await ask(make_collection)
    with pytest.raises(error) as with_handler:
        await ask(make_collection, make_handler())

    assert str(with_handler.value) == str(without_handler.value)
    del with_handler  # it holds what db-ally would have dropped
    *_, failed = await read_records()
    assert (failed["kind"], failed["error"]) == ("request_failed", None)


async def test_a_failed_request_names_the_events_that_are_open_and_no_failed_one(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    handler = make_handler()
    with pytest.raises(ViewExecutionError):
        await fails_with_model_down(make_collection, handler)
    *events, failed = await read_records()
    assert kinds(events[1:]) == ["event_start", "event_failed"] * 4
    assert "open_events" not in failed

    with contextlib.suppress(RuntimeError), recording():
        tracker = await start(handler)
        span = tracker.track_event(CacheEvent("k"))
        await span.__aenter__()
        raise RuntimeError
    *_, failed = (
        record for record in of_kind(await read_records(), "request_failed") if record["error"]
    )
    assert failed["open_events"] == [{"event_id": 1, "event": "CacheEvent"}]
    await span.__aexit__(None, None, None)


async def test_a_cancelled_request_has_failed(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    task = asyncio.create_task(make_collection(make_handler(), reply=never).ask("Who?"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task

    records = await read_records()
    assert of_kind(records, "event_failed")[0]["error"]["type"] == "CancelledError"
    assert records[-1]["kind"] == "request_failed"


@pytest.mark.parametrize(
    ("ask", "error"), FAILURES.items(), ids=lambda value: getattr(value, "__name__", "")
)
async def test_recording_tells_why_a_request_failed(
    ask: Any,
    error: type[Exception],
    make_handler: MakeHandler,
    read_records: ReadRecords,
    make_collection: MakeCollection,
) -> None:
    with pytest.raises(error) as raised, recording():
        await ask(make_collection, make_handler())

    *_, failed = await read_records()
    assert failed["kind"] == "request_failed"
    assert (failed["error"]["type"], failed["error"]["message"]) == (
        error.__name__,
        str(raised.value),
    )


async def test_recording_serves_any_number_of_requests_at_once(
    make_handler: MakeHandler, read_records: ReadRecords, make_collection: MakeCollection
) -> None:
    handler = make_handler()

    async def fail(number: int) -> None:
        with recording():
            tracker = await start(handler, question=str(number))
            await asyncio.sleep(0)
            assert tracker
            raise RuntimeError(f"failure of {number}")

    await asyncio.gather(*(fail(number) for number in range(50)), return_exceptions=True)

    requests = by_request(await read_records())
    assert len(requests) == 50
    for started, failed in requests.values():
        assert failed["error"]["message"] == f"failure of {started['data']['question']}"


async def test_recording_tells_why_while_another_event_goes_on(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    with pytest.raises(RuntimeError), recording():
        tracker = await start(make_handler())
        filters = tracker.track_event(LLMEvent("filters", "Prompt"))
        await filters.__aenter__()
        raise RuntimeError("from the aggregation")
    await filters.__aexit__(None, None, None)

    *_, failed, ended = await read_records()
    assert failed["error"] == {
        "type": "RuntimeError",
        "message": "from the aggregation",
        "causes": [],
    }
    assert failed["open_events"] == [{"event_id": 1, "event": "LLMEvent"}]
    assert ended["kind"] == "event_end"


async def test_recording_may_be_left_in_another_task_than_it_was_entered_in() -> None:
    async def ask() -> AsyncGenerator[None, None]:
        with recording():
            yield

    generator = ask()

    async def begin() -> None:
        await anext(generator)

    await asyncio.create_task(begin())
    await generator.aclose()


async def test_nothing_is_kept_of_a_request_that_is_over(
    make_handler: MakeHandler, make_collection: MakeCollection
) -> None:
    handler = make_handler()
    await make_collection(handler).ask("Who?")
    with pytest.raises(ViewExecutionError):
        await fails_with_model_down(make_collection, handler)

    await asyncio.sleep(0)
    gc.collect()
    assert not [
        thing for thing in gc.get_objects() if isinstance(thing, RequestContext | EventContext)
    ]


# What goes wrong with recording


async def test_a_failing_sink_does_not_reach_the_user(
    make_broken_handler: MakeHandler,
    make_collection: MakeCollection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler: Any = make_broken_handler()

    for _ in range(3):
        assert (await make_collection(handler).ask("Who?")).results == ROWS[:1]
    with pytest.raises(ViewExecutionError):
        await fails_with_model_down(make_collection, handler)

    await asyncio.sleep(0)
    gc.collect()
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert handler.lost_records == 3 * 8 + 10


async def test_with_raise_errors_an_unrecorded_request_never_runs(
    make_broken_handler: MakeHandler,
    make_collection: MakeCollection,
    caplog: pytest.LogCaptureFixture,
) -> None:
    called = False

    async def reply(conversation: str) -> str:
        nonlocal called
        called = True
        return await say()(conversation)

    with pytest.raises(
        Exception, match=r"^"
    ):  # which one, the sink decides; it may be one without words
        await make_collection(make_broken_handler(raise_errors=True), reply=reply).ask("Who?")

    gc.collect()
    assert not called
    assert not caplog.records


async def test_a_value_that_cannot_be_read_is_recorded_as_such(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    class Unreadable:
        def __str__(self) -> str:
            raise RuntimeError("no")

        @property  # type: ignore[misc]
        def __class__(self) -> type:
            raise RuntimeError("nor this")

    tracker = await start(make_handler())
    async with tracker.track_event(CacheEvent(Unreadable())):
        pass
    await tracker.request_end(result([{"good": 1, "bad": Unreadable()}]))

    _, event, *_, end = (record["data"] for record in await read_records())
    assert event["key"] == "<Unreadable: RuntimeError when read>"
    assert end["result"]["results"] == [{"good": 1, "bad": "<Unreadable: RuntimeError when read>"}]


async def test_a_result_that_cannot_be_counted_has_an_end(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    class Rows(list[Any]):
        def __len__(self) -> int:
            raise RuntimeError("not counted yet")

    await (await start(make_handler())).request_end(result(Rows()))

    end = (await read_records())[-1]
    assert end["kind"] == "request_end"
    assert end["data"]["result"]["results"] == "<Rows: RuntimeError when read>"
    assert "rows" not in end["summary"]


async def test_a_result_in_a_result_is_a_value_like_any_other(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    outer = result([])
    outer.result.context = {"cached": outer.result}

    await (await start(make_handler())).request_end(outer)
    outer.result.context = outer.result  # type: ignore[assignment]
    await (await start(make_handler())).request_end(outer)

    contexts = [
        end["data"]["result"]["context"] for end in of_kind(await read_records(), "request_end")
    ]
    assert [str(context).count("ExecutionResult(results=[]") for context in contexts] == [1, 1]


async def test_a_logging_handler_that_fails_does_not_reach_the_user(
    make_broken_handler: MakeHandler,
    make_collection: MakeCollection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the logs are on the same disk")

    monkeypatch.setattr(logging.getLogger(), "handlers", [Failing()])

    assert (await make_collection(make_broken_handler()).ask("Who?")).results == ROWS[:1]


# What may be in a record


async def test_an_event_of_the_application_is_recorded_field_by_field(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    event = CacheEvent(key="k")
    event.extra = "of this object alone"  # type: ignore[attr-defined]
    async with tracker.track_event(event) as span:
        event.hit = True
        span(event)

    started, ended = (await read_records())[1:]
    assert started["event"] == "CacheEvent"
    assert started["data"] == {"key": "k", "extra": "of this object alone"}
    assert ended["data"] == {"hit": True}


async def test_what_an_event_changes_in_place_is_new_at_its_end(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    event = CacheEvent(key=["asked"])
    async with tracker.track_event(event) as span:
        event.key.append("found")
        span(event)

    assert (await read_records())[-1]["data"] == {"key": ["asked", "found"]}


class Word(enum.StrEnum):
    YES = "yes"


@dataclasses.dataclass(slots=True)
class SlotsEvent(Event):
    state: str | None

    @property
    def secret(self) -> str:
        raise RuntimeError("what nobody may read")


async def test_odd_events_are_recorded_all_the_same(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    event = SlotsEvent("open")
    vars(event)["secret"] = "hidden behind the property"
    async with tracker.track_event(event) as span:
        event.state = None
        span(event)
    del event.state
    no_event: Any = {"not": "an event"}
    async with tracker.track_event(event) as span:
        span(no_event)

    started, ended, *_, last = (record["data"] for record in (await read_records())[1:])
    assert started == {"state": "open", "secret": "<secret: RuntimeError when read>"}
    assert ended == {"state": None, "secret": "<secret: RuntimeError when read>"}
    assert last == {}


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(True, True, id="bool"),
        pytest.param(10**15, 10**15, id="int"),
        pytest.param(2**63 - 1, 2**63 - 1, id="int of 64 bits"),
        pytest.param(2**63, str(2**63), id="int of more than 64 bits"),
        pytest.param(
            1 << 50_000, "<int: ValueError when read>", id="int that Python does not print"
        ),
        pytest.param(0.1, 0.1, id="float"),
        pytest.param(math.nan, "nan", id="nan"),
        pytest.param(-math.inf, "-inf", id="infinity"),
        pytest.param(Decimal("12.50"), 12.5, id="decimal"),
        pytest.param(Decimal("0.1234567890123456789"), "0.1234567890123456789", id="exact decimal"),
        pytest.param(b"\x00\xff", "b'\\x00\\xff'", id="bytes"),
        pytest.param(b"x" * 2_000, "<bytes of 2000>", id="many bytes"),
        pytest.param({1}, [1], id="set"),
        pytest.param((1, "a"), [1, "a"], id="tuple"),
        pytest.param({1: "a", None: "b"}, {"1": "a", "None": "b"}, id="mapping"),
        pytest.param({1: "a", "1": "b"}, {"1": "a", "1~1": "b"}, id="keys of one text"),
        pytest.param(datetime.date(2026, 1, 2), "2026-01-02", id="date"),
        pytest.param(
            datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
            "2026-01-02T03:00:00+00:00",
            id="datetime",
        ),
        pytest.param(datetime.timedelta(seconds=90), "0:01:30", id="timedelta"),
        pytest.param(
            "zażółć \n\r\x1b\u2028\u202e {0} %s", "zażółć \n\r\x1b\u2028\u202e {0} %s", id="text"
        ),
        pytest.param("Krak\0w \ud83d", "Krak\\u0000w \\ud83d", id="nul and half an emoji"),
        pytest.param(Word.YES, "yes", id="enum of texts"),
        pytest.param(numpy.int64(7), 7, id="numpy int"),
        pytest.param(numpy.float32(0.5), 0.5, id="numpy float"),
        pytest.param(pandas.Timestamp("2026-01-02"), "2026-01-02T00:00:00", id="timestamp"),
        pytest.param(pandas.NA, "<NA>", id="pandas NA"),
        pytest.param(UserString("text"), "text", id="user string"),
        pytest.param(numpy.arange(6).reshape(2, 3), "<ndarray of 2 x 3>", id="array"),
        pytest.param(
            pandas.DataFrame(index=range(600), columns=["n"]), "<DataFrame of 600 x 1>", id="table"
        ),
        pytest.param(memoryview(b"abcd").cast("B", (2, 2)), "b'abcd'", id="memoryview"),
        pytest.param(memoryview(b"abcdef")[::2], "b'ace'", id="memoryview with gaps"),
    ],
)
async def test_any_value_is_recorded(
    value: Any, recorded: Any, make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    await tracker.request_end(result([{"column": value}]))

    assert (await read_records())[-1]["data"]["result"]["results"] == [{"column": recorded}]


async def test_cycles_and_depth_end(make_handler: MakeHandler, read_records: ReadRecords) -> None:
    cycle: list[Any] = ["before"]
    cycle.append(cycle)
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]

    tracker = await start(make_handler())
    await tracker.request_end(result([{"cycle": cycle, "deep": deep}]))

    end = (await read_records())[-1]
    row = end["data"]["result"]["results"][0]
    assert row["cycle"][:2] == ["before", ["before", row["cycle"][1][1]]]
    assert 20 < str(row["deep"]).count("[") < 40
    assert set(end["cut"].values()) == {1, 2}


async def test_a_huge_result_is_cut_and_the_record_says_so(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler())
    await tracker.request_end(result([{"n": n} for n in range(300_000)], sql="x" * 5_000_000))

    end = (await read_records())[-1]
    rows = end["data"]["result"]["results"]
    assert rows == [{"n": n} for n in range(len(rows))]
    assert 500 < len(rows) < 5_000
    assert end["data"]["result"]["context"]["sql"] == "x" * 100_000
    assert end["cut"] == {"result.context.sql": 5_000_000, "result.results": 300_000}
    assert end["summary"]["rows"] == 300_000


async def test_all_the_data_of_a_record_is_bounded_together(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler(max_chars=150_000))
    await tracker.request_end(result([{"text": "x" * 60_000, "number": n} for n in range(10)]))

    end = (await read_records())[-1]
    *whole, cut = (len(row["text"]) for row in end["data"]["result"]["results"])
    assert whole == [60_000] * 2
    assert 29_000 < cut < 30_000
    assert end["cut"] == {
        "result.results.2.text": 60_000,
        "result.results.2": 2,
        "result.results": 10,
    }


async def test_the_bound_can_be_lifted(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler(max_chars=None))
    await tracker.request_end(result([{"n": n} for n in range(20_000)], sql="x" * 500_000))

    end = (await read_records())[-1]
    assert len(end["data"]["result"]["results"]) == 20_000
    assert len(end["data"]["result"]["context"]["sql"]) == 500_000
    assert "cut" not in end


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, "many"])
def test_a_bound_that_cannot_work_is_refused(bound: Any, make_handler: MakeHandler) -> None:
    with pytest.raises(ValueError, match=f"max_chars {bound!r}.*for example 100000"):
        make_handler(max_chars=bound)


# What is withheld


@pytest.mark.parametrize("withheld", ["inputs", "outputs"])
@pytest.mark.parametrize("fail", [False, True])
async def test_what_is_switched_off_is_nowhere(
    withheld: str, fail: bool, make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    handler = make_handler(**{f"record_{withheld}": False})
    if fail:
        with pytest.raises(RuntimeError):
            await ask_with_canaries(handler, fail=True)
    else:
        await ask_with_canaries(handler, fail=False)

    log = str(await read_records())
    assert [field for field in SECRETS[withheld] if canary(field) in log] == []
    assert "[withheld]" in log
    assert "staff" in log


async def test_what_is_switched_on_is_there(
    make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    await ask_with_canaries(make_handler(), fail=False)
    with pytest.raises(RuntimeError):
        await ask_with_canaries(make_handler(), fail=True)

    log = str(await read_records())
    assert [
        field for fields in SECRETS.values() for field in fields if canary(field) not in log
    ] == []


@dataclasses.dataclass
class NewerLLMEvent(LLMEvent):
    reasoning: str | None = None


@dataclasses.dataclass
class NewerResult(ExecutionResult):
    summary: str | None = None


@pytest.mark.parametrize("withheld", ["inputs", "outputs"])
async def test_what_a_newer_db_ally_adds_is_withheld_and_the_rest_as_ever(
    withheld: str, make_handler: MakeHandler, read_records: ReadRecords
) -> None:
    tracker = await start(make_handler(**{f"record_{withheld}": False}))
    async with tracker.track_event(
        NewerLLMEvent("prompt", "Prompt", reasoning=canary("reasoning"))
    ):
        pass
    newer = NewerResult(
        [{"name": canary("row")}], {}, 0.25, 0.125, "StaffView", summary=canary("summary")
    )
    await tracker.request_end(RequestEnd(newer))

    event, _, end = (record["data"] for record in (await read_records())[1:])
    assert event == {"prompt": "[withheld]", "type": "Prompt", "reasoning": "[withheld]"}
    assert end["result"]["summary"] == "[withheld]"
    assert end["result"]["execution_time"] == 0.25
    assert (canary("row") in str(end)) == (withheld == "inputs")


def test_every_field_of_db_ally_has_been_looked_at() -> None:
    classes = {
        thing
        for thing in vars(dbally.audit.events).values()
        if dataclasses.is_dataclass(thing) and isinstance(thing, type) and thing is not Event
    }

    assert classes <= NEEDED_SWITCHES.keys()
    for source in classes:
        assert {field.name for field in dataclasses.fields(source)} == NEEDED_SWITCHES[
            source
        ].keys()
