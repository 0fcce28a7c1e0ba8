"""The one place where records are made, and where a failure to record is kept from the users."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import iscoroutine, iscoroutinefunction
from itertools import islice

from .contexts import EventContext, RequestContext
from .losses import Losses
from .privacy import Policy
from .records import Kind, Record

_MAX_OPEN = 1_000  # events that the record of a failed request names


class Recorder:
    """Makes a record of what happened to a request or an event, and hands it to the sink.

    Args:
        sink: called with each record.
        policy: decides what goes into a record.
        raise_errors: raise what goes wrong, except in records of failures: there the request's own error counts.

    Attributes:
        losses: the records that could not be recorded.

    Raises:
        ValueError: the sink cannot be called, or would return before it has done its work.
    """

    def __init__(self, sink: Callable[[Record], object], policy: Policy, raise_errors: bool) -> None:
        if not callable(sink) or iscoroutinefunction(sink) or iscoroutinefunction(type(sink).__call__):
            raise ValueError(f"sink {sink!r}: a function that is no coroutine; for example print")
        self.losses = Losses()
        self._sink = sink
        self._policy = policy
        self._raise_errors = raise_errors
        self._pending = _Pending()

    def record(self, kind: Kind, request: RequestContext, event: EventContext | None, source: object) -> None:
        """Record what db-ally says in `source`, or the error that it is; or count the record as lost.

        The garbage collector can end a failed request, which calls this, while the sink is at work: then
        that record waits until the sink is through, so that no thread enters a sink twice.
        """
        pending = self._pending
        if pending.records is not None:
            pending.records.append((kind, request, event, source))
            return
        pending.records = []
        try:
            self._record(kind, request, event, source)
        finally:
            waiting, pending.records = pending.records, None
            for late in waiting:
                self.record(*late)

    def _record(self, kind: Kind, request: RequestContext, event: EventContext | None, source: object) -> None:
        try:
            record = self._make(kind, request, event, source)
            if iscoroutine(coroutine := self._sink(record)):
                coroutine.close()
                raise TypeError(f"sink {self._sink!r} returned a coroutine, which nobody awaits")
        except Exception as failure:  # whatever it is: the user's request comes first
            if self._raise_errors and not kind.endswith("_failed"):
                raise
            self.losses.add(failure)
            failure.__traceback__ = None  # its frames hold the contexts, which db-ally has to be able to drop
            return
        if event and kind == "event_start":
            event.known, event.before = record.data or {}, dict(getattr(source, "__dict__", ()))
        self.losses.end()

    def _make(self, kind: Kind, request: RequestContext, event: EventContext | None, source: object) -> Record:
        elapsed = time.perf_counter() - (event or request).started
        before, known = (event.before, event.known) if event else ({}, {})
        said, cut = self._policy.describe(source, before, known)
        is_failure = kind.endswith("_failed")
        return Record(
            time=datetime.now(UTC),
            request=request.request,
            kind=kind,
            event_id=event.event_id if event else None,
            event=type(event.event).__name__ if event else None,
            elapsed=None if kind.endswith("_start") else elapsed,
            error=said if is_failure else None,
            data=None if is_failure else said,
            cut=cut,
            open_events=dict(islice(request.unended.items(), _MAX_OPEN)) if kind == "request_failed" else None,
        )


class _Pending(threading.local):
    """What a thread has to record when its sink is through; `None` while its sink is not at work."""

    records: list[tuple[Kind, RequestContext, EventContext | None, object]] | None = None
