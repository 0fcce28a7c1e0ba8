"""What db-ally and its users may expect of the handler, wherever its records go.

It rests on three fixtures of `conftest.py` alone. Change those for a destination of your own, and
keep this file as long as you keep the handler.
"""

import asyncio
import dataclasses
import datetime
import enum
import gc
import logging
import math
from collections import UserString
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import dbally
import numpy
import pandas
import pytest
from application import ROWS, UnableView, say
from canaries import FIELDS, CacheEvent, ask_with_canaries, canary, fail_with_canaries
from dbally.audit.events import Event, LLMEvent, RequestEnd
from dbally.collection.results import ExecutionResult
from dbally.iql_generator.prompt import UnsupportedQueryError
from dbally.views.exceptions import ViewExecutionError
from files import start
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.package_name }} import privacy, recording

EVENT = ["event_start", "event_end"]


def kinds(records):
    return [record["kind"] for record in records]


def of_kind(records, kind):
    return [record for record in records if record["kind"] == kind]


def by_request(records):
    requests = {}
    for record in records:
        requests.setdefault(record["request_id"], []).append(record)
    return list(requests.values())


def result(rows=(), **context):
    return RequestEnd(ExecutionResult(rows, context, 0.25, 0.125, "StaffView", "Ann does."))


def error_of(type_name, message):
    return {"type": type_name, "message": message, "causes": []}


def down(times=100):
    """Return what a model says that cannot be reached for its first calls."""
    calls = 0

    async def reply(conversation):
        nonlocal calls
        calls += 1
        if calls <= times:
            raise dbally.LLMConnectionError
        return await say()(conversation)

    return reply


async def never(conversation):
    await asyncio.sleep(3600)
    return ""


# What is recorded of a request


async def test_a_request_is_recorded_from_question_to_answer(
    make_handler, read_records, make_collection
):
    collection = make_collection(make_handler())

    answer = await collection.ask("Who lives in Kraków?", return_natural_response=True)

    records = await read_records()
    assert kinds(records) == ["request_start", *EVENT * 4, "request_end"]
    assert len(by_request(records)) == 1
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


async def test_the_end_of_an_event_does_not_repeat_its_start(
    make_handler, read_records, make_collection
):
    await make_collection(make_handler()).ask("Who?")

    start_record, end_record = (await read_records())[1:3]
    assert start_record["event_id"] == end_record["event_id"] == 1
    assert start_record["data"]["prompt"][1]["content"].startswith("Question: Who?")
    assert end_record["data"]["response"] == "Decision: true"
    assert end_record["data"].keys() == {
        "response",
        "prompt_tokens",
        "completion_tokens",
        "total_tokens",
    }


async def test_times_are_utc_and_each_elapsed_time_has_its_own_start(make_handler, read_records):
    tracker = await start(make_handler())
    await asyncio.sleep(0.1)
    async with tracker.track_event(LLMEvent("prompt", "Prompt")):
        await asyncio.sleep(0.05)
    await tracker.request_end(result())

    records = await read_records()
    times = [record["time"] for record in records]
    assert times == sorted(times)
    assert all(time.endswith("Z") for time in times)
    assert "elapsed" not in records[0]
    assert "elapsed" not in records[1]
    of_event, of_request = records[2]["elapsed"], records[3]["elapsed"]
    assert 0.05 <= of_event <= of_request - 0.1
    assert of_request < 5


async def test_overlapping_events_are_told_apart(make_handler, read_records):
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


async def test_a_chain_of_fallbacks_is_one_request(make_handler, read_records, make_collection):
    handler = make_handler()
    first = make_collection(handler, name="first", view=UnableView)
    second = make_collection(handler, name="second", view=UnableView)
    third = make_collection(handler, name="third")
    first.set_fallback(second).set_fallback(third)

    await first.ask("Who?")

    records = await read_records()
    assert len(by_request(records)) == 1
    assert kinds(records)[-3:] == ["event_end", "event_end", "request_end"]
    to_second, to_third = (record["data"] for record in of_kind(records, "event_start")[:2])
    assert to_second["triggering_collection_name"] == "first"
    assert to_second["fallback_collection_name"] == "second"
    assert "UnsupportedQueryError" in to_second["error_description"]
    assert to_third["triggering_collection_name"] == "second"
    assert to_third["fallback_collection_name"] == "third"


