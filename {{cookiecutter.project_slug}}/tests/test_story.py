"""What the records of a request tell together: causes, steps, the summary, who and where."""

import asyncio
import contextlib
import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dbally
import pytest
import sqlalchemy
from application import say
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestStart
from dbally.collection.collection import Collection
from dbally.iql_generator import prompt as iql_prompts
from dbally.nl_responder import prompts as nl_prompts
from dbally.prompt.template import PromptTemplate
from dbally.view_selection import prompt as view_prompts
from dbally.views.freeform.text2sql import BaseText2SQLView, ColumnConfig, TableConfig
from dbally.views.freeform.text2sql import prompt as sql_prompts
from files import RESULT

from {{ cookiecutter.package_name }}.blocks import recording
from {{ cookiecutter.package_name }}.failures import error_chain
from {{ cookiecutter.package_name }}.recorder import Recorder
from {{ cookiecutter.package_name }}.records import Record, step_of

MakeCollection = Callable[..., Collection]


async def fail(collection: Collection) -> None:
    with contextlib.suppress(Exception), recording(user="ann"):
        await collection.ask("Who?", return_natural_response=True)


async def nothing(conversation: str) -> Any:
    return None


async def unsupported(conversation: str) -> str:
    return "Decision: true" if "Decision:" in conversation else "UNSUPPORTED QUERY"


async def no_table(conversation: str) -> str:
    return '{"sql": "SELECT * FROM no_such_table", "parameters": []}'


async def away(conversation: str) -> str:
    try:
        raise OSError("connection reset by peer")
    except OSError as error:
        raise dbally.LLMConnectionError from error


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (nothing, "NoneType"),
        (unsupported, "UnsupportedQueryError"),
        (away, "connection reset by peer"),
    ],
    ids=["no content", "unsupported", "a timeout behind a connection error"],
)
async def test_where_db_ally_hides_the_reason_the_last_record_tells_it(
    reply: Any, reason: str, make_collection: MakeCollection, records: list[Record]
) -> None:
    await fail(make_collection(Recorder(records.append), reply=reply))

    assert records[-1].kind == "request_failed"
    assert reason in str(records[-1].error)


async def test_the_complaint_of_the_database_is_in_the_last_record(
    make_collection: MakeCollection, engine: sqlalchemy.Engine, records: list[Record]
) -> None:
    class View(BaseText2SQLView):
        """Staff."""

        def get_tables(self) -> list[TableConfig]:
            return [TableConfig("staff", [ColumnConfig("name", "TEXT")])]

    collection = make_collection(Recorder(records.append), reply=no_table, view=None)
    collection.add(View, lambda: View(engine))
    await fail(collection)

    assert "no such table: no_such_table" in str(records[-1].error)
    assert {record.step for record in records if record.event} == {"text-to-SQL"}


def test_causes_are_told_once_outermost_first_and_circles_end() -> None:
    root, member, hidden = ValueError("root"), KeyError("member"), OSError("hidden")
    member.__context__ = root
    root.__context__ = member
    suppressing = RuntimeError("suppressing")
    suppressing.__context__, suppressing.__suppress_context__ = hidden, True
    group = ExceptionGroup("group", [member, ExceptionGroup("inner", [suppressing])])

    assert [str(error) for error in error_chain(group)] == [
        "group (2 sub-exceptions)",
        "'member'",
        "root",
        "inner (1 sub-exception)",
        "suppressing",
        "hidden",
    ]


async def test_the_errors_of_a_record_are_bounded(records: list[Record]) -> None:
    error: Exception | None = None
    for number in range(100):
        error, cause = RuntimeError(number), error
        error.__cause__ = cause
    with contextlib.suppress(RuntimeError), recording():
        tracker = EventTracker.initialize_with_handlers([Recorder(records.append)])
        await tracker.request_start(RequestStart("staff", "Who?"))
        raise RuntimeError("x" * 200_000) from error

    assert records[-1].cut == {"error": 200_000}
    assert records[-1].error
    assert len(list(records[-1].error["causes"] or [])) == 19  # type: ignore[arg-type]


async def test_the_summary_tells_the_whole_story(
    make_collection: MakeCollection, records: list[Record]
) -> None:
    with recording(user="ann"):
        await make_collection(Recorder(records.append)).ask("Who?", return_natural_response=True)

    ends = [record.data or {} for record in records if record.kind == "event_end"]
    assert records[-1].summary == {
        "collection": "staff",
        "question": "Who?",
        "labels": {"user": "ann"},
        "view": "StaffView",
        "rows": 1,
        "calls": 3,
        "failed_calls": 0,
        **{
            name: sum(end.get(name, 0) for end in ends)  # type: ignore[misc]
            for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        },
    }


async def test_a_summary_counts_calls_that_failed_and_withholds_what_a_switch_withholds(
    make_collection: MakeCollection, records: list[Record]
) -> None:
    await fail(make_collection(Recorder(records.append, record_inputs=False), reply=away))

    assert records[-1].summary
    assert (records[-1].summary["calls"], records[-1].summary["failed_calls"]) == (4, 4)
    assert records[-1].summary["question"] == "[withheld]"
    assert records[-1].summary["view"] == "StaffView"
    assert "rows" not in records[-1].summary
    assert records[-1].open_events is None


