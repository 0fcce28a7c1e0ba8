"""A request with a canary, a text of its own, in every field that can hold what people typed.

It proves nothing by itself: `test_handler_contract.py` and `test_masks.py` look for the canaries.
Delete it with them.
"""

import dataclasses
from typing import Any

from dbally.audit.events import Event, FallbackEvent, LLMEvent, RequestEnd, SimilarityEvent
from dbally.collection.results import ExecutionResult
from files import start

from {{ cookiecutter.package_name }} import recording

# The fields in which a text must not be seen, if this switch is off.
FIELDS = {
    "record_inputs": [
        "question",
        "prompt",
        "store",
        "fetcher",
        "input_value",
        "error_description",
        "key",
        "message",
    ],
    "record_outputs": [
        "prompt",
        "response",
        "input_value",
        "output_value",
        "triggering_view_name",
        "textual_response",
        "sql",
        "row",
        "message",
    ],
}


@dataclasses.dataclass
class CacheEvent(Event):
    """An event of the application."""

    key: Any
    hit: bool | None = None


def canary(field: str) -> str:
    """Return what is in a field and nowhere else."""
    return f"canary-of-{field}"


async def ask_with_canaries(handler: Any) -> None:
    """Go through every event of db-ally and a whole result."""
    tracker = await start(handler, question=canary("question"))

    llm = LLMEvent([{"role": "user", "content": canary("prompt")}], "Prompt")
    async with tracker.track_event(llm) as span:
        llm.response = canary("response")
        span(llm)

    similarity = SimilarityEvent(canary("store"), canary("fetcher"), canary("input_value"))
    async with tracker.track_event(similarity) as span:
        similarity.output_value = canary("output_value")
        span(similarity)

    fallback = FallbackEvent(
        triggering_collection_name="first",
        # If the model names no view, db-ally takes its whole response for the name.
        triggering_view_name=canary("triggering_view_name"),
        fallback_collection_name="second",
        error_description=canary("error_description"),
    )
    async with tracker.track_event(fallback) as span:
        span(fallback)

    async with tracker.track_event(CacheEvent(canary("key"))):
        pass

    await tracker.request_end(
        RequestEnd(
            ExecutionResult(
                results=[{"name": canary("row")}],
                context={"sql": canary("sql")},
                execution_time=1,
                execution_time_view=1,
                view_name="View",
                textual_response=canary("textual_response"),
            )
        )
    )


async def fail_with_canaries(handler: Any) -> None:
    """Raise `RuntimeError` with a canary out of an event and its request."""
    with recording():
        tracker = await start(handler, question=canary("question"))
        async with tracker.track_event(LLMEvent(canary("prompt"), "Prompt")):
            raise RuntimeError(canary("message"))