async def test_an_event_without_an_end_object_ends(make_handler, read_records):
    tracker = await start(make_handler())
    async with tracker.track_event(LLMEvent("prompt", "Prompt")):
        pass

    end = (await read_records())[-1]
    assert end["kind"] == "event_end"
    assert end["data"] is None


# What belongs to which request


async def test_concurrent_requests_are_not_mixed_up(make_handler, read_records, make_collection):
    handler = make_handler()
    asks = []
    for number in range(100):
        name = f"c{number % 20}"
        asks.append(make_collection(handler, name=name).ask(f"question {number} of {name}"))

    await asyncio.gather(*asks)

    requests = by_request(await read_records())
    assert len(requests) == 100
    for records in requests:
        asked = records[0]["data"]
        assert asked["question"].endswith(f"of {asked['collection_name']}")
        assert kinds(records) == ["request_start", *EVENT * 3, "request_end"]
        for record in of_kind(records, "event_start"):
            if record["event"] == "LLMEvent":
                assert asked["question"] in str(record["data"]["prompt"])


async def test_threads_with_a_loop_each_may_share_a_handler(
    make_handler, read_records, make_collection
):
    handler = make_handler()

    async def ask_four_times():
        await asyncio.gather(*(make_collection(handler).ask("Who?") for _ in range(4)))

    with ThreadPoolExecutor(16) as threads:
        for future in [threads.submit(asyncio.run, ask_four_times()) for _ in range(16)]:
            future.result()

    requests = by_request(await read_records())
    assert len(requests) == 64
    assert {records[-1]["kind"] for records in requests} == {"request_end"}


async def test_two_handlers_record_the_same_request_each(
    make_handler, read_records, make_collection
):
    await make_collection(make_handler(), make_handler()).ask("Who?")

    one, other = by_request(await read_records())
    assert kinds(one) == kinds(other)


async def test_two_events_may_be_one_object(make_handler, read_records):
    tracker = await start(make_handler())
    event = CacheEvent("always the same")
    async with tracker.track_event(event), tracker.track_event(event):
        pass

    records = await read_records()
    assert [record["event_id"] for record in records[1:]] == [1, 2, 2, 1]


# What goes wrong with a request


async def test_a_retried_event_has_failed_but_its_request_has_not(
    make_handler, read_records, make_collection
):
    await make_collection(make_handler(), reply=down(times=2)).ask("Who?")

    records = await read_records()
    failed = of_kind(records, "event_failed")
    assert [record["event_id"] for record in failed] == [1, 2]
    assert failed[0]["event"] == "LLMEvent"
    assert failed[0]["error"] == error_of("LLMConnectionError", "Connection error.")
    assert 0 <= failed[0]["elapsed"] < 5
    assert records[-1]["kind"] == "request_end"
    assert of_kind(records, "request_failed") == []


async def test_an_event_has_failed_before_its_caller_knows(make_handler, read_records):
    tracker = await start(make_handler())
    records = []
    try:
        async with tracker.track_event(LLMEvent("prompt", "Prompt")):
            raise RuntimeError("the model is away")
    except RuntimeError:
        records = await read_records()

    assert records[-1]["error"] == error_of("RuntimeError", "the model is away")


async def ask_a_model_that_is_down(make, *handlers):
    await make(*handlers, reply=down()).ask("Who?")


async def ask_without_a_view(make, *handlers):
    await make(*handlers, view=None).ask("Who?")


async def ask_and_get_bad_iql(make, *handlers):
    await make(*handlers, reply=say("no_such_filter()")).ask("Who?")


async def ask_and_get_bad_sql(make, *handlers):
    await make(*handlers, reply=say("is_broken()")).ask("Who?")


async def ask_without_a_fallback(make, *handlers):
    await make(*handlers, view=UnableView).ask("Who?")


async def ask_until_time_is_up(make, *handlers):
    await asyncio.wait_for(make(*handlers, reply=never).ask("Who?"), 0.05)


failures = pytest.mark.parametrize(
    ("ask", "error"),
    [
        pytest.param(ask_a_model_that_is_down, ViewExecutionError, id="model down"),
        pytest.param(ask_without_a_view, ValueError, id="no view"),
        pytest.param(ask_and_get_bad_iql, ViewExecutionError, id="bad IQL"),
        pytest.param(ask_and_get_bad_sql, OperationalError, id="bad SQL"),
        pytest.param(ask_without_a_fallback, UnsupportedQueryError, id="no fallback"),
        pytest.param(ask_until_time_is_up, TimeoutError, id="time is up"),
    ],
)


