"""`recording` and `unrecorded`: labels, exact errors, and no effect on what they are put around."""

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from application import StaffView, away
from dbally.collection.collection import Collection

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
    assert records[0].as_dict()["labels"] == (records[7].summary or {})["labels"] == records[0].labels
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
    assert records[-1].error["causes"] == [{"type": "ConnectionError", "message": "the model is away"}]


async def test_tasks_and_threads_that_start_in_a_block_take_part(make: MakeCollection, records: list[Record]) -> None:
    with recording(part=1):
        await asyncio.gather(make().ask("a task"), asyncio.to_thread(lambda: asyncio.run(make().ask("a thread"))))

    assert {str(record.labels) for record in records} == {"{'part': 1}"}
    assert len({record.request_id for record in records}) == 2


def test_synchronous_code_may_have_a_block(make: MakeCollection, records: list[Record]) -> None:
    with pytest.raises(Exception, match="Error while"), recording(way="sync"):
        asyncio.run(make(reply=away).ask("Who?"))

    assert records[-1].error
    assert records[-1].labels == {"way": "sync"}


async def test_it_decorates_coroutine_functions_and_methods(make: MakeCollection, records: list[Record]) -> None:
    class Service:
        @recording(way="method")
        async def ask(self, question: str) -> int:
            """Say how many there are."""
            return len((await make().ask(question)).results)

    assert [*await asyncio.gather(Service().ask("Who?"), Service().ask("Who else?"))] == [1, 1]
    assert Service.ask.__doc__ == "Say how many there are."
    assert {str(record.labels) for record in records} == {"{'way': 'method'}"}


def a_function() -> None: ...


def a_generator() -> Iterator[None]:
    yield


async def an_async_generator() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("function", [a_function, a_generator, an_async_generator, StaffView])
@pytest.mark.parametrize("block", [recording, unrecorded])
def test_it_decorates_nothing_else(block: Any, function: Any) -> None:
    with pytest.raises(TypeError, match=rf"is no coroutine function.*`with {block.__name__}\(\):` inside"):
        block()(function)
    with pytest.raises(TypeError):
        block(function)


def test_it_is_entered_once_at_a_time() -> None:
    block = recording()
    with block, pytest.raises(TypeError, match=r"^this recording\(\) is entered already"), block:
        pass
    with block:
        pass


async def test_a_block_may_be_used_again_elsewhere(make: MakeCollection, records: list[Record]) -> None:
    block = recording(user="ann")
    for around in (unrecorded(), recording(tenant="acme"), contextlib.nullcontext()):
        with around, block:
            await make().ask("Who?")

    labels = [record.labels for record in records if record.kind == "request_start"]
    assert labels == [{"tenant": "acme", "user": "ann"}, {"user": "ann"}]


async def test_where_it_could_have_no_effect_it_says_so(make: MakeCollection) -> None:
    def dependency() -> Generator[None, None, None]:
        with recording(user="ann"):
            yield

    generator = dependency()
    await asyncio.to_thread(next, generator)  # as a web framework enters a synchronous dependency
    await make().ask("Who?")
    with pytest.raises(TypeError, match=r"^recording\(\) was entered in another context and had no effect"):
        await asyncio.to_thread(lambda: next(generator, None))

    with pytest.raises(KeyError):  # no effect on an exception that goes on
        failing = dependency()
        await asyncio.to_thread(next, failing)
        await asyncio.to_thread(failing.throw, KeyError())


async def test_where_it_had_an_effect_it_may_be_left_in_another_context(
    make: MakeCollection, records: list[Record]
) -> None:
    block, context = recording(user="ann"), contextvars.copy_context()
    context.run(block.__enter__)
    await asyncio.create_task(make().ask("Who?"), context=context)
    block.__exit__(None, None, None)

    assert records[0].labels == {"user": "ann"}


async def test_an_asynchronous_dependency_works(make: MakeCollection, records: list[Record]) -> None:
    @contextlib.asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        with recording(user="ann"):
            yield

    async with dependency():
        await make().ask("Who?")

    assert {str(record.labels) for record in records} == {"{'user': 'ann'}"}


async def test_nothing_is_recorded_inside_of_unrecorded(make: MakeCollection, records: list[Record]) -> None:
    @unrecorded()
    async def ask() -> None:
        await make().ask("Who?")

    with recording() as around, unrecorded(), recording():
        await make().ask("Who?")
    with contextlib.suppress(Exception), unrecorded():
        await make(reply=away).ask("Who?")
    await ask()
    gc.collect()
    assert (records, around.request_id) == ([], None)

    await make().ask("Who?")
    assert len(records) == 8
