"""A request with a canary in every field that may hold what someone typed or was told."""

import dataclasses
from typing import Any

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

from {{ cookiecutter.package_name }} import recording

SECRETS = {
    "inputs": [
        "question",
        "prompt",
        "input_value",
        "error_description",
        "store",
        "fetcher",
        "key",
        "message",
    ],
    "outputs": [
        *(
            "response",
            "output_value",
            "textual_response",
            "sql",
            "row",
            "prompt",
            "input_value",
            "message",
        ),
        "triggering_view_name",
    ],
}


@dataclasses.dataclass
class CacheEvent(Event):
    """An event that the application made."""

    key: Any
    hit: bool | None = None


def canary(field: str) -> str:
    """Return what is in a field and nowhere else."""
    return f"canary-of-{field}"


async def ask_with_canaries(handler: Any, *, fail: bool) -> None:
    """Go through every event of db-ally; with `fail`, raise `RuntimeError` before the result."""
    tracker = EventTracker.initialize_with_handlers([handler])
    await tracker.request_start(RequestStart("staff", canary("question")))
    llm = LLMEvent(prompt=[{"role": "user", "content": canary("prompt")}], type="Prompt")
    async with tracker.track_event(llm) as span:
        llm.response = canary("response")
        span(llm)
    similarity = SimilarityEvent(canary("store"), canary("fetcher"), canary("input_value"))
    async with tracker.track_event(similarity) as span:
        similarity.output_value = canary("output_value")
        span(similarity)
    # A model that names no view has its answer taken for the name of one.
    fallback = FallbackEvent(
        "first", canary("triggering_view_name"), "second", canary("error_description")
    )
    for event in (fallback, CacheEvent(canary("key"))):
        async with tracker.track_event(event) as span:
            span(event)
    if fail:
        with recording():
            async with tracker.track_event(llm):
                raise RuntimeError(canary("message"))
    rows = [{"name": canary("row")}]
    context = {"sql": canary("sql")}
    await tracker.request_end(
        RequestEnd(ExecutionResult(rows, context, 1, 1, "View", canary("textual_response")))
    )
