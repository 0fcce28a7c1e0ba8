"""Any destination: what can be a sink, when it is called, what it may do, and what options do.

Keep this file as long as you keep `recorder.py`, whatever your sink is.
"""

import gc
import inspect
import threading

import pytest
from canaries import CacheEvent
from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import LLMEvent, RequestStart
from files import RESULT, Handler, ask, logs, read, start

from {{ cookiecutter.package_name }} import LogFile, Recorder, recording

REQUEST = ["request_start", "event_start", "event_end", "request_end"]


async def test_any_function_of_a_record_is_a_sink(records):
    await ask(Recorder(records.append))

    assert [record.kind for record in records] == REQUEST


async def test_destinations_compose(log_dir):
    def only_failures(sink):
        def pass_on(record):
            if record.kind == "request_failed":
                sink(record)

        return pass_on

    handler = Recorder(only_failures(LogFile(log_dir, "{collection}.jsonl", "jsonl")))
    await ask(handler)
    assert logs(log_dir) == []

    with pytest.raises(RuntimeError), recording():
        _tracker = await start(handler)
        raise RuntimeError
    assert read(log_dir).count("\n") == 1


async def test_what_has_ended_does_not_end_again(records):
    handler = Recorder(records.append)
    request = await handler.request_start(RequestStart("staff", "Who?"))
    event = await handler.event_start(CacheEvent("k"), request)

    for _ in range(2):
        await handler.event_end(None, request, event)
        await handler.request_end(RESULT, request)

    assert [record.kind for record in records] == REQUEST


# What a sink raises


async def test_an_event_whose_start_was_lost_says_everything_at_its_end():
    records = []

    def sink(record):
        if record.kind == "event_start":
            raise OSError("no space")
        records.append(record)

    await ask(Recorder(sink))

    assert [record.kind for record in records] == ["request_start", "event_end", "request_end"]
    assert records[1].data == {"type": "Prompt", "prompt": "Who?", "response": "Ann"}


async def test_a_failure_that_cannot_be_recorded_does_not_replace_the_error():
    def sink(record):
        if record.kind == "request_failed":
            raise OSError("no space")

    handler = Recorder(sink, raise_errors=True)
    with pytest.raises(KeyError), recording():
        _tracker = await start(handler)
        raise KeyError

    assert handler.lost_records == 1


async def test_an_exception_that_a_sink_raises_again_and_again_keeps_no_request_alive():
    kinds = []
    error = OSError("no space")

    def sink(record):
        kinds.append(record.kind)
        raise error

    tracker = await start(Recorder(sink))
    del tracker
    gc.collect()

    assert kinds == ["request_start", "request_failed"]


# What the garbage collector does


@pytest.fixture
def no_collector():
    """Let Python collect garbage only where a test says so."""
    gc.disable()
    yield
    gc.enable()


async def leave_to_the_collector(handler):
    """Start a request that fails when the collector finds it."""
    tracker = await start(handler)
    tracker.itself = tracker


@pytest.mark.usefixtures("no_collector")
async def test_the_garbage_collector_does_not_enter_a_sink_that_is_at_work():
    kinds = []
    at_work = []

    def sink(record):
        assert at_work == []
        at_work.append(record)
        if record.kind == "request_end":
            gc.collect()
        at_work.clear()
        kinds.append(record.kind)

    handler = Recorder(sink)
    requests = 1500  # more than Python can nest
    for _ in range(requests):
        await leave_to_the_collector(handler)
    await ask(handler)

    assert kinds[requests:] == [*REQUEST, *["request_failed"] * requests]
    assert handler.lost_records == 0


@pytest.mark.usefixtures("no_collector")
async def test_two_recorders_may_share_a_sink_that_holds_a_lock():
    kinds = []
    lock = threading.Lock()

    def sink(record):
        assert lock.acquire(timeout=1), "the thread waits for its own lock"
        if record.kind == "request_end":
            gc.collect()
        lock.release()
        kinds.append(record.kind)

    await leave_to_the_collector(Recorder(sink))
    await ask(Recorder(sink))

    assert kinds == ["request_start", *REQUEST, "request_failed"]


@pytest.mark.usefixtures("no_collector")
async def test_a_sink_that_raises_does_not_lose_a_failure_that_waits():
    kinds = []

    def sink(record):
        kinds.append(record.kind)
        if record.kind == "request_end":
            gc.collect()
            raise OSError("no space")

    handler = Recorder(sink, raise_errors=True)
    await leave_to_the_collector(handler)
    with pytest.raises(OSError, match="no space"):
        await ask(handler)

    assert kinds[-2:] == ["request_end", "request_failed"]


class CollectingContext:
    """Calls the garbage collector when it is dropped, without a frame of its own."""

    __del__ = staticmethod(gc.collect)


class CollectingHandler(EventHandler):
    """Has contexts that db-ally drops while an exception leaves its `track_event`."""

    async def request_start(self, user_request): ...

    async def event_start(self, event, request_context):
        return CollectingContext()

    async def event_end(self, event, request_context, event_context): ...

    async def request_end(self, output, request_context): ...