@failures
async def test_a_failed_request_says_so_and_its_caller_sees_the_error(
    ask, error, make_handler, read_records, make_collection
):
    with pytest.raises(error) as without_handler:
        await ask(make_collection)
    with pytest.raises(error) as with_handler:
        await ask(make_collection, make_handler())

    assert str(with_handler.value) == str(without_handler.value)
    del with_handler  # it holds what db-ally would have dropped
    failed = (await read_records())[-1]
    assert failed["kind"] == "request_failed"
    assert failed["error"] is None


@failures
async def test_recording_tells_why_a_request_failed(
    ask, error, make_handler, read_records, make_collection
):
    with pytest.raises(error) as raised, recording():
        await ask(make_collection, make_handler())

    failed = (await read_records())[-1]
    assert failed["kind"] == "request_failed"
    assert failed["error"]["type"] == error.__name__
    assert failed["error"]["message"] == str(raised.value)


async def test_failed_events_are_not_open_when_their_request_fails(
    make_handler, read_records, make_collection
):
    with pytest.raises(ViewExecutionError):
        await make_collection(make_handler(), reply=down()).ask("Who?")

    records = await read_records()
    assert kinds(records) == [
        "request_start",
        *["event_start", "event_failed"] * 4,
        "request_failed",
    ]
    assert "open_events" not in records[-1]


async def test_an_event_that_goes_on_is_open_when_its_request_fails(make_handler, read_records):
    with pytest.raises(RuntimeError), recording():
        tracker = await start(make_handler())
        span = tracker.track_event(LLMEvent("filters", "Prompt"))
        await span.__aenter__()
        raise RuntimeError("from the aggregation")
    await span.__aexit__(None, None, None)

    *_, failed, ended = await read_records()
    assert failed["error"] == error_of("RuntimeError", "from the aggregation")
    assert failed["open_events"] == [{"event_id": 1, "event": "LLMEvent"}]
    assert ended["kind"] == "event_end"


