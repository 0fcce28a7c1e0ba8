"""Which files there are, and the lines in them.

In a directory, only regular files are read, and links are not followed. A path that the caller
names is read whatever it is: a link, a pipe, a file that is compressed according to its name.
"""

import errno
import gzip
import logging
import os
import stat
import zlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple, TypeAlias

from .terminal import escape_hidden

StrPath: TypeAlias = str | os.PathLike[str]

LONGEST_LINE = 1 << 28  # bytes; a longer line is read in parts, none of which is a record

logger = logging.getLogger(__name__.partition(".")[0])  # the package has one


class File(NamedTuple):
    """A file that was found.

    Attributes:
        path: where it is, absolute.
        modified: when it was last modified, in seconds since 1970.
        size: in bytes.
        is_explicit: the caller named it; it was not found in a directory.
    """

    path: str
    modified: float
    size: int
    is_explicit: bool = False


def find_files(*paths: StrPath) -> list[File]:
    """Return these files, and all files in these directories, the most recently modified first.

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
            files[path] = File(path, status.st_mtime, status.st_size, is_explicit=True)

    return sorted(files.values(), key=lambda file: file.modified, reverse=True)


def _files_in(directory: str) -> Iterator[File]:
    def on_error(error: OSError) -> None:
        if error.filename == directory:
            raise error
        warn_of_error(error.filename, error)

    for folder, _, names in os.walk(directory, onerror=on_error):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.lstat(path)
            except OSError as error:
                warn_of_error(folder, error)
                continue

            if stat.S_ISREG(status.st_mode):
                yield File(path, status.st_mtime, status.st_size)


def read_lines(path: StrPath, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines of a file. The last line is left out if it has no end yet.

    Args:
        path: of a file.
        offset: where a line begins, in bytes; earlier lines are skipped.

    Raises:
        OSError: the file is missing, may not be read, or ends in .gz but is not gzip.
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
    except OSError as error:
        if error.filename is None:  # not every system call knows it
            error.filename = path
        raise


def warn_of_error(path: str, error: OSError) -> None:
    """Log what may not be read, unless it was removed meanwhile."""
    if not isinstance(error, FileNotFoundError):
        warn(path, str(error.strerror))


@cache  # so that it is logged once, however often the file is read
def warn(path: str, problem: str) -> None:
    """Log what is wrong with a file. Unless the application decides otherwise, Python shows it."""
    logger.warning("%s: %s", escape_hidden(path), problem)
