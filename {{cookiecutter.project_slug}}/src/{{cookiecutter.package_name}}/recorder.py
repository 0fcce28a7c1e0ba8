"""The event handler: db-ally's four callbacks become records, and each record goes to the sink.

What happens to a request stands here from top to bottom: `request_start`, then `event_start` and
`event_end` for each event, then `request_end`. The two ends go through `finish_event` and
`finish_request`, which failures call as well. All of them call `_record_or_defer`. That calls
`_record_now`, which makes the record (`_make_record`) and hands it to the sink.

db-ally calls no handler when something fails. But it drops the contexts of what has failed, and
their `__del__` reports that; see `failures.py`.

Two rules hold everywhere. What goes wrong while recording must not reach the application. And
nothing may keep a context alive, because we notice a failure only when its context dies.
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
from typing import Any, NamedTuple

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import Event, LLMEvent, RequestEnd, RequestStart
from dbally.views.exceptions import ViewExecutionError

from .blocks import current_blocks, recording
from .failures import error_ending_event, id_of_ask_frame, warn
from .plain import JsonObject, JsonValue, Serializer, field_values, read_field
from .privacy import ALL_SWITCHES, INPUT, OUTPUT, switches_on
from .records import Kind, Record, step_of

HOST = socket.gethostname()
# Budgets in characters, of which one text takes two thirds at most.
SUMMARY_CHARS = 3_000  # of collection and question, as the summary repeats them
LABEL_CHARS = 3_000  # of the labels of a request, so that no question takes from them
WARNING_INTERVAL = 60.0  # seconds from one warning of lost records to the next
BOOLEAN_OPTIONS = (*ALL_SWITCHES, "raise_errors")
TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")
USAGE = ("calls", "failed_calls", *TOKENS)  # what a summary counts


@dataclass(eq=False)
class RequestContext:
    """The state of one request. If db-ally drops it while it is open, the request has failed.

    Attributes:
        question: as the summary repeats it, perhaps withheld or truncated.
        question_cut: what was truncated of collection and question; see `Record.cut`.
        labels_cut: what was truncated of the labels.
        ask_frame_id: which `Collection.ask` it belongs to; see `failures.id_of_ask_frame`.
        is_recorded: no `unrecorded` is around it.
        start_time: seconds of `time.perf_counter`.
        is_open: it has started, and neither ended nor failed.
        event_count: how many events it has started.
        open_events: step or class of each event that has started and neither ended nor failed, by
            its number. A reference to the context of the event would keep that alive.
        failed_step: step or class of the last event that has failed, unless the same step has
            succeeded since.
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
    process: str
    ask_frame_id: int | None
    is_recorded: bool
    start_time: float = field(default_factory=perf_counter)
    is_open: bool = False
    event_count: int = 0
    open_events: dict[int, str] = field(default_factory=dict)
    failed_step: str | None = None
    chosen_view: object = field(default=None, repr=False)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(USAGE, 0))

    def __del__(self) -> None:
        self.recorder.finish_request("request_failed", self, None)


@dataclass(eq=False)
class EventContext:
    """The state of one event. If it dies because an exception leaves the event, that has failed.

    Attributes:
        event: the event itself, which db-ally changes until it ends.
        event_id: number of the event within its request, from 1.
        name: class name of the event.
        step: what an LLM call is for, if that is known.
        is_call: it is an LLM call.
        start_time: seconds of `time.perf_counter`.
        start_values: the values that its fields had when its start was recorded, by name.
    """

    request: RequestContext
    event: Event = field(repr=False)
    event_id: int
    name: str
    step: str | None
    is_call: bool
    start_time: float = field(default_factory=perf_counter)
    start_values: dict[str, object] = field(default_factory=dict, repr=False)

    def __del__(self) -> None:
        error = error_ending_event(self)
        if error is not None:
            self.request.recorder.finish_event("event_failed", self, error)


class Occurrence(NamedTuple):
    """Something that has happened to a request, and of which a record is to be made.

    Attributes:
        kind: what has happened.
        request: the state of the request.
        context: the state of the event; `None` if it has happened to the request itself.
        payload: what db-ally handed over, or the error; `None` without either.
    """

    kind: Kind
    request: RequestContext
    context: EventContext | None
    payload: object


class ThisThread(threading.local):
    """What all recorders know of the thread that asks.

    Attributes:
        deferred: what is to be recorded after the record that is being made; `None` while no record
            is being made.
    """

    deferred: list[Occurrence] | None = None


