"""Everything about exceptions: which one ended an event or a request, and what led to it.

db-ally calls no handler when something fails (https://github.com/deepsense-ai/db-ally/issues/72).
But it drops the contexts of what has failed, and that tells us. This module relies on four facts of
CPython 3.11 and later, where an object dies as soon as its last reference goes away:

1. db-ally keeps the context of an event in a local variable of `track_event`, which is an
   `asynccontextmanager`. When an exception leaves it, contextlib's `__aexit__` executes
   `exc.__traceback__ = traceback`. That takes the frame of `track_event` out of the traceback.
   Nothing else refers to this frame, so it dies, and with it the context.
2. At that moment `__aexit__` is handling the exception. So while the `__del__` of the context runs,
   `sys.exception()` is this exception, and `__aexit__` is the frame that `__del__` has interrupted.
3. The traceback of an exception has the frame of each call that the exception has left, and of the
   call that caught it. So an exception that has the frame of an `ask` has left exactly this `ask`,
   or was handled in it.
4. The context of a request is in frames that stay in the traceback. So it dies only together with
   the exception, and then nothing says what the exception was. Only a block around the `ask` can
   see the error of a request; see `blocks.py`.
"""

import contextlib
import gc
import logging
import sys
from asyncio import CancelledError
from collections.abc import Iterator
from functools import cache
from traceback import walk_tb
from types import FrameType

from dbally.collection.collection import Collection
from dbally.views.exceptions import ViewExecutionError

ASK_CODE = Collection.ask.__code__
# It is private. If a later Python has it no more, this fails at once, and not when it is needed.
LEAVING_CODE = contextlib._AsyncGeneratorContextManager.__aexit__.__code__


def error_chain(error: BaseException) -> list[BaseException]:
    """Return an exception and everything that led to it, outermost first, each once."""
    chain: list[BaseException] = []
    seen_ids: set[int] = set()

    pending = [error]
    while pending:
        current = pending.pop()
        if id(current) in seen_ids:
            continue

        seen_ids.add(id(current))
        chain.append(current)
        pending.extend(reversed(_direct_causes(current)))

    return chain


def _direct_causes(error: BaseException) -> list[BaseException]:
    causes: list[object] = []
    if isinstance(error, ViewExecutionError):  # db-ally stores the reason in the place of a result
        iql = getattr(error, "iql", None)
        causes.append(getattr(iql, "filters", None))
        causes.append(getattr(iql, "aggregation", None))

    if isinstance(error, BaseExceptionGroup):
        causes.extend(error.exceptions)

    causes.append(error.__cause__)
    causes.append(error.__context__)  # also if `raise ... from` hides it
    return [cause for cause in causes if isinstance(cause, BaseException)]


def message_of(error: BaseException) -> str:
    """Return the message of an exception, and below it the notes that were added to it."""
    lines = [str(error)]
    with contextlib.suppress(Exception):  # most exceptions have no notes; some have odd ones
        for note in error.__notes__:
            lines.append(str(note))

    return "\n".join(lines).removeprefix("\n")


def id_of_ask_frame() -> int | None:
    """Return the `id` of the frame of the `Collection.ask` that called us; `None` if none did.

    Keeping the frame itself would keep alive all that is in it. Its `id` is enough. An `id` can be
    given to another object later, but not while the request is open: the frame of its `ask` lives
    until then, either because it runs, or because the exception that has left it is alive.
    """
    frame = sys._getframe().f_back
    while frame is not None:
        if frame.f_code is ASK_CODE:
            return id(frame)
        frame = frame.f_back

    return None


def error_of_ask(ask_frame_id: int, error: BaseException) -> BaseException | None:
    """Return the exception that ended an `ask`, given the one that left a block around it.

    It is the exception that left the `ask`: either `error` itself, or one that led to it. But if
    that is a `CancelledError`, `error` is returned: it says why, as a `TimeoutError` does.

    The first match is right: `error_chain` has what left the `ask` before what the `ask` handled.

    Returns:
        The exception, or `None` if neither `error` nor what led to it has left the `ask`.
    """
    for candidate, frame in _frames_of_chain(error):
        if id(frame) == ask_frame_id:
            return error if isinstance(candidate, CancelledError) else candidate
    return None


def has_left_any_ask(error: BaseException) -> bool:
    """Return whether an exception, or one that led to it, has left a `Collection.ask`."""
    return any(frame.f_code is ASK_CODE for _, frame in _frames_of_chain(error))


def _frames_of_chain(error: BaseException) -> Iterator[tuple[BaseException, FrameType]]:
    """Yield each exception of a chain with each frame of its traceback."""
    for candidate in error_chain(error):
        for frame, _ in walk_tb(candidate.__traceback__):
            yield candidate, frame


def error_ending_event(context: object) -> BaseException | None:
    """Return the exception that has ended an event, by which its context dies; `None` without one.

    Only the `__del__` of the context may call this, and only directly: it looks at the frame that
    `__del__` has interrupted. A context can also die for other reasons, while the application
    handles an exception that has nothing to do with the event.
    """
    # The garbage collector can run at any moment, also in the middle of `__aexit__`. What it finds
    # has not died of the exception. It marks an object as finalized before it calls `__del__`; if
    # the last reference goes away instead, the mark is set only after `__del__`.
    if gc.is_finalized(context):
        return None

    interrupted_frame = sys._getframe(1).f_back
    if interrupted_frame is None or interrupted_frame.f_code is not LEAVING_CODE:
        return None
    return sys.exception()


def warn(message: str, *arguments: object) -> None:
    """Warn through `logging` that recording does not work as it should. Never raises."""
    logger = logging.getLogger(__package__)
    if logger.disabled:  # `logging.config.dictConfig` disables each logger that it does not name
        logger = logging.getLogger()

    with contextlib.suppress(Exception):  # the application's own handlers of logging may fail
        logger.warning(message, *arguments)


@cache
def warn_once(message: str) -> None:
    """Warn of something that concerns the code of the application; once for each message."""
    warn(message)
