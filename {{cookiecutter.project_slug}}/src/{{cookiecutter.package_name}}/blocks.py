"""What users put around an `ask`: `recording` and `unrecorded`.

The blocks around a piece of code are a tuple in one context variable, outermost first. A child
task, a thread or a generator can have a copy of that variable and keep it after a block was left.
So each block knows whether it is over, and `current_blocks` leaves out those that are.
"""

from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from .failures import error_of_ask, has_left_any_ask, warn_once

if TYPE_CHECKING:
    from .recorder import RequestContext

WRONG_CONTEXT = (
    "A recording() or unrecorded() block was entered and left in different contexts, or not in "
    "nested order. Requests may have wrong labels or none, and lack their errors. Put the block "
    "directly around the `ask`; in a dependency of a web framework, declare that `async def`."
)
NO_REQUEST = (
    "An `ask` failed in a recording() block, but its request did not start there. So its error is "
    "not recorded. Either the collection has no recorder, or the `ask` started before the block, "
    "or it runs in a thread that does not see the block: put the block into the function that "
    "`run_in_executor` or `ThreadPoolExecutor.submit` calls, or use `asyncio.to_thread`."
)


class recording:  # in lower case like `suppress`, because it is used like it
    """Labels the requests that start in this block, and records the errors that end them.

    A handler alone cannot do that: db-ally drops a failed request after its exception has left
    `ask`, and does not say what it was. Blocks inside blocks add their labels. Tasks that start
    inside take part, and so do threads of `asyncio.to_thread`. The exception goes on unchanged.

    Leaving a block never raises. If a block is not left where it was entered, for example in a
    generator that another task resumes, a warning is logged, once in a process.

        with recording(user="ann") as block:
            answer = await collection.ask(question)
        print(block.request_id)

    Args:
        labels: what the requests are to be found by; 3,000 characters in all, 2,000 in one label.

    Attributes:
        labels: the labels of this block alone.
        request_id: id of the request that started last in this block; `None` before.
    """

    is_recorded = True

    def __init__(self, /, **labels: object) -> None:
        self.labels = labels
        self.request_id: str | None = None
        self._open_entries = 0  # how often it was entered and not left yet
        self._had_request = False
        self._requests: WeakValueDictionary[str, RequestContext] = WeakValueDictionary()

    @property
    def is_over(self) -> bool:
        """Whether it was left as often as it was entered."""
        return self._open_entries == 0

    def add(self, request: "RequestContext") -> None:
        """Take in a request that has started in this block."""
        self._had_request = True
        if request.is_recorded:
            self.request_id = request.request_id
            self._requests[request.request_id] = request

    def __enter__(self) -> Self:
        blocks = current_blocks()
        self._open_entries += 1
        _blocks.set((*blocks, self))
        return self

    def __exit__(self, error_type: object, error: BaseException | None, traceback: object) -> None:
        self._leave()

        if error is not None:
            with suppress(Exception):  # nothing may take the place of the application's exception
                self._record_error(error)

    def _leave(self) -> None:
        blocks = list(current_blocks())
        self._open_entries -= 1

        if blocks and blocks[-1] is self:
            blocks.pop()
        else:
            warn_once(WRONG_CONTEXT)
            with suppress(ValueError):  # it is not among them
                blocks.remove(self)

        _blocks.set(tuple(blocks))

    def _record_error(self, error: BaseException) -> None:
        """Record for each open request what ended it: `error`, or an exception that led to it."""
        if not self._had_request and has_left_any_ask(error):
            warn_once(NO_REQUEST)

        open_requests = self._open_requests()
        for request in open_requests:
            own_error = None
            if request.ask_frame_id is not None:
                own_error = error_of_ask(request.ask_frame_id, error)
            elif len(open_requests) == 1:
                # Without an `ask`, db-ally's tracker was used directly. Nothing shows whose error
                # it is, unless there is only one request.
                own_error = error

            if own_error is not None:
                request.recorder.finish_request("request_failed", request, own_error)

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
