"""Everything about exceptions: which one ended an event or a request, and what led to it.

db-ally calls no handler when something fails (https://github.com/deepsense-ai/db-ally/issues/72).
What helps are four facts of CPython 3.11 and later, where an object dies as soon as nothing refers
to it any more:

1. An exception that leaves db-ally's `track_event` drops the context of the event.
2. While the context's `__del__` runs because of that, `sys.exception()` is this exception.
3. The traceback of an exception has the frame of each call that the exception has left. So one that
   has left a `Collection.ask` has the frame of this very call.
4. The context of the request dies later, together with the exception, and nothing says then what
   the exception was. So only a block around the `ask` knows the error of a request; see
   `blocks.py`.
"""

import contextlib
import gc
import logging
import sys
from asyncio import CancelledError
from traceback import walk_tb

from dbally.collection.collection import Collection
from dbally.views.exceptions import ViewExecutionError

ASK_CODE = Collection.ask.__code__
# `track_event` is an `asynccontextmanager`. This method of contextlib lets exceptions out of it.
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
    if isinstance(error, ViewExecutionError):  # db-ally puts the reason in the place of a result
        causes.append(error.iql.filters)
        causes.append(error.iql.aggregation)

    if isinstance(error, BaseExceptionGroup):
        causes.extend(error.exceptions)

    if error.__cause__ is not None:
        causes.append(error.__cause__)
    else:
        causes.append(error.__context__)  # also if `raise ... from None` hides it

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

    To keep the frame itself would keep alive all that it holds. Its `id` is enough, because it is
    compared only with frames that are alive.
    """
    frame = sys._getframe().f_back
    while frame is not None:
        if frame.f_code is ASK_CODE:
            return id(frame)
        frame = frame.f_back

    return None


def has_left_ask(error: BaseException) -> bool:
    """Return whether an exception, or one that led to it, has left a `Collection.ask`."""
    for candidate in error_chain(error):
        for frame, _ in walk_tb(candidate.__traceback__):
            if frame.f_code is ASK_CODE:
                return True

    return False


def error_of_ask(ask_frame_id: int, error: BaseException) -> BaseException | None:
    """Return what ended an `ask`, given the exception that left a block around it.

    It is the exception that left the `ask`: this can be `error`, or one that led to it. But if the
    `ask` was only cancelled, it is `error`, which says why: for example, that time was up.

    Returns:
        The exception, or `None` if the `ask` did not end with `error` or with what led to it.
    """
    for candidate in error_chain(error):
        for frame, _ in walk_tb(candidate.__traceback__):
            if id(frame) != ask_frame_id:
                continue

            if isinstance(candidate, CancelledError):
                return error
            return candidate

    return None


def error_that_drops(context: object) -> BaseException | None:
    """Return the exception that makes db-ally drop the context of an event.

    Only the `__del__` of the context may call this, and only directly. The context can also die
    for another reason, while the application handles some other exception: then it is `None`.
    """
    # The garbage collector marks what it finds before it calls `__del__`. When the last reference
    # goes away, CPython sets this mark only afterwards.
    if gc.is_finalized(context):
        return None

    frame_that_drops = sys._getframe(1).f_back
    if frame_that_drops is None or frame_that_drops.f_code is not LEAVING_CODE:
        return None
    return sys.exception()


def warn(message: str, *arguments: object) -> None:
    """Warn through `logging` that recording does not work as it should. Never raises."""
    logger = logging.getLogger(__package__)
    if logger.disabled:  # `logging.config.dictConfig` disables each logger that it does not name
        logger = logging.getLogger()

    with contextlib.suppress(Exception):  # the application's own handlers of logging may fail
        logger.warning(message, *arguments)