async def test_question_and_labels_are_short_in_a_summary(records: list[Record]) -> None:
    with recording(note="n" * 100_000):
        tracker = EventTracker.initialize_with_handlers([Recorder(records.append)])
        await tracker.request_start(RequestStart("staff", "q" * 100_000))
    del tracker
    gc.collect()

    assert len(str((records[0].data or {})["question"])) == 100_000
    assert 1_000 < len(str(records[-1].summary)) < 4_000
    assert len(str(records[0].labels)) < 2_100


TEMPLATES = {
    f"{module.__name__}.{name}": template
    for module in (iql_prompts, nl_prompts, view_prompts, sql_prompts)
    for name, template in vars(module).items()
    if isinstance(template, PromptTemplate)
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_of_db_ally_has_a_step(name: str) -> None:
    words = {
        word: "x {y} $1"
        for word in ("question", "views", "methods", "tables", "dialect", "results", "query")
    }
    chat: Any = [
        {
            **message,
            "content": message["content"].format(**words, number_of_results=1),
            "is_example": False,
        }
        for message in TEMPLATES[name].chat
    ]

    assert step_of(LLMEvent(chat, "PromptTemplate")) is not None
    assert len(TEMPLATES) == len(
        {step_of(LLMEvent(template.chat, "")) for template in TEMPLATES.values()}
    )


def test_no_other_module_of_db_ally_has_a_template() -> None:
    templates = {id(thing) for thing in gc.get_objects() if isinstance(thing, PromptTemplate)}

    assert {id(template) for template in TEMPLATES.values()} <= templates
    assert len(TEMPLATES) == 8


@pytest.mark.parametrize(
    "prompt",
    [
        "text",
        [],
        ["text"],
        [{}],
        [{"content": None}],
        [{"role": "system", "content": "You are a pirate."}],
        ("x",),
    ],
    ids=range(7),
)
def test_a_prompt_of_the_application_has_no_step(prompt: Any) -> None:
    assert step_of(LLMEvent(prompt, "PromptTemplate")) is None


async def test_prompts_alone_can_be_withheld(
    make_collection: MakeCollection, records: list[Record]
) -> None:
    handler = Recorder(records.append, record_prompts=False)
    await make_collection(handler, reply=say()).ask("Who?", return_natural_response=True)

    log = str([record.as_dict() for record in records])
    assert log.count("'prompt': '[withheld]'") == 3
    assert "Given a question" not in log
    assert all(
        text in log for text in ("'question': 'Who?'", "WHERE", "Ann does.", "Decision: true")
    )
    assert asyncio.iscoroutinefunction(handler.request_start)


async def test_a_good_request_leaves_nothing_open_and_says_nothing(
    records: list[Record], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = EventTracker.initialize_with_handlers([Recorder(records.append)])
    await tracker.request_start(RequestStart("staff", "Who?"))
    async with tracker.track_event(LLMEvent("Who?", "Prompt")):
        await tracker.request_end(RESULT)

    assert [record.open_events for record in records] == [None] * 4
    assert records[1].data == {"type": "Prompt", "prompt": "Who?"}
    assert {record.started_at.utcoffset() for record in records} == {timedelta(0)}
    assert all(
        record.elapsed is None or record.elapsed == round(record.elapsed, 6) for record in records
    )
    assert caplog.messages == []


async def go_through_steps(handler: Recorder, *, is_repeated: bool) -> None:
    """Select a view, and fail to get filters; repeat that with success or not; then fail otherwise."""
    with contextlib.suppress(RuntimeError), recording():
        tracker = EventTracker.initialize_with_handlers([handler])
        await tracker.request_start(RequestStart("staff", "Who?"))
        selection = LLMEvent(view_prompts.VIEW_SELECTION_TEMPLATE.chat, "PromptTemplate")
        async with tracker.track_event(selection) as span:
            selection.response = "StaffView"
            span(selection)
        filters = LLMEvent(iql_prompts.FILTERS_GENERATION_TEMPLATE.chat, "PromptTemplate")
        with contextlib.suppress(ConnectionError):
            async with tracker.track_event(filters):
                raise ConnectionError
        if is_repeated:
            async with tracker.track_event(filters):
                pass
        raise RuntimeError


async def test_a_failed_request_tells_the_view_as_far_as_it_was_chosen_and_the_step_that_failed(
    records: list[Record],
) -> None:
    await go_through_steps(Recorder(records.append), is_repeated=False)
    await go_through_steps(Recorder(records.append), is_repeated=True)
    await go_through_steps(Recorder(records.append, record_outputs=False), is_repeated=False)

    ends = [record.summary for record in records if record.summary]
    assert [(end["view"], end.get("failed_step")) for end in ends] == [
        ("StaffView", "filters"),
        ("StaffView", None),
        ("[withheld]", "filters"),
    ]
