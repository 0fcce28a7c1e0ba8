"""Which switches must be on for a field of db-ally's objects to be recorded: one table.

Most fields hold either what users typed or what came of it, and need one switch. An error message
can quote both, a `repr` can quote anything, and a prompt holds rows and earlier answers. So these
need more than one. SQL counts as output, although it quotes values from the question.
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

Switches: TypeAlias = frozenset[str]  # names of options of `Recorder`

METADATA: Switches = frozenset()
INPUT: Switches = frozenset(["record_inputs"])
OUTPUT: Switches = frozenset(["record_outputs"])
INPUT_AND_OUTPUT: Switches = INPUT | OUTPUT
PROMPT: Switches = INPUT_AND_OUTPUT | {"record_prompts"}
ALL_SWITCHES: Switches = PROMPT

# All fields of db-ally's classes, in the order of records. A field that is not here, such as one of
# an event class of your own, counts as INPUT_AND_OUTPUT until it is declared.
NEEDED_SWITCHES: dict[type, dict[str, Switches]] = {
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
        "store": INPUT_AND_OUTPUT,
        "fetcher": INPUT_AND_OUTPUT,
        "input_value": INPUT_AND_OUTPUT,
        "output_value": OUTPUT,
    },
    FallbackEvent: {
        "triggering_collection_name": METADATA,
        "triggering_view_name": OUTPUT,  # if the LLM names no view, this is its whole response
        "fallback_collection_name": METADATA,
        "error_description": INPUT_AND_OUTPUT,
    },
    RequestEnd: {
        "result": INPUT_AND_OUTPUT,  # unless it is an ExecutionResult, which has fields of its own
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


def declare(event_class: type, **needed: Switches) -> None:
    """Say which switches the fields of an event class need: `declare(CacheEvent, key=INPUT)`.

    Raises:
        ValueError: a value is none of `METADATA`, `INPUT`, `OUTPUT`, `INPUT_AND_OUTPUT`, `PROMPT`.
    """
    for name, switches in needed.items():
        if switches not in (METADATA, INPUT, OUTPUT, INPUT_AND_OUTPUT, PROMPT):
            raise ValueError(
                f"{name} {switches!r} must be METADATA, INPUT, OUTPUT, INPUT_AND_OUTPUT or PROMPT; "
                f"for example {name}=INPUT"
            )

    NEEDED_SWITCHES[event_class] = NEEDED_SWITCHES.get(event_class, {}) | needed
    _declared_fields.cache_clear()


def needed_switches(source: object) -> dict[str, Switches]:
    """Return the names of an object's fields, in the order of records, and what each needs."""
    declared = _declared_fields(type(source))  # type: ignore[arg-type]  # classes are hashable
    attributes = getattr(source, "__dict__", {})
    if attributes.keys() <= declared.keys():
        return declared

    needed = dict(declared)
    for name in attributes:
        needed.setdefault(name, INPUT_AND_OUTPUT)
    return needed


@lru_cache
def switches_on(record_inputs: bool, record_prompts: bool, record_outputs: bool) -> Switches:
    """Return the names of the switches that are on. Every record asks, so the sets are kept."""
    options = {
        "record_inputs": record_inputs,
        "record_prompts": record_prompts,
        "record_outputs": record_outputs,
    }
    return frozenset(name for name, is_on in options.items() if is_on)


@lru_cache(maxsize=256)
def _declared_fields(source_class: type[Any]) -> dict[str, Switches]:
    needed: dict[str, Switches] = {}
    for base in reversed(source_class.__mro__):
        needed.update(NEEDED_SWITCHES.get(base, {}))

    if is_dataclass(source_class):
        for field in fields(source_class):
            needed.setdefault(field.name, INPUT_AND_OUTPUT)
    return needed
