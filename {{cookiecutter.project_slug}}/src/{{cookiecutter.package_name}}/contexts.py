"""What a request and an event carry from callback to callback. They notice when db-ally drops them before their end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias

from dbally.audit.events import Event, LLMEvent, RequestStart

from .errors import error_of, unwinding_error
from .plain import Data, Plain
from .privacy import Policy
from .records import Kind, Record, RequestId, step_of

Report: TypeAlias = Callable[[Kind, "RequestContext", "EventContext | None", object], None]

_MOST_OPEN = 1_000  # events that the record of a failed request names
_TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


@dataclass(eq=False)
class RequestContext:
    """A request. Dropped while it is open, it has failed; with what, and when, db-ally does not let us know.

    Attributes:
        report: called with what happens, to which request and event, and what db-ally says of it, or the error.
        identity: what all its records start with.
        question: what its summary says of it.
        frame_id: `id` of the frame of its `ask`, which its error unwinds; 0 without one.
        handled: `id` of the exception that was handled when it started, which is no cause of its own.
        started: seconds of `time.perf_counter`.
        is_open: it has started, and neither ended nor failed.
        events: how many events it has started.
        open_events: those that have started, and neither ended nor failed, as records name them, by number.
        usage: calls of the model, how many of them failed, and their tokens.
    """

    report: Report
    identity: RequestId
    question: Plain
    frame_id: int
    handled: int
    started: float = field(default_factory=time.perf_counter)
    is_open: bool = False
    events: int = 0
    open_events: dict[int, Plain] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=lambda: dict.fromkeys(["calls", "failed_calls", *_TOKENS], 0))

    def start(self, user_request: RequestStart) -> None:
        """Report that it starts."""
        self.report("request_start", self, None, user_request)
        self.is_open = True

    def end(self, kind: Kind, outcome: object) -> None:
        """Report that it ends or fails, if it has not done so yet."""
        if self.is_open:
            self.is_open = False
            self.report(kind, self, None, outcome)

    def fail(self, error: BaseException, is_alone: bool) -> None:
        """Report that it failed, if `error` or what led to it has ended it.

        That can be seen of an `ask` only. Who uses db-ally's tracker without one needs a block for each request.
        """
        own = error_of(self.frame_id, error) if self.frame_id else error if is_alone else None
        if own:
            self.end("request_failed", own)

    def __del__(self) -> None:
        self.end("request_failed", None)

    def start_event(self, event: Event) -> "EventContext":
        """Report that an event of it starts, and return the context of that."""
        self.events += 1
        step = step_of(event)
        seen = {"type": getattr(event, "type", None)} if step else {}  # the step says better what it is
        context = EventContext(self, self.events, type(event).__name__, step, isinstance(event, LLMEvent), seen)
        self.report("event_start", self, context, event)
        self.usage["calls"] += context.is_call
        self.open_events[context.event_id] = {"event_id": context.event_id, "event": step or context.name}
        return context

    def end_event(self, kind: Kind, context: "EventContext", outcome: object) -> None:
        """Report that an event of it ends or fails, if it has not done so yet, and count what it used."""
        if not self.open_events.pop(context.event_id, None):
            return
        if context.is_call:
            self.usage["failed_calls"] += kind == "event_failed"
            for name in _TOKENS:
                tokens = getattr(outcome, name, None)
                self.usage[name] += tokens if type(tokens) is int else 0
        self.report(kind, self, context, outcome)

    def record(self, kind: Kind, event: "EventContext | None", outcome: object, policy: Policy) -> Record:
        """Return the record of what happened to it, or to an event of it."""
        copier, error, data = policy.copier(), None, None
        summary: Data | None = None
        if event is None and kind != "request_start":
            summary = {"collection": self.identity.collection, "question": self.question}
            summary |= {"labels": self.identity.labels, **policy.found(outcome, copier), **self.usage}
        if isinstance(outcome, BaseException):
            error = policy.error(outcome, self.handled, copier)
        elif outcome is not None:
            data = policy.data(outcome, event.seen if event else {}, copier)
        elapsed = None if kind.endswith("_start") else round(time.perf_counter() - (event or self).started, 6)
        still_open = ([*self.open_events.values()][:_MOST_OPEN] or None) if kind == "request_failed" else None
        number, name, step = (event.event_id, event.name, event.step) if event else (None, None, None)
        now, cut = datetime.now(UTC), copier.cut or None
        return Record(*self.identity, number, name, step, now, kind, elapsed, error, data, summary, still_open, cut)


@dataclass(eq=False)
class EventContext:
    """An event. Dropped by an error while it is open, it has failed with that error.

    db-ally calls no one (https://github.com/deepsense-ai/db-ally/issues/72), but it drops this
    object while the error unwinds, before any `except` of its caller runs.

    Attributes:
        request: what it is part of.
        event_id: its number in the request, from 1.
        name: its class.
        step: what the model is called for, where that is known.
        is_call: it is a call of the model.
        seen: the fields of it that are recorded, or need not be.
        started: seconds of `time.perf_counter`.
    """

    request: RequestContext
    event_id: int
    name: str
    step: str | None
    is_call: bool
    seen: dict[str, object]
    started: float = field(default_factory=time.perf_counter)

    def forget(self) -> None:
        """Take nothing as recorded, since a record was lost: its end says what its start was to say."""
        self.seen.clear()

    def __del__(self) -> None:
        if self.event_id in self.request.open_events and (error := unwinding_error(self)):
            self.request.end_event("event_failed", self, error)
