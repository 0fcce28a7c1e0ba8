"""Whatever a result is made of, its record is bounded."""

import json
from collections import UserString
from pathlib import Path
from typing import Any

import pytest
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from files import read

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.plain import Serializer
from {{ cookiecutter.package_name }}.recorder import Recorder
from {{ cookiecutter.package_name }}.records import Record


@pytest.mark.parametrize("log_format", ["text", "jsonl"])
@pytest.mark.parametrize(
    "letter",
    ["x", "\n", "\0", "\u202e", "\U0001f600"],
    ids=["x", "newline", "nul", "bidi", "emoji"],
)
async def test_a_huge_result_takes_less_than_two_megabytes(
    letter: str, log_format: str, log_dir: Path
) -> None:
    rows = [{"name": letter * 10}] * 300_000
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "{collection}", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(
        RequestEnd(ExecutionResult(rows, {"sql": letter * 5_000_000}, 1, 1, "View"))
    )

    log = read(log_dir)
    assert 100_000 < len(log.encode()) < 2_000_000
    assert "result.results" in log
    assert "300000" in log
    assert "300000 rows" in log or '"rows":300000' in log


def nested(depth: int, value: Any) -> Any:
    return json.loads('{"k": ' * depth + json.dumps(value) + "}" * depth)


@pytest.mark.parametrize(
    ("rows", "context"),
    [
        ([{f"n{column}": 1 << 4_000 for column in range(15)} for _ in range(1_000)], {}),
        ([{"k" * 5_000_000: "v" * 200_000}], {}),
        ([{"k" * 20_000: [json.loads("[" * 40 + "]" * 40)] * 1_000}], {}),
        ([{"k": [""] * 1_000} for _ in range(1_000)], {}),
        ([], nested(25, "\n" * 100_000)),
    ],
    ids=[
        "long numbers",
        "a long name",
        "a long name above what is cut",
        "empty texts",
        "lines in mappings",
    ],
)
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
async def test_whatever_a_result_is_made_of_it_is_bounded(
    rows: list[dict[str, Any]], context: dict[str, Any], log_format: str, log_dir: Path
) -> None:
    tracker = EventTracker.initialize_with_handlers([Handler(log_dir, "{collection}", log_format)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(RequestEnd(ExecutionResult(rows, context, 1, 1, "View")))

    assert len(read(log_dir)) < 500_000


def test_what_is_just_within_a_bound_is_whole() -> None:
    serializer = Serializer()
    assert serializer.value(b"x" * 1_000) == repr(b"x" * 1_000)
    assert serializer.value(b"x" * 1_001) == "<bytes of 1001>"

    deepest = json.loads("[" * 32 + "1" + "]" * 32)
    assert serializer.field("lists", deepest) == deepest
    assert serializer.cut == {}
    assert serializer.field("lists", [deepest]) == json.loads("[" * 33 + "]" * 33)
    assert serializer.cut == {"lists" + ".0" * 32: 1}


def test_an_entry_is_taken_as_long_as_the_budget_lasts() -> None:
    for budget, whole in ((48, False), (49, True)):  # each value counts for 16
        serializer = Serializer(budget)
        assert serializer.field("list", [1, 2, 3]) == ([1, 2, 3] if whole else [1, 2])
        assert serializer.cut == ({} if whole else {"list": 3})

    assert Serializer(100).text("x" * 67) == "x" * 66  # no text takes more than two thirds
    serializer = Serializer(100)
    assert serializer.field("first", "x" * 50) == "x" * 50
    assert serializer.field("last", "y" * 34) == "y" * 34
    assert serializer.field("late", "z") == ""
    assert serializer.cut == {"late": 1}
    serializer = Serializer(99)
    assert (serializer.text("x" * 66), serializer.cut) == ("x" * 66, {})


def test_the_name_of_what_was_cut_is_bounded() -> None:
    serializer = Serializer(3)
    serializer.field("n" * 101, "text")
    assert serializer.cut == {"n" * 101: 4}
    serializer = Serializer(1_000)
    serializer.field("a" * 100, {"b" * 100: {"n" * 101: "x" * 1_000}})
    assert serializer.cut == {".".join(["a" * 100, "b" * 100, "n" * 98]): 1_000}

    serializer = Serializer(100)
    serializer.field("row", {"k" * 100: None})
    assert serializer.cut == {"row": 100}  # a key of it
    serializer = Serializer(1_000)
    serializer.field("row", {"user": UserString("u" * 1_000)})
    assert serializer.cut == {"row.user": 1_000}


async def test_the_name_of_a_view_is_bounded_as_well() -> None:
    records: list[Record] = []
    tracker = EventTracker.initialize_with_handlers([Recorder(records.append)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(RequestEnd(ExecutionResult([], {}, 1, 1, "V" * 200_000)))

    assert records[-1].cut
    assert records[-1].cut["view"] == 200_000