@pytest.mark.usefixtures("no_collector")
async def test_an_event_that_the_collector_finds_is_not_blamed_for_the_failure_of_another(records):
    handler = Recorder(records.append)
    forgotten = await start(handler)
    span = forgotten.track_event(LLMEvent("forgotten", "Prompt"))
    await span.__aenter__()
    span.itself = span
    del span

    failing = await start(handler, CollectingHandler())
    with pytest.raises(KeyError):
        async with failing.track_event(LLMEvent("failing", "Prompt")):
            raise KeyError

    failed = [record for record in records if record.kind == "event_failed"]
    assert [record.request_id for record in failed] == [records[2].request_id]


# What options do


async def a_coroutine(text):
    return text


class AsyncSink:
    async def __call__(self, record): ...


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        pytest.param(Recorder, "sink", "stdout", id="sink that is a text"),
        pytest.param(Recorder, "sink", AsyncSink(), id="sink that is awaited"),
        pytest.param(Recorder, "sink", AsyncSink().__call__, id="sink that is a coroutine method"),
        pytest.param(Handler, "mask", "@", id="mask that is a text"),
        pytest.param(Handler, "mask", a_coroutine, id="mask that is awaited"),
        pytest.param(Handler, "max_chars", 0, id="max_chars 0"),
        pytest.param(Handler, "max_chars", 1.5, id="max_chars 1.5"),
        pytest.param(Handler, "max_chars", True, id="max_chars True"),
        pytest.param(Handler, "max_chars", "all", id="max_chars that is a text"),
        pytest.param(Handler, "raise_errors", 1, id="raise_errors 1"),
        pytest.param(Handler, "record_inputs", "false", id="record_inputs that is a text"),
        pytest.param(Handler, "record_prompts", 0, id="record_prompts 0"),
        pytest.param(Handler, "record_outputs", None, id="record_outputs None"),
        pytest.param(Handler, "log_dir", None, id="log_dir None"),
        pytest.param(Handler, "log_dir", b"logs", id="log_dir of bytes"),
        pytest.param(Handler, "log_format", "xml", id="log_format xml"),
        pytest.param(Handler, "log_format", ["text"], id="log_format that is a list"),
    ],
)
def test_an_option_that_cannot_work_is_refused(make, name, value):
    with pytest.raises(ValueError, match=rf"^{name} .*; for example ") as refusal:
        make(**{name: value})

    assert repr(value) in str(refusal.value)


def test_the_handler_has_the_options_of_the_recorder_and_the_arguments_of_the_log_file():
    def names(function):
        return list(inspect.signature(function).parameters)

    assert names(Recorder)[0] == "sink"
    assert names(Handler) == [*names(LogFile), *names(Recorder)[1:]]


@pytest.mark.parametrize("argument", ["log_dir", "filename_pattern", "log_format"])
def test_a_recorder_takes_no_argument_that_it_would_ignore(argument):
    with pytest.raises(TypeError, match=argument):
        Recorder(print, **{argument: "x"})


async def test_an_option_that_is_assigned_later_takes_effect(records):
    handler = Recorder(print)
    handler.sink = records.append
    handler.mask = str.upper
    handler.record_inputs = False
    await ask(handler)
    assert records[0].data == {"collection_name": "STAFF", "question": "[withheld]"}
    assert records[1].data == {"type": "PROMPT", "prompt": "[withheld]"}

    records.clear()
    handler.record_inputs = True
    handler.record_prompts = False
    handler.record_outputs = False
    await ask(handler)
    assert records[0].data == {"collection_name": "STAFF", "question": "WHO?"}
    assert records[1].data == {"type": "PROMPT", "prompt": "[withheld]"}
    assert records[2].data == {"response": "[withheld]"}

    records.clear()
    handler.max_chars = 10
    await ask(handler, question="q" * 20)
    assert records[0].data == {"collection_name": "STAFF", "question": ""}


async def test_raise_errors_that_is_assigned_later_takes_effect():
    def sink(record):
        raise OSError("no space")

    handler = Recorder(sink)
    handler.raise_errors = True

    with pytest.raises(OSError, match="no space"):
        await ask(handler)


def test_an_option_that_is_assigned_later_and_cannot_work_is_refused():
    handler = Recorder(print, max_chars=10)

    with pytest.raises(ValueError, match=r"^max_chars 0 must be .*; for example 100000"):
        handler.max_chars = 0
    assert handler.max_chars == 10


@pytest.mark.parametrize("name", ["log_dir", "filename_pattern", "log_format"])
def test_where_a_handler_writes_can_be_read_but_not_assigned(name, log_dir):
    handler = Handler(log_dir, "{collection}.jsonl", "jsonl")

    assert getattr(handler, name) == getattr(handler.sink, name)
    with pytest.raises(AttributeError):
        setattr(handler, name, "elsewhere")
    with pytest.raises(AttributeError):
        setattr(handler.sink, name, "elsewhere")


async def test_a_handler_can_be_given_another_file(log_dir):
    handler = Handler(log_dir, "{collection}.jsonl", "jsonl")
    handler.sink = LogFile(log_dir, "another.jsonl", "jsonl")

    await ask(handler)

    assert logs(log_dir) == ["another.jsonl"]
