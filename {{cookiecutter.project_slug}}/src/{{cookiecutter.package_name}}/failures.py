"""Everything about exceptions: which one ended an event or a request, and what led to it.

db-ally calls no handler when something fails (https://github.com/deepsense-ai/db-ally/issues/72).
What is used instead is true of CPython 3.11 and later, where an object dies as soon as nothing
refers to it:

- An exception that leaves db-ally's `track_event` drops the event's context while it unwinds.
  Inside that context's `__del__`, `sys.exception()` is this exception.
- An exception's traceback has a frame for each call that it has left. An exception that has ended
  a `Collection.ask` has the frame of this very call.
- The request's context dies later, when the exception is dropped, and nobody knows then what it
  was. So the error of a request is known only to a block around its `ask`; see `blocks.py`.
"""

import gc
import sys
from asyncio import CancelledError
from contextlib import suppress
from traceback import walk_tb

from dbally.collection.collection import Collection
from dbally.views.exceptions import ViewExecutionError

ASK_CODE = Collection.ask.__code__
# The function of contextlib by which an exception leaves `track_event`.
UNWINDING_FUNCTION = "_AsyncGeneratorContextManager.__aexit__"


def error_chain(error: BaseException) -> list[BaseException]:
    """Return an exception and everything that led to it, outermost first, each once."""
    chain: list[BaseException] = []
    known_ids: set[int] = set()

    waiting = [error]
    while waiting:
        current = waiting.pop()
        if id(current) in known_ids:
            continue

        known_ids.add(id(current))
        chain.append(current)
        waiting.extend(reversed(_reasons(current)))

    return chain


def _reasons(error: BaseException) -> list[BaseException]:
    """Return what led directly to an exception."""
    reasons: list[object] = []
    if isinstance(error, ViewExecutionError):  # db-ally puts the reason in the place of a result
        reasons += [error.iql.filters, error.iql.aggregation]

    if isinstance(error, BaseExceptionGroup):
        reasons.extend(error.exceptions)

    if error.__cause__ is not None:
        reasons.append(error.__cause__)
    else:
        reasons.append(error.__context__)  # also where `raise ... from None` suppresses it

    return [reason for reason in reasons if isinstance(reason, BaseException)]


def message_of(error: BaseException) -> str:
    """Return the message of an exception and the notes that were added to it, a line each."""
    message = str(error)
    with suppress(Exception):  # most exceptions have no notes, and of some they cannot be read
        for note in error.__notes__:
            if message:
                message += "\n"
            message += str(note)

    return message


def frame_of_ask() -> int | None:
    """Return the `id` of the frame of the `Collection.ask` that called us, `None` if none did."""
    frame = sys._getframe().f_back
    while frame is not None:
        if frame.f_code is ASK_CODE:
            return id(frame)
        frame = frame.f_back

    return None


def error_of_ask(ask_frame: int, error: BaseException) -> BaseException | None:
    """Return what ended an `ask`, given the exception that left a block around it.

    It is the exception that left the `ask`: `error` or one of its causes. If the `ask` was
    cancelled, `error` says more, for example that time was up. `None` if `error` and its causes
    come from somewhere else.
    """
    for candidate in error_chain(error):
        for frame, _ in walk_tb(candidate.__traceback__):
            if id(frame) != ask_frame:
                continue

            if isinstance(candidate, CancelledError):
                return error
            return candidate
    return None


def unwinding_error(dropped: object) -> BaseException | None:
    """Return the exception that makes db-ally drop an object; only its `__del__` may ask.

    The garbage collector can drop it as well, at a moment when some other exception is handled.
    There are two signs of that: the code that runs is not contextlib's, or CPython has marked the
    object as finalized, which the collector does before it calls `__del__` and a last reference
    that goes does afterwards.
    """
    if gc.is_finalized(dropped):
        return None

    dropping_frame = sys._getframe(1).f_back
    if dropping_frame is None or dropping_frame.f_code.co_qualname != UNWINDING_FUNCTION:
        return None
    return sys.exception()