async def test_a_cancelled_request_has_failed(make_handler, read_records, make_collection):
    task = asyncio.create_task(make_collection(make_handler(), reply=never).ask("Who?"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    del task

    records = await read_records()
    assert of_kind(records, "event_failed")[0]["error"]["type"] == "CancelledError"
    assert records[-1]["kind"] == "request_failed"


async def test_recording_serves_any_number_of_requests_at_once(make_handler, read_records):
    handler = make_handler()

    async def fail(number):
        with recording():
            tracker = await start(handler, question=str(number))
            await asyncio.sleep(0)
            assert tracker
            raise RuntimeError(f"failure of {number}")

    await asyncio.gather(*(fail(number) for number in range(50)), return_exceptions=True)

    requests = by_request(await read_records())
    assert len(requests) == 50
    for started, failed in requests:
        assert failed["error"]["message"] == f"failure of {started['data']['question']}"


# What goes wrong with recording


async def test_a_failing_sink_does_not_reach_the_user(make_broken_handler, make_collection, caplog):
    handler = make_broken_handler()

    for _ in range(3):
        answer = await make_collection(handler).ask("Who?")
        assert answer.results == ROWS[:1]
    with pytest.raises(ViewExecutionError):
        await make_collection(handler, reply=down()).ask("Who?")

    await asyncio.sleep(0)
    gc.collect()
    assert handler.lost_records == 3 * 8 + 10
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert len(caplog.records) < 4


async def test_with_raise_errors_an_unrecorded_request_never_runs(
    make_broken_handler, make_collection, caplog
):
    conversations = []

    async def reply(conversation):
        conversations.append(conversation)
        return await say()(conversation)

    collection = make_collection(make_broken_handler(raise_errors=True), reply=reply)
    with pytest.raises(Exception, match=r"^"):  # the sink decides which one
        await collection.ask("Who?")

    gc.collect()
    assert conversations == []
    assert caplog.records == []


# What can be in a record


async def test_an_event_of_the_application_is_recorded_field_by_field(make_handler, read_records):
    tracker = await start(make_handler())
    event = CacheEvent(key="k")
    event.extra = "of this object alone"
    async with tracker.track_event(event) as span:
        event.hit = True
        span(event)

    started, ended = (await read_records())[1:]
    assert started["event"] == "CacheEvent"
    assert started["data"] == {"key": "k", "extra": "of this object alone"}
    assert ended["data"] == {"hit": True}


async def test_a_list_that_an_event_changes_in_place_is_recorded_again(make_handler, read_records):
    tracker = await start(make_handler())
    event = CacheEvent(key=["asked"])
    async with tracker.track_event(event) as span:
        event.key.append("found")
        span(event)

    assert (await read_records())[-1]["data"] == {"key": ["asked", "found"]}


@dataclasses.dataclass(slots=True)
class SlotsEvent(Event):
    state: str | None

    @property
    def secret(self) -> str:
        raise RuntimeError("nobody may read this")


async def test_a_field_that_cannot_be_read_costs_no_other_field(make_handler, read_records):
    event = SlotsEvent("open")
    vars(event)["secret"] = "hidden behind the property"

    tracker = await start(make_handler())
    async with tracker.track_event(event) as span:
        event.state = None
        span(event)

    started, ended = (await read_records())[1:]
    unreadable = {"secret": "<secret: RuntimeError when read>"}
    assert started["data"] == {"state": "open"} | unreadable
    assert ended["data"] == {"state": None} | unreadable


async def test_an_event_may_lose_a_field_and_end_with_something_else(make_handler, read_records):
    event = SlotsEvent("open")
    no_event = {"not": "an event"}

    tracker = await start(make_handler())
    del event.state
    async with tracker.track_event(event) as span:
        span(no_event)

    started, ended = (await read_records())[1:]
    assert started["data"] == {}
    assert ended["data"] == {}


class Unreadable:
    def __str__(self):
        raise RuntimeError("no")

    @property
    def __class__(self):
        raise RuntimeError("nor this")


class Uncountable(list):
    def __len__(self):
        raise RuntimeError("not counted yet")


class Word(enum.StrEnum):
    YES = "yes"


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        pytest.param(None, None, id="none"),
        pytest.param(True, True, id="bool"),
        pytest.param(2**63 - 1, 2**63 - 1, id="int of 64 bits"),
        pytest.param(2**63, str(2**63), id="int of more than 64 bits"),
        pytest.param(1 << 50_000, "<int: ValueError when read>", id="int too long for Python"),
        pytest.param(0.1, 0.1, id="float"),
        pytest.param(math.nan, "nan", id="nan"),
        pytest.param(-math.inf, "-inf", id="infinity"),
        pytest.param(Decimal("12.50"), 12.5, id="decimal"),
        pytest.param(Decimal("0.1234567890123456789"), "0.1234567890123456789", id="long decimal"),
        pytest.param(b"\x00\xff", "b'\\x00\\xff'", id="bytes"),
        pytest.param(b"x" * 2_000, "<bytes of 2000>", id="many bytes"),
        pytest.param({1}, [1], id="set"),
        pytest.param((1, "a"), [1, "a"], id="tuple"),
        pytest.param({1: "a", None: "b"}, {"1": "a", "None": "b"}, id="mapping"),
        pytest.param(
            {1: "a", "1": "b", "1~1": "c"},
            {"1": "a", "1~1": "b", "1~1~2": "c"},
            id="keys of the same text",
        ),
        pytest.param(datetime.date(2026, 1, 2), "2026-01-02", id="date"),
        pytest.param(
            datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
            "2026-01-02T03:00:00+00:00",
            id="datetime",
        ),
        pytest.param(datetime.timedelta(seconds=90), "0:01:30", id="timedelta"),
        pytest.param("ż \n\r\x1b\u2028\u202e {0} %s", "ż \n\r\x1b\u2028\u202e {0} %s", id="text"),
        pytest.param("Krak\0w \ud83d", "Krak\\u0000w \\ud83d", id="NUL and a lone surrogate"),
        pytest.param(Word.YES, "yes", id="enum of texts"),
        pytest.param(UserString("text"), "text", id="user string"),
        pytest.param(memoryview(b"abcd").cast("B", (2, 2)), "b'abcd'", id="memoryview"),
        pytest.param(memoryview(b"abcdef")[::2], "b'ace'", id="memoryview with gaps"),
        pytest.param(numpy.int64(7), 7, id="numpy int"),
        pytest.param(numpy.float32(0.5), 0.5, id="numpy float"),
        pytest.param(numpy.arange(6).reshape(2, 3), "<ndarray of 2 x 3>", id="numpy array"),
        pytest.param(pandas.Timestamp("2026-01-02"), "2026-01-02T00:00:00", id="pandas timestamp"),
        pytest.param(pandas.NA, "<NA>", id="pandas NA"),
        pytest.param(
            pandas.DataFrame(index=range(600), columns=["n"]),
            "<DataFrame of 600 x 1>",
            id="pandas table",
        ),
        pytest.param(Unreadable(), "<Unreadable: RuntimeError when read>", id="unreadable"),
        pytest.param(Uncountable(), "<Uncountable: RuntimeError when read>", id="uncountable"),
    ],
)
async def test_any_value_is_recorded(value, recorded, make_handler, read_records):
    tracker = await start(make_handler())
    await tracker.request_end(result([{"column": value}]))

    end = (await read_records())[-1]
    assert end["data"]["result"]["results"] == [{"column": recorded}]


