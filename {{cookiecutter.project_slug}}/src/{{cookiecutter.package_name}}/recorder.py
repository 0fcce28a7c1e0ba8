"""db-ally's callbacks made records, and handed to a sink; a failure to record stays here."""

import os
import socket
import time
from collections.abc import Callable, Sized
from datetime import UTC, datetime
from functools import partial
from inspect import iscoroutinefunction

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import Event, RequestEnd, RequestStart

from .blocks import current_block
from .contexts import EventContext, RequestContext
from .delivery import Delivery
from .errors import asking_frame
from .plain import PlainCopy
from .privacy import Policy
from .records import Data, Kind, Record

_HOST = socket.gethostname()


class Recorder(EventHandler[RequestContext, EventContext]):
    """Records every request; one object serves all collections, tasks, threads and event loops.

    A callback's record is handed to the sink before the callback returns.

    Args:
        sink: called with each record, in whatever thread it comes from.
        record_inputs: record questions, prompts and looked-up values.
        record_prompts: record what the model is asked, half of all bytes.
        record_outputs: record responses, rows and SQL. What can quote inputs and outputs, as errors can, needs both.
        mask: from text to text, for every text that comes from outside, before it is cut. Numbers are not masked.
        max_chars: characters of data in one record; `None` for any number.
        raise_errors: let a failure to record fail the request, from its start on.

    Raises:
        ValueError: the configuration cannot work.
    """

    def __init__(
        self,
        sink: Callable[[Record], object],
        *,
        record_inputs: bool = True,
        record_prompts: bool = True,
        record_outputs: bool = True,
        mask: Callable[[str], str] | None = None,
        max_chars: int | None = 150_000,
        raise_errors: bool = False,
    ) -> None:
        switches = {"record_inputs": record_inputs, "record_prompts": record_prompts, "record_outputs": record_outputs}
        _check(mask, max_chars, switches | {"raise_errors": raise_errors})
        self._policy = Policy(frozenset(name for name, is_on in switches.items() if is_on), mask, max_chars)
        self._deliver = Delivery(sink, raise_errors)

    @property
    def lost_records(self) -> int:
        """How many records could not be recorded, and the failure was not raised."""
        return self._deliver.losses.count

    async def request_start(self, user_request: RequestStart) -> RequestContext:
        """Record the collection and the question."""
        block = current_block.get()
        report = self._report if block is None or block.is_recorded else _ignore
        opening = self._policy.opening(user_request, block.labels if block else {})
        request = RequestContext(report, opening, asking_frame())
        request.start(user_request)
        if block:
            block.add(request)
        return request

    async def event_start(self, event: Event, request_context: RequestContext) -> EventContext:
        """Record what the event starts with."""
        return request_context.start_event(event)

    async def event_end(
        self, event: Event | None, request_context: RequestContext, event_context: EventContext
    ) -> None:
        """Record what the event ends with; `None` where db-ally has nothing to say."""
        event_context.end("event_end", event)

    async def request_end(self, output: RequestEnd, request_context: RequestContext) -> None:
        """Record the result."""
        request_context.end("request_end", output)

    def _report(self, kind: Kind, request: RequestContext, event: EventContext | None, outcome: object) -> bool:
        return self._deliver(partial(self._make, kind, request, event, outcome), not kind.endswith("_failed"))

    def _make(self, kind: Kind, request: RequestContext, event: EventContext | None, outcome: object) -> Record:
        now, elapsed = datetime.now(UTC), round(time.perf_counter() - (event or request).started, 6)
        copier, error, data, summary = self._policy.copier(), None, None, None
        if isinstance(outcome, BaseException):
            error = self._policy.error(outcome, copier)
        elif outcome is not None:
            data = self._policy.data(outcome, event.seen if event else {}, copier)
        if event is None and kind != "request_start":
            summary = request.opening._asdict() | _found(outcome, copier) | request.usage
        event_id, name, step = (event.event_id, event.event, event.step) if event else (None, None, None)
        return Record(
            time=now,
            kind=kind,
            request_id=request.request_id,
            collection=request.opening.collection,
            started_at=request.started_at,
            labels=request.opening.labels,
            process=f"{_HOST}:{os.getpid()}",
            event_id=event_id,
            event=name,
            step=step,
            elapsed=None if kind.endswith("_start") else elapsed,
            error=error,
            data=data,
            summary=summary,
            open_events=([*request.open_events.values()] or None) if kind == "request_failed" else None,
            cut=copier.cut or None,
        )


def _found(output: object, copier: PlainCopy) -> Data:
    """Return what the summary of a request says of its result."""
    result = getattr(output, "result", None)
    view, rows = getattr(result, "view_name", None), getattr(result, "results", None)
    found = {"view": copier.copy(view, "view"), "rows": len(rows) if isinstance(rows, Sized) else None}
    return {name: value for name, value in found.items() if value is not None}


def _ignore(kind: Kind, request: RequestContext, event: EventContext | None, outcome: object) -> bool:
    return True  # within `unrecorded`


def _check(mask: object, max_chars: object, switches: dict[str, bool]) -> None:
    if mask is not None and (not callable(mask) or iscoroutinefunction(mask)):
        raise ValueError(f"mask {mask!r}: a function from text to text; for example str.lower")
    if max_chars is not None and (type(max_chars) is not int or max_chars < 1):
        raise ValueError(f"max_chars {max_chars!r}: a whole number above zero or None; for example 100000")
    for name, value in switches.items():
        if type(value) is not bool:  # "false" from an environment variable would count as true
            raise ValueError(f"{name} {value!r}: True or False; for example False")
