"""Records that are lost are counted, and the application is told: at first, now and then, and how many it were."""

import asyncio
import logging.config
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, cycle, repeat
from pathlib import Path

import pytest
from files import HEADLINE, ask, posix_only, read, run_python, start_python

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.recorder import Recorder
from {{ cookiecutter.package_name }}.records import Record


class Clock:
    """A clock of the test's own, in seconds."""

    now = 1.0  # the machine has just been started

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("{{ cookiecutter.package_name }}.losses.monotonic", clock)
    return clock


def failing(outcomes: Iterable[bool]) -> Callable[[Record], None]:
    """Return a sink that fails where an outcome is true."""
    remaining = iter(outcomes)

    def sink(record: Record) -> None:
        if next(remaining):
            raise OSError("not this one")

    return sink


def counts(messages: list[str]) -> list[tuple[str, int]]:
    """Return what each warning says: that recording fails, works or ends, and how many records were lost."""
    found = (re.search(r"Recording (\w+).*?: (\d+)", message) for message in messages)
    return [(match[1], int(match[2])) for match in found if match]


PATTERNS: dict[str, Callable[[], Iterable[bool]]] = {
    "the first": lambda: chain([True], repeat(False)),
    "every second": lambda: cycle([True, False]),
    "bursts": lambda: cycle([*[True] * 10, *[False] * 30]),
    "for ever": lambda: repeat(True),
    "all but the third until it heals": lambda: chain(
        [True, True, False], repeat(True, 97), repeat(False)
    ),
}


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_the_last_word_is_the_true_count(
    pattern: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder(failing(PATTERNS[pattern]()))
    for _ in range(100):
        await ask(handler)
        clock.now += 7
    lost = handler.lost_records
    del handler

    told = counts(caplog.messages)
    assert len(told) == len(caplog.messages)
    assert told[0] == ("fails", 1)
    assert told[-1][1] == lost > 0
    assert [count for _, count in told] == sorted(count for _, count in told)
    assert len(told) <= 2 + 700 / 60
    assert ("works" in dict(told)) == (pattern in ("the first", "all but the third until it heals"))


async def test_while_records_are_lost_a_warning_a_minute_says_how_many(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder(failing(chain(repeat(True, 40), repeat(False))))
    for _ in range(10):
        await ask(handler)
        clock.now += 20
    assert counts(caplog.messages) == [("fails", 1), ("fails", 13), ("fails", 25), ("fails", 37)]
    assert caplog.messages[0].endswith("; the last one: not this one")

    for _ in range(4):
        await ask(handler)
        clock.now += 20
    del handler
    assert caplog.messages[4:] == ["Recording works again; records lost in all: 40"]
    assert {record.name for record in caplog.records} == {
        Recorder.__module__.replace("recorder", "losses")
    }


async def test_an_error_without_words_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def sink(record: Record) -> None:
        raise TimeoutError

    await ask(Recorder(sink))

    assert caplog.messages[0].endswith("; the last one: TimeoutError()")


async def test_what_is_unsaid_is_said_when_the_recorder_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Recorder(failing(chain(repeat(True, 8), repeat(False))))
    for _ in range(3):
        await ask(handler)
    assert counts(caplog.messages) == [("fails", 1)]

    del handler
    assert caplog.messages[1:] == ["Recording ends; records lost in all: 8"]


def test_what_is_unsaid_is_said_when_the_process_ends(tmp_path: Path) -> None:
    code = """
def sink(record):
    raise OSError("full")
handler = Recorder(sink)
asyncio.run(ask(handler))
"""
    errors = start_python(code).communicate()[1]

    assert counts(errors.splitlines()) == [("fails", 1), ("ends", 4)]


def test_many_threads_lose_records_and_none_goes_uncounted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handler = Recorder(failing(repeat(True)))
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(asyncio.run, ask(handler)) for _ in range(100)]:
            done.result()

    assert handler.lost_records == 400
    assert len(caplog.messages) == 1


@posix_only
def test_a_child_may_lose_records_though_it_was_forked_in_the_middle_of_a_loss() -> None:
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


async def test_the_warning_survives_a_configuration_of_logging_that_does_not_name_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    warned = logging.getLogger("{{ cookiecutter.package_name }}.losses")
    try:
        logging.config.dictConfig({"version": 1})
        assert warned.disabled
        await ask(Recorder(failing(repeat(True))))
    finally:
        warned.disabled = False

    assert "Recording fails" in caplog.messages[0]


async def test_a_file_in_the_way_is_named_and_costs_the_records_of_its_requests_alone(
    log_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Handler(log_dir, "{collection}.log", "text")
    (log_dir / "staff.log").mkdir(parents=True)
    await ask(handler)
    await ask(handler, collection="orders")
    assert caplog.messages[0].endswith(f": {str(log_dir / 'staff.log')!r}")

    (log_dir / "staff.log").rmdir()
    await ask(handler)
    assert handler.lost_records == 4
    assert len(HEADLINE.findall(read(log_dir))) == 8
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
