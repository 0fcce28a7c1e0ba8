"""What db-ally carries from callback to callback. Each context notices when db-ally drops it before its end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from weakref import WeakSet, ref

from dbally.audit.events import Event, RequestStart

from .records import Data, Request


@dataclass(eq=False, slots=True, weakref_slot=True)
class RequestContext:
    """One request. Dropped while it is open, it has failed; with what, db-ally does not let us know.

    Attributes:
        request: what identifies it in records.
        user_request: what db-ally started it with.
        record: called as `record(kind, request, event, error)` when it, or an event of it, fails.
        started: seconds of `time.perf_counter`.
        is_open: it has started, and neither ended nor failed.
        events: how many events it has started.
        unended: class names of those that have started and not ended, by number.
        latest: the one that started last, as long as db-ally holds it.
        is_twice: its collection has the handler twice, and db-ally calls it twice for everything.
    """

    request: Request
    user_request: RequestStart
    record: Callable[..., object]
    started: float = field(default_factory=time.perf_counter)
    is_open: bool = False
    events: int = 0
    unended: dict[int, str] = field(default_factory=dict)
    latest: "ref[EventContext] | None" = None
    is_twice: bool = False

    def fail(self, error: BaseException | None) -> None:
        """Record that the request failed, if it is open."""
        if self.is_open:
            self.is_open = False
            self.record("request_failed", self, None, error)

    def __del__(self) -> None:
        self.fail(None)


@dataclass(eq=False, slots=True, weakref_slot=True)
class EventContext:
    """One event. Dropped by an error before it has ended, it has failed with that error.

    db-ally calls no one (https://github.com/deepsense-ai/db-ally/issues/72), but it drops this
    object while the error unwinds, before any `except` of its caller runs: on CPython 3.11 and
    later, `sys.exc_info` then tells the error.

    Attributes:
        request: the context of its request.
        event: what db-ally started it with.
        event_id: its number within the request, from 1.
        before: the fields of the event at its start, to see fast which are still the same objects.
        known: what the record of its start says of them.
        started: seconds of `time.perf_counter`.
    """

    request: RequestContext
    event: Event
    event_id: int
    before: dict[str, object] = field(default_factory=dict)
    known: Data = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @property
    def is_open(self) -> bool:
        """Whether it has started and not ended."""
        return self.event_id in self.request.unended

    def __del__(self) -> None:
        error = sys.exc_info()[1]
        if self.is_open and error is not None:
            self.request.record("event_failed", self.request, self, error)


watched_requests: ContextVar[WeakSet[RequestContext] | None] = ContextVar("watched_requests", default=None)


@contextmanager
def record_exception() -> Iterator[None]:
    """Record the exception that leaves this block as the error of the request made in it.

    A handler alone cannot know it: db-ally drops a failed request after its exception has left
    `ask`. Await one `ask` in each block and nothing else: of several unfinished requests, none is
    blamed, and of one that goes on after it, as in `asyncio.shield`, the end is not recorded.
    Tasks may have a block each. It serves every handler; the exception goes on unchanged.
    """
    requests: WeakSet[RequestContext] = WeakSet()
    token = watched_requests.set(requests)
    try:
        yield
    except BaseException as error:
        unfinished = [context for context in requests if context.is_open]
        if len({id(context.user_request) for context in unfinished}) == 1:
            for context in unfinished:
                context.fail(error)
        raise
    finally:
        with suppress(ValueError):  # a generator that is closed in another task than it began in
            watched_requests.reset(token)
