"""Records that were lost: how many, and when that is said."""

import logging
import os
import threading
from contextlib import suppress
from math import inf
from time import monotonic

_QUIET = 60.0  # seconds after a warning

_lock = threading.RLock()  # the garbage collector can let another recorder lose a record meanwhile
_at_fork = getattr(os, "register_at_fork", lambda **_: None)  # Windows has no fork
# A child must not find it held by a thread that it does not have.
_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Losses:
    """Counts lost records. Warns of the first, then at most once a minute, and says the true count in the end.

    That is when no record was lost for a minute, or when the recorder or the process ends.

    Attributes:
        count: how many records were lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self._told = 0  # of them
        self._warned = -_QUIET  # seconds of `time.monotonic`
        self._last = inf  # likewise, of the last loss; `inf` once it was said that all is well

    def add(self, failure: Exception) -> None:
        """Count a record that was lost to `failure`."""
        with _lock:
            self.count += 1
            self._last = now = monotonic()
            if is_due := now >= self._warned + _QUIET:
                self._told, self._warned = self.count, now
        if is_due:
            _warn("Recording fails; records lost so far: %s; the last one: %s", self.count, failure)

    def end(self) -> None:
        """Say that recording works again, if it failed and has done so for a minute."""
        if monotonic() >= self._last + _QUIET:
            self._last, self._told = inf, self.count
            _warn("Recording works again; records lost in all: %s", self.count)

    def close(self) -> None:
        """Say what was not said yet."""
        if self._told != self.count:
            _warn("Recording ends; records lost in all: %s", self.count)


def _warn(message: str, *about: object) -> None:
    logger = logging.getLogger(__name__)
    if logger.disabled:  # `dictConfig` disables the loggers that it does not name
        logger = logging.getLogger()
    with suppress(Exception):  # the application's own logging may fail as well
        # As texts: an error would keep the contexts in its frames alive.
        logger.warning(message, *(str(value) or repr(value) for value in about))
