"""Proves that each failure is recorded with its own error, and with all that led to it.

It goes with failures.py, which says what all this rests on. Keep it for as long as you use db-ally.
"""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import dbally
import pytest
from application import StaffView, UnableView, away, into, say
from dbally import decorators
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from dbally.collection.collection import Collection
from dbally.iql_generator.iql_generator import IQLGeneratorState
from dbally.views.exceptions import ViewExecutionError
from files import posix_only

from {{ cookiecutter.package_name }} import METADATA, Record, Recorder, declare, recording
from {{ cookiecutter.package_name }} import blocks as blocks_module

MakeCollection = Callable[..., Collection]


async def slow(conversation: str) -> str:
    await asyncio.sleep(0.05)
    return await say()(conversation)


def errors_by_question(records: list[Record]) -> dict[str, Any]:
    """Return the error of each request that has failed, by its question."""
    errors = {}
    for record in records:
        if record.kind == "request_failed":
            assert record.summary is not None
            errors[str(record.summary["question"])] = record.error
    return errors


async def start_request(records: list[Record], question: str = "Who?") -> EventTracker:
    """Start a request with db-ally's own tracker, without an `ask`."""
    tracker = EventTracker.initialize_with_handlers([into(records)])
    await tracker.request_start(RequestStart("staff", question))
    return tracker


async def record_error(error: BaseException, records: list[Record]) -> Any:
    """Raise an exception in a request, and return what is recorded of it."""
    tracker = None
    with contextlib.suppress(type(error)), recording():
        tracker = await start_request(records)
        raise error

    assert tracker is not None
    return records[-1].error


async def test_the_error_is_recorded_when_the_exception_leaves_the_block(
    make: MakeCollection, records: list[Record]
) -> None:
    try:
        with recording():
            await make(reply=away).ask("Who?")
    except dbally.DbAllyError as error:
        assert records[-1].kind == "request_failed"
        message = str(error)

    assert records[-1].error == {
        "type": "ViewExecutionError",
        "message": message,
        "causes": [{"type": "ConnectionError", "message": "the model is away"}],
    }


