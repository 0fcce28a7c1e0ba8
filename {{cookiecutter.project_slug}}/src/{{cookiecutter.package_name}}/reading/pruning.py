"""Old log files are removed, beside services that go on writing.

A file may be removed only if all of this holds: its name is one that the pattern can give; its
first line is a record; nothing was written to it within the last hour; and it has no request of the
last week that may still run. It is looked at once more just before it is removed. What a service
writes between that look and the removal is lost, so leave a pattern that many requests share enough
time with `older_than`.
"""

import os
import re
import time
from collections.abc import Iterator
from math import inf
from string import Formatter

from ..filenames import TIME_CODES
from ..logfile import LogFile
from . import read_requests
from .files import find_files, read_lines, warn
from .parsing import File, parse_record

JUST_WRITTEN = 3600.0  # seconds since a file was written last
LONGEST_REQUEST = 7 * 86400.0  # seconds that a request may run


def prune(
    log: LogFile, older_than: float = inf, max_bytes: float = inf, dry_run: bool = False
) -> Iterator[File]:
    """Remove files of a log, the oldest first, and yield each.

    Args:
        log: where the files are, and what they are called.
        older_than: seconds; remove a file that was written last so long ago.
        max_bytes: remove more files until all that are left have at most so many bytes.
        dry_run: remove nothing.

    Raises:
        OSError: the directory is missing or may not be read.
    """
    now = time.time()
    files = own_files(log)
    left = sum(file.size for file in files)

    for file in files:
        age = now - file.written
        if age < older_than and left <= max_bytes:
            break  # all that follow are younger
        if age < JUST_WRITTEN or _may_still_run(file, now):
            continue
        if not dry_run and not _remove(file):
            continue

        left -= file.size
        yield file


def own_files(log: LogFile) -> list[File]:
    """Return the files that this log has written, the oldest first."""
    can_be_ours = re.compile(rf"{_expression(log.filename_pattern)}(\.gz)?").fullmatch
    files = []
    for file in find_files(log.log_dir):
        name = os.path.relpath(file.path, log.log_dir).replace(os.sep, "/")
        if can_be_ours(name) and _begins_with_record(file):
            files.append(file)
    return files[::-1]


def _expression(pattern: str) -> str:
    """Return a regular expression for the names that a pattern gives."""
    expression = ""
    for literal, name, time_format, _ in Formatter().parse(pattern):
        expression += re.escape(literal)
        if name == "started_at":
            for text, code in re.findall("([^%]*)(%.)?", time_format or ""):
                expression += re.escape(text) + TIME_CODES.get(code, "")
        elif name:
            expression += "[0-9A-Za-z_~-]+"
    return expression


def _begins_with_record(file: File) -> bool:
    """Return whether the first line that is not blank is a record."""
    try:
        for line in read_lines(file.path):
            if line.strip():
                return parse_record(line) is not None
    except FileNotFoundError:
        return False  # it was removed meanwhile
    except OSError as error:
        warn(file.path, str(error.strerror))
    return False


def _may_still_run(file: File, now: float) -> bool:
    for request in read_requests([file]):
        if request.outcome == "unfinished" and now - request.started.timestamp() < LONGEST_REQUEST:
            return True
    return False


def _remove(file: File) -> bool:
    """Remove a file, unless it was written to meanwhile; return whether it is gone."""
    try:
        status = os.lstat(file.path)
        if (status.st_mtime, status.st_size) != (file.written, file.size):
            return False
        os.unlink(file.path)
    except FileNotFoundError:
        return True  # another run was faster
    except OSError as error:
        warn(file.path, str(error.strerror))
        return False
    return True
