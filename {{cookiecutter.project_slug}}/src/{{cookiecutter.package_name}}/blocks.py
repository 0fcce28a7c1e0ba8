"""What users put around an `ask`: `recording` and `unrecorded`.

The blocks around a piece of code are a tuple in one context variable, outermost first. A child
task, a thread or a generator can have a copy of that variable and keep it after a block was left.
So each block knows whether it is over, and `current_blocks` leaves out those that are.
"""

from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from .failures import error_of_ask
from .losses import warn

if TYPE_CHECKING:
    from .recorder import RequestContext


class recording:  # lower case, because it is used like `suppress`
    """Labels the requests that start in this block, and records the error that ends one of them.

    A handler alone cannot: db-ally drops a failed request after its exception has left `ask`, and
    does not say what it was. Blocks inside blocks add their labels. Tasks and threads that are
    started inside take part. The exception goes on unchanged, and leaving a block never raises.

        with recording(user="ann") as block:
            answer = await collection.ask(question)
        print(block.request_id)

    Args:
        labels: what the requests are to be found by; 3,000 characters in all.

    Attributes:
        labels: the labels of this block alone.
        request_id: id of the request that started last in this block; `None` before.
    """

    is_recorded = True

    def __init__(self, **labels: object) -> None:
        self.labels = labels
        self.request_id: str | None = None
        self._times_entered = 0  # and not left yet
        self._had_effect = False
        self._requests: WeakValueDictionary[str, RequestContext] = WeakValueDictionary()

    @property
    def is_over(self) -> bool:
        """Whether it was left as often as it was entered."""
        return self._times_entered <= 0

    def add(self, request: "RequestContext") -> None:
        """Take in a request that has started in this block."""
        self._had_effect = True
        if request.is_recorded:
            self.request_id = request.request_id
            self._requests[request.request_id] = request

    def __enter__(self) -> Self:
        self._times_entered += 1
        self._had_effect = False
        _blocks.set((*current_blocks(), self))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._times_entered -= 1

        blocks = list(_blocks.get())
        if self in blocks:
            blocks.remove(self)
            _blocks.set(tuple(blocks))
        elif not self._had_effect:
            _warn_of_other_context()

        if error is not None:
            with suppress(Exception):  # nothing may take the place of the application's exception
                self._record_error(error)

    def _record_error(self, error: BaseException) -> None:
        """Record `error` or one of its causes as the error of each request that it has ended."""
        open_requests = self._open_requests()
        for request in open_requests:
            own_error = None
            if request.ask_frame is not None:
                own_error = error_of_ask(request.ask_frame, error)
            elif len(open_requests) == 1:  # db-ally's tracker was used without an `ask`
                own_error = error

            if own_error is not None:
                request.recorder.close_request("request_failed", request, own_error)

    def _open_requests(self) -> list["RequestContext"]:
        open_requests = []
        for reference in self._requests.valuerefs():  # a copy: another thread may add a request
            request = reference()
            if request is not None and request.is_open:
                open_requests.append(request)

        return open_requests


class unrecorded(recording):
    """Records nothing of the requests that start in this block; it is used like `recording`."""

    is_recorded = False

    def __init__(self) -> None:
        super().__init__()


_blocks: ContextVar[tuple[recording, ...]] = ContextVar("blocks", default=())


def current_blocks() -> tuple[recording, ...]:
    """Return the blocks around the caller that are not over, outermost first."""
    return tuple(block for block in _blocks.get() if not block.is_over)


@cache  # so that a process is warned once
def _warn_of_other_context() -> None:
    warn(
        "A recording() or unrecorded() block had no effect: it was entered and left in different "
        "contexts, and no request started in it. If it is in a dependency of a web framework, make "
        "that an async function; or put the block around the ask itself."
    )