this_thread = ThisThread()


@dataclass(eq=False)  # db-ally needs handlers that are hashable
class Recorder(EventHandler[RequestContext, EventContext]):
    """Records every request. One object serves all collections, tasks, threads and event loops.

    A record is handed to the sink before the callback returns. If the sink raises, the record is
    lost: `lost_records` counts it, and a warning is logged. An option that is assigned later takes
    effect at once, except for the question and labels of requests that have started already.

    Args:
        sink: called with each record, from any thread.
        record_inputs: record questions and looked-up values.
        record_prompts: record what the LLM is asked, which is half of all bytes. This needs the
            other two switches as well.
        record_outputs: record responses, rows and SQL. What can quote inputs and outputs, as errors
            can, needs both switches.
        mask: from text to text; applied to every text from outside before it is truncated. Numbers
            are not masked.
        max_chars: characters of data in one record; `None` for no limit. Labels, and what a summary
            repeats, are limited in any case.
        raise_errors: let a failure to record raise from db-ally's callback, so that the request
            fails.

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

    def __setattr__(self, name: str, value: object) -> None:
        """Set an option, unless it cannot work."""
        _check_option(name, value)
        super().__setattr__(name, value)

    @property
    def lost_records(self) -> int:
        """How many records were lost. Failures that `raise_errors` lets out are not counted."""
        return self._losses.count

    # db-ally passes arguments by keyword: it decides the names of the parameters of these four.

    async def request_start(self, user_request: RequestStart) -> RequestContext:
        """Record the collection and the question."""
        blocks = current_blocks()
        summarizing = self._serializer(SUMMARY_CHARS)
        labelling = self._serializer(LABEL_CHARS)
        request = RequestContext(
            recorder=self,
            request_id=secrets.token_hex(16),
            collection=str(summarizing.field("collection", user_request.collection_name)),
            question=summarizing.field("question", user_request.question, INPUT),
            question_cut=summarizing.cut,
            labels=labelling.labels(_labels_of(blocks)),
            labels_cut=labelling.cut,
            started_at=datetime.now(UTC),
            process=f"{HOST}:{os.getpid()}",
            ask_frame_id=id_of_ask_frame(),
            is_recorded=all(block.is_recorded for block in blocks),
        )
        for block in blocks:
            block.add(request)
        self._record_or_defer(Occurrence("request_start", request, None, user_request))

        request.is_open = True  # only now: if that has raised, the request has not started
        return request

    async def event_start(self, event: Event, request_context: RequestContext) -> EventContext:
        """Record what the event starts with."""
        request = request_context
        request.event_count += 1
        context = EventContext(
            request=request,
            event=event,
            event_id=request.event_count,
            name=type(event).__name__,
            step=step_of(event),
            is_call=isinstance(event, LLMEvent),
        )
        self._record_or_defer(Occurrence("event_start", request, context, event))

        if context.is_call:
            request.usage["calls"] += 1
        request.open_events[context.event_id] = context.step or context.name
        return context

    async def event_end(
        self, event: Event | None, request_context: RequestContext, event_context: EventContext
    ) -> None:
        """Record what the event ends with; `event` is `None` if db-ally has nothing to say."""
        self.finish_event("event_end", event_context, event)

    async def request_end(self, output: RequestEnd, request_context: RequestContext) -> None:
        """Record the result."""
        self.finish_request("request_end", request_context, output)

    def finish_event(self, kind: Kind, context: EventContext, payload: object) -> None:
        """Record how an event ended, unless that is recorded already.

        Args:
            kind: `event_end` or `event_failed`.
            context: the state of the event.
            payload: the event as db-ally hands it over, or the error.
        """
        request = context.request
        step_or_name = request.open_events.pop(context.event_id, None)
        if step_or_name is None:
            return

        if kind == "event_failed":
            request.failed_step = step_or_name
            if context.is_call:
                request.usage["failed_calls"] += 1
        else:
            if request.failed_step == step_or_name:  # it was repeated with success
                request.failed_step = None
            if context.is_call:
                _add_tokens(request.usage, payload)
            if context.step == "view selection":
                request.chosen_view = read_field(payload, "response")

        self._record_or_defer(Occurrence(kind, request, context, payload))

    def finish_request(self, kind: Kind, request: RequestContext, payload: object) -> None:
        """Record how a request ended, unless that is recorded already.

        Args:
            kind: `request_end` or `request_failed`.
            request: the state of the request.
            payload: the result as db-ally hands it over, or the error; `None` if the error is not
                known.
        """
        if request.is_open:
            request.is_open = False
            self._record_or_defer(Occurrence(kind, request, None, payload))

    def _record_or_defer(self, occurrence: Occurrence) -> None:
        """Record something now or, if this thread is making a record already, right after that.

        The garbage collector can drop a failed request at any moment, and so call this method: also
        while a sink is at work in this thread and holds a lock. If the sink were called again then,
        it would wait for its own lock for ever.
        """
        if not occurrence.request.is_recorded:
            return

        if this_thread.deferred is not None:
            this_thread.deferred.append(occurrence)
            return

        deferred: list[Occurrence] = []
        this_thread.deferred = deferred
        try:
            self._record_now(occurrence)
        finally:
            this_thread.deferred = None
            for each in deferred:
                each.request.recorder._record_or_defer(each)

    def _record_now(self, occurrence: Occurrence) -> None:
        """Make a record and hand it to the sink. A failure of either is counted, or raised."""
        kind, _, context, payload = occurrence
        try:
            self.sink(self._make_record(occurrence))
        except Exception as failure:  # whatever it is, the user's request comes first
            if self.raise_errors and not kind.endswith("_failed"):
                raise

            self._losses.add(failure)
            # A sink may keep an exception to raise it again. Its traceback would keep the contexts.
            failure.__traceback__ = None
            return

        # Only now: if the start is lost, the end must say everything.
        if context is not None and kind == "event_start":
            context.start_values = field_values(payload)

    def _make_record(self, occurrence: Occurrence) -> Record:
        kind, request, context, payload = occurrence
        serializer = self._serializer()
        cut: dict[str, int] = {}

        event_id = event_name = step = summary = None
        start_time = request.start_time
        start_values: dict[str, object] = {}
        if context is not None:
            event_id, event_name, step = context.event_id, context.name, context.step
            start_time, start_values = context.start_time, context.start_values
        else:
            cut.update(request.labels_cut)
            if kind != "request_start":
                cut.update(request.question_cut)
                summary = self._summary(kind, request, payload, serializer)

        elapsed = None
        if not kind.endswith("_start"):
            elapsed = round(perf_counter() - start_time, 6)

        error = data = None
        if isinstance(payload, BaseException):
            error = serializer.error(payload)
            if context is not None:  # what the event got before it failed, such as tokens
                data = serializer.fields(context.event, start_values) or None
        elif payload is not None:
            data = serializer.fields(payload, start_values)
        cut.update(serializer.cut)

        return Record(
            request_id=request.request_id,
            collection=request.collection,
            started_at=request.started_at,
            process=request.process,
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
        self, kind: Kind, request: RequestContext, payload: object, serializer: Serializer
    ) -> JsonObject:
        """Return the whole request in short, for its last record."""
        summary: JsonObject = {
            "collection": request.collection,
            "question": request.question,
            "labels": request.labels,
        }

        result = read_field(payload, "result")
        named = payload if isinstance(payload, ViewExecutionError) else result
        view = read_field(named, "view_name")
        if view is not None:
            summary["view"] = serializer.field("view", view)
        elif request.chosen_view is not None:
            summary["view"] = serializer.field("view", request.chosen_view, OUTPUT)

        if kind == "request_failed" and request.failed_step is not None:
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
    """Counts lost records, and logs a warning of the first, the 10th, the 100th and so on.

    In between it warns at most once a minute. Each warning has the total so far.

    There is no lock, because a forked process could inherit it in a locked state. None is needed:
    since 3.10, CPython switches threads only at calls and at backward jumps, so not in the middle
    of `count += 1`. A free-threaded build may count too few.

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
        warn(
            "Recording fails; records lost so far: %s; the last one: %s",
            self.count,
            _text_of(failure),
        )


def _text_of(failure: Exception) -> str:
    """Return the message of an exception, or its name if it has none or raises another one."""
    try:
        return str(failure) or repr(failure)
    except Exception:
        return type(failure).__name__


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
    except Exception:  # not a result, or an object of the application has raised
        return None


def _check_option(name: str, value: object) -> None:
    """Raise `ValueError` with the rule if a recorder cannot work with this value of an option."""
    rule = None
    if name == "sink" and not _is_plain_function(value):
        rule = "must be a plain function, not an async one; for example print"
    if name == "mask" and value is not None and not _is_plain_function(value):
        rule = "must be a plain function from text to text, or None; for example str.lower"
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
