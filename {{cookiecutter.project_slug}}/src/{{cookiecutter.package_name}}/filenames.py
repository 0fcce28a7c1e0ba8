"""The rules for names of files: what a pattern may be, and what a collection's name becomes.

All rules hold on every system, so that files can move from one to another.
"""

import re
from datetime import datetime
from hashlib import blake2b

MAX_SAFE_NAME = 60  # characters
MAX_PART_BYTES = 255  # of a file or folder name, on ext4, APFS and NTFS alike

SAFE_NAME = re.compile(r"[a-z0-9_-]{1,60}")
FIELD = re.compile(r"[{]{2}|[}]{2}|{started_at:[^{}]+}|{(collection|request_id)(:\.[0-9]{1,2})?}")

# https://learn.microsoft.com/windows/win32/fileio/naming-a-file
FORBIDDEN_CHARACTER = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]'
)
DEVICE = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³]) *(\..*)?", re.IGNORECASE | re.DOTALL
)
DRIVE = re.compile(r"^[A-Za-z]:(?=[/\\])")


def check_pattern(pattern: str) -> None:
    """Raise `ValueError` with the rule unless `pattern` names a file inside the log directory."""
    if re.search("[{}]", FIELD.sub("", pattern)):
        raise ValueError(
            "its fields are {started_at} with a format, such as {started_at:%Y-%m-%d}, and "
            "{collection} and {request_id}, each with or without a length, such as {request_id:.8}"
        )

    # No time has a longer name than this Wednesday in September.
    longest_time = datetime(2001, 9, 26).astimezone()
    longest_path = pattern.format(
        started_at=longest_time, collection="c" * MAX_SAFE_NAME, request_id="0" * 32
    )
    for part in longest_path.split("/"):
        _check_name(part)


def check_directory(log_dir: str) -> None:
    """Raise `ValueError` with the rule unless `log_dir` can name a directory."""
    path = DRIVE.sub("", log_dir)
    if not path:
        _check_name(path)
    for part in re.split(r"[/\\]", path):
        if part not in ("", ".", ".."):
            _check_name(part)


def fill(pattern: str, started_at: datetime, collection: str, request_id: str) -> str:
    """Return the path, inside the log directory, that `pattern` gives for a request."""
    path = pattern.format(
        started_at=started_at, collection=safe_name(collection), request_id=request_id
    )
    parts = []
    for part in path.split("/"):
        if is_device(part):
            part = f"_{part}"
        parts.append(part)

    return "/".join(parts)


def safe_name(collection: str) -> str:
    """Return 1 to 60 ASCII characters that name `collection` on every system.

    Lower-case letters, digits, `_` and `-` stay as they are. Any other name is cleaned and gets a
    hash behind a `~`, so that two collections never share a file, not even on a system that takes
    upper and lower case for the same.
    """
    if SAFE_NAME.fullmatch(collection) and not is_device(collection):
        return collection

    digest = blake2b(collection.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()
    suffix = f"~{digest}"

    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "_", collection)
    return cleaned[: MAX_SAFE_NAME - len(suffix)] + suffix


def is_device(name: str) -> bool:
    """Return whether Windows keeps `name` for a device."""
    return DEVICE.fullmatch(name) is not None


def _check_name(name: str) -> None:
    if not name.strip() or name[-1] in ". ":
        raise ValueError(
            "each part of the path needs a name, which may not end with a dot or a space"
        )
    if FORBIDDEN_CHARACTER.search(name):
        raise ValueError('a name may not have control characters or <>:"|?*\\ in it')
    if is_device(name):
        raise ValueError(f"Windows keeps the name {name!r} for a device")
    if len(name.encode()) > MAX_PART_BYTES:
        raise ValueError(f"a name may have at most {MAX_PART_BYTES} bytes")
