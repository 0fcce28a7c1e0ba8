"""Whatever a value is made of, its record is bounded, and says what was cut.

Keep this file as long as you keep the option `max_chars`.
"""

import contextlib
import json
from collections import UserString

import pytest
from canaries import CacheEvent
from dbally.audit.events import RequestEnd
from dbally.collection.results import ExecutionResult
from files import file_recorder, read, start

from {{ cookiecutter.package_name }} import Recorder, recording

FORMATS = pytest.mark.parametrize("log_format", ["text", "jsonl"])


async def record_of(value, max_chars=150_000):
    """Return the record of an event with this value."""
    records = []
    tracker = await start(Recorder(records.append, max_chars=max_chars))
    async with tracker.track_event(CacheEvent(value)):
        return records[1]


def nested(depth):
    return json.loads("[" * depth + "]" * depth)


# The size of files


@FORMATS
@pytest.mark.parametrize(
    "letter",
    [
        pytest.param("x", id="letter"),
        pytest.param("\n", id="newline"),
        pytest.param("\0", id="NUL"),
        pytest.param("\u202e", id="bidi"),
        pytest.param("\U0001f600", id="emoji"),
    ],
)
async def test_a_huge_result_takes_less_than_two_megabytes(letter, log_format, log_dir):
    rows = [{"name": letter * 10}] * 300_000
    context = {"sql": letter * 5_000_000}

    tracker = await start(file_recorder(log_dir, "{collection}", log_format))
    await tracker.request_end(RequestEnd(ExecutionResult(rows, context, 1, 1, "View")))

    log = read(log_dir)
    assert 100_000 < len(log.encode()) < 2_000_000
    assert "result.results" in log
    assert "300000" in log


@FORMATS
@pytest.mark.parametrize(
    "value",
    [
        pytest.param([{"n": 1 << 4_000}] * 15_000, id="long numbers"),
        pytest.param({"k" * 5_000_000: "v" * 200_000}, id="a long key"),
        pytest.param({"k" * 20_000: [nested(40)] * 1_000}, id="a long key above what is cut"),
        pytest.param([[""] * 1_000] * 1_000, id="empty texts"),
        pytest.param(json.loads('{"k":' * 25 + '"' + "\\n" * 100_000 + '"' + "}" * 25), id="lines"),
    ],
)
async def test_the_size_of_a_record_is_bounded_whatever_its_values_are(value, log_format, log_dir):
    tracker = await start(file_recorder(log_dir, "{collection}", log_format))
    async with tracker.track_event(CacheEvent(value)):
        pass

    assert len(read(log_dir)) < 500_000


async def test_the_bound_can_be_lifted():
    value = [*range(20_000), "x" * 500_000]

    record = await record_of(value, max_chars=None)

    assert record.data == {"key": value}
    assert record.cut is None


# What is kept and what is cut


async def test_a_value_that_just_fits_is_kept_whole():
    kept = await record_of([1, 2, 3], max_chars=49)  # the list and each number count for 16
    cut = await record_of([1, 2, 3], max_chars=48)

    assert kept.data == {"key": [1, 2, 3]}
    assert kept.cut is None
    assert cut.data == {"key": [1, 2]}
    assert cut.cut == {"key": 3}


async def test_a_text_takes_at_most_two_thirds_of_the_bound():
    kept = await record_of("x" * 66, max_chars=100)
    cut = await record_of("x" * 67, max_chars=100)

    assert kept.data == {"key": "x" * 66}
    assert kept.cut is None
    assert cut.data == {"key": "x" * 66}
    assert cut.cut == {"key": 67}


async def test_what_comes_after_the_bound_was_reached_is_left_out():
    record = await record_of({"a": "x" * 100, "b": "x" * 50, "c": "x"}, max_chars=200)

    assert record.data == {"key": {"a": "x" * 100, "b": "x" * 34}}
    assert record.cut == {"key.b": 50, "key": 3}


async def test_the_data_of_a_record_is_bounded_as_a_whole():
    row = {"text": "x" * 60_000, "number": 1}

    record = await record_of([row] * 10)

    first, second, third = record.data["key"]
    assert first == second == row
    assert 29_000 < len(third["text"]) < 30_000
    assert record.cut == {"key.2.text": 60_000, "key.2": 2, "key": 10}


async def test_bytes_are_whole_up_to_a_thousand():
    record = await record_of([b"x" * 1_000, b"x" * 1_001])

    assert record.data == {"key": [repr(b"x" * 1_000), "<bytes of 1001>"]}


async def test_lists_are_whole_up_to_a_depth_of_32():
    whole = await record_of(nested(32))
    cut = await record_of(nested(34))

    assert whole.data == {"key": nested(32)}
    assert whole.cut is None
    assert cut.data == {"key": nested(33)}
    assert cut.cut == {"key" + ".0" * 32: 1}


async def test_depth_ends():
    value = []
    for _ in range(10_000):
        value = [value]

    record = await record_of(value, max_chars=None)

    assert record.data == {"key": nested(33)}


async def test_a_value_that_is_inside_itself_ends():
    rows = ["before"]
    rows.append(rows)
    twice = {}
    twice["left"] = twice
    twice["right"] = twice

    record = await record_of([rows, twice], max_chars=None)

    mapping = {"left": "<dict inside itself>", "right": "<dict inside itself>"}
    assert record.data == {"key": [["before", "<list inside itself>"], mapping]}


async def test_many_keys_of_one_text_stay_bounded():
    class SameText:
        def __str__(self):
            return "x"

    record = await record_of({SameText(): None for _ in range(5_000)})

    names = list(record.data["key"])
    assert names[:3] == ["x", "x~1", "x~2"]
    assert max(map(len, names)) <= len("x~5000")


# How a cut is called


async def test_a_cut_key_a_cut_collection_and_each_cut_cause_have_a_path_of_their_own(records):
    record = await record_of({"a": 1, "k" * 200: 2}, max_chars=200)
    assert record.cut == {"key.(key)": 200}

    error = RuntimeError("outer" * 100)
    error.__cause__ = RuntimeError("inner" * 100)
    with contextlib.suppress(RuntimeError), recording():
        _tracker = await start(Recorder(records.append, max_chars=300), collection="c" * 300)
        raise error

    cut = records[-1].cut
    assert cut["collection"] == 300
    assert cut["error"] == cut["error.causes.0"] == 500


async def test_a_cut_in_an_object_of_the_application_has_the_path_to_it():
    record = await record_of({"user": UserString("u" * 1_000)}, max_chars=1_000)

    assert record.cut == {"key.user": 1_000}


async def test_a_key_can_be_cut_as_well():
    record = await record_of({"k" * 100: None}, max_chars=100)

    assert record.data == {"key": {"k" * 66: None}}
    assert list(record.cut.values()) == [100]


async def test_the_path_of_a_cut_has_at_most_300_characters():
    value = {"a" * 100: {"b" * 100: {"c" * 101: "x" * 1_000}}}

    record = await record_of(value, max_chars=1_000)

    assert record.cut == {f"key.{'a' * 100}.{'b' * 100}.{'c' * 94}": 1_000}


async def test_the_name_of_a_view_is_bounded_in_the_summary(records):
    tracker = await start(Recorder(records.append))
    await tracker.request_end(RequestEnd(ExecutionResult([], {}, 1, 1, "V" * 200_000)))

    assert records[-1].cut["view"] == 200_000
