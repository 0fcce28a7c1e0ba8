"""What the fields of db-ally's objects can hold, and so which switches a field needs: one table.

The content of a field is the set of the switches that must be on for it to be recorded. An error
can quote SQL and its literals, a `repr` can quote anything, and a prompt holds rows and earlier
answers: what users typed as well as what came of it. So these need more than one switch.
"""

from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from dbally.audit.events import (
    FallbackEvent,
    LLMEvent,
    RequestEnd,
    RequestStart,
    SimilarityEvent,
)
from dbally.collection.results import ExecutionResult

WITHHELD = "[withheld]"

Content: TypeAlias = frozenset[str]
METADATA: Content = frozenset()
INPUT: Content = frozenset(["record_inputs"])
OUTPUT: Content = frozenset(["record_outputs"])
BOTH: Content = INPUT | OUTPUT
PROMPT: Content = BOTH | {"record_prompts"}

# Every field of db-ally's classes, in the order of records. All other fields count as BOTH until
# they are declared.
CONTENT: dict[type, dict[str, Content]] = {
    RequestStart: {
        "collection_name": METADATA,
        "question": INPUT,
    },
    LLMEvent: {
        "type": METADATA,
        "prompt": PROMPT,
        "response": OUTPUT,
        "prompt_tokens": METADATA,
        "completion_tokens": METADATA,
        "total_tokens": METADATA,
    },
    SimilarityEvent: {
        "store": BOTH,
        "fetcher": BOTH,
        "input_value": BOTH,
        "output_value": OUTPUT,
    },
    FallbackEvent: {
        "triggering_collection_name": METADATA,
        "triggering_view_name": OUTPUT,  # the whole response of the model if that names no view
        "fallback_collection_name": METADATA,
        "error_description": BOTH,
    },
    RequestEnd: {
        "result": BOTH,  # if it is no ExecutionResult, whose fields are recorded one by one
    },
    ExecutionResult: {
        "textual_response": OUTPUT,
        "view_name": METADATA,
        "execution_time": METADATA,
        "execution_time_view": METADATA,
        "context": OUTPUT,
        "results": OUTPUT,  # the last one: rows take what is left of the budget of a record
    },
}


def declare(event_class: type, **contents: Content) -> None:
    """Say what fields of your own event class hold: `declare(CacheEvent, key=INPUT)`.

    Raises:
        ValueError: a content is none of `METADATA`, `INPUT`, `OUTPUT`, `BOTH` and `PROMPT`.
    """
    for name, content in contents.items():
        if content not in (METADATA, INPUT, OUTPUT, BOTH, PROMPT):
            raise ValueError(
                f"{name} {content!r} must be METADATA, INPUT, OUTPUT, BOTH or PROMPT; "
                f"for example {name}=INPUT"
            )

    CONTENT[event_class] = CONTENT.get(event_class, {}) | contents
    _declared_fields.cache_clear()


def contents_of(source: object) -> dict[str, Content]:
    """Return the names of an object's fields, in the order of records, and what each can hold."""
    declared = _declared_fields(type(source))  # type: ignore[arg-type]  # mypy: not hashable
    attributes = getattr(source, "__dict__", {})
    if attributes.keys() <= declared.keys():
        return declared

    contents = dict(declared)
    for name in attributes:
        contents.setdefault(name, BOTH)
    return contents


@lru_cache
def switches_on(record_inputs: bool, record_prompts: bool, record_outputs: bool) -> Content:
    """Return the names of the switches that are on. Every record asks, so the sets are kept."""
    switches = {
        "record_inputs": record_inputs,
        "record_prompts": record_prompts,
        "record_outputs": record_outputs,
    }
    return frozenset(name for name, is_on in switches.items() if is_on)


@lru_cache(maxsize=256)
def _declared_fields(source_class: type[Any]) -> dict[str, Content]:
    contents: dict[str, Content] = {}
    for base in reversed(source_class.__mro__):
        contents.update(CONTENT.get(base, {}))
    if is_dataclass(source_class):
        for field in fields(source_class):
            contents.setdefault(field.name, BOTH)
    return contents
