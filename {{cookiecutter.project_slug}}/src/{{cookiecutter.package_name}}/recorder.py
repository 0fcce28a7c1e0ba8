"""The event handler: db-ally's four callbacks become records, and each record goes to the sink.

What happens to a request stands here from top to bottom: `request_start`, then `event_start` and
`event_end` for each event, then `request_end`. Each of them calls `_emit`, which has a record made
(`_make_record`) and hands it to the sink (`_record`).

db-ally calls no handler when something fails. But it drops the contexts of what has failed, and
their `__del__` reports that; see `failures.py`.

Two rules hold everywhere: what goes wrong while recording must not reach the application, and
nothing here may keep a context alive, because its end is what tells us of a failure.
"""

import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from time import monotonic, perf_counter
from typing import Any

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import Event, LLMEvent, RequestEnd, RequestStart
from dbally.views.exceptions import ViewExecutionError

from .blocks import current_blocks, recording
from .failures import error_that_drops, id_of_ask_frame, warn
from .plain import JsonObject, JsonValue, Serializer, field_values, read_field
from .privacy import INPUT, OUTPUT, PROMPT, switches_on
from .records import Kind, Record, step_of

HOST = socket.gethostname()
SUMMARY_CHARS = 2_000  # budget of collection and question where a summary repeats them
LABEL_CHARS = 3_000  # budget of the labels of a request, so that no question takes from them
WARNING_INTERVAL = 60.0  # seconds from one warning of lost records to the next
BOOLEAN_OPTIONS = (*PROMPT, "raise_errors")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
USAGE = ("calls", "failed_calls", *TOKENS)  # what a summary counts


@dataclass(eq=False)
class RequestContext:
    """The state of one request. If db-ally drops it while it is open, the request has failed.

    Attributes:
        question: as the summary has it, withheld or truncated.
        question_cut: what of it was truncated; see `Record.cut`.
        labels_cut: what of the labels was truncated.
        ask_frame_id: which `Collection.ask` it belongs to; see `failures.id_of_ask_frame`.
        is_recorded: no `unrecorded` is around it.
        start_time: seconds of `time.perf_counter`.
        is_open: it has started, and neither ended nor failed.
        event_count: how many events it has started.
        open_events: step or class of each event that has started and neither ended nor failed, by
            its number. A reference to the context of the event would keep that alive.
        failed_step: step or class of the event that failed last and was not repeated with success.
        chosen_view: the response of the LLM that was asked to select a view.
        usage: LLM calls, how many of them failed, and their tokens.
    """

    recorder: "Recorder"
    request_id: str
    collection: str
    question: JsonValue
    question_cut: dict[str, int]
    labels: JsonObject
    labels_cut: dict[str, int]
    started_at: datetime
    ask_frame_id: int | None
    is_recorded: bool
    start_time: float = field(default_factory=perf_counter)
    is_open: bool = False
    event_count: int = 0
    open_events: dict[int, str] = field(default_factory=dict)
    failed_step: str | None = None
    chosen_view: object = None
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USAGE, 0))

    def __del__(self) -> None:
        self.recorder.close_request("request_failed", self, None)


@dataclass(eq=False)
class EventContext:
    """The state of one event. If an exception drops it, the event has failed with that exception.

    Attributes:
        event_id: number of the event within its request, from 1.
        name: class name of the event.
        step: what an LLM call is for, if that is known.
        is_call: it is an LLM call.
        start_time: seconds of `time.perf_counter`.
        start_values: the values of its fields that its first record holds.
    """

    request: RequestContext
    event_id: int
    name: str
    step: str | None
    is_call: bool
    start_time: float = field(default_factory=perf_counter)
    start_values: dict[str, object] = field(default_factory=dict)

    def __del__(self) -> None:
        error = error_that_drops(self)
        if error is not None:
            self.request.recorder.close_event("event_failed", self, error)


