"""Records that were lost: how many they are, and when a warning says so."""

import logging
from contextlib import suppress
from time import monotonic

WARNING_INTERVAL = 60.0  # seconds


class Losses:
    """Counts lost records and warns of them.

    It warns of the first loss, then at most once a minute with the total so far. It says the total
    once more when no record was lost for a minute, or when the recorder or the process ends.

    There is no lock, which a forked process could inherit while it is held. None is needed: CPython
    does not switch threads in the middle of `count += 1`. If it did, the count would be too small.

    Attributes:
        count: how many records were lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self._announced_count = 0  # what the last warning said
        self._last_warning = -WARNING_INTERVAL  # seconds of `time.monotonic`
        self._last_loss: float | None = None  # likewise; `None` if recording works

    def add(self, failure: Exception) -> None:
        """Count a record that was lost because of `failure`."""
        now = monotonic()
        self.count += 1
        self._last_loss = now

        if now < self._last_warning + WARNING_INTERVAL:
            return

        self._last_warning = now
        self._announced_count = self.count
        # As text: the exception itself would keep alive what is in its frames.
        reason = str(failure) or repr(failure)
        warn("Recording fails; records lost so far: %s; the last one: %s", self.count, reason)

    def note_success(self) -> None:
        """Say the total if records were lost, but none within the last minute."""
        if self._last_loss is None or monotonic() < self._last_loss + WARNING_INTERVAL:
            return

        self._last_loss = None
        self._announced_count = self.count
        warn("Recording works again; records lost in all: %s", self.count)

    def close(self) -> None:
        """Say the total if the last warning did not."""
        if self._announced_count != self.count:
            warn("Recording ends; records lost in all: %s", self.count)


def warn(message: str, *arguments: object) -> None:
    """Warn through `logging`, and never raise."""
    logger = logging.getLogger(__name__)
    if logger.disabled:  # `logging.config.dictConfig` disables each logger that it does not name
        logger = logging.getLogger()

    with suppress(Exception):  # the application's own handlers may fail
        logger.warning(message, *arguments)
