"""Records that were lost: how many, and the one warning about them."""

import logging
import threading
import time
from contextlib import suppress

_QUIET = 60  # seconds after a warning

_logger = logging.getLogger(__name__)


class Losses:
    """Counts lost records. Warns of the first, and again when recording works; where both alternate, once a minute.

    Attributes:
        count: how many records were lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._warned = False
        self._quiet_until = 0.0  # seconds of `time.monotonic`

    def add(self, failure: Exception) -> None:
        """Count a record that was lost to `failure`."""
        now = time.monotonic()
        with self._lock:
            self.count += 1
            if self._warned or now < self._quiet_until:
                return
            self._warned, self._quiet_until = True, now + _QUIET
        _warn("Recording fails, records are lost from here on: %s", failure)

    def end(self) -> None:
        """Say that recording works, if the last thing said is that it fails."""
        if self._warned:
            self._warned = False
            _warn("Recording works again; records lost so far: %s", self.count)


def _warn(message: str, about: object) -> None:
    with suppress(Exception):  # the application's own logging may fail as well
        _logger.warning(message, str(about))  # an error would keep the contexts in its frames alive
