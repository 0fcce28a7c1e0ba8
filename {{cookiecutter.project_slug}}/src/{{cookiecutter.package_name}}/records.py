"""What a record is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from .values import Plain

Kind = Literal["request_start", "event_start", "event_end", "event_failed", "request_end", "request_failed"]
Data: TypeAlias = dict[str, Plain]


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Request:
    """What identifies a request: 32 hex digits, its collection, and when it started (UTC)."""

    request_id: str
    collection: str
    started_at: datetime


class Record(NamedTuple):
    """One thing that happened to a request. A sink gets nothing else, and changes none of it.

    Attributes:
        time: when, UTC.
        request: the request it happened to.
        kind: what happened.
        event_id: number of the event within its request, from 1; `None` for the request itself.
        event: class name of the event.
        elapsed: seconds from the start of the event or the request to this record, from a monotonic clock.
        error: `type` and `message` of what made it fail; `None` where db-ally hides it.
        data: db-ally's own fields, as plain data; an end leaves out what its start holds.
        cut: paths in `data` that were cut to the limits, with their whole size.
        open_events: with `request_failed`, the events that started and never ended, failed ones included.
    """

    time: datetime
    request: Request
    kind: Kind
    event_id: int | None = None
    event: str | None = None
    elapsed: float | None = None
    error: Data | None = None
    data: Data | None = None
    cut: Mapping[str, int] | None = None
    open_events: Mapping[int, str] | None = None

    def as_dict(self) -> Data:
        """Return the record as JSON shows it: the keys that belong to its kind, in a fixed order."""
        row: Data = {
            "time": self.time.isoformat(timespec="microseconds"),
            "request_id": self.request.request_id,
            "kind": self.kind,
        }
        if self.event_id is not None:
            row["event_id"], row["event"] = self.event_id, self.event
        if self.elapsed is not None:
            row["elapsed"] = round(self.elapsed, 6)
        if self.kind.endswith("_failed"):
            row["error"] = self.error
        else:
            row["data"] = self.data
        if self.open_events is not None:
            row["open_events"] = [{"event_id": number, "event": name} for number, name in self.open_events.items()]
        if self.cut:
            row["cut"] = dict(self.cut)
        return row
