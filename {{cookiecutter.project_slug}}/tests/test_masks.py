"""A mask reaches every text from outside, in every byte of every file. And what is switched off is in none of them."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from canaries import SECRETS, CacheEvent, ask_with_canaries, canary
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import (
    Event,
    FallbackEvent,
    LLMEvent,
    RequestEnd,
    RequestStart,
    SimilarityEvent,
)
from dbally.collection.results import ExecutionResult
from files import RESULT, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.privacy import BOTH, INPUT, METADATA, OUTPUT, declare
from {{ cookiecutter.package_name }}.recorder import Recorder
from {{ cookiecutter.package_name }}.records import Record

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
WORDS = st.sampled_from(
    ["ann@example.com", "BOB+x@mail.example.org", "\n", "Kraków", "\0", "\ud83d", "{", '"', "|"]
)
TEXTS = st.lists(WORDS | st.text(max_size=5), min_size=1, max_size=6).map(" ".join)


def hide_addresses(text: str) -> str:
    return ADDRESS.sub("[address]", text)


async def tell(handler: Any, text: str, fails: bool) -> None:
    """Go through a request with `text` wherever a text from outside can be."""
    with contextlib.suppress(RuntimeError), recording(user=text, nested={text: [text]}):
        tracker = EventTracker.initialize_with_handlers([handler])
        await tracker.request_start(RequestStart(text, text))
        prompt: Any = [
            {"role": "user", "content": text, "is_example": False},
            {"role": text, text: text},
        ]
        llm = LLMEvent(prompt, "Prompt")
        async with tracker.track_event(llm) as span:
            llm.response = text
            span(llm)
        for event in (
            SimilarityEvent(text, text, text, text),
            FallbackEvent(text, text, text, text),
            CacheEvent({text}),
        ):
            async with tracker.track_event(event) as span:
                span(event)
        if fails:
            with contextlib.suppress(KeyError):
                async with tracker.track_event(llm):
                    raise KeyError(text) from ValueError(text)
            raise RuntimeError(text) from ExceptionGroup(text, [OSError(text)])
        rows = [{text: text, "n": [text, text.encode("utf-8", "surrogatepass")]}]
        await tracker.request_end(
            RequestEnd(ExecutionResult(rows, {"sql": text, text: text}, 1, 1, text, text))
        )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS, fails=st.booleans(), max_chars=st.sampled_from([None, 1, 7, 40, 300, 150_000]))
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
async def test_what_a_mask_hides_is_in_no_byte_of_any_file(
    log_format: str, text: str, fails: bool, max_chars: int | None
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        handler = Handler(
            folder,
            "{collection}/{request_id}",
            log_format,
            mask=hide_addresses,
            max_chars=max_chars,
            raise_errors=True,
        )
        await tell(handler, text, fails)
        everything = "\n".join(str(path.relative_to(folder)) for path in folder.rglob("*")) + read(
            folder
        )
    finally:
        shutil.rmtree(folder)

    assert "request_failed" in everything if fails else "request_end" in everything
    assert not ADDRESS.search(everything)
    assert "ann@" not in everything
    assert "example" not in everything.replace("is_example", "")


def raises(text: str) -> str:
    raise ValueError(f"cannot mask {text}")


class Text(str):
    __slots__ = ()


MASKS: dict[str, Callable[[str], Any]] = {
    "raises": raises,
    "none": lambda text: None,
    "bytes": lambda text: text.encode(),
    "a text of its own": Text,
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("fails", [False, True])
async def test_where_a_mask_gives_no_text_the_text_is_withheld(
    mask: str, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    records: list[Record] = []
    await tell(Recorder(records.append, mask=MASKS[mask]), "ann@example.com", fails)

    log = str([record.as_dict() for record in records]) + str(records) + caplog.text
    assert "ann@example.com" not in log
    assert "cannot mask" not in log
    assert "[withheld]" in log


async def test_numbers_are_not_masked() -> None:
    records: list[Record] = []
    tracker = EventTracker.initialize_with_handlers(
        [Recorder(records.append, mask=lambda text: "x")]
    )
    await tracker.request_start(RequestStart("staff", "Who?"))
    await tracker.request_end(RequestEnd(ExecutionResult([{"n": 5551234}], {}, 1, 1, "View")))

    assert "5551234" in str(records[-1].data)


@pytest.mark.parametrize("withheld", ["inputs", "outputs"])
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
@pytest.mark.parametrize("fail", [False, True])
async def test_what_is_switched_off_is_in_no_byte_of_any_file(
    withheld: str, log_format: str, fail: bool, log_dir: Path
) -> None:
    switch: Any = {f"record_{withheld}": False}
    handler = Handler(log_dir, "{started_at:%Y}/{collection}-{request_id}", log_format, **switch)
    with contextlib.suppress(RuntimeError):
        await ask_with_canaries(handler, fail=fail)

    everything = b"".join(
        bytes(path) + (path.read_bytes() if path.is_file() else b"")
        for path in sorted(log_dir.rglob("*"))
    )
    assert b"request_failed" in everything if fail else b"request_end" in everything
    assert [field for field in SECRETS[withheld] if canary(field).encode() in everything] == []


async def test_what_a_mask_returns_is_what_is_recorded() -> None:
    records: list[Record] = []
    await tell(Recorder(records.append, mask=hide_addresses), "to ann@example.com", fails=True)
    masked = "to [address]"

    assert records[0].data == {"collection_name": masked, "question": masked}
    assert records[-1].labels["user"] == masked
    assert records[-1].labels["nested"] == {masked: [masked]}
    assert records[-1].error
    assert (records[-1].error["message"], records[-1].collection) == (masked, masked)


async def test_errors_are_told_where_prompts_alone_are_withheld() -> None:
    records: list[Record] = []
    await tell(Recorder(records.append, record_prompts=False), "why", fails=True)

    assert records[1].data == {"type": "Prompt", "prompt": "[withheld]"}
    assert records[-1].error
    assert (records[-1].error["message"], records[0].data) == (
        "why",
        {"collection_name": "why", "question": "why"},
    )


async def test_each_switch_withholds_what_it_says_and_no_more() -> None:
    class CacheEvent(Event):
        """An event of the application."""

        def __init__(self) -> None:
            self.key = "of the user"

    async def told(**switch: Any) -> Any:
        records: list[Record] = []
        tracker = EventTracker.initialize_with_handlers([Recorder(records.append, **switch)])
        await tracker.request_start(RequestStart("staff", "Who?"))
        async with tracker.track_event(CacheEvent()):
            await tracker.request_end(RESULT)
        return records[1].data, (records[2].summary or {})["question"]

    assert await told(record_inputs=False) == ({"key": "[withheld]"}, "[withheld]")
    assert await told(record_prompts=False) == ({"key": "of the user"}, "Who?")
    assert await told(record_prompts=False, record_outputs=False) == ({"key": "[withheld]"}, "Who?")


async def test_what_a_field_of_an_event_holds_can_be_declared_at_any_time() -> None:
    class LookupEvent(Event):
        """An event of the application."""

        def __init__(self) -> None:
            self.key, self.value, self.hits, self.other = "the key", "the value", 3, "the rest"

    class DeeperEvent(LookupEvent):
        """One that inherits what is declared."""

    async def told(**switches: Any) -> Any:
        records: list[Record] = []
        tracker = EventTracker.initialize_with_handlers([Recorder(records.append, **switches)])
        await tracker.request_start(RequestStart("staff", "Who?"))
        async with tracker.track_event(DeeperEvent()):
            pass
        return list((records[1].data or {}).values())

    assert await told(record_inputs=False) == ["[withheld]"] * 4
    declare(LookupEvent, key=INPUT, value=OUTPUT)
    declare(LookupEvent, hits=METADATA, other=BOTH)

    assert await told(record_inputs=False) == ["[withheld]", "the value", 3, "[withheld]"]
    assert await told(record_outputs=False) == ["the key", "[withheld]", 3, "[withheld]"]
    with pytest.raises(
        ValueError, match=r"^key 'input' must be METADATA, INPUT, .*; for example key=INPUT"
    ):
        declare(LookupEvent, key="input")  # type: ignore[arg-type]
