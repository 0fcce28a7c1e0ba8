"""Records on their way to a sink: a failure to record is kept from the users here, and counted."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from inspect import iscoroutine, iscoroutinefunction
from time import monotonic
from weakref import finalize

from .errors import is_from_signal
from .records import Record

_QUIET = 60  # seconds after a warning

_lock = threading.RLock()  # the garbage collector can let another recorder lose a record meanwhile
if hasattr(os, "register_at_fork"):  # a child must not find it held by a thread that it does not have
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Losses:
    """Counts lost records. Warns of the first, then at most once a minute, and says the true count in the end.

    That is once no record was lost for a minute, or when the recorder or the process ends.

    Attributes:
        count: how many records were lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self._told = 0  # of them
        self._is_over = True
        self._last = self._warned = -float(_QUIET)  # seconds of `time.monotonic`

    def add(self, failure: Exception) -> None:
        """Count a record that was lost to `failure`."""
        with _lock:
            self.count += 1
            self._is_over = False
            self._last = now = monotonic()
            is_due = now >= self._warned + _QUIET
            if is_due:
                self._told, self._warned = self.count, now
        if is_due:
            _warn("Recording fails; records lost so far: %s; the last one to %s", self.count, failure)

    def end(self) -> None:
        """A record was not lost."""
        if not self._is_over and monotonic() >= self._last + _QUIET:
            self._is_over, self._told = True, self.count
            _warn("Recording works again; records lost in all: %s", self.count)

    def close(self) -> None:
        """Say what was not said yet."""
        if self._told != self.count:
            _warn("Recording ends; records lost in all: %s", self.count)


class Delivery:
    """Makes records and hands them to a sink, one after the other in each thread.

    Args:
        sink: called with each record.
        raise_errors: raise what goes wrong, except with records of failures: there the request's own error counts.

    Attributes:
        losses: the records that could not be recorded, where the failure was not raised.

    Raises:
        ValueError: the sink cannot be called, or would return before it has done its work.
    """

    def __init__(self, sink: Callable[[Record], object], raise_errors: bool) -> None:
        if not callable(sink) or iscoroutinefunction(sink) or iscoroutinefunction(type(sink).__call__):
            raise ValueError(f"sink {sink!r}: a function that is no coroutine; for example print")
        self.losses = Losses()
        self._sink = sink
        self._raise_errors = raise_errors
        self._thread = _Thread()
        finalize(self, self.losses.close)

    def __call__(self, make_record: Callable[[], Record], may_raise: bool) -> bool:
        """Hand a record to the sink, or count it as lost; return whether it is not.

        The garbage collector can end a failed request, which calls this, while the sink is at work: then
        that record waits until the sink is through, so that no thread enters a sink twice.
        """
        thread = self._thread
        if thread.waiting is not None:
            thread.waiting.append((make_record, may_raise))
            return True
        thread.waiting = []
        try:
            return self._deliver(make_record, may_raise)
        finally:
            waiting, thread.waiting = thread.waiting, None
            for late in waiting:
                self(*late)

    def _deliver(self, make_record: Callable[[], Record], may_raise: bool) -> bool:
        try:
            if iscoroutine(coroutine := self._sink(make_record())):
                coroutine.close()
                raise TypeError(f"sink {self._sink!r} returned a coroutine, which nobody awaits")
        except Exception as failure:  # whatever it is: the user's request comes first
            if (may_raise and self._raise_errors) or is_from_signal(failure):
                raise
            self.losses.add(failure)
            failure.__traceback__ = None  # its frames hold the contexts, which db-ally has to be able to drop
            return False
        self.losses.end()
        return True


class _Thread(threading.local):
    """What a thread has to record when its sink is through; `None` while its sink is not at work."""

    waiting: list[tuple[Callable[[], Record], bool]] | None = None


def _warn(message: str, *about: object) -> None:
    logger = logging.getLogger(__name__)
    if logger.disabled:  # `dictConfig` disables the loggers that it does not name
        logger = logging.getLogger()
    with suppress(Exception):  # the application's own logging may fail as well
        logger.warning(message, *map(str, about))  # an error would keep the contexts in its frames alive
