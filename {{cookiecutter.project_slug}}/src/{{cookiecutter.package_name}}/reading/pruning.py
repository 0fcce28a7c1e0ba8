"""Old log files removed, and less old ones compressed, beside services that go on writing."""

import gzip
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from string import Formatter

from ..logfile import LogFile
from . import Found, find_copies, find_files, requests

_YOUNGEST = 3600.0  # seconds since a file was written last
_LONGEST = 7 * 86400.0  # seconds since a request started that may still run
_NUMBERS = "YmdHMSfjyUWIGVuw"  # of the directives of `strftime` those that give digits


def prune(
    log: LogFile,
    older_than: float = inf,
    max_bytes: float = inf,
    gzip_after: float = inf,
    dry_run: bool = False,
) -> Iterator[tuple[str, Found]]:
    """Remove or compress files of `log`, the oldest first; yield what is done, and to which.

    Only files that the pattern can have made, and none that may still be written to: within the last hour it was, or
    it holds a request that started within the last week and has not finished. To be killed at any point loses nothing
    of what is kept.

    Args:
        log: where they are, and what they are called.
        older_than: remove what was written last so many seconds ago.
        max_bytes: remove more, until no more bytes are left.
        gzip_after: compress what was written last so many seconds ago.
        dry_run: do neither.
    """
    now = time.time()
    root = os.path.realpath(log.log_dir)
    is_ours = re.compile(
        f"{_expression(log.filename_pattern)}(\\.aside|\\.gz|\\.gz\\.part)?"
    ).fullmatch
    found = find_files(root) if os.path.exists(root) else []  # nothing was recorded yet
    files = [
        each for each in found if is_ours(os.path.relpath(each.path, root).replace(os.sep, "/"))
    ]
    copies, left = find_copies(files), sum(file.size for file in files)
    for file in reversed(files):
        age = now - file.written
        is_over = age >= older_than or left > max_bytes or (file.written, file.path) in copies
        is_plain = age >= gzip_after and not file.path.endswith(".gz")
        if age < _YOUNGEST or not (is_over or is_plain):
            continue
        with suppress(FileNotFoundError):  # another run was faster
            if _must_stay(file, now):
                continue
            if not dry_run:
                (_remove if is_over else _compress)(file)
        left -= file.size if is_over else 0
        yield "remove" if is_over else "compress", file


def _expression(pattern: str) -> str:
    """Return a regular expression for the names that `pattern` gives."""
    expression = ""
    for literal, name, form, _ in Formatter().parse(pattern):
        expression += re.escape(literal)
        if name == "started_at":
            codes = re.escape(form or "")
            expression += re.sub(
                "%(.)", lambda code: r"\d+" if code[1] in _NUMBERS else "[^/]+", codes
            )
        elif name:
            expression += "[0-9A-Za-z_~-]+"
    return expression


def _must_stay(file: Found, now: float) -> bool:
    is_next = os.path.exists(
        f"{file.path}.aside"
    )  # a run that was killed left that, which has to go first
    unfinished = (each for each in requests(file.path) if each.outcome == "unfinished")
    return is_next or any(now - each.started.timestamp() < _LONGEST for each in unfinished)


def _set_aside(path: str) -> str:
    """Rename a file, so that what is written from now on goes into a new one; return its new path."""
    if path.endswith((".aside", ".gz", ".part")):
        return path  # nobody writes to it
    os.replace(path, f"{path}.aside")
    return f"{path}.aside"


def _remove(file: Found) -> None:
    aside = _set_aside(file.path)
    if (
        os.path.getsize(aside) == file.size
    ):  # else more came until then, and it stays for another time
        os.unlink(aside)


def _compress(file: Found) -> None:
    """Append a file to its `.gz`, which gets its time, so that `find_copies` knows what is in there already."""
    aside = _set_aside(file.path)
    packed, times = f"{aside.removesuffix('.aside')}.gz", os.stat(aside)
    with open(f"{packed}.part", "wb", opener=_for_owner) as part:
        with suppress(FileNotFoundError), open(packed, "rb") as earlier:
            shutil.copyfileobj(earlier, part)  # gzip reads several, one behind the other
        with open(aside, "rb") as plain, gzip.open(part, "wb") as target:
            shutil.copyfileobj(plain, target)
        part.flush()
        os.fsync(part.fileno())
    os.utime(f"{packed}.part", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(f"{packed}.part", packed)
    os.unlink(aside)


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
