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

from .failures import error_of_ask, has_left_ask, warn

if TYPE_CHECKING:
    from .recorder import RequestContext

WRONG_CONTEXT = (
    "A recording() or unrecorded() block was left in another context, or in another order, than it "
    "was entered. Requests may have wrong labels or none, and lack their errors. Put the block "
    "directly around the `ask`; in a dependency of a web framework, make that an async function."
)
NO_REQUEST = (
    "An `ask` failed in a recording() block, but no recorded request started in the block. A block "
    "does not travel to the threads of `run_in_executor` or `ThreadPoolExecutor.submit`: put it "
    "into the function that runs there, or use `asyncio.to_thread`."
)


class recording:  # in lower case like `suppress`, because it is used like it
    """Labels the requests that start in this block, and records the error that ends one of them.

    A handler alone cannot do that: db-ally drops a failed request after its exception has left
    `ask`, and does not say what it was. Blocks inside blocks add their labels. Tasks, and threads
    of `asyncio.to_thread`, that start inside take part. The exception goes on unchanged.

    Leaving a block never raises. If it is left in another context than it was entered, as in a
    generator that is resumed elsewhere, the first one in a process is warned of.

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
        self._times_entered = 0  # less how often it was left
        self._had_request = False
        self._requests: WeakValueDictionary[str, RequestContext] = WeakValueDictionary()

    @property
    def is_over(self) -> bool:
        """Whether it was left as often as it was entered."""
        return self._times_entered == 0

    def add(self, request: "RequestContext") -> None:
        """Take in a request that has started in this block."""
        self._had_request = True
        if request.is_recorded:
            self.request_id = request.request_id
            self._requests[request.request_id] = request

    def __enter__(self) -> Self:
        blocks = current_blocks()
        self._times_entered += 1
        _blocks.set((*blocks, self))
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._leave()

        if error is not None:
            with suppress(Exception):  # nothing may take the place of the application's exception
                self._record_error(error)

    def _leave(self) -> None:
        blocks = list(current_blocks())
        self._times_entered -= 1

        if blocks and blocks[-1] is self:
            blocks.pop()
        else:
            warn_once(WRONG_CONTEXT)
            with suppress(ValueError):  # it is not among them
                blocks.remove(self)

        _blocks.set(tuple(blocks))

    def _record_error(self, error: BaseException) -> None:
        """Record the error of each open request that `error`, or what led to it, has ended."""
        if not self._had_request and has_left_ask(error):
            warn_once(NO_REQUEST)

        open_requests = self._open_requests()
        for request in open_requests:
            own_error = None
            if request.ask_frame_id is not None:
                own_error = error_of_ask(request.ask_frame_id, error)
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


@cache
def warn_once(message: str) -> None:
    """Warn of something that concerns the code of the application; once in a process."""
    warn(message)
