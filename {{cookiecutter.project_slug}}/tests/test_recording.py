"""Proves what `recording` and `unrecorded` do to requests that start inside, and to nothing else.

It goes with blocks.py: delete it if you delete the blocks. Errors are tested in test_errors.py.
"""

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from application import away
from dbally import DbAllyError
from dbally.collection.collection import Collection

from {{ cookiecutter.package_name }} import Record, recording, unrecorded
from {{ cookiecutter.package_name }}.blocks import NO_REQUEST, WRONG_CONTEXT
from {{ cookiecutter.package_name }}.failures import warn_once

MakeCollection = Callable[..., Collection]


@pytest.fixture(autouse=True)
def may_warn_again() -> Iterator[None]:
    """Let blocks warn in each test, although a process is warned only once."""
    warn_once.cache_clear()
    yield
    warn_once.cache_clear()


def labels_by_question(records: list[Record]) -> dict[str, object]:
    """Return the labels of each request that has started, by its question."""
    labels: dict[str, object] = {}
    for record in records:
        if record.kind == "request_start":
            assert record.data is not None
            labels[str(record.data["question"])] = record.labels
    return labels


def sync_dependency() -> Iterator[None]:
    with recording(user="ann"):
        yield


async def test_each_record_of_a_request_has_the_labels_of_all_blocks_around_it(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording(user="ann", tenant=1), recording(user="bob"):
        await make().ask("Who?")

    assert len(records) == 8
    for record in records:
        assert record.labels == {"user": "bob", "tenant": 1}
    assert records[0].as_dict()["labels"] == {"user": "bob", "tenant": 1}
    assert records[-1].summary is not None
    assert records[-1].summary["labels"] == {"user": "bob", "tenant": 1}


async def test_a_request_outside_of_blocks_has_no_labels(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording(user="ann"):
        pass
    await make().ask("Who?")

    assert records[0].labels == {}
    assert "labels" not in records[0].as_dict()


async def test_a_block_hands_back_the_id_of_the_last_request(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording() as outer, recording() as inner:
        assert inner.request_id is None
        await make().ask("Who?")
        assert inner.request_id == outer.request_id == records[0].request_id

        await make().ask("Who else?")
        assert inner.request_id == outer.request_id == records[-1].request_id


async def test_labels_have_a_budget_that_no_question_takes_from(
    make: MakeCollection, records: list[Record]
) -> None:
    labels = {f"label{number}": f"{number}" * 120 for number in range(8)}

    with recording(**labels):
        await make().ask("q" * 2_100)

    assert records[0].labels == labels
    assert records[0].cut is None


async def test_each_cut_of_a_label_and_of_the_question_in_the_summary_is_told(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording(user="ann", note="n" * 5_000):
        await make().ask("q" * 2_100)

    assert records[0].labels["user"] == "ann"
    assert records[0].cut == {"labels.note": 5_000}
    assert records[-1].cut == {"labels.note": 5_000, "question": 2_100}
    for record in records[1:-1]:
        assert record.cut is None


async def test_names_of_labels_are_masked_and_bounded_too(
    make: MakeCollection, records: list[Record]
) -> None:
    collection = make()
    with recording(**{"self": 1, "n" * 5_000: 2, "\ud800": 3}):
        await collection.ask("Who?")

    first, second, third = records[0].labels
    assert first == "self"
    assert second == "n" * 2_000
    assert third == "\\ud800"
    assert records[0].cut == {"labels.(key)": 5_000}


async def test_labels_that_cannot_be_read_cost_no_answer(
    make: MakeCollection, records: list[Record]
) -> None:
    class OddName(str):
        def __str__(self) -> str:
            raise RuntimeError("no name")

    with recording(**{OddName("user"): "ann"}):
        result = await make().ask("Who?")

    assert result.results
    assert records[0].labels == {}


async def test_tasks_and_threads_that_start_in_a_block_take_part(
    make: MakeCollection, records: list[Record]
) -> None:
    def ask_in_thread() -> None:
        asyncio.run(make().ask("a thread"))

    with recording(part=1):
        task = asyncio.create_task(make().ask("a task"))
        await asyncio.to_thread(ask_in_thread)
        await task

    assert labels_by_question(records) == {"a task": {"part": 1}, "a thread": {"part": 1}}


def test_synchronous_code_may_have_a_block(make: MakeCollection, records: list[Record]) -> None:
    with pytest.raises(DbAllyError), recording(way="sync") as block:
        asyncio.run(make(reply=away).ask("Who?"))

    assert records[-1].labels == {"way": "sync"}
    assert records[-1].error is not None
    assert block.request_id == records[-1].request_id


async def test_a_block_may_be_used_again(make: MakeCollection, records: list[Record]) -> None:
    block = recording(user="ann")

    with recording(tenant="acme"), block:
        await make().ask("first")
    await make().ask("between")
    with block:
        await make().ask("second")

    assert labels_by_question(records) == {
        "first": {"tenant": "acme", "user": "ann"},
        "between": {},
        "second": {"user": "ann"},
    }


async def test_a_block_may_be_entered_while_it_is_entered(
    make: MakeCollection, records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    block = recording(user="ann")

    with block:
        with block:
            await make().ask("inside")
        await make().ask("still inside")
    await make().ask("outside")

    assert labels_by_question(records) == {
        "inside": {"user": "ann"},
        "still inside": {"user": "ann"},
        "outside": {},
    }
    assert caplog.messages == []


async def test_a_block_may_be_shared_by_tasks(
    make: MakeCollection, records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    block = recording(app="shop")
    other_is_done = asyncio.Event()

    async def ask_inside() -> None:
        with block:
            await other_is_done.wait()
            await make().ask("inside")

    async def ask_after() -> None:
        with block:
            await asyncio.sleep(0)
        await make().ask("after")
        other_is_done.set()

    await asyncio.gather(ask_inside(), ask_after())

    assert labels_by_question(records) == {"after": {}, "inside": {"app": "shop"}}
    assert caplog.messages == []


@pytest.mark.parametrize("is_left", ["by itself", "by closing it"])
async def test_a_generator_labels_nothing_after_its_block(
    make: MakeCollection, records: list[Record], is_left: str
) -> None:
    generator = sync_dependency()
    next(generator)
    await make().ask("inside")
    if is_left == "by itself":
        next(generator, None)
    else:
        generator.close()  # type: ignore[attr-defined]
    await make().ask("after")

    assert labels_by_question(records) == {"inside": {"user": "ann"}, "after": {}}


async def test_generators_that_are_stepped_in_turn_label_nothing_afterwards_and_one_warning_says_so(
    make: MakeCollection, records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    async def ask_twice(user: str) -> AsyncIterator[None]:
        with recording(user=user):
            await make().ask(f"first of {user}")
            yield
            await make().ask(f"second of {user}")

    generators = [ask_twice("ann"), ask_twice("bob")]
    for generator in generators:
        await anext(generator)
    for generator in generators:
        await anext(generator, None)
    await make().ask("after")

    labels = labels_by_question(records)
    assert labels["first of ann"] == {"user": "ann"}
    assert labels["second of ann"] == {"user": "bob"}  # wrong, which is why there is a warning
    assert labels["second of bob"] == {"user": "bob"}
    assert labels["after"] == {}
    assert caplog.messages == [WRONG_CONTEXT]


async def test_after_generators_with_unrecorded_all_is_recorded_again(
    make: MakeCollection, records: list[Record]
) -> None:
    def unrecorded_generator() -> Iterator[None]:
        with unrecorded():
            yield

    first, second = unrecorded_generator(), unrecorded_generator()
    next(first)
    next(second)
    next(first, None)
    next(second, None)
    await make().ask("after")

    assert labels_by_question(records) == {"after": {}}


async def test_a_task_that_outlives_a_block_is_not_labelled_any_more(
    make: MakeCollection, records: list[Record]
) -> None:
    block_is_over = asyncio.Event()

    async def ask_later() -> None:
        await block_is_over.wait()
        await make().ask("later")

    with recording(tenant="acme"):
        task = asyncio.create_task(ask_later())
        await asyncio.sleep(0)
    block_is_over.set()
    await task

    assert labels_by_question(records) == {"later": {}}


async def test_a_copy_of_a_context_that_outlives_unrecorded_is_recorded(
    make: MakeCollection, records: list[Record]
) -> None:
    with unrecorded():
        context = contextvars.copy_context()

    await asyncio.create_task(make().ask("Who?"), context=context)

    assert labels_by_question(records) == {"Who?": {}}


async def test_a_block_that_is_left_in_another_context_warns_once_and_breaks_no_answer(
    make: MakeCollection, records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        dependency = sync_dependency()
        await asyncio.to_thread(next, dependency)  # as web frameworks do with sync dependencies
        result = await make().ask("Who?")
        await asyncio.to_thread(next, dependency, None)
        assert result.results

    assert caplog.messages == [WRONG_CONTEXT]
    assert "declare that `async def`" in WRONG_CONTEXT
    assert labels_by_question(records) == {"Who?": {}}


async def test_a_block_that_is_left_in_another_context_lets_the_exception_through() -> None:
    dependency = sync_dependency()
    await asyncio.to_thread(next, dependency)

    with pytest.raises(KeyError):
        await asyncio.to_thread(dependency.throw, KeyError())  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["run_in_executor", "submit"])
async def test_a_failed_ask_in_a_thread_that_a_block_does_not_reach_is_warned_of(
    make: MakeCollection, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    def ask_in_thread() -> None:
        asyncio.run(make(reply=away).ask("Who?"))

    with (
        pytest.raises(DbAllyError),
        ThreadPoolExecutor() as executor,
        recording(user="ann") as block,
    ):
        if way == "run_in_executor":
            await asyncio.get_running_loop().run_in_executor(executor, ask_in_thread)
        else:
            executor.submit(ask_in_thread).result()

    assert block.request_id is None
    assert caplog.messages == [NO_REQUEST]


async def test_a_block_that_works_or_is_not_needed_does_not_warn(
    make: MakeCollection, caplog: pytest.LogCaptureFixture
) -> None:
    with recording():
        pass
    with unrecorded(), recording(), recording():
        await make().ask("Who?")
    with contextlib.suppress(DbAllyError), recording(), unrecorded():
        await make(reply=away).ask("Who?")
    with contextlib.suppress(KeyError), recording():
        raise KeyError

    assert caplog.messages == []


async def test_an_asynchronous_dependency_works(
    make: MakeCollection, records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    @contextlib.asynccontextmanager
    async def dependency() -> AsyncIterator[None]:
        with recording(user="ann"):
            yield

    async with dependency():
        await make().ask("Who?")

    assert labels_by_question(records) == {"Who?": {"user": "ann"}}
    assert caplog.messages == []


async def test_nothing_is_recorded_inside_of_unrecorded(
    make: MakeCollection, records: list[Record]
) -> None:
    with recording() as around, unrecorded(), recording():
        await make().ask("Who?")
    with contextlib.suppress(DbAllyError), unrecorded():
        await make(reply=away).ask("Who?")
    gc.collect()

    assert records == []
    assert around.request_id is None


async def test_after_unrecorded_all_is_recorded_again(
    make: MakeCollection, records: list[Record]
) -> None:
    with unrecorded():
        await make().ask("inside")
    await make().ask("after")

    assert labels_by_question(records) == {"after": {}}
    assert len(records) == 8