async def test_a_result_that_cannot_be_counted_has_an_end_without_rows(make_handler, read_records):
    tracker = await start(make_handler())
    await tracker.request_end(result(Uncountable()))

    end = (await read_records())[-1]
    assert end["kind"] == "request_end"
    assert end["data"]["result"]["results"] == "<Uncountable: RuntimeError when read>"
    assert "rows" not in end["summary"]


@pytest.mark.parametrize("is_inside", [True, False], ids=["in its context", "as its context"])
async def test_a_result_in_a_result_is_a_value_like_any_other(
    is_inside, make_handler, read_records
):
    outer = result([])
    outer.result.context = {"cached": outer.result} if is_inside else outer.result

    tracker = await start(make_handler())
    await tracker.request_end(outer)

    context = (await read_records())[-1]["data"]["result"]["context"]
    assert str(context).count("ExecutionResult(results=[]") == 1


async def test_a_huge_result_is_cut_and_the_record_says_so(make_handler, read_records):
    tracker = await start(make_handler())
    await tracker.request_end(result([{"n": n} for n in range(300_000)], sql="x" * 5_000_000))

    end = (await read_records())[-1]
    rows = end["data"]["result"]["results"]
    assert rows == [{"n": n} for n in range(len(rows))]
    assert 500 < len(rows) < 5_000
    assert end["data"]["result"]["context"]["sql"] == "x" * 100_000
    assert end["cut"] == {"result.context.sql": 5_000_000, "result.results": 300_000}
    assert end["summary"]["rows"] == 300_000


# What is withheld


@pytest.mark.parametrize("switch", FIELDS)
async def test_what_is_switched_off_is_nowhere(switch, make_handler, read_records):
    handler = make_handler(**{switch: False})
    await ask_with_canaries(handler)
    with pytest.raises(RuntimeError):
        await fail_with_canaries(handler)

    log = str(await read_records())
    assert [field for field in FIELDS[switch] if canary(field) in log] == []
    assert "[withheld]" in log
    assert "request_failed" in log
    assert "staff" in log


async def test_what_is_switched_on_is_there(make_handler, read_records):
    handler = make_handler()
    await ask_with_canaries(handler)
    with pytest.raises(RuntimeError):
        await fail_with_canaries(handler)

    log = str(await read_records())
    fields = [*FIELDS["record_inputs"], *FIELDS["record_outputs"]]
    assert [field for field in fields if canary(field) not in log] == []


@dataclasses.dataclass
class NewerLLMEvent(LLMEvent):
    reasoning: str | None = None


@dataclasses.dataclass
class NewerResult(ExecutionResult):
    summary: str | None = None


@pytest.mark.parametrize("switch", FIELDS)
async def test_a_field_that_a_newer_db_ally_adds_needs_both_switches(
    switch, make_handler, read_records
):
    tracker = await start(make_handler(**{switch: False}))
    async with tracker.track_event(NewerLLMEvent("prompt", "Prompt", reasoning="why")):
        pass
    newer = NewerResult(ROWS, {}, 0.25, 0.125, "StaffView", summary="in short")
    await tracker.request_end(RequestEnd(newer))

    event, _, end = (record["data"] for record in (await read_records())[1:])
    assert event["type"] == "Prompt"
    assert event["reasoning"] == "[withheld]"
    assert end["result"]["summary"] == "[withheld]"
    assert end["result"]["execution_time"] == 0.25


def test_every_field_of_db_ally_has_been_looked_at():
    classes = []
    for thing in vars(dbally.audit.events).values():
        if isinstance(thing, type) and dataclasses.is_dataclass(thing) and thing is not Event:
            classes.append(thing)

    assert ExecutionResult in classes
    for db_ally_class in classes:
        names = {field.name for field in dataclasses.fields(db_ally_class)}
        assert privacy.NEEDED_SWITCHES[db_ally_class].keys() == names
