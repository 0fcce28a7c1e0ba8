"""What the records of a request tell together: steps, causes, and the summary at its end.

Keep this file as long as you keep the summary and the steps. Each test names a place where db-ally
hides what people ask for, so most of them fail first when a new db-ally changes.
"""

import contextlib
import gc
import sys
from datetime import UTC

import dbally
import pytest
from canaries import CacheEvent
from dbally.audit.events import LLMEvent
from dbally.iql_generator import prompt as iql_prompts
from dbally.nl_responder import prompts as nl_prompts
from dbally.prompt.template import PromptTemplate
from dbally.view_selection import prompt as view_prompts
from dbally.views.freeform.text2sql import BaseText2SQLView, ColumnConfig, TableConfig
from dbally.views.freeform.text2sql import prompt as sql_prompts
from files import RESULT, ask, start

from {{ cookiecutter.package_name }} import Recorder, recording


async def fail(collection):
    with contextlib.suppress(Exception), recording():
        await collection.ask("Who?", return_natural_response=True)


async def error_of_request(error):
    """Return what is recorded of an error that ends a request."""
    records = []
    with contextlib.suppress(BaseException), recording():
        _tracker = await start(Recorder(records.append))
        raise error
    return records[-1].error


# Why a request failed


async def say_nothing(conversation):
    return None


async def say_that_it_is_not_supported(conversation):
    if "Decision:" in conversation:
        return "Decision: true"
    return "UNSUPPORTED QUERY"


async def lose_the_connection(conversation):
    try:
        raise OSError("connection reset by peer")
    except OSError as error:
        raise dbally.LLMConnectionError from error


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        pytest.param(say_nothing, "NoneType", id="no content"),
        pytest.param(say_that_it_is_not_supported, "UnsupportedQueryError", id="not supported"),
        pytest.param(lose_the_connection, "connection reset by peer", id="lost connection"),
    ],
)
async def test_the_last_record_tells_a_reason_that_db_ally_hides(reply, reason, make, records):
    await fail(make(reply=reply))

    assert records[-1].kind == "request_failed"
    assert reason in str(records[-1].error)


async def test_the_last_record_tells_what_the_database_complained_about(make, engine, records):
    class View(BaseText2SQLView):
        """Staff."""

        def get_tables(self):
            return [TableConfig("staff", [ColumnConfig("name", "TEXT")])]

    async def no_table(conversation):
        return '{"sql": "SELECT * FROM no_such_table", "parameters": []}'

    collection = make(reply=no_table, view=None)
    collection.add(View, lambda: View(engine))
    await fail(collection)

    assert "no such table: no_such_table" in str(records[-1].error)
    assert {record.step for record in records if record.event} == {"text-to-SQL"}


async def test_causes_are_recorded_outermost_first_and_each_once():
    root = ValueError("root")
    member = KeyError("member")
    member.__context__ = root
    root.__context__ = member  # a circle
    suppressing = RuntimeError("suppressing")
    suppressing.__context__ = OSError("suppressed")
    suppressing.__suppress_context__ = True
    inner = ExceptionGroup("inner", [suppressing])

    error = await error_of_request(ExceptionGroup("outer", [member, inner]))

    assert error["message"] == "outer (2 sub-exceptions)"
    assert [cause["message"] for cause in error["causes"]] == [
        "'member'",
        "root",
        "inner (1 sub-exception)",
        "suppressing",
        "suppressed",
    ]


async def test_a_request_that_has_ended_is_not_blamed_for_what_its_block_raises_later(records):
    with pytest.raises(KeyError), recording():
        tracker = await start(Recorder(records.append))
        await tracker.request_end(RESULT)
        raise KeyError

    assert [record.kind for record in records] == ["request_start", "request_end"]


async def test_the_errors_of_a_record_are_bounded(records):
    error = RuntimeError("x" * 200_000)
    last = error
    for number in range(100):
        last.__cause__ = RuntimeError(number)
        last = last.__cause__

    with contextlib.suppress(RuntimeError), recording():
        _tracker = await start(Recorder(records.append))
        raise error

    recorded = records[-1].error
    assert len(recorded["causes"]) == 19
    assert records[-1].cut == {"error": 200_000, "error.causes": 100}


# The summary


async def test_the_summary_tells_the_whole_request(make, records):
    with recording(user="ann"):
        await make().ask("Who?", return_natural_response=True)

    tokens = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    for record in records:
        data = record.data or {}
        for name in tokens:
            tokens[name] += data.get(name, 0)
    assert tokens["total_tokens"] > 300
    assert records[-1].summary == {
        "collection": "staff",
        "question": "Who?",
        "labels": {"user": "ann"},
        "view": "StaffView",
        "rows": 1,
        "calls": 3,
        "failed_calls": 0,
        **tokens,
    }


