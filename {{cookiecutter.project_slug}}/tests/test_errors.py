"""The error of a request is its own: what ended it, whoever else fails at the same time."""

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any

import dbally
import pytest
from application import StaffView, away, into, say
from dbally import decorators
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from dbally.collection.collection import Collection

from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.records import Record

MakeCollection = Callable[..., Collection]


async def slow(conversation: str) -> str:
    await asyncio.sleep(0.05)
    return await say()(conversation)


def last_errors(records: list[Record]) -> dict[str, str | None]:
    """Return the type of each failed request's error, by its question."""
    failed = [record for record in records if record.kind == "request_failed"]
    return {
        str((record.summary or {})["question"]): str(record.error["type"]) if record.error else None
        for record in failed
    }


async def test_a_time_limit_is_the_error_and_what_it_cancelled_the_cause(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(TimeoutError), recording():
        async with asyncio.timeout(0.02):
            await make(reply=slow).ask("Who?")

    assert last_errors(records) == {"Who?": "TimeoutError"}
    assert records[-1].error
    assert "CancelledError" in str(records[-1].error["causes"])


async def test_each_request_has_the_error_that_ended_it_and_what_goes_on_has_none(
    make: MakeCollection, records: list[Record]
) -> None:
    with pytest.raises(RuntimeError, match="of the application"), recording():
        other = asyncio.create_task(make(reply=slow).ask("goes on"))
        await asyncio.sleep(0.01)
        raise RuntimeError("of the application")
    await other
    assert [record.kind for record in records].count("request_end") == 1

    with pytest.raises(ExceptionGroup), recording():
        async with asyncio.TaskGroup() as group:
            group.create_task(make(view=None).ask("of no view"))
            group.create_task(make(reply=away).ask("of no model"))
    assert last_errors(records)["of no view"] == "ValueError"

    with pytest.raises(RuntimeError), recording():
        try:
            await make(view=None).ask("suppressed")
        except ValueError:
            raise RuntimeError("of the application") from None
    assert last_errors(records)["suppressed"] == "ValueError"

    with pytest.raises(KeyError), recording():
        try:
            await make(view=None).ask("translated")
        except ValueError as error:
            raise KeyError("of the application") from error
    assert last_errors(records)["translated"] == "ValueError"


async def test_of_several_requests_without_an_ask_that_are_open_none_is_blamed(
    records: list[Record],
) -> None:
    trackers = [EventTracker.initialize_with_handlers([into(records)]) for _ in range(2)]
    with pytest.raises(KeyError), recording():
        for tracker in trackers:
            await tracker.request_start(RequestStart("staff", "Who?"))
        raise KeyError("whose?")
    assert [record.kind for record in records] == ["request_start"] * 2

    with pytest.raises(KeyError), recording():
        tracker = EventTracker.initialize_with_handlers([into(records)])
        await tracker.request_start(RequestStart("staff", "And who?"))
        raise KeyError("its own")
    assert last_errors(records) == {"And who?": "KeyError"}


async def test_an_ask_inside_a_filter_of_another_has_its_error_and_so_has_the_other(
    make: MakeCollection, records: list[Record], engine: Any
) -> None:
    inner = make(name="inner", reply=away)

    class Nested(StaffView):
        """Names and cities."""

        @decorators.view_filter()
        async def lives_in(self, city: str) -> Any:
            return await inner.ask("the inner one")

    outer = make(name="outer", view=None)
    outer.add(Nested, lambda: Nested(engine))
    with pytest.raises(dbally.DbAllyError), recording(user="ann"):
        await outer.ask("the outer one")

    errors = {
        (record.summary or {})["question"]: record.error
        for record in records
        if record.kind == "request_failed"
    }
    assert errors.keys() == {"the inner one", "the outer one"}
    assert all("ConnectionError" in str(error) for error in errors.values())


async def test_an_exception_that_did_not_unwind_an_event_is_not_blamed_on_it(
    records: list[Record],
) -> None:
    tracker = EventTracker.initialize_with_handlers([into(records)])
    await tracker.request_start(RequestStart("staff", "Who?"))
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
    assert records[-1].open_events == [{"event_id": 1, "event": "LLMEvent"}]


async def test_a_failure_that_ends_in_the_task_of_another_tenant_has_the_labels_of_its_own(
    make: MakeCollection, records: list[Record]
) -> None:
    async def ask_as_bob() -> object:
        with recording(tenant="bob"):
            (error,) = await asyncio.gather(make(reply=away).ask("Who?"), return_exceptions=True)
        return error

    kept = [await asyncio.create_task(ask_as_bob())]  # its request is over when this lets go of it
    assert [record.kind for record in records].count("request_failed") == 0
    with recording(tenant="eve"):
        kept.clear()
        await asyncio.sleep(0)
        gc.collect()
    failed = records[-1]

    assert (failed.kind, failed.labels) == ("request_failed", {"tenant": "bob"})
    assert failed.summary
    assert failed.summary["labels"] == {"tenant": "bob"}


async def test_each_of_two_asks_has_its_own_error_and_the_causes_that_python_knows(
    make: MakeCollection, records: list[Record]
) -> None:
    async def ask_twice() -> None:
        try:
            await make(reply=away).ask("first")
        except dbally.DbAllyError:
            await make(reply=say("UNSUPPORTED QUERY")).ask("second")

    with pytest.raises(dbally.DbAllyError), recording():
        await ask_twice()

    errors = {str(each.summary["question"]): str(each.error) for each in records if each.summary}
    assert errors.keys() == {"first", "second"}
    assert "UnsupportedQueryError" in errors["second"]
    assert "ConnectionError" in errors["second"]  # it was raised while that one was handled
    assert "ConnectionError" in errors["first"]
    assert "UnsupportedQueryError" not in errors["first"]


async def test_an_exception_that_is_raised_again_while_it_is_handled_is_recorded(
    records: list[Record],
) -> None:
    error = LookupError("of the application")
    try:
        raise error
    except LookupError:
        with pytest.raises(LookupError), recording():
            tracker = EventTracker.initialize_with_handlers([into(records)])
            await tracker.request_start(RequestStart("staff", "Who?"))
            async with tracker.track_event(LLMEvent("prompt", "Prompt")):
                raise error from None

    expected = {"type": "LookupError", "message": "of the application", "causes": []}
    assert [record.error for record in records if record.kind.endswith("_failed")] == [
        expected,
        expected,
    ]


async def test_notes_of_an_exception_are_part_of_its_message(records: list[Record]) -> None:
    error = ValueError("no")
    error.add_note("It was the third attempt.")
    error.add_note("Nobody knows why.")
    error.__cause__ = KeyError()
    error.__cause__.add_note("only a note")
    with pytest.raises(ValueError, match="no"), recording():
        tracker = EventTracker.initialize_with_handlers([into(records)])
        await tracker.request_start(RequestStart("staff", "Who?"))
        raise error

    assert records[-1].error == {
        "type": "ValueError",
        "message": "no\nIt was the third attempt.\nNobody knows why.",
        "causes": [{"type": "KeyError", "message": "only a note"}],
    }


async def test_notes_that_are_odd_cost_no_message(records: list[Record]) -> None:
    error: Any = ValueError("no")
    error.__notes__ = 7
    with contextlib.suppress(ValueError), recording():
        tracker = EventTracker.initialize_with_handlers([into(records)])
        await tracker.request_start(RequestStart("staff", "Who?"))
        raise error

    assert records[-1].error == {"type": "ValueError", "message": "no", "causes": []}
