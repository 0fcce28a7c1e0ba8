"""db-ally's callbacks made records, and the one place that keeps failures to record from its users."""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from datetime import UTC, datetime

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import Event, RequestEnd, RequestStart

from .contexts import EventContext, RequestContext, watched_requests
from .formats import FORMATS
from .logfile import LogFile
from .records import Data, Kind, Policy, Record, Request
from .values import DEFAULT_LIMITS, Limits

_logger = logging.getLogger(__name__)
_Directory = str | os.PathLike[str]


class {{ cookiecutter.handler_class }}(EventHandler[RequestContext, EventContext]):
    """Records every request; one object serves all collections, tasks, threads and event loops.

    A callback's record is handed to the sink before the callback returns.

    Args:
        log_dir: directory of the files.
        filename_pattern: format string over `started_at` (UTC), `collection` and `request_id`;
            requests that it gives the same name share a file.
        log_format: "text" for people or "jsonl" for programs.
        record_inputs: record questions, prompts and looked-up values.
        record_outputs: record responses, rows and SQL. What can quote both, as a prompt can, needs both.
        raise_errors: let a failure to record fail the request, from its start on.
        limits: how much of one record is kept.
        sink: called with each record, instead of writing files.

    Attributes:
        lost_records: how many records could not be recorded.

    Raises:
        ValueError: the configuration cannot work.
    """

    def __init__(
        self,
        log_dir: _Directory = {{ cookiecutter.log_directory | literal }},
        filename_pattern: str = {{ cookiecutter.filename_pattern | literal }},
        log_format: str = {{ cookiecutter.log_format | literal }},
        record_inputs: bool = True,
        record_outputs: bool = True,
        raise_errors: bool = False,
        *,
        limits: Limits = DEFAULT_LIMITS,
        sink: Callable[[Record], object] | None = None,
    ) -> None:
        if log_format not in FORMATS:
            raise ValueError(f"log_format {log_format!r}: one of {sorted(FORMATS)}; for example 'jsonl'")
        self._sink = sink or LogFile(os.fspath(log_dir), filename_pattern, FORMATS[log_format])
        self._policy = Policy(record_inputs, record_outputs, limits)
        self._raise_errors = raise_errors
        self._requests: weakref.WeakValueDictionary[int, RequestContext] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()  # entered again when the garbage collector ends a request
        self._warned = False
        self.lost_records = 0

    async def request_start(self, user_request: RequestStart) -> RequestContext:
        """Record the collection and the question."""
        known = self._requests.get(id(user_request))
        if known and known.is_open and not known.events:  # db-ally has this handler twice and keeps one context
            return known
        request = Request(os.urandom(16).hex(), user_request.collection_name, datetime.now(UTC))
        context = RequestContext(request, user_request, self._record)
        self._record("request_start", context, source=user_request)
        context.is_open = True
        self._requests[id(user_request)] = context
        watched = watched_requests.get()
        if watched is not None:
            watched.add(context)
        return context

    async def event_start(self, event: Event, request_context: RequestContext) -> EventContext:
        """Record what the event starts with."""
        latest = request_context.latest and request_context.latest()
        if latest and latest.is_open and latest.event is event:  # this handler twice, as above
            return latest
        request_context.events += 1
        context = EventContext(request_context, event, request_context.events)
        context.data = self._record("event_start", request_context, context, source=event)
        context.is_open = True
        request_context.unended[context.event_id] = type(event).__name__
        request_context.latest = weakref.ref(context)
        return context

    async def event_end(
        self, event: Event | None, request_context: RequestContext, event_context: EventContext
    ) -> None:
        """Record what the event ends with; `None` where db-ally has nothing to say."""
        if event_context.is_open:
            event_context.is_open = False
            request_context.unended.pop(event_context.event_id)
            self._record("event_end", request_context, event_context, source=event)

    async def request_end(self, output: RequestEnd, request_context: RequestContext) -> None:
        """Record the result."""
        if request_context.is_open:
            request_context.is_open = False
            self._record("request_end", request_context, source=output)

    def _record(
        self,
        kind: Kind,
        request: RequestContext,
        event: EventContext | None = None,
        source: object = None,
        error: BaseException | None = None,
    ) -> Data:
        """Hand a record to the sink and return its data. Every failure to record ends here."""
        try:
            record = self._make_record(kind, request, event, source, error)
            self._sink(record)
        except Exception as failure:  # whatever it is: the user's request comes first
            if self._raise_errors and not kind.endswith("_failed"):
                raise
            self._note_loss(request, failure)
            failure.__traceback__ = None  # its frames hold the contexts, which db-ally has to be able to drop
            return {}
        if self._warned:
            self._note_recovery()
        return record.data or {}

    def _make_record(
        self,
        kind: Kind,
        request: RequestContext,
        event: EventContext | None,
        source: object,
        error: BaseException | None,
    ) -> Record:
        elapsed = time.perf_counter() - (event or request).started
        data, failure, cut = self._policy.describe(source, event.data if event else {}, error)
        return Record(
            time=datetime.now(UTC),
            request=request.request,
            kind=kind,
            event_id=event.event_id if event else None,
            event=type(event.event).__name__ if event else None,
            elapsed=None if kind.endswith("_start") else elapsed,
            error=failure,
            data=data,
            cut=cut,
            open_events=dict(request.unended) if kind == "request_failed" else None,
        )

    def _note_loss(self, request: RequestContext, failure: Exception) -> None:
        with self._lock:
            self.lost_records += 1
            is_news = not self._warned and not request.lossy
            self._warned = self._warned or is_news
            request.lossy = True
        if is_news:
            _logger.warning("Recording fails, records are lost from here on: %s", failure)

    def _note_recovery(self) -> None:
        with self._lock:
            self._warned = False
        _logger.warning("Recording works again; records lost so far: %d", self.lost_records)
