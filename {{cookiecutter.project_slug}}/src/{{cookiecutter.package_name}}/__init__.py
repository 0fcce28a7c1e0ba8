"""An event handler that records every request to a db-ally collection.

In files, one a request, as text or as JSON lines:

    >>> handler = {{ cookiecutter.handler_class }}("logs", "{collection}.log", "text")
    >>> staff = make_collection("staff", event_handlers=[handler])
    >>> with recording(user="ann") as made:
    ...     answer = asyncio.run(staff.ask("Who lives in Kraków?", return_natural_response=True))
    >>> made.request_id
    '1f2e3d4c...'
    >>> print(pathlib.Path("logs/staff.log").read_text("utf-8"))
    1f2e3d4c 2026-11-25 10:54:07.049 request_start
    ...
    1f2e3d4c   Labels user: ann
    1f2e3d4c   Collection: staff
    1f2e3d4c   Question: Who lives in Kraków?
    1f2e3d4c 2026-11-25 10:54:07.050 event_start 1 filter decision
    ...
    1f2e3d4c   Answer: Ann does.
    ...
    1f2e3d4c   Summary: StaffView, 1 rows, 3 calls, 326 tokens
    <BLANKLINE>

Anywhere else: a sink is a function that takes a `Record`, such as the `append` of a list.

    >>> records = []
    >>> staff = make_collection("staff", event_handlers=[Recorder(records.append, record_prompts=False)])
    >>> answer = asyncio.run(staff.ask("Who lives in Kraków?"))
    >>> [record.step or record.event for record in records if record.kind == "event_end"]
    ['filter decision', 'filters', 'SimilarityEvent']
    >>> records[1].data
    {'prompt': '[withheld]'}

README.md says what is promised, and where to change what.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocks import recording, unrecorded
    from .handler import {{ cookiecutter.handler_class }}
    from .logfile import LogFile
    from .privacy import declare
    from .recorder import Recorder
    from .records import Record

__all__ = [
    "{{ cookiecutter.handler_class }}",
    "LogFile",
    "Record",
    "Recorder",
    "declare",
    "recording",
    "unrecorded",
]

_MODULES = {
    "{{ cookiecutter.handler_class }}": "handler",
    "LogFile": "logfile",
    "Record": "records",
    "Recorder": "recorder",
    "declare": "privacy",
    "recording": "blocks",
    "unrecorded": "blocks",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for.

    To import db-ally takes a second or, with litellm, several. The command needs none of it.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{_MODULES[name]}", __name__)
    return getattr(module, name)
