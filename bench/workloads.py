"""Requests to measure, each through db-ally's own code."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult

from .project import Project

Workload = Callable[[list[Any]], Callable[[], Awaitable[object]]]  # from handlers to what makes one request

_INSTRUCTION = """\
You have access to an API that lets you query a database supporting a single table of staff.
Please suggest which filter(s) to call and how they should be joined with logic operators (AND, OR, NOT).
DO NOT INCLUDE arguments names in your response. Only the values.
"""
_QUESTION = "Who in Kraków earns more than 7000, and since when?"
_SQL = "SELECT staff.name, staff.city, staff.salary \nFROM staff \nWHERE staff.city = 'Kraków' AND staff.salary > 7000"


def tracked(prompt_size: int, rows: int = 3) -> Workload:
    """Make requests of three calls of a model, each with a prompt of `prompt_size` characters: eight records."""
    instruction = (_INSTRUCTION * (prompt_size // len(_INSTRUCTION) + 1))[: prompt_size - len(_QUESTION)]
    prompt = ({"role": "system", "content": instruction}, {"role": "user", "content": _QUESTION})
    staff = [{"name": f"Ann {number}", "city": "Kraków", "salary": 7200 + number} for number in range(rows)]

    async def request(handlers: list[Any]) -> None:
        tracker = EventTracker.initialize_with_handlers(handlers)
        await tracker.request_start(RequestStart("staff", _QUESTION))
        for _ in range(3):
            event = LLMEvent(prompt=prompt, type="IQLGenerationPromptFormat")
            async with tracker.track_event(event) as span:
                event.response = 'works_in("Kraków") AND earns_more_than(7000)'
                event.prompt_tokens, event.completion_tokens, event.total_tokens = prompt_size // 4, 20, 20
                span(event)
        result = ExecutionResult(staff, {"sql": _SQL}, 0.25, 0.125, "StaffView", "Ann does, since 2019.")
        await tracker.request_end(RequestEnd(result))

    return lambda handlers: partial(request, handlers)


def asked(project: Project) -> Workload:
    """Make whole `Collection.ask` calls over SQLite, with a model that answers from a script."""

    def make(handlers: list[Any]) -> Callable[[], Awaitable[object]]:
        collection = project.application.make_collection(project.application.make_engine(), *handlers)
        return partial(collection.ask, "Who lives in Kraków?", return_natural_response=True)

    return make
