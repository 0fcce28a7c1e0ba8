"""The handler that records db-ally's requests in files."""

import os
from dataclasses import dataclass, field

from .logfile import FILENAME_PATTERN, LOG_DIR, LOG_FORMAT, LogFile
from .recorder import Recorder


@dataclass(eq=False)
class {{ cookiecutter.handler_class }}(Recorder):
    """Records every request in a file; one object serves all collections, tasks, threads and event loops.

    Args:
        log_dir: directory of the files; see `LogFile`.
        filename_pattern: format string over `started_at` (UTC), `collection` and `request_id`;
            requests that it gives the same name share a file.
        log_format: "text" for people or "jsonl" for programs.
        record_inputs: see `Recorder`, as for all that follow.
        record_prompts: record what the model is asked.
        record_outputs: record responses, rows and SQL.
        mask: from text to text, for every text that comes from outside.
        max_chars: characters of data in one record; `None` for any number.
        raise_errors: let a failure to record fail the request.

    Raises:
        ValueError: the configuration cannot work.
    """

    sink: LogFile = field(init=False)
    log_dir: str | os.PathLike[str] = LOG_DIR
    filename_pattern: str = FILENAME_PATTERN
    log_format: str = LOG_FORMAT

    def __post_init__(self) -> None:
        self.sink = LogFile(self.log_dir, self.filename_pattern, self.log_format)
        super().__post_init__()
