"""Old log files removed, and less old ones compressed, beside services that go on writing."""

import gzip
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from socket import gethostname
from string import Formatter
from time import monotonic, time

from ..logfile import LogFile
from . import Found, find_files, requests

_YOUNGEST = 3600.0  # seconds since a file was written last
_NUMBERS = "YmdHMSfjyUWIGVuw"  # of the directives of `strftime` those that give digits


def prune(
    log: LogFile,
    older_than: float | None = None,
    max_bytes: float | None = None,
    gzip_after: float | None = None,
    dry_run: bool = False,
) -> Iterator[tuple[str, Found]]:
    """Remove or compress files of `log`, the oldest first; yield what is done, and to which.

    Only files that the pattern can have made, and none that was written within the last hour. What holds a
    request that may still run is kept: one that has not finished since this machine was booted, and whose
    process is not known to be gone. To be killed at any point loses nothing of what is kept.

    Args:
        log: where they are, and what they are called.
        older_than: remove what was written last so many seconds ago.
        max_bytes: remove more, until no more bytes are left.
        gzip_after: compress what was written last so many seconds ago.
        dry_run: do neither.
    """
    now = time()
    is_ours = re.compile(f"{_expression(log.filename_pattern)}(\\.gz)?(\\.part)?").fullmatch
    files = [file for file in find_files(log.log_dir) if is_ours(_name(file.path, log))]
    left = sum(file.size for file in files)
    for file in reversed(files):
        age = now - file.at
        is_over = (older_than is not None and age >= older_than) or (max_bytes is not None and left > max_bytes)
        is_plain = gzip_after is not None and age >= gzip_after and not file.path.endswith(".gz")
        is_stale = file.path.endswith(".part")  # of a run that was killed
        if age >= _YOUNGEST and (is_over or is_plain or is_stale):
            action = "keep" if _may_run(file, now) else "remove" if is_over or is_stale else "compress"
            if action != "keep" and not dry_run:
                with suppress(FileNotFoundError):  # another run was faster
                    _ACTIONS[action](file)
            left -= file.size if action == "remove" else 0
            yield action, file


def _name(path: str, log: LogFile) -> str:
    return path.removeprefix(log.log_dir).replace(os.sep, "/").lstrip("/")


def _expression(pattern: str) -> str:
    """Return a regular expression for the names that `pattern` gives."""
    expression = ""
    for literal, name, form, _ in Formatter().parse(pattern):
        expression += re.escape(literal)
        if name == "started_at":
            parts = re.split("%(.)", form or "")
            parts[::2] = map(re.escape, parts[::2])
            parts[1::2] = [r"\d+" if part in _NUMBERS else "[^/]+" for part in parts[1::2]]
            expression += "".join(parts)
        elif name:
            expression += "[0-9A-Za-z_~-]+"
    return expression


def _may_run(file: Found, now: float) -> bool:
    booted = now - monotonic()
    unfinished = (each for each in requests(file.path) if each.outcome == "unfinished" and not _is_gone(each.process))
    return file.at > booted and any(each.started.timestamp() > booted for each in unfinished)


def _is_gone(process: str | None) -> bool:
    host, _, number = (process or "").rpartition(":")
    if os.name == "posix" and host == gethostname():  # elsewhere to look would be to kill
        try:
            os.kill(int(number), 0)
        except OSError as error:  # the process of another user is an error, too
            return isinstance(error, ProcessLookupError)
    return False


def _compress(original: Found) -> None:
    """Append a file to its `.gz`, which gets its time: what has that of its `.gz` is in there already."""
    path, packed, times = original.path, f"{original.path}.gz", os.stat(original.path)
    if not os.path.exists(packed) or os.stat(packed).st_mtime_ns != times.st_mtime_ns:
        with open(os.open(f"{packed}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as part:
            with suppress(FileNotFoundError), open(packed, "rb") as earlier:
                shutil.copyfileobj(earlier, part)  # gzip reads several, one behind the other
            with open(path, "rb") as file, gzip.open(part, "wb") as target:
                shutil.copyfileobj(file, target)
                original = original._replace(size=file.tell())
            part.flush()
            os.fsync(part.fileno())
        os.utime(f"{packed}.part", ns=(times.st_atime_ns, times.st_mtime_ns))
        os.replace(f"{packed}.part", packed)
    _remove(original)


def _remove(original: Found) -> None:
    """Remove a file, but for what was appended to it meanwhile: that stays, as a file of its own."""
    path = original.path
    gone = path if path.endswith(".part") else f"{path}.part"
    os.replace(path, gone)
    with open(gone, "rb") as file:
        file.seek(original.size)
        late = file.read()
    if late:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(late)
    os.unlink(gone)


_ACTIONS: dict[str, Callable[[Found], None]] = {"remove": _remove, "compress": _compress}
