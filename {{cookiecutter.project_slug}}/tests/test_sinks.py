"""Any destination: what may be one, when it is called, and what it may do."""

import gc
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from canaries import CacheEvent
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestStart
from files import RESULT, ask, logs, read

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.logfile import LogFile
from {{ cookiecutter.package_name }}.recorder import Recorder
from {{ cookiecutter.package_name }}.records import Record


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let Python collect nothing but where a test says so."""
    gc.disable()
    yield
    gc.enable()


async def leave_to_the_collector(handler: Any) -> None:
    """Start a request that is over when the collector comes by."""
    tracker: Any = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", "Who?"))
    tracker.itself = tracker


@pytest.mark.usefixtures("no_collector")
async def test_the_garbage_collector_does_not_enter_a_sink_that_is_at_work() -> None:
    kinds: list[str] = []
    at_work: list[Record] = []

    def sink(record: Record) -> None:
        assert not at_work
        at_work.append(record)
        if record.kind == "request_end":
            gc.collect()
        kinds.append(at_work.pop().kind)

    handler = Recorder(sink)
    for _ in range(1500):  # more than Python can nest
        await leave_to_the_collector(handler)
    await ask(handler)

    assert kinds[1500:] == [
        "request_start",
        "event_start",
        "event_end",
        "request_end",
        *["request_failed"] * 1500,
    ]
    assert handler.lost_records == 0


@pytest.mark.usefixtures("no_collector")
async def test_a_sink_that_raises_while_a_failure_waits_does_not_lose_it() -> None:
    kinds: list[str] = []

    def sink(record: Record) -> None:
        kinds.append(record.kind)
        if record.kind == "request_end":
            gc.collect()
            raise OSError("no space")

    handler = Recorder(sink, raise_errors=True)
    await leave_to_the_collector(handler)
    with pytest.raises(OSError, match="no space"):
        await ask(handler)

    assert kinds[-2:] == ["request_end", "request_failed"]


async def test_an_event_whose_start_was_lost_says_it_all_at_its_end() -> None:
    records: list[Record] = []

    def sink(record: Record) -> None:
        if record.kind == "event_start":
            raise OSError("no space")
        records.append(record)

    await ask(Recorder(sink))
    assert {"type": "Prompt", "prompt": "Who?", "response": "Ann"}.items() <= (
        records[1].data or {}
    ).items()


async def test_a_failure_that_cannot_be_recorded_takes_the_place_of_no_error() -> None:
    def sink(record: Record) -> None:
        if record.kind == "request_failed":
            raise OSError("no space")

    handler = Recorder(sink, raise_errors=True)
    with pytest.raises(KeyError), recording():
        tracker = EventTracker.initialize_with_handlers([handler])
        await tracker.request_start(RequestStart("staff", "Who?"))
        raise KeyError
    assert handler.lost_records == 1


async def test_any_function_of_a_record_is_a_sink() -> None:
    records: list[Record] = []

    await ask(Recorder(records.append))

    assert [record.kind for record in records] == [
        "request_start",
        "event_start",
        "event_end",
        "request_end",
    ]


async def test_destinations_compose(log_dir: Path) -> None:
    def only_failures(sink: Callable[[Record], object]) -> Callable[[Record], None]:
        def pass_on(record: Record) -> None:
            if record.kind == "request_failed":
                sink(record)

        return pass_on

    handler = Recorder(only_failures(LogFile(log_dir, "{collection}.jsonl", "jsonl")))
    await ask(handler)
    with pytest.raises(ZeroDivisionError), recording():
        await ask(handler, collection=str(1 // 0))

    assert logs(log_dir) == []
    with pytest.raises(RuntimeError), recording():
        tracker = EventTracker.initialize_with_handlers([handler])
        await tracker.request_start(RequestStart("staff", "Who?"))
        raise RuntimeError
    assert read(log_dir).count("\n") == 1


def test_the_file_sink_has_the_arguments_of_the_handler() -> None:
    of_handler = list(inspect.signature(Handler).parameters.values())
    of_sink = list(inspect.signature(LogFile).parameters.values())

    assert of_handler[:3] == of_sink
    assert of_handler[3:] == list(inspect.signature(Recorder).parameters.values())[1:]


class AsyncSink:
    async def __call__(self, record: Any) -> None: ...


async def a_coroutine(text: str) -> str:
    return text


@pytest.mark.parametrize(
    "option",
    [
        {"max_chars": 0},
        {"max_chars": "all"},
        {"mask": "@"},
        {"mask": a_coroutine},
        {"log_dir": None},
        {"log_dir": b"logs"},
        {"log_format": ["text"]},
        {"log_format": "xml"},
        {"raise_errors": 1},
        {"record_inputs": "false"},
        {"record_prompts": 0},
        {"record_outputs": None},
        {"sink": "stdout"},
        {"sink": AsyncSink().__call__},
        {"sink": AsyncSink()},
    ],
    ids=lambda option: repr(option).partition(" at 0x")[0],
)
def test_an_option_that_cannot_work_is_refused(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    make: Any = Recorder if name == "sink" else Handler

    with pytest.raises(ValueError, match=rf"^{name} .*; for example ") as refusal:
        make(**option)
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize("argument", ["log_dir", "filename_pattern", "log_format"])
def test_a_recorder_takes_no_argument_that_it_would_ignore(argument: str) -> None:
    recorder: Any = Recorder
    with pytest.raises(TypeError, match=argument):
        recorder(print, **{argument: "x"})


async def test_what_has_ended_does_not_end_again() -> None:
    records: list[Record] = []
    handler = Recorder(records.append)
    request = await handler.request_start(RequestStart("staff", "Who?"))
    event = await handler.event_start(CacheEvent("k"), request)
    for _ in range(2):
        await handler.event_end(None, request, event)
        await handler.request_end(RESULT, request)

    assert [record.kind for record in records] == [
        "request_start",
        "event_start",
        "event_end",
        "request_end",
    ]


async def test_an_option_that_is_assigned_later_takes_effect_or_raises(log_dir: Path) -> None:
    records: list[Record] = []
    handler = Recorder(print)
    handler.sink = records.append
    handler.record_inputs, handler.record_outputs, handler.max_chars = False, False, 10
    handler.mask = str.upper
    await ask(handler)
    assert [record.data for record in records[:2]] == [
        {"collection_name": "STAFF", "question": "[withheld]"},
        {"type": "PROMPT", "prompt": "[withheld]"},
    ]
    handler.record_prompts = handler.record_inputs = handler.record_outputs = True
    await ask(handler, question="q" * 20)
    assert records[4].data == {"collection_name": "STAFF", "question": ""}

    with pytest.raises(ValueError, match=r"^max_chars 0 must be .*; for example 100000"):
        handler.max_chars = 0
    assert handler.max_chars == 10

    handler.sink, handler.raise_errors = (lambda record: 1 / 0), True
    with pytest.raises(ZeroDivisionError):
        await ask(handler)

    in_files: Any = Handler(log_dir)
    for name in ("log_dir", "filename_pattern", "log_format"):
        with pytest.raises(AttributeError):
            setattr(in_files, name, "elsewhere")
    with pytest.raises(AttributeError):
        in_files.sink.log_format = "text"
    in_files.sink = LogFile(log_dir, "a.jsonl", "jsonl")
    await ask(in_files)
    assert logs(log_dir) == ["a.jsonl"]
    assert read(log_dir).startswith("{")
