"""What a record is."""

import re
from datetime import datetime
from importlib.metadata import version
from typing import Any, Literal, NamedTuple

from dbally.audit.events import Event, LLMEvent
from dbally.iql_generator import prompt as iql
from dbally.nl_responder import prompts as nl
from dbally.prompt.template import PromptTemplate
from dbally.view_selection.prompt import VIEW_SELECTION_TEMPLATE
from dbally.views.freeform.text2sql.prompt import SQL_GENERATION_TEMPLATE

from .plain import Data, Plain

Kind = Literal["request_start", "event_start", "event_end", "event_failed", "request_end", "request_failed"]

_VERSIONS: Data = {"version": 1, "dbally": version("dbally")}  # the first is that of a record's keys

_TEMPLATES: dict[str, PromptTemplate[Any]] = {
    "view selection": VIEW_SELECTION_TEMPLATE,
    "filter decision": iql.FILTERING_DECISION_TEMPLATE,
    "filters": iql.FILTERS_GENERATION_TEMPLATE,
    "aggregation decision": iql.AGGREGATION_DECISION_TEMPLATE,
    "aggregation": iql.AGGREGATION_GENERATION_TEMPLATE,
    "text-to-SQL": SQL_GENERATION_TEMPLATE,
    "answer": nl.NL_RESPONSE_TEMPLATE,
    "explanation": nl.QUERY_EXPLANATION_TEMPLATE,
}
_STARTS = [f"({re.escape(template.chat[0]['content'].partition('{')[0])})" for template in _TEMPLATES.values()]
_FIND_START, _STEPS = re.compile("|".join(_STARTS)), [*_TEMPLATES]


class RequestId(NamedTuple):
    """What identifies a request in its records; see `Record`."""

    request_id: str
    collection: str
    started_at: datetime
    process: str
    labels: Data


class Record(NamedTuple):
    """One thing that happened to a request. A sink gets nothing else, and changes none of it.

    Attributes:
        request_id: 32 hex digits.
        collection: the name of what is asked.
        started_at: when the request started, UTC.
        process: host and process id.
        labels: what `recording` was given around the request.
        event_id: number of the event within its request, from 1; `None` for the request itself.
        event: class name of the event.
        step: for a call of the model what it is for, where that is known.
        time: when it happened, UTC.
        kind: what happened.
        elapsed: seconds from the start of the event or the request to this record, from a monotonic clock.
        error: `type`, `message` and `causes` of what made it fail. `None` where db-ally does not let us know: then it
            may have failed some time before this record, so that `elapsed` is an upper bound.
        data: db-ally's own fields, as plain data; an end leaves out what its start holds.
        summary: with the last record of a request, all of it in short.
        open_events: with `request_failed`, the number and the step or class of those that neither ended nor failed.
        cut: what was too long, with its whole size in characters or entries.
    """

    request_id: str
    collection: str
    started_at: datetime
    process: str
    labels: Data
    event_id: int | None
    event: str | None
    step: str | None
    time: datetime
    kind: Kind
    elapsed: float | None = None
    error: Data | None = None
    data: Data | None = None
    summary: Data | None = None
    open_events: list[Plain] | None = None
    cut: dict[str, int] | None = None

    def as_dict(self) -> Data:
        """Return the record as both formats show it: the keys that belong to its kind, in a fixed order."""
        time = self.time.isoformat(timespec="microseconds")[:-6] + "Z"  # for +00:00
        row: dict[str, Any] = {"time": time, "request_id": self.request_id, "kind": self.kind}
        if self.kind == "request_start":
            row |= _VERSIONS | {"process": self.process} | ({"labels": self.labels} if self.labels else {})
        required = "error" if self.kind.endswith("_failed") else "data"
        for name in _OPTIONAL:
            if (value := getattr(self, name)) is not None or name == required:
                row[name] = value
        return row


_OPTIONAL = [name for name in Record._fields[5:] if name not in ("time", "kind")]  # where it is known, in this order


def step_of(event: Event) -> str | None:
    """Return what a call of the model is for, where the first message of its prompt comes from a template of db-ally's."""
    prompt = event.prompt if isinstance(event, LLMEvent) else None
    first = prompt[0] if type(prompt) is list and prompt else None
    text = first.get("content") if type(first) is dict else None
    start = _FIND_START.match(text) if type(text) is str else None
    return _STEPS[(start.lastindex or 0) - 1] if start else None
