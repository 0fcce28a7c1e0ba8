"""The rules for names of files: what a pattern may be, and what a collection's name becomes."""

import re
from datetime import datetime
from hashlib import blake2b

_PLAIN_NAME = re.compile(r"[a-z0-9_-]{1,60}")
_LONGEST_NAME = 60  # characters of `safe_name`
_LONGEST_PART = 255  # bytes of a file or folder name, on ext4, APFS and NTFS alike
_FIELD = re.compile(r"[{]{2}|[}]{2}|{started_at:[^{}]+}|{(collection|request_id)(:\.[0-9]{1,2})?}")

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL)


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` with the rule unless `pattern` names a file inside the log directory, on every system."""
    if re.search("[{}]", _FIELD.sub("", pattern)):
        raise ValueError(
            "its fields are {started_at} with a format, such as {started_at:%Y-%m-%d}, and {collection} and "
            "{request_id}, each with or without a length, such as {request_id:.8}"
        )
    wednesday = datetime(2001, 9, 26).astimezone()  # in September: no name of a time is longer
    longest = pattern.format(started_at=wednesday, collection="c" * _LONGEST_NAME, request_id="0" * 32)
    for part in longest.split("/"):
        _check_name(part)


def check_directory(log_dir: str) -> None:
    """Raise `ValueError` with the rule unless `log_dir` can name a directory, on every system."""
    path = re.sub(r"^[A-Za-z]:(?=[/\\])", "", log_dir)  # without its drive
    for part in re.split(r"[/\\]", path):
        if part not in ("", ".", "..") or not path:
            _check_name(part)


def fill(pattern: str, started_at: datetime, collection: str, request_id: str) -> list[str]:
    """Return the folders and the file that `pattern` gives for a request."""
    path = pattern.format(started_at=started_at, collection=safe_name(collection), request_id=request_id)
    return [f"_{part}" if is_device(part) else part for part in path.split("/")]


def safe_name(collection: str) -> str:
    """Return 1 to 60 ASCII characters that name `collection` on every system.

    Lower-case letters, digits, `_` and `-` stay as they are. Any other name is cleaned and gets a
    hash behind a `~`, so that two collections never share a file, not even on a system that takes
    upper and lower case for the same.
    """
    if _PLAIN_NAME.fullmatch(collection) and not is_device(collection):
        return collection
    digest = blake2b(collection.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", collection)[: _LONGEST_NAME - 21] + "~" + digest


def is_device(name: str) -> bool:
    """Return whether Windows keeps `name` for a device."""
    return _DEVICE.fullmatch(name) is not None


def _check_name(name: str) -> None:
    if not name.strip() or name[-1] in ". ":
        raise ValueError("each part of the path needs a name, which may not end with a dot or a space")
    if _FORBIDDEN.search(name):
        raise ValueError('a name may not have control characters or <>:"|?*\\ in it')
    if is_device(name):
        raise ValueError(f"Windows keeps the name {name!r} for a device")
    if len(name.encode()) > _LONGEST_PART:
        raise ValueError(f"a name may have at most {_LONGEST_PART} bytes")
