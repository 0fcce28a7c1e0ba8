"""What a record is."""

from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

from dbally.audit.events import Event, LLMEvent
from dbally.iql_generator.prompt import (
    AGGREGATION_DECISION_TEMPLATE,
    AGGREGATION_GENERATION_TEMPLATE,
    FILTERING_DECISION_TEMPLATE,
    FILTERS_GENERATION_TEMPLATE,
)
from dbally.nl_responder.prompts import NL_RESPONSE_TEMPLATE, QUERY_EXPLANATION_TEMPLATE
from dbally.prompt.template import PromptTemplate
from dbally.view_selection.prompt import VIEW_SELECTION_TEMPLATE
from dbally.views.freeform.text2sql.prompt import SQL_GENERATION_TEMPLATE

from .plain import JsonObject, JsonValue, read_field

Kind = Literal[
    "request_start",
    "event_start",
    "event_end",
    "event_failed",
    "request_end",
    "request_failed",
]

RECORD_VERSION = 1  # of the keys of a record
DBALLY_VERSION = version("dbally")


class Record(NamedTuple):
    """One thing that happened to a request. A sink is given these, and must not change them.

    Attributes:
        request_id: 32 hex digits.
        collection: the name of the collection that was asked.
        started_at: when the request started, UTC.
        process: host and process id.
        labels: what `recording` was given around the request.
        time: when it happened, UTC.
        kind: what happened.
        event_id: number of the event within its request, from 1; `None` for the request itself.
        event: class name of the event.
        step: what an LLM call is for, if that is known.
        elapsed: seconds from the start of the event or the request to this record, from a
            monotonic clock.
        error: `type`, `message` and `causes` of the failure. `None` if it is not known. Then it may
            have failed some time before this record, so that `elapsed` is an upper bound.
        data: db-ally's own fields, as plain data; an end leaves out what its start holds. With a
            failed event, what it got before it failed.
        summary: the whole request in short, in its last record.
        open_events: with `request_failed`, the events that neither ended nor failed: number, and
            step or class.
        cut: what was truncated, with its whole size in characters or entries.
    """

    request_id: str
    collection: str
    started_at: datetime
    process: str
    labels: JsonObject
    time: datetime
    kind: Kind
    event_id: int | None = None
    event: str | None = None
    step: str | None = None
    elapsed: float | None = None
    error: JsonObject | None = None
    data: JsonObject | None = None
    summary: JsonObject | None = None
    open_events: list[JsonValue] | None = None
    cut: dict[str, int] | None = None

    def as_dict(self) -> JsonObject:
        """Return the record as both formats show it: keys in a fixed order, values without `None`.

        But a failure always has `error`, and every other record has `data`, even if it is `None`.
        `collection` and `started_at` are not among the keys. `process` and `labels` are only in the
        first record of a request.
        """
        time = self.time.isoformat(timespec="microseconds")
        row: dict[str, Any] = {
            "time": time.removesuffix("+00:00") + "Z",
            "request_id": self.request_id,
            "kind": self.kind,
        }
        if self.kind == "request_start":
            row["version"] = RECORD_VERSION
            row["dbally"] = DBALLY_VERSION
            row["process"] = self.process
            if self.labels:
                row["labels"] = self.labels

        required = "error" if self.kind.endswith("_failed") else "data"
        for name, value in zip(_OPTIONAL_KEYS, self[_FIRST_OPTIONAL_KEY:], strict=True):
            if value is not None or name == required:
                row[name] = value
        return row


# `as_dict` writes the fields from `event_id` on, unless they are `None`. Add a new one at the end.
_FIRST_OPTIONAL_KEY = Record._fields.index("event_id")
_OPTIONAL_KEYS = Record._fields[_FIRST_OPTIONAL_KEY:]

_TEMPLATES: dict[str, PromptTemplate[Any]] = {
    "view selection": VIEW_SELECTION_TEMPLATE,
    "filter decision": FILTERING_DECISION_TEMPLATE,
    "filters": FILTERS_GENERATION_TEMPLATE,
    "aggregation decision": AGGREGATION_DECISION_TEMPLATE,
    "aggregation": AGGREGATION_GENERATION_TEMPLATE,
    "text-to-SQL": SQL_GENERATION_TEMPLATE,
    "answer": NL_RESPONSE_TEMPLATE,
    "explanation": QUERY_EXPLANATION_TEMPLATE,
}


# The first message of each template, up to its first placeholder.
_BEGINNINGS = {
    step: template.chat[0]["content"].partition("{")[0] for step, template in _TEMPLATES.items()
}


def step_of(event: Event) -> str | None:
    """Return what an LLM call is for, if its prompt comes from one of db-ally's templates."""
    if not isinstance(event, LLMEvent):
        return None

    text = _first_message(read_field(event, "prompt"))
    for step, beginning in _BEGINNINGS.items():
        if text.startswith(beginning):
            return step
    return None


def _first_message(prompt: object) -> str:
    """Return the text of the first message of a prompt; empty if it is no list of messages."""
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict):
        text = prompt[0].get("content")
        if isinstance(text, str):
            return text
    return ""
