"""The rules for names of files: what a pattern may be, and what a collection's name becomes.

All rules hold on every system, so that files can move from one to another.
"""

import re
from datetime import datetime
from hashlib import blake2b

MAX_SAFE_NAME = 60  # characters
MAX_PART_BYTES = 255  # of a file or folder name, on ext4, APFS and NTFS alike

SAFE_NAME = re.compile(r"[a-z0-9_-]{1,60}")

# The codes of `strftime` that a pattern may have, and a regular expression for what each gives.
# `prune` finds files by these. Other codes are refused: they differ from system to system, or give
# `/` or `:`.
TIME_CODES = {
    "%Y": r"\d{4}",
    "%y": r"\d\d",
    "%m": r"\d\d",
    "%d": r"\d\d",
    "%H": r"\d\d",
    "%I": r"\d\d",
    "%M": r"\d\d",
    "%S": r"\d\d",
    "%f": r"\d{6}",
    "%j": r"\d{3}",
    "%G": r"\d{4}",
    "%V": r"\d\d",
    "%U": r"\d\d",
    "%W": r"\d\d",
    "%u": r"\d",
    "%w": r"\d",
    "%a": r"[^/]+",
    "%A": r"[^/]+",
    "%b": r"[^/]+",
    "%B": r"[^/]+",
    "%p": r"[^/]*",
}
FIELD = re.compile(
    r"[{]{2}|[}]{2}"  # braces themselves
    r"|{started_at:(?P<time>[^{}]+)}"
    r"|{(?P<name>collection|request_id)(:\.[0-9]{1,2})?}"
)

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
    outside_of_fields = FIELD.sub("", pattern)
    if re.search("[{}]", outside_of_fields):
        raise ValueError(
            "its fields must be {started_at} with a format, such as {started_at:%Y-%m-%d}, and "
            "{collection} and {request_id}, each with or without a length, such as {request_id:.8}"
        )
    if "%" in outside_of_fields:
        raise ValueError("codes such as %Y must be inside a field, as in {started_at:%Y-%m-%d}")

    for field in FIELD.finditer(pattern):
        _check_time_format(field["time"] or "")

    # In English, no time has a longer name than this Wednesday in September.
    longest_time = datetime(2001, 9, 26)
    longest_path = pattern.format(
        started_at=longest_time, collection="c" * MAX_SAFE_NAME, request_id="0" * 32
    )
    for part in longest_path.split("/"):
        _check_name(part)


def _check_time_format(time_format: str) -> None:
    if "/" in time_format:
        raise ValueError(
            "a time must not have a / in it; for folders write {started_at:%Y}/{started_at:%m}"
        )

    for code in re.findall("%.?", time_format):
        if code not in TIME_CODES:
            raise ValueError(f"the codes of a time must be among {' '.join(TIME_CODES)}")


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


def pattern_as_regex(pattern: str) -> str:
    """Return a regular expression for all paths that `fill` can give for `pattern`."""
    regex = ""
    position = 0
    for field in FIELD.finditer(pattern):
        regex += re.escape(pattern[position : field.start()])
        position = field.end()

        if field["time"]:
            for part in re.split("(%.)", field["time"]):
                regex += TIME_CODES.get(part, re.escape(part))
        elif field["name"]:
            regex += "[0-9A-Za-z_~-]+"
        else:
            regex += re.escape(field[0][0])

    return regex + re.escape(pattern[position:])


def safe_name(collection: str) -> str:
    """Return 1 to 60 ASCII characters that name `collection` on every system.

    Lower-case letters, digits, `_` and `-` stay as they are. Any other name is cleaned and gets a
    hash behind a `~`, so that two collections never share a file, not even on a file system that
    does not tell upper from lower case.
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
            "each part of the path must have a name, which must not end with a dot or a space"
        )
    if FORBIDDEN_CHARACTER.search(name):
        raise ValueError('a name must not have control characters or <>:"|?*\\ in it')
    if is_device(name):
        raise ValueError(f"a name must not be {name!r}, which Windows keeps for a device")
    if len(name.encode()) > MAX_PART_BYTES:
        raise ValueError(f"a name must have at most {MAX_PART_BYTES} bytes")
