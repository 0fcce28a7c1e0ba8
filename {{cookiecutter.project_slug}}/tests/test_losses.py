"""Proves that records which are lost are counted, and that the application is warned of them.

It goes with `LossCounter` in recorder.py: delete it if you count losses in your own way.
"""

import asyncio
import itertools
import logging.config
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from files import HEADLINE, ask, file_recorder, posix_only, read, run_python

from {{ cookiecutter.package_name }} import Record, Recorder


class Clock:
    """A clock that a test sets forward, in seconds."""

    now = 1.0  # less than a minute since the machine was started

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("{{ cookiecutter.package_name }}.recorder.monotonic", clock)
    return clock


def failing_sink(outcomes: Iterator[bool]) -> Callable[[Record], None]:
    """Return a sink that raises each time that the next outcome is true."""

    def sink(record: Record) -> None:
        if next(outcomes):
            raise OSError("not this one")

    return sink


def always_failing_sink(record: Record) -> None:
    raise OSError("not this one")


def announced_counts(messages: list[str]) -> list[int]:
    """Return how many lost records each warning speaks of."""
    counts = []
    for message in messages:
        match = re.fullmatch(r"Recording fails; records lost so far: (\d+); .*", message)
        assert match, message
        counts.append(int(match[1]))
    return counts


async def test_it_warns_of_the_first_the_tenth_and_the_hundredth_loss(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder(always_failing_sink)

    for _ in range(30):
        await ask(handler)

    assert handler.lost_records == 120
    assert announced_counts(caplog.messages) == [1, 10, 100]


async def test_in_between_it_warns_at_most_once_a_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder(always_failing_sink)

    for _ in range(6):
        await ask(handler)  # loses four records at once
        clock.now += 31

    # The 1st and the 10th in any case; the 9th and the 17th, because a minute has passed.
    assert announced_counts(caplog.messages) == [1, 9, 10, 17]


async def test_only_records_that_fail_are_counted(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder(failing_sink(itertools.cycle([True, False])))

    await ask(handler)
    await ask(handler)

    assert handler.lost_records == 4
    assert announced_counts(caplog.messages) == [1]


async def test_the_warning_quotes_the_error_and_comes_from_the_logger_of_the_package(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await ask(Recorder(always_failing_sink))

    (warning,) = caplog.records
    assert warning.levelno == logging.WARNING
    assert warning.name == "{{ cookiecutter.package_name }}"
    assert warning.getMessage() == (
        "Recording fails; records lost so far: 1; the last one: not this one"
    )


async def test_an_error_without_a_message_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def sink(record: Record) -> None:
        raise TimeoutError

    await ask(Recorder(sink))

    assert caplog.messages[0].endswith("; the last one: TimeoutError()")


async def test_an_error_whose_message_cannot_be_read_does_not_break_the_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class OddError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no message either")

    def sink(record: Record) -> None:
        raise OddError

    await ask(Recorder(sink))

    assert caplog.messages[0].endswith("; the last one: OddError")


async def test_the_warning_survives_a_configuration_of_logging_that_does_not_name_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    try:
        logging.config.dictConfig({"version": 1})
        assert logging.getLogger("{{ cookiecutter.package_name }}").disabled
        await ask(Recorder(always_failing_sink))
    finally:
        for logger in loggers:
            logger.disabled = False

    assert announced_counts(caplog.messages) == [1]


async def test_a_logging_handler_that_raises_does_not_break_the_answer() -> None:
    class BrokenHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("logging is broken, too")

    broken_handler = BrokenHandler()
    logging.getLogger().addHandler(broken_handler)
    handler = Recorder(always_failing_sink)
    try:
        await ask(handler)
    finally:
        logging.getLogger().removeHandler(broken_handler)

    assert handler.lost_records == 4


def test_losses_in_many_threads_are_all_counted() -> None:
    handler = Recorder(always_failing_sink)

    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(asyncio.run, ask(handler)) for _ in range(100)]
    for future in futures:
        future.result()

    assert handler.lost_records == 400


@posix_only
def test_a_child_that_is_forked_in_the_middle_of_a_loss_counts_its_own() -> None:
    code = """
import threading
held, go_on = threading.Event(), threading.Event()
def sink(record):
    if threading.current_thread() is not threading.main_thread():
        held.set()
        go_on.wait(5)
    raise OSError("full")
handler = Recorder(sink)
thread = threading.Thread(target=lambda: asyncio.run(ask(handler)))
thread.start()
held.wait()
if os.fork() == 0:
    asyncio.run(ask(handler))
    os._exit(handler.lost_records)
print(os.waitstatus_to_exitcode(os.wait()[1]))
go_on.set()
thread.join()
print(handler.lost_records)
"""
    assert run_python(code).stdout == "4\n4\n"


async def test_a_file_in_the_way_is_named_and_costs_only_the_records_for_it(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler = file_recorder(log_dir, "{collection}.log", "text")
    in_the_way = log_dir / "staff.log"
    in_the_way.mkdir(parents=True)

    await ask(handler)
    await ask(handler, collection="orders")
    in_the_way.rmdir()
    await ask(handler)

    assert caplog.messages[0].endswith(f": {str(in_the_way)!r}")
    assert handler.lost_records == 4
    assert len(HEADLINE.findall(read(log_dir))) == 8