async def test_if_time_is_up_that_is_the_error_and_the_cancellation_its_cause(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(TimeoutError), recording():
        async with asyncio.timeout(0.02):
            await make(reply=slow).ask("Who?")

    error = errors_by_question(records)["Who?"]
    assert error["type"] == "TimeoutError"
    assert "CancelledError" in [cause["type"] for cause in error["causes"]]


async def test_a_request_that_goes_on_after_the_block_is_not_blamed(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(RuntimeError, match="of the application"), recording():
        task = asyncio.create_task(make(reply=slow).ask("goes on"))
        await asyncio.sleep(0.01)
        raise RuntimeError("of the application")
    await task

    assert [record.kind for record in records].count("request_end") == 1
    assert errors_by_question(records) == {}


async def test_of_two_requests_in_a_task_group_each_has_its_own_error(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(ExceptionGroup), recording():
        async with asyncio.TaskGroup() as group:
            group.create_task(make(view=None).ask("of no view"))
            group.create_task(make(view=UnableView).ask("of a view that is not able to"))

    errors = errors_by_question(records)
    assert errors["of no view"]["type"] == "ValueError"
    assert errors["of a view that is not able to"]["type"] == "UnsupportedQueryError"


async def test_the_error_is_what_left_the_ask_also_if_the_application_hides_it(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(RuntimeError), recording():
        try:
            await make(view=None).ask("Who?")
        except ValueError:
            raise RuntimeError("of the application") from None

    assert errors_by_question(records)["Who?"]["type"] == "ValueError"


async def test_the_error_is_what_left_the_ask_also_if_the_application_translates_it(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(KeyError), recording():
        try:
            await make(view=None).ask("Who?")
        except ValueError as error:
            raise KeyError("of the application") from error

    assert errors_by_question(records)["Who?"]["type"] == "ValueError"


async def test_the_error_is_what_left_the_ask_also_if_the_application_goes_on_with_its_cause(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(KeyError), recording():
        try:
            await make(reply=away).ask("Who?")
        except dbally.DbAllyError as error:
            raise KeyError("of the application") from error.__cause__

    assert errors_by_question(records)["Who?"]["type"] == "ViewExecutionError"


async def test_a_view_execution_error_without_its_usual_state_is_recorded(
    records: list[Record],
) -> None:
    without_state: Any = None

    recorded = await record_error(ViewExecutionError("StaffView", without_state), records)

    assert recorded["message"] == "Error while executing view StaffView"


async def test_of_two_asks_in_turn_each_has_its_own_error(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(dbally.DbAllyError), recording():
        try:
            await make(reply=away).ask("first")
        except dbally.DbAllyError:
            await make(reply=say("UNSUPPORTED QUERY")).ask("second")

    errors = errors_by_question(records)
    assert errors["first"]["causes"] == [
        {"type": "ConnectionError", "message": "the model is away"}
    ]
    assert errors["second"]["causes"][0]["type"] == "UnsupportedQueryError"


async def test_an_ask_inside_of_another_has_its_error_and_so_has_the_other(
    make: MakeCollection, records: list[Record], engine: Any
) -> None:
    inner = make(name="inner", reply=away)

    class NestedView(StaffView):
        """Names and cities."""

        @decorators.view_filter()
        async def lives_in(self, city: str) -> Any:
            return await inner.ask("the inner one")

    outer = make(name="outer", view=None)
    outer.add(NestedView, lambda: NestedView(engine))
    with pytest.raises(dbally.DbAllyError), recording():
        await outer.ask("the outer one")

    errors = errors_by_question(records)
    assert "ConnectionError" in str(errors["the inner one"])
    assert "ConnectionError" in str(errors["the outer one"])


async def test_without_an_ask_the_error_is_that_of_the_only_open_request(
    records: list[Record],
) -> None:
    recorded = await record_error(KeyError("its own"), records)

    assert recorded["type"] == "KeyError"


async def test_without_an_ask_none_of_several_open_requests_is_blamed(
    records: list[Record],
) -> None:
    trackers = []
    with pytest.raises(KeyError), recording():
        trackers.append(await start_request(records))
        trackers.append(await start_request(records))
        raise KeyError("whose?")

    assert [record.kind for record in records] == ["request_start", "request_start"]


async def test_a_failure_to_record_an_error_does_not_hide_the_exception(
    make: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("while recording")

    monkeypatch.setattr(blocks_module, "error_of_ask", fail)

    with pytest.raises(dbally.DbAllyError, match="Error while executing view"), recording():
        await make(reply=away).ask("Who?")


async def test_an_exception_that_is_raised_twice_is_recorded_once_for_each_request(
    records: list[Record],
) -> None:
    error = ConnectionError("always the same object")

    async def ask() -> None:
        with recording():
            tracker = await start_request(records)
            async with tracker.track_event(LLMEvent("prompt", "Prompt")):
                raise error

    with pytest.raises(ConnectionError):
        try:
            await ask()
        except ConnectionError:
            await ask()

    recorded = {"type": "ConnectionError", "message": "always the same object", "causes": []}
    failures = [record for record in records if record.kind.endswith("_failed")]
    assert [record.kind for record in failures] == ["event_failed", "request_failed"] * 2
    for record in failures:
        assert record.error == recorded


async def test_what_an_event_got_before_it_failed_is_recorded_with_its_error(
    records: list[Record],
) -> None:
    class NamedCall(LLMEvent):
        pass

    declare(NamedCall, model=METADATA)
    tracker = await start_request(records)
    event: Any = NamedCall("prompt", "Prompt")
    with pytest.raises(KeyError):
        async with tracker.track_event(event):
            event.model = "gpt-4o-mini"
            raise KeyError

    assert records[-1].kind == "event_failed"
    assert records[-1].data == {"model": "gpt-4o-mini"}
    assert records[-1].as_dict()["data"] == {"model": "gpt-4o-mini"}


async def test_a_list_in_a_tuple_that_has_changed_is_recorded_at_the_end(
    records: list[Record],
) -> None:
    tracker = await start_request(records)
    event: Any = LLMEvent("prompt", "Prompt")
    event.hits = (["first"],)
    async with tracker.track_event(event) as span:
        event.hits[0].append("second")
        span(event)

    assert records[-1].data == {"hits": [["first", "second"]]}


async def test_an_event_that_fails_as_it_started_repeats_nothing(records: list[Record]) -> None:
    tracker = await start_request(records)
    with pytest.raises(KeyError):
        async with tracker.track_event(LLMEvent("prompt", "Prompt")):
            raise KeyError

    assert records[-1].data is None
    assert "data" not in records[-1].as_dict()


async def test_notes_are_part_of_the_message(records: list[Record]) -> None:
    error = ValueError("no")
    error.add_note("It was the third attempt.")
    error.add_note("Nobody knows why.")
    error.__cause__ = KeyError()
    error.__cause__.add_note("only a note")

    assert await record_error(error, records) == {
        "type": "ValueError",
        "message": "no\nIt was the third attempt.\nNobody knows why.",
        "causes": [{"type": "KeyError", "message": "only a note"}],
    }


async def test_notes_that_cannot_be_read_do_not_cost_the_message(records: list[Record]) -> None:
    error: Any = ValueError("no")
    error.__notes__ = 7

    assert await record_error(error, records) == {
        "type": "ValueError",
        "message": "no",
        "causes": [],
    }


async def test_the_reason_that_db_ally_puts_in_the_place_of_a_result_comes_first(
    records: list[Record],
) -> None:
    iql = IQLGeneratorState(filters=OSError("filters"), aggregation=OSError("aggregation"))
    error = ViewExecutionError("StaffView", iql)
    error.__cause__ = OSError("cause")

    recorded = await record_error(error, records)

    messages = [cause["message"] for cause in recorded["causes"]]
    assert messages == ["filters", "aggregation", "cause"]


async def test_a_chain_of_errors_that_leads_back_to_itself_ends(records: list[Record]) -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first

    recorded = await record_error(first, records)

    assert [cause["type"] for cause in recorded["causes"]] == ["KeyError"]


async def test_an_event_that_the_garbage_collector_finds_is_not_blamed_on_another_exception(
    records: list[Record],
) -> None:
    tracker = await start_request(records)
    span: Any = tracker.track_event(LLMEvent("prompt", "Prompt"))
    await span.__aenter__()
    span.itself = span
    del span

    try:
        raise ValueError("of another")
    except ValueError:
        gc.collect()
    assert "event_failed" not in [record.kind for record in records]

    del tracker
    for _ in range(3):  # asyncio closes the generator first
        await asyncio.sleep(0)
        gc.collect()
    assert records[-1].kind == "request_failed"
    assert records[-1].open_events == [{"event_id": 1, "event": "LLMEvent"}]


async def test_an_event_whose_start_another_handler_broke_is_not_blamed_on_an_unrelated_error(
    records: list[Record],
) -> None:
    class BrokenHandler(Recorder):
        async def event_start(self, event: Any, request_context: Any) -> Any:
            raise RuntimeError("of another handler")

    async def start_event() -> None:
        tracker = EventTracker.initialize_with_handlers(
            [into(records), BrokenHandler(lambda record: None)]
        )
        await tracker.request_start(RequestStart("staff", "Who?"))
        with contextlib.suppress(RuntimeError):
            async with tracker.track_event(LLMEvent("p", "P")):
                pass

    try:
        raise LookupError("which is handled meanwhile")
    except LookupError:
        await start_event()

    assert "event_failed" not in [record.kind for record in records]


async def test_a_failure_that_is_noticed_in_another_task_has_the_labels_of_its_own(
    make: MakeCollection, records: list[Record]
) -> None:
    async def ask_as_bob() -> object:
        with recording(tenant="bob"):
            (error,) = await asyncio.gather(make(reply=away).ask("Who?"), return_exceptions=True)
        return error

    kept_errors = [await asyncio.create_task(ask_as_bob())]
    assert errors_by_question(records) == {}

    with recording(tenant="eve"):
        kept_errors.clear()  # nothing else kept the failed request alive
        await asyncio.sleep(0)
        gc.collect()

    assert records[-1].kind == "request_failed"
    assert records[-1].labels == {"tenant": "bob"}


@posix_only
def test_a_time_limit_by_a_signal_is_the_error_if_the_block_is_in_the_coroutine(
    make: MakeCollection, records: list[Record]
) -> None:
    class TimeLimit(Exception): ...

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise TimeLimit

    async def busy(conversation: str) -> str:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while True:
            pass

    async def ask() -> None:
        with recording():
            await make(reply=busy).ask("Who?")

    handler_before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        with contextlib.suppress(Exception):
            asyncio.run(ask())
    finally:
        signal.signal(signal.SIGALRM, handler_before)

    assert "TimeLimit" in str(errors_by_question(records)["Who?"])
