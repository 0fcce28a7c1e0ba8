"""What an exception tells: what led to it, and what it ended."""

import gc
import signal
import sys
from traceback import walk_tb
from types import FrameType

from dbally.collection.collection import Collection
from dbally.views.exceptions import ViewExecutionError

_ASK = Collection.ask.__code__
# Of contextlib: an error leaves db-ally's `track_event` through it.
_UNWINDING = "_AsyncGeneratorContextManager.__aexit__"


def with_causes(error: BaseException, also_suppressed: bool = False, before: int = 0) -> list[BaseException]:
    """Return `error` and what led to it, outermost first, each once.

    That are the members of a group; in an error of a view, the reasons that db-ally keeps in
    `iql.filters` and `iql.aggregation`; and its cause or, unless that is suppressed, its context.
    It ends at what was handled `before`, an `id`: to Python that is the context of all that comes later.
    """
    found: dict[int, BaseException] = {}
    waiting = [error]
    while waiting:
        error = waiting.pop()
        if id(error) != before and id(error) not in found:
            found[id(error)] = error
            context = error.__context__ if also_suppressed or not error.__suppress_context__ else None
            members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
            hidden = (error.iql.aggregation, error.iql.filters) if isinstance(error, ViewExecutionError) else ()
            led_to = (error.__cause__ or context, *reversed(members), *hidden)
            waiting += [each for each in led_to if isinstance(each, BaseException)]
    return [*found.values()]


def error_of(frame_id: int, error: BaseException) -> BaseException | None:
    """Return the error of what ran in a frame if `error`, or what led to it, has unwound that frame.

    It is `error` itself, but not a group, which can hold the errors of others, nor one that suppresses its context
    or has ended another `ask`, as where that was tried after this one had failed.
    """
    unwound = (each for each in with_causes(error, also_suppressed=True) if frame_id in map(id, _frames(each)))
    found = next(unwound, None)
    is_of_another = isinstance(error, BaseExceptionGroup) or any(frame.f_code is _ASK for frame in _frames(error))
    return error if not is_of_another and any(each is found for each in with_causes(error)) else found


def asking_frame() -> int:
    """Return the `id` of the frame of the `Collection.ask` that starts a request now; 0 where none does."""
    frame = sys._getframe(1).f_back
    while frame and frame.f_code is not _ASK:
        frame = frame.f_back
    return id(frame) if frame else 0


def unwinding_error(dropped: object) -> BaseException | None:
    """Return the error that made db-ally drop an object, if one did; to be called in its `__del__`.

    Any other exception in flight is not its own, as where the garbage collector drops it. On CPython 3.11
    and later, `sys.exc_info` tells the error while it unwinds.
    """
    frame = sys._getframe(1).f_back
    is_unwinding = frame and frame.f_code.co_qualname == _UNWINDING and not gc.is_finalized(dropped)
    return sys.exc_info()[1] if is_unwinding else None


def is_from_signal(error: BaseException) -> bool:
    """Return whether a signal handler of the application raised it, as for a time limit of its own."""
    handlers = {getattr(signal.getsignal(number), "__code__", None) for number in signal.valid_signals()}
    return any(frame.f_code in handlers for frame in _frames(error))


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in walk_tb(error.__traceback__)]
