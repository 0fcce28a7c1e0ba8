"""`recording` and `unrecorded`: labels, exact errors, and no effect on what they are put around."""

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import AsyncIterator, Callable, Generator, Iterator

import pytest
from application import away
from dbally.collection.collection import Collection

from {{ cookiecutter.package_name }} import blocks
from {{ cookiecutter.package_name }}.blocks import recording, unrecorded
from {{ cookiecutter.package_name }}.records import Record

MakeCollection = Callable[..., Collection]


async def test_labels_are_those_of_all_blocks_around_and_the_id_is_handed_back(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording(user="ann", tenant=1) as outer, recording(user="bob") as inner:
        await make().ask("Who?")
    await make().ask("Who else?")

    assert {str(record.labels) for record in records[:8]} == {"{'user': 'bob', 'tenant': 1}"}
    assert outer.request_id == inner.request_id == records[0].request_id
    assert (
        records[0].as_dict()["labels"] == (records[7].summary or {})["labels"] == records[0].labels
    )
    assert records[8].labels == {}
    assert recording().request_id is None


async def test_the_error_is_recorded_before_the_block_is_left_with_the_very_exception(
    make: MakeCollection, records: list[Record]
) -> None:
    error = None
    try:
        with recording():
            await make(reply=away).ask("Who?")
    except Exception as raised:
        error = raised
        assert records[-1].kind == "request_failed"

    assert records[-1].error
    assert records[-1].error["message"] == str(error)
    assert records[-1].error["causes"] == [
        {"type": "ConnectionError", "message": "the model is away"}
    ]


async def test_tasks_and_threads_that_start_in_a_block_take_part(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording(part=1):
        await asyncio.gather(
            make().ask("a task"), asyncio.to_thread(lambda: asyncio.run(make().ask("a thread")))
        )

    assert {str(record.labels) for record in records} == {"{'part': 1}"}
    assert len({record.request_id for record in records}) == 2


def test_synchronous_code_may_have_a_block(make: MakeCollection, records: list[Record]) -> None:
    with pytest.raises(Exception, match="Error while"), recording(way="sync"):
        asyncio.run(make(reply=away).ask("Who?"))

    assert records[-1].error
    assert records[-1].labels == {"way": "sync"}


async def test_a_block_may_be_used_again_elsewhere(
    make: MakeCollection, records: list[Record]
) -> None:
    block = recording(user="ann")
    for around in (unrecorded(), recording(tenant="acme"), contextlib.nullcontext()):
        with around, block:
            await make().ask("Who?")

    labels = [record.labels for record in records if record.kind == "request_start"]
    assert labels == [{"tenant": "acme", "user": "ann"}, {"user": "ann"}]


def dependency() -> Generator[None, None, None]:
    with recording(user="ann"):
        yield


@pytest.fixture
def may_warn_again() -> Iterator[None]:
    """Let a block warn, though a process is warned once."""
    blocks._warn_of_other_context.cache_clear()
    yield
    blocks._warn_of_other_context.cache_clear()


@pytest.mark.usefixtures("may_warn_again")
async def test_where_it_could_have_no_effect_it_warns_once_and_breaks_no_answer(
    make: MakeCollection, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        generator = dependency()
        await asyncio.to_thread(
            next, generator
        )  # as a web framework enters a synchronous dependency
        await make().ask("Who?")
        assert caplog.messages[1:] == []
        await asyncio.to_thread(list, generator)

    assert len(caplog.messages) == 1
    assert "make that an async function" in caplog.messages[0]

    with pytest.raises(KeyError):  # the application's exception goes on
        failing = dependency()
        await asyncio.to_thread(next, failing)
        await asyncio.to_thread(failing.throw, KeyError())


@pytest.mark.usefixtures("may_warn_again")
async def test_a_block_that_had_an_effect_or_needed_none_does_not_warn(
    make: MakeCollection, caplog: pytest.LogCaptureFixture
) -> None:
    with recording():
        pass
    with unrecorded(), recording(), recording():
        await make().ask("Who?")

    assert caplog.messages == []


async def test_a_block_that_is_over_has_no_part_in_later_requests(
    make: MakeCollection, records: list[Record]
) -> None:
    is_over = asyncio.Event()

    async def ask_later() -> None:
        await is_over.wait()
        await make().ask("later")

    with recording(tenant="acme"):
        task = asyncio.create_task(ask_later())
        await asyncio.sleep(0)
    is_over.set()
    await task
    assert records[0].labels == {}

    with unrecorded():
        context = contextvars.copy_context()
    await asyncio.create_task(make().ask("recorded"), context=context)

    generator = dependency()
    next(generator)
    await asyncio.to_thread(lambda: next(generator, None))  # it is left in a copy of this context
    await make().ask("after a generator")
    assert len(records) == 24
    assert {str(record.labels) for record in records} == {"{}"}


async def test_a_block_may_be_entered_while_it_is_entered(
    make: MakeCollection, records: list[Record]
) -> None:
    block = recording(user="ann")
    with block:
        with block:
            await make().ask("Who?")
        await make().ask("And who?")
    await make().ask("Who else?")

    assert [record.labels for record in records if record.kind == "request_start"] == [
        {"user": "ann"},
        {"user": "ann"},
        {},
    ]


async def test_a_block_may_be_shared_by_tasks(make: MakeCollection, records: list[Record]) -> None:
    block, is_left = recording(app="shop"), asyncio.Event()

    async def ask_inside() -> None:
        with block:
            await is_left.wait()
            await make().ask("inside")

    async def ask_after() -> None:
        with block:
            await asyncio.sleep(0)
        await make().ask("after")
        is_left.set()

    await asyncio.gather(ask_inside(), ask_after())

    starts = [record for record in records if record.kind == "request_start"]
    assert [(record.data or {})["question"] for record in starts] == ["after", "inside"]
    assert [record.labels for record in starts] == [{}, {"app": "shop"}]


async def test_a_block_that_fails_while_it_records_raises_the_exception_of_the_application(
    make: MakeCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("of our own")

    monkeypatch.setattr(blocks, "error_of_ask", fail)
    with pytest.raises(Exception, match="Error while executing view"), recording():
        await make(reply=away).ask("Who?")


async def test_no_question_takes_from_the_labels(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording(user="ann", note="n" * 1_900):
        await make().ask("q" * 100_000)

    assert records[0].labels == {"user": "ann", "note": "n" * 1_900}


async def test_where_it_had_an_effect_it_may_be_left_in_another_context(
    make: MakeCollection, records: list[Record]
) -> None:
    block, context = recording(user="ann"), contextvars.copy_context()
    context.run(block.__enter__)
    await asyncio.create_task(make().ask("Who?"), context=context)
    block.__exit__(None, None, None)

    assert records[0].labels == {"user": "ann"}


async def test_an_asynchronous_dependency_works(
    make: MakeCollection, records: list[Record]
) -> None:
    @contextlib.asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        with recording(user="ann"):
            yield

    async with dependency():
        await make().ask("Who?")

    assert {str(record.labels) for record in records} == {"{'user': 'ann'}"}


async def test_nothing_is_recorded_inside_of_unrecorded(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording() as around, unrecorded(), recording():
        await make().ask("Who?")
    with contextlib.suppress(Exception), unrecorded():
        await make(reply=away).ask("Who?")
    gc.collect()
    assert (records, around.request_id) == ([], None)

    await make().ask("Who?")
    assert len(records) == 8
