"""db-ally's callbacks made records, and handed to a sink; a failure to record stays here."""

import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from inspect import iscoroutine, iscoroutinefunction
from weakref import finalize

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.events import Event, RequestEnd, RequestStart

from .blocks import current_block
from .contexts import EventContext, RequestContext
from .errors import asking_frame, is_from_signal
from .losses import Losses
from .privacy import PROMPT, Policy
from .records import Kind, Record, RequestId

_HOST = socket.gethostname()


@dataclass(eq=False)
class Recorder(EventHandler[RequestContext, EventContext]):
    """Records every request; one object serves all collections, tasks, threads and event loops.

    A callback's record is handed to the sink before the callback returns. The arguments are attributes
    as well, to be read: what is recorded is settled when the object is made.

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

    sink: Callable[[Record], object]
    _: KW_ONLY
    record_inputs: bool = True
    record_prompts: bool = True
    record_outputs: bool = True
    mask: Callable[[str], str] | None = None
    max_chars: int | None = 150_000
    raise_errors: bool = False

    def __post_init__(self) -> None:
        _check(self)
        self._policy = Policy((name for name in PROMPT if getattr(self, name)), self.mask, self.max_chars)
        self._losses = Losses()
        self._thread = threading.local()  # has a list `waiting` while the sink is at work
        finalize(self, self._losses.close)

    @property
    def lost_records(self) -> int:
        """How many records could not be recorded, and the failure was not raised."""
        return self._losses.count

    async def request_start(self, user_request: RequestStart) -> RequestContext:
        """Record the collection and the question."""
        block = current_block.get()
        report = self._report if block is None or block.is_recorded else lambda *about: None
        collection, question, labels = self._policy.opening(user_request, block.labels if block else {})
        identity = RequestId(os.urandom(16).hex(), collection, datetime.now(UTC), f"{_HOST}:{os.getpid()}", labels)
        request = RequestContext(report, identity, question, asking_frame(), id(sys.exception()))
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
        request_context.end_event("event_end", event_context, event)

    async def request_end(self, output: RequestEnd, request_context: RequestContext) -> None:
        """Record the result."""
        request_context.end("request_end", output)

    def _report(self, kind: Kind, request: RequestContext, event: EventContext | None, outcome: object) -> None:
        """Record what happened, or count the record as lost.

        The garbage collector can end a failed request, which calls this, while the sink is at work: then
        that record waits until the sink is through, so that no thread enters a sink twice.
        """
        if (waiting := getattr(self._thread, "waiting", None)) is not None:
            waiting.append((kind, request, event, outcome))
            return
        self._thread.waiting = waiting = []
        try:
            self._record(kind, request, event, outcome)
        finally:
            self._thread.waiting = None
            for late in waiting:
                self._report(*late)

    def _record(self, kind: Kind, request: RequestContext, event: EventContext | None, outcome: object) -> None:
        try:
            if iscoroutine(coroutine := self.sink(request.record(kind, event, outcome, self._policy))):
                coroutine.close()
                raise TypeError(f"sink {self.sink!r} returned a coroutine, which nobody awaits")
        except Exception as failure:  # whatever it is: the user's request comes first
            if (self.raise_errors and not kind.endswith("_failed")) or is_from_signal(failure):
                raise
            self._losses.add(failure)
            failure.__traceback__ = None  # its frames hold the contexts, which db-ally has to be able to drop
            if event:
                event.forget()
        else:
            self._losses.end()


def _check(recorder: Recorder) -> None:
    sink, mask, max_chars = recorder.sink, recorder.mask, recorder.max_chars
    if not callable(sink) or iscoroutinefunction(sink) or iscoroutinefunction(type(sink).__call__):
        raise ValueError(f"sink {sink!r}: a function that is no coroutine; for example print")
    if mask is not None and (not callable(mask) or iscoroutinefunction(mask)):
        raise ValueError(f"mask {mask!r}: a function from text to text; for example str.lower")
    if max_chars is not None and (type(max_chars) is not int or max_chars < 1):
        raise ValueError(f"max_chars {max_chars!r}: a whole number above zero or None; for example 100000")
    for name in [*sorted(PROMPT), "raise_errors"]:
        value = getattr(recorder, name)
        if type(value) is not bool:  # "false" from an environment variable would count as true
            raise ValueError(f"{name} {value!r}: True or False; for example False")