@dataclass(eq=False)  # db-ally needs handlers that are hashable
class Recorder(EventHandler[RequestContext, EventContext]):
    """Records every request. One object serves all collections, tasks, threads and event loops.

    A record is handed to the sink before the callback returns. If the sink raises, the record is
    lost: `lost_records` counts it, and a warning is logged. An option that is assigned later is
    used from the next record on.

    Args:
        sink: called with each record, from any thread.
        record_inputs: record questions, prompts and looked-up values.
        record_prompts: record what the LLM is asked, which is half of all bytes.
        record_outputs: record responses, rows and SQL. What can quote inputs and outputs, as errors
            can, needs both switches.
        mask: from text to text; applied to every text from outside before it is truncated. Numbers
            are not masked.
        max_chars: characters of data in one record; `None` for no limit.
        raise_errors: let a failure to record fail the request, from its start on.

    Raises:
        ValueError: an option cannot work.
    """

    sink: Callable[[Record], object]
    _: KW_ONLY
    record_inputs: bool = True
    record_prompts: bool = True
    record_outputs: bool = True
    mask: Callable[[str], str] | None = None
    max_chars: int | None = 150_000
    raise_errors: bool = False

    def __post_init__(self) -> None:
        self._losses = LossCounter()
        self._thread = ThreadState()

    def __setattr__(self, name: str, value: object) -> None:
        """Set an option, unless it cannot work."""
        _check_option(name, value)
        super().__setattr__(name, value)

    @property
    def lost_records(self) -> int:
        """How many records could not be recorded, without an exception that said so."""
        return self._losses.count

    # db-ally passes arguments by keyword: it decides the names of the parameters of these four.

    async def request_start(self, user_request: RequestStart) -> RequestContext:
        """Record the collection and the question."""
        blocks = current_blocks()
        summary_serializer = self._serializer(SUMMARY_CHARS)
        label_serializer = self._serializer(LABEL_CHARS)
        request = RequestContext(
            recorder=self,
            request_id=secrets.token_hex(16),
            collection=summary_serializer.text(str(user_request.collection_name)),
            question=summary_serializer.field("question", user_request.question, INPUT),
            question_cut=summary_serializer.cut,
            labels=label_serializer.labels(_labels_of(blocks)),
            labels_cut=label_serializer.cut,
            started_at=datetime.now(UTC),
            ask_frame_id=id_of_ask_frame(),
            is_recorded=all(block.is_recorded for block in blocks),
        )
        self._emit("request_start", request, None, user_request)

        request.is_open = True
        for block in blocks:
            block.add(request)
        return request

    async def event_start(self, event: Event, request_context: RequestContext) -> EventContext:
        """Record what the event starts with."""
        request = request_context
        request.event_count += 1
        context = EventContext(
            request=request,
            event_id=request.event_count,
            name=type(event).__name__,
            step=step_of(event),
            is_call=isinstance(event, LLMEvent),
        )
        self._emit("event_start", request, context, event)

        if context.is_call:
            request.usage["calls"] += 1
        request.open_events[context.event_id] = context.step or context.name
        return context

    async def event_end(
        self, event: Event | None, request_context: RequestContext, event_context: EventContext
    ) -> None:
        """Record what the event ends with; `event` is `None` if db-ally has nothing to say."""
        self.close_event("event_end", event_context, event)

    async def request_end(self, output: RequestEnd, request_context: RequestContext) -> None:
        """Record the result."""
        self.close_request("request_end", request_context, output)

    def close_event(self, kind: Kind, event: EventContext, payload: object) -> None:
        """Record how an event ended, unless that is recorded already.

        Args:
            kind: `event_end` or `event_failed`.
            event: the state of the event.
            payload: the event as db-ally hands it over, or the error.
        """
        request = event.request
        step_or_name = request.open_events.pop(event.event_id, None)
        if step_or_name is None:
            return

        if kind == "event_failed":
            request.failed_step = step_or_name
            if event.is_call:
                request.usage["failed_calls"] += 1
        else:
            if request.failed_step == step_or_name:  # it was repeated with success
                request.failed_step = None
            if event.is_call:
                _add_tokens(request.usage, payload)
            if event.step == "view selection":
                request.chosen_view = read_field(payload, "response")

        self._emit(kind, request, event, payload)

    def close_request(self, kind: Kind, request: RequestContext, payload: object) -> None:
        """Record how a request ended, unless that is recorded already.

        Args:
            kind: `request_end` or `request_failed`.
            request: the state of the request.
            payload: the result as db-ally hands it over, or the error; `None` if the error is not
                known.
        """
        if request.is_open:
            request.is_open = False
            self._emit(kind, request, None, payload)

    def _emit(
        self, kind: Kind, request: RequestContext, event: EventContext | None, payload: object
    ) -> None:
        """Record something now, or after the record that this thread is in the middle of.

        The garbage collector can drop a failed request at any moment, and so call this method: also
        while the sink is at work in this very thread, and perhaps holds a lock. To call the sink
        again then could wait for that lock for ever.
        """
        if not request.is_recorded:
            return

        if self._thread.deferred is not None:
            self._thread.deferred.append((kind, request, event, payload))
            return

        deferred: list[Emission] = []
        self._thread.deferred = deferred
        try:
            self._record(kind, request, event, payload)
        finally:
            self._thread.deferred = None
            for emission in deferred:
                self._emit(*emission)

    def _record(
        self, kind: Kind, request: RequestContext, event: EventContext | None, payload: object
    ) -> None:
        """Make a record and hand it to the sink. A failure of either is counted, or raised."""
        try:
            self.sink(self._make_record(kind, request, event, payload))
        except Exception as failure:  # whatever it is, the user's request comes first
            if self.raise_errors and not kind.endswith("_failed"):
                raise

            self._losses.add(failure)
            failure.__traceback__ = None  # its frames would keep the contexts alive
            return

        if event is not None and kind == "event_start":
            event.start_values = field_values(payload)  # the record of its end leaves these out

    def _make_record(
        self, kind: Kind, request: RequestContext, event: EventContext | None, payload: object
    ) -> Record:
        serializer = self._serializer()
        cut: dict[str, int] = {}

        event_id = event_name = step = summary = None
        start_time = request.start_time
        start_values: dict[str, object] = {}
        if event is not None:
            event_id, event_name, step = event.event_id, event.name, event.step
            start_time, start_values = event.start_time, event.start_values
        else:
            cut.update(request.labels_cut)
            if kind != "request_start":
                cut.update(request.question_cut)
                summary = self._summary(request, payload, serializer)

        elapsed = None
        if not kind.endswith("_start"):
            elapsed = round(perf_counter() - start_time, 6)

        error = data = None
        if isinstance(payload, BaseException):
            error = serializer.error(payload)
        elif payload is not None:
            data = serializer.fields(payload, start_values)
        cut.update(serializer.cut)

        return Record(
            request_id=request.request_id,
            collection=request.collection,
            started_at=request.started_at,
            process=f"{HOST}:{os.getpid()}",
            labels=request.labels,
            time=datetime.now(UTC),
            kind=kind,
            event_id=event_id,
            event=event_name,
            step=step,
            elapsed=elapsed,
            error=error,
            data=data,
            summary=summary,
            open_events=_open_events_of(request) if kind == "request_failed" else None,
            cut=cut or None,
        )

    def _summary(
        self, request: RequestContext, payload: object, serializer: Serializer
    ) -> JsonObject:
        """Return the whole request in short, for its last record."""
        summary: JsonObject = {
            "collection": request.collection,
            "question": request.question,
            "labels": request.labels,
        }

        # A ViewExecutionError has the name of its view, as a result has.
        result = payload
        if not isinstance(payload, ViewExecutionError):
            result = read_field(payload, "result")
        view = read_field(result, "view_name")
        if view is not None:
            summary["view"] = serializer.field("view", view)
        elif request.chosen_view is not None:
            summary["view"] = serializer.field("view", request.chosen_view, OUTPUT)

        if request.failed_step is not None and not isinstance(payload, RequestEnd):
            summary["failed_step"] = request.failed_step

        rows = _count_rows(result)
        if rows is not None:
            summary["rows"] = rows
        summary.update(request.usage)
        return summary

    def _serializer(self, limit: int = sys.maxsize) -> Serializer:
        """Return a serializer for at most `limit` characters, with the options as they are now."""
        max_chars = min(limit, self.max_chars or limit)
        switches = switches_on(self.record_inputs, self.record_prompts, self.record_outputs)
        return Serializer(max_chars, self.mask, switches)


