"""Remove old log files while services keep writing.

A file may be removed only if all of this holds: its name is one that the pattern can give; its
first line is a record; it can be read to its end; it was not modified within the last hour; and no
request of the last week in it may still run. What a service writes between these checks and the
removal is lost. So if many requests share a file, leave enough time with `older_than`.
"""

import os
import re
import time
from dataclasses import dataclass, field

from ..filenames import pattern_as_regex
from ..logfile import LogFile
from . import File, find_files, read_file, read_lines, warn_of_error
from .parsing import parse_record

JUST_MODIFIED = 3600.0  # seconds since a file was last modified
LONGEST_REQUEST = 7 * 86400.0  # seconds that a request may run


@dataclass
class Pruned:
    """What came of the files of a log.

    Attributes:
        own: all files that the log has written, the oldest first.
        removed: those that were removed; with `dry_run` those that would be.
        kept: those that are over a limit, but may still be written to or could not be read or
            removed.
    """

    own: list[File]
    removed: list[File] = field(default_factory=list)
    kept: list[File] = field(default_factory=list)


def prune(
    log: LogFile,
    older_than: float | None = None,
    max_bytes: float | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Remove files of a log, the oldest first.

    Args:
        log: where the files are, and what they are called.
        older_than: seconds; remove files that were last modified so long ago.
        max_bytes: remove more files until the rest has at most so many bytes.
        dry_run: remove nothing.

    Raises:
        OSError: the directory is missing or may not be read.
    """
    now = time.time()
    result = Pruned(own_files(log))
    left = sum(file.size for file in result.own)

    for file in result.own:
        is_old = older_than is not None and now - file.modified >= older_than
        is_too_much = max_bytes is not None and left > max_bytes
        if not is_old and not is_too_much:
            break  # all that follow are younger

        try:
            if may_be_written_to(file, now):
                result.kept.append(file)
                continue
            if not dry_run:
                os.unlink(file.path)
        except FileNotFoundError:
            pass  # another run was faster
        except OSError as error:
            warn_of_error(file.path, error)
            result.kept.append(file)
            continue

        left -= file.size
        result.removed.append(file)
    return result


def own_files(log: LogFile) -> list[File]:
    """Return the files that this log has written, the oldest first."""
    path_regex = re.compile(pattern_as_regex(log.filename_pattern) + r"(\.gz)?")
    files = []
    for file in find_files(log.log_dir):
        path = os.path.relpath(file.path, log.log_dir).replace(os.sep, "/")
        if path_regex.fullmatch(path) and _begins_with_record(file):
            files.append(file)
    return files[::-1]


def _begins_with_record(file: File) -> bool:
    """Return whether the first line that is not blank is a record."""
    try:
        for line in read_lines(file.path):
            if line.strip():
                return parse_record(line) is not None
    except OSError as error:
        warn_of_error(file.path, error)
    return False


def may_be_written_to(file: File, now: float) -> bool:
    """Return whether a service may still write to a file.

    Raises:
        OSError: the file is gone, or cannot be read to its end.
    """
    if now - file.modified < JUST_MODIFIED:
        return True
    for request in read_file(file, set()):
        if request.outcome == "unfinished" and now - request.started.timestamp() < LONGEST_REQUEST:
            return True

    status = os.lstat(file.path)
    return (status.st_mtime, status.st_size) != (file.modified, file.size)
