"""Records that were lost: how many, and the one warning about them."""

import logging
import threading
from contextlib import suppress

from .contexts import RequestContext

_logger = logging.getLogger(__name__)


class Losses:
    """Counts lost records. Warns of the first, and again when recording works.

    A request that loses several is told of once, even where others work in between.

    Attributes:
        count: how many records were lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._warned = False

    def add(self, request: RequestContext, failure: Exception) -> None:
        """Count a record of `request` that was lost to `failure`."""
        with self._lock:
            self.count += 1
            is_news = not self._warned and not request.lossy
            self._warned = self._warned or is_news
            request.lossy = True
        if is_news:
            _warn("Recording fails, records are lost from here on: %s", failure)

    def end(self) -> None:
        """Say that recording works, if the last thing said is that it fails."""
        if self._warned:
            self._warned = False
            _warn("Recording works again; records lost so far: %d", self.count)


def _warn(message: str, about: object) -> None:
    with suppress(Exception):  # the application's own logging may fail as well
        _logger.warning(message, about)
