"""Which files there are, and the lines in them.

In a directory, only regular files are read, and links are not followed. A path that the caller
names is read whatever it is: a link, a pipe, a file that `.gz` says is compressed.
"""

import errno
import gzip
import logging
import os
import stat
import zlib
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

from .parsing import File
from .terminal import visible

StrPath: TypeAlias = str | os.PathLike[str]

LONGEST_LINE = 1 << 28  # bytes; a longer line is read in parts, none of which is a record

logger = logging.getLogger(__name__.partition(".")[0])  # the package has one


def find_files(*paths: StrPath) -> list[File]:
    """Return these files, and all files in these directories; the one that was written last first.

    Raises:
        OSError: one of `paths` is missing or may not be read.
    """
    files: dict[str, File] = {}
    for path in map(os.path.abspath, paths):
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            for file in _files_in(path):
                files.setdefault(file.path, file)
        else:
            files[path] = File(status.st_mtime, status.st_size, path, is_named=True)

    return sorted(files.values(), reverse=True)


def _files_in(directory: str) -> Iterator[File]:
    waiting = [directory]
    while waiting:
        current = waiting.pop()
        try:
            with os.scandir(current) as entries:
                for entry in entries:
                    status = _status(entry)
                    if status is None:
                        continue

                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    elif stat.S_ISREG(status.st_mode):
                        yield File(status.st_mtime, status.st_size, entry.path)

        except OSError as error:
            if current == directory:
                raise
            warn(current, str(error.strerror))


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """Return what is known of a file; `None` if it was removed meanwhile."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None


def read_lines(path: StrPath, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines of a file. The last line is left out if it has no end yet.

    Args:
        path: of a file.
        offset: where a line begins, in bytes; what is before it is left out.

    Raises:
        OSError: the file is missing, may not be read, or is no gzip file although it says so.
    """
    opener = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            if offset:
                file.seek(offset)
            while line := file.readline(LONGEST_LINE):
                if line.endswith(b"\n"):
                    yield line

    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise OSError(errno.EIO, str(error), path) from error


@cache  # so that it is said once, however often the file is read
def warn(path: str, problem: str) -> None:
    """Say what could not be read. Unless the application decides otherwise, Python shows it."""
    logger.warning("%s: %s", visible(path), problem)
