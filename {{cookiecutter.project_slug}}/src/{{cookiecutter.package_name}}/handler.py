"""The handler that records db-ally's requests in files."""

import os
from collections.abc import Callable

from .logfile import FILENAME_PATTERN, LOG_DIR, LOG_FORMAT, LogFile
from .recorder import Recorder


class {{ cookiecutter.handler_class }}(Recorder):
    """Records every request in a file. One object serves all collections, tasks and threads.

    Args:
        log_dir: directory of the files. For this and the next two, see `LogFile`.
        filename_pattern: format string over `started_at` (UTC), `collection` and `request_id`.
            Requests that it gives the same name share a file.
        log_format: "jsonl" for JSON lines, which the command reads, or "text" for people.
        record_inputs: record questions and looked-up values. For this and all that
            follow, see `Recorder`.
        record_prompts: record what the LLM is asked.
        record_outputs: record responses, rows and SQL.
        mask: from text to text, for every text that comes from outside.
        max_chars: characters of data in one record; `None` for no limit.
        raise_errors: let a failure to record fail the request.

    Raises:
        ValueError: the configuration cannot work.
    """

    sink: LogFile

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = LOG_DIR,
        filename_pattern: str = FILENAME_PATTERN,
        log_format: str = LOG_FORMAT,
        *,
        record_inputs: bool = True,
        record_prompts: bool = True,
        record_outputs: bool = True,
        mask: Callable[[str], str] | None = None,
        max_chars: int | None = 150_000,
        raise_errors: bool = False,
    ) -> None:
        super().__init__(
            LogFile(log_dir, filename_pattern, log_format),
            record_inputs=record_inputs,
            record_prompts=record_prompts,
            record_outputs=record_outputs,
            mask=mask,
            max_chars=max_chars,
            raise_errors=raise_errors,
        )

    # The three below are read-only. To write elsewhere, assign another `LogFile` to `sink`.

    @property
    def log_dir(self) -> str:
        """Directory of the files, absolute."""
        return os.fspath(self.sink.log_dir)

    @property
    def filename_pattern(self) -> str:
        """Format string for the names of the files."""
        return self.sink.filename_pattern

    @property
    def log_format(self) -> str:
        """Format of the files."""
        return self.sink.log_format