async def test_the_summary_of_a_failed_request_counts_its_failed_calls(make, records):
    await fail(make(reply=lose_the_connection))

    summary = records[-1].summary
    assert (summary["calls"], summary["failed_calls"]) == (4, 4)
    assert summary["view"] == "StaffView"
    assert "rows" not in summary
    assert records[-1].open_events is None


async def test_a_failed_event_that_is_no_call_is_not_counted_as_one(records):
    with pytest.raises(KeyError), recording():
        tracker = await start(Recorder(records.append))
        async with tracker.track_event(CacheEvent("k")):
            raise KeyError

    assert records[-1].summary["failed_calls"] == 0
    assert records[-1].summary["failed_step"] == "CacheEvent"


async def test_a_count_of_tokens_that_is_no_number_is_not_added(records):
    tracker = await start(Recorder(records.append))
    event = LLMEvent("Who?", "Prompt")
    async with tracker.track_event(event) as span:
        event.total_tokens = "many"
        span(event)
    del tracker
    gc.collect()

    assert records[-1].summary["total_tokens"] == 0


async def select_view_and_filters(handler, *, is_view_known=True, is_repeated=False):
    """Select a view, fail to get filters, get them if that is repeated, and fail otherwise."""
    with contextlib.suppress(RuntimeError), recording():
        tracker = await start(handler)

        selection = LLMEvent(view_prompts.VIEW_SELECTION_TEMPLATE.chat, "PromptTemplate")
        async with tracker.track_event(selection) as span:
            selection.response = "StaffView" if is_view_known else None
            span(selection)

        filters = LLMEvent(iql_prompts.FILTERS_GENERATION_TEMPLATE.chat, "PromptTemplate")
        with contextlib.suppress(ConnectionError):
            async with tracker.track_event(filters):
                raise ConnectionError
        if is_repeated:
            async with tracker.track_event(filters):
                pass

        raise RuntimeError


async def test_a_failed_request_tells_the_view_that_was_chosen_and_the_step_that_failed(records):
    await select_view_and_filters(Recorder(records.append))

    assert records[-1].summary["view"] == "StaffView"
    assert records[-1].summary["failed_step"] == "filters"


async def test_a_step_that_was_repeated_with_success_has_not_failed(records):
    await select_view_and_filters(Recorder(records.append), is_repeated=True)

    assert "failed_step" not in records[-1].summary


async def test_the_view_is_left_out_if_none_was_chosen(records):
    await select_view_and_filters(Recorder(records.append), is_view_known=False)

    assert "view" not in records[-1].summary


async def test_the_view_that_was_chosen_is_a_response_and_withheld_like_one(records):
    await select_view_and_filters(Recorder(records.append, record_outputs=False))

    assert records[-1].summary["view"] == "[withheld]"


async def test_a_good_request_leaves_nothing_open_and_warns_of_nothing(records, caplog):
    await ask(Recorder(records.append))

    assert {record.open_events for record in records} == {None}
    assert {record.started_at.tzinfo for record in records} == {UTC}
    for record in records[2:]:
        assert record.elapsed == round(record.elapsed or 0, 6)
    assert caplog.messages == []


# What a call of the model is for


def templates_of(*modules):
    templates = {}
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, PromptTemplate):
                templates[name] = value
    return templates


TEMPLATES = templates_of(iql_prompts, nl_prompts, view_prompts, sql_prompts)


async def step_of(prompt):
    records = []
    tracker = await start(Recorder(records.append))
    async with tracker.track_event(LLMEvent(prompt, "PromptTemplate")):
        return records[1].step


@pytest.mark.parametrize("name", TEMPLATES)
async def test_every_template_of_db_ally_has_a_step(name):
    first, *others = TEMPLATES[name].chat
    text, placeholder, _ = first["content"].partition("{")
    filled = {**first, "content": text + "what was asked" if placeholder else text}

    assert await step_of([filled, *others]) is not None


async def test_no_two_templates_of_db_ally_have_the_same_step():
    steps = {await step_of(template.chat) for template in TEMPLATES.values()}

    assert len(steps) == len(TEMPLATES) == 8


def test_no_other_module_of_db_ally_has_a_template():
    modules = [module for name, module in sys.modules.items() if name.startswith("dbally")]

    assert templates_of(*modules) == TEMPLATES


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("text", id="text"),
        pytest.param(("x",), id="tuple"),
        pytest.param([], id="no messages"),
        pytest.param(["text"], id="message that is a text"),
        pytest.param([{}], id="message without content"),
        pytest.param([{"content": None}], id="message whose content is None"),
        pytest.param([{"role": "system", "content": "You are a pirate."}], id="own template"),
    ],
)
async def test_a_prompt_of_the_application_has_no_step(prompt):
    assert await step_of(prompt) is None
