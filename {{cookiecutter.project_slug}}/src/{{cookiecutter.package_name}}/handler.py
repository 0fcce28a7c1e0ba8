"""db-ally's callbacks made records."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from weakref import WeakValueDictionary, ref

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import Event, RequestEnd, RequestStart

from .contexts import EventContext, RequestContext, watched_requests
from .formats import FORMATS
from .limits import DEFAULT_LIMITS, Limits
from .logfile import LogFile
from .privacy import Policy
from .recorder import Recorder
from .records import Record, Request

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

    Raises:
        ValueError: the configuration cannot work.
    """

    def __init__(
        self,
        log_dir: _Directory = {{ cookiecutter.log_directory | literal }},
        filename_pattern: str = {{ cookiecutter.filename_pattern | literal }},
        log_format: str = {{ cookiecutter.log_format | literal }},
        *,
        record_inputs: bool = True,
        record_outputs: bool = True,
        raise_errors: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        sink: Callable[[Record], object] | None = None,
    ) -> None:
        switches = {"record_inputs": record_inputs, "record_outputs": record_outputs, "raise_errors": raise_errors}
        _check(log_dir, log_format, limits, switches)
        if sink is None:
            sink = LogFile(os.fspath(log_dir), filename_pattern, FORMATS[log_format])
        self._recorder = Recorder(sink, Policy(record_inputs, record_outputs, limits), raise_errors)
        self._requests: WeakValueDictionary[int, RequestContext] = WeakValueDictionary()

    @property
    def lost_records(self) -> int:
        """How many records could not be recorded, and the failure was not raised."""
        return self._recorder.losses.count

    async def request_start(self, user_request: RequestStart) -> RequestContext:
        """Record the collection and the question."""
        known = self._requests.get(id(user_request))
        if known and known.is_open and not known.events:  # db-ally has this handler twice and keeps one context
            known.is_twice = True
            return known
        request = Request(os.urandom(16).hex(), user_request.collection_name, datetime.now(UTC))
        context = RequestContext(request, user_request, self._recorder.record)
        self._recorder.record("request_start", context, None, user_request)
        context.is_open = True
        self._requests[id(user_request)] = context
        watched = watched_requests.get()
        if watched is not None:
            watched.add(context)
        return context

    async def event_start(self, event: Event, request_context: RequestContext) -> EventContext:
        """Record what the event starts with."""
        latest = request_context.latest and request_context.latest()
        if request_context.is_twice and latest and latest.is_open and latest.event is event:
            return latest
        request_context.events += 1
        context = EventContext(request_context, event, request_context.events)
        self._recorder.record("event_start", request_context, context, event)
        request_context.unended[context.event_id] = type(event).__name__
        request_context.latest = ref(context)
        return context

    async def event_end(
        self, event: Event | None, request_context: RequestContext, event_context: EventContext
    ) -> None:
        """Record what the event ends with; `None` where db-ally has nothing to say."""
        if request_context.unended.pop(event_context.event_id, None) is not None:
            self._recorder.record("event_end", request_context, event_context, event)

    async def request_end(self, output: RequestEnd, request_context: RequestContext) -> None:
        """Record the result."""
        if request_context.is_open:
            request_context.is_open = False
            self._recorder.record("request_end", request_context, None, output)


def _check(log_dir: _Directory, log_format: str, limits: Limits, switches: dict[str, bool]) -> None:
    if not isinstance(log_dir, str | os.PathLike):
        raise ValueError(f"log_dir {log_dir!r}: a path; for example 'logs'")
    if log_format not in [*FORMATS]:
        raise ValueError(f"log_format {log_format!r}: one of {sorted(FORMATS)}; for example 'jsonl'")
    if not isinstance(limits, Limits):
        raise ValueError(f"limits {limits!r}: an object of Limits; for example Limits(items=None)")
    for name, value in switches.items():
        if not isinstance(value, bool):  # "false" from an environment variable would count as true
            raise ValueError(f"{name} {value!r}: True or False; for example False")
