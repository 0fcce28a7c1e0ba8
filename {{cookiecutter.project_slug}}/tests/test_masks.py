"""A mask reaches every text from outside, and a switch every field: nothing else tells them.

Keep this file as long as anyone relies on a mask or a switch. `test_handler_contract.py` proves
the switches for any destination.
"""

import contextlib
import re
import tempfile
from pathlib import Path

import pytest
from canaries import CacheEvent
from dbally.audit.events import Event, FallbackEvent, LLMEvent, RequestEnd, SimilarityEvent
from dbally.collection.results import ExecutionResult
from files import RESULT, file_recorder, logs, read, start
from hypothesis import given, settings
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import Recorder, declare, recording
from {{ cookiecutter.package_name }}.failures import warn_once
from {{ cookiecutter.package_name }}.privacy import INPUT, METADATA, OUTPUT

ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
WORDS = ["ann@example.com", "BOB+x@mail.example.org", "\n", "Kraków", "\0", "\ud83d", "{", '"', "|"]
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), min_size=1, max_size=6).map(" ".join)


def hide_addresses(text):
    return ADDRESS.sub("[address]", text)


async def go_through_events(handler, text, has_failed):
    """Go through a request with `text` wherever a text from outside can be."""
    tracker = await start(handler, collection=text, question=text)

    prompt = [{"role": "user", "content": text}, {"role": text, text: text}]
    llm = LLMEvent(prompt, "Prompt")
    async with tracker.track_event(llm) as span:
        llm.response = text
        span(llm)

    events = [
        SimilarityEvent(text, text, text, text),
        FallbackEvent(text, text, text, text),
        CacheEvent({text}),
    ]
    for event in events:
        async with tracker.track_event(event) as span:
            span(event)

    if has_failed:
        with contextlib.suppress(KeyError):
            async with tracker.track_event(llm):
                raise KeyError(text) from ValueError(text)
        raise RuntimeError(text) from ExceptionGroup(text, [OSError(text)])

    rows = [{text: text, "n": [text, text.encode("utf-8", "surrogatepass")]}]
    context = {"sql": text, text: text}
    await tracker.request_end(RequestEnd(ExecutionResult(rows, context, 1, 1, text, text)))


async def record_everywhere(handler, text, has_failed):
    """Record a request with `text` wherever a text from outside can be, labels included."""
    with contextlib.suppress(RuntimeError), recording(user=text, nested={text: [text]}):
        await go_through_events(handler, text, has_failed)


# Masks


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    text=TEXTS,
    has_failed=st.booleans(),
    log_format=st.sampled_from(["text", "jsonl"]),
    max_chars=st.sampled_from([None, 1, 7, 40, 300, 150_000]),
)
async def test_what_a_mask_hides_is_in_no_byte_and_no_name_of_any_file(
    text, has_failed, log_format, max_chars
):
    with tempfile.TemporaryDirectory() as folder:
        handler = file_recorder(
            Path(folder),
            "{collection}/{request_id}",
            log_format,
            mask=hide_addresses,
            max_chars=max_chars,
            raise_errors=True,
        )
        await record_everywhere(handler, text, has_failed)
        everything = "\n".join([*logs(Path(folder)), read(Path(folder))])

    assert "request_failed" in everything or "request_end" in everything
    assert not ADDRESS.search(everything)
    assert "ann@" not in everything
    assert "example" not in everything


async def test_what_a_mask_returns_is_recorded(records):
    handler = Recorder(records.append, mask=hide_addresses)
    await record_everywhere(handler, "to ann@example.com", has_failed=True)

    masked = "to [address]"
    assert records[0].data == {"collection_name": masked, "question": masked}
    failed = records[-1]
    assert failed.collection == masked
    assert failed.labels == {"user": masked, "nested": {masked: [masked]}}
    assert failed.error["message"] == masked