@dataclass
class LossCounter:
    """Counts lost records, and warns of the first, the 10th, the 100th and so on.

    Of the others it warns at most once a minute. Each warning has the total so far.

    There is no lock, which a forked process could inherit while it is held. None is needed: CPython
    does not switch threads in the middle of `count += 1`.

    Attributes:
        count: how many records were lost.
        next_tenfold: at which count it warns in any case.
        last_warning: seconds of `time.monotonic`.
    """

    count: int = 0
    next_tenfold: int = 1
    last_warning: float = 0.0

    def add(self, failure: Exception) -> None:
        """Count a record that was lost because of `failure`."""
        self.count += 1
        now = monotonic()

        if self.count >= self.next_tenfold:
            self.next_tenfold *= 10
        elif now < self.last_warning + WARNING_INTERVAL:
            return

        self.last_warning = now
        # As text: the exception itself would keep alive what is in its frames.
        reason = str(failure) or repr(failure)
        warn("Recording fails; records lost so far: %s; the last one: %s", self.count, reason)


Emission = tuple[Kind, RequestContext, EventContext | None, object]  # arguments of `_emit`


class ThreadState(threading.local):
    """What a recorder knows of the current thread.

    Attributes:
        deferred: what is to be recorded after the current record; `None` if there is no such.
    """

    deferred: list[Emission] | None = None


