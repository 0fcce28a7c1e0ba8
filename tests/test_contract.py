"""The generated contract tests stand on their own: they hold for any sink, and they fail for broken handlers."""

import re
import shutil
import textwrap
from pathlib import Path

import pytest
from bake import run

CONTRACT = ("pytest", "-q", "-p", "no:cacheprovider", "--no-header", "tests/test_handler_contract.py")

LIST_AS_SINK = """
from db_ally_file_handler import Recorder
from db_ally_file_handler.formats import format_json

RECORDS: list[Any] = []


@pytest.fixture
def make_handler() -> MakeHandler:
    RECORDS.clear()
    return lambda **options: Recorder(lambda record: RECORDS.append(json.loads(format_json(record))), **options)


@pytest.fixture
def read_records() -> ReadRecords:
    async def read() -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        gc.collect()
        return list(RECORDS)

    return read


@pytest.fixture
def make_broken_handler() -> MakeHandler:
    def refuse(record: Any) -> None:
        raise OSError("no")

    return lambda **options: Recorder(refuse, **options)
"""

# Each handler with one fault that a change could bring in, and the test of the contract that must notice.
BROKEN_HANDLERS = {
    "unhashable": (
        """
        __hash__ = None
        """,
        "test_a_request_is_recorded_from_question_to_answer",
    ),
    "wrong parameter name": (
        """
        async def event_end(self, event, request_context, context): ...
        """,
        "test_a_request_is_recorded_from_question_to_answer",
    ),
    "state on the handler": (
        """
        async def request_start(self, user_request):
            self.context = await super().request_start(user_request)
            return self.context
        async def event_start(self, event, request_context):
            return await super().event_start(event, self.context)
        """,
        "test_concurrent_requests_are_not_mixed_up",
    ),
    "raises on an unknown event": (
        """
        async def event_start(self, event, request_context):
            if type(event).__module__ != "dbally.audit.events":
                raise ValueError(f"unsupported event {event}")
            return await super().event_start(event, request_context)
        """,
        "test_an_event_of_the_application_is_recorded_field_by_field",
    ),
    "swallows the user's exception": (
        """
        async def request_start(self, user_request):
            tracker = sys._getframe(1).f_locals["self"]
            track_event = tracker.track_event
            @contextlib.asynccontextmanager
            async def swallowing(event):
                with contextlib.suppress(RuntimeError):
                    async with track_event(event) as span:
                        yield span
            tracker.track_event = swallowing
            return await super().request_start(user_request)
        """,
        "test_an_event_has_failed_before_its_caller_knows",
    ),
    "ends the event that started last": (
        """
        async def event_start(self, event, request_context):
            context = await super().event_start(event, request_context)
            STARTED.append(context)
            return context
        async def event_end(self, event, request_context, event_context):
            await super().event_end(event, request_context, STARTED.pop())
        """,
        "test_overlapping_events_are_told_apart",
    ),
    "lets a failing sink reach the user": (
        """
        def __init__(self, *args, **options):
            super().__init__(*args, **options, raise_errors=True)
        """,
        "test_a_failing_sink_does_not_reach_the_user",
    ),
    "knows no failures": (
        """
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            sink = self.sink
            self.sink = lambda record: None if record.kind.endswith("_failed") else sink(record)
        """,
        "test_a_retried_event_has_failed_but_its_request_has_not",
    ),
    "withholds nothing": (
        """
        def __init__(self, *args, record_inputs=True, record_outputs=True, **options):
            super().__init__(*args, **options)
        """,
        "test_what_is_switched_off_is_nowhere",
    ),
}


@pytest.fixture
def project(default_project: Path, tmp_path: Path) -> Path:
    return shutil.copytree(default_project, tmp_path / "project")


def add_to_conftest(project: Path, addition: str) -> None:
    """Append to the fixtures: a later definition replaces an earlier one of the same name."""
    conftest = project / "tests" / "conftest.py"
    conftest.write_text(conftest.read_text("utf-8") + addition, "utf-8")


def test_the_contract_holds_for_a_list_as_the_sink(project: Path) -> None:
    add_to_conftest(project, LIST_AS_SINK)

    said = run(project, *CONTRACT)

    assert re.search(r"^\d+ passed in", said, re.MULTILINE), "one was skipped"


@pytest.mark.parametrize("fault", BROKEN_HANDLERS)
def test_the_contract_fails_for_a_broken_handler(fault: str, project: Path) -> None:
    methods, test = BROKEN_HANDLERS[fault]
    broken = "\n\nclass Broken(Handler):" + textwrap.indent(textwrap.dedent(methods), "    ")
    add_to_conftest(project, f"\nimport contextlib, sys\nSTARTED = []\n{broken}\nHandler = Broken\n")

    with pytest.raises(AssertionError, match=r"\d+ failed"):
        run(project, *CONTRACT, "-k", test)