def refuse(text):
    raise ValueError(f"cannot mask {text}")


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("has_failed", [False, True], ids=["ends", "fails"])
@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(refuse, id="raises"),
        pytest.param(lambda text: None, id="returns None"),
        pytest.param(lambda text: text.encode(), id="returns bytes"),
        pytest.param(Text, id="returns a class of its own"),
    ],
)
async def test_a_text_is_withheld_if_its_mask_returns_no_text(mask, has_failed, records, caplog):
    handler = Recorder(records.append, mask=mask)
    await record_everywhere(handler, "ann@example.com", has_failed)

    log = str(records) + caplog.text
    assert "ann@example.com" not in log
    assert "cannot mask" not in log
    assert "[withheld]" in log


async def test_numbers_are_not_masked(records):
    tracker = await start(Recorder(records.append, mask=lambda text: "x"))
    async with tracker.track_event(CacheEvent(5551234)):
        pass

    assert records[1].data == {"key": 5551234}


# Switches


async def test_without_prompts_all_else_is_recorded(records):
    handler = Recorder(records.append, record_prompts=False)
    await record_everywhere(handler, "why", has_failed=True)

    assert records[0].data == {"collection_name": "why", "question": "why"}
    assert records[1].data == {"type": "Prompt", "prompt": "[withheld]"}
    assert records[2].data == {"response": "why"}
    assert records[-1].error["message"] == "why"


@pytest.mark.parametrize(
    ("switches", "key", "question"),
    [
        pytest.param(["record_inputs"], "[withheld]", "[withheld]", id="inputs"),
        pytest.param(["record_outputs"], "[withheld]", "Who?", id="outputs"),
        pytest.param(["record_prompts"], "of the user", "Who?", id="prompts"),
        pytest.param(["record_inputs", "record_outputs"], "[withheld]", "[withheld]", id="both"),
    ],
)
async def test_a_field_that_nobody_declared_needs_the_switches_of_inputs_and_outputs(
    switches, key, question, records
):
    options = dict.fromkeys(switches, False)
    tracker = await start(Recorder(records.append, **options))
    async with tracker.track_event(CacheEvent("of the user")):
        pass
    await tracker.request_end(RESULT)

    assert records[1].data == {"key": key}
    assert records[-1].summary["question"] == question


async def test_a_field_can_be_declared_at_any_time_and_is_inherited():
    class LookupEvent(Event):
        def __init__(self):
            self.key = "the key"
            self.value = "the value"
            self.hits = 3

    class DeeperEvent(LookupEvent):
        pass

    async def record_with(**switches):
        records = []
        options = switches
        tracker = await start(Recorder(records.append, **options))
        async with tracker.track_event(DeeperEvent()):
            return list(records[1].data.values())

    assert await record_with(record_inputs=False) == ["[withheld]"] * 3
    declare(LookupEvent, key=INPUT, value=OUTPUT)
    declare(LookupEvent, hits=METADATA)

    assert await record_with(record_inputs=False) == ["[withheld]", "the value", 3]
    assert await record_with(record_outputs=False) == ["the key", "[withheld]", 3]


def test_a_declaration_that_cannot_work_is_refused():
    content = "input"

    with pytest.raises(ValueError, match=r"^key 'input' must be .*; for example key=INPUT"):
        declare(CacheEvent, key=content)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        pytest.param(lambda text: text.lowr(), "raises AttributeError", id="raises"),
        pytest.param(lambda text: None, "returns NoneType", id="returns nothing"),
    ],
)
async def test_a_mask_that_does_not_work_is_warned_of_once(mask, problem, records, caplog):
    warn_once.cache_clear()

    for _ in range(2):
        tracker = await start(Recorder(records.append, mask=mask))
        await tracker.request_end(RESULT)

    assert caplog.messages == [
        f"The mask {problem} in place of a text. Texts are recorded as [withheld]."
    ]
    assert records[0].data["question"] == "[withheld]"