def _labels_of(blocks: tuple[recording, ...]) -> dict[str, object]:
    """Return the labels of all blocks around a request; those of the inner ones prevail."""
    labels: dict[str, object] = {}
    for block in blocks:
        labels.update(block.labels)
    return labels


def _open_events_of(request: RequestContext) -> list[JsonValue] | None:
    """Return the events of a request that neither ended nor failed; `None` if there are none."""
    events: list[JsonValue] = []
    for event_id, step_or_name in request.open_events.items():
        events.append({"event_id": event_id, "event": step_or_name})
    return events or None


def _add_tokens(usage: dict[str, int], event: object) -> None:
    """Add what an LLM call has used, as far as its event says so."""
    for name in TOKENS:
        tokens = read_field(event, name)
        if type(tokens) is int:
            usage[name] += tokens


def _count_rows(result: Any) -> int | None:
    """Return how many rows a result has; `None` if it has none, or they cannot be counted."""
    try:
        return len(result.results)
    except Exception:  # it is no result, or objects of the application raise anything
        return None


def _check_option(name: str, value: object) -> None:
    """Raise `ValueError` with the rule if a recorder cannot work with this value of an option."""
    rule = None
    if name == "sink" and not _is_plain_function(value):
        rule = "must be a function that is no coroutine function; for example print"
    if name == "mask" and value is not None and not _is_plain_function(value):
        rule = "must be a function from text to text, or None; for example str.lower"
    if name == "max_chars" and value is not None and (type(value) is not int or value < 1):
        rule = "must be a whole number above zero, or None; for example 100000"
    # Not everything that counts as true will do: the text "false" counts as true.
    if name in BOOLEAN_OPTIONS and type(value) is not bool:
        rule = "must be True or False; for example False"

    if rule is not None:
        raise ValueError(f"{name} {value!r} {rule}")


def _is_plain_function(value: object) -> bool:
    """Return whether a value can be called without `await`."""
    if not callable(value) or iscoroutinefunction(value):
        return False
    return not iscoroutinefunction(type(value).__call__)
