"""An event handler that records every request to a db-ally collection.

To files, here one for each collection, as JSON lines:

    >>> handler = {{ cookiecutter.handler_class }}("logs", "{collection}.jsonl")
    >>> staff = make_collection("staff", event_handlers=[handler])
    >>> with recording(user="ann") as block:
    ...     answer = asyncio.run(staff.ask("Who lives in Kraków?", return_natural_response=True))
    >>> block.request_id
    '1f2e3d4c...'
    >>> lines = pathlib.Path("logs/staff.jsonl").read_text("utf-8").splitlines()
    >>> json.loads(lines[-1])["summary"]
    {'collection': 'staff', 'question': 'Who lives in Kraków?', 'labels': {'user': 'ann'}, ...}

To anywhere else: a sink is a function that takes a `Record`, such as the `append` of a list.

    >>> records = []
    >>> recorder = Recorder(records.append, record_prompts=False)
    >>> staff = make_collection("staff", event_handlers=[recorder])
    >>> answer = asyncio.run(staff.ask("Who lives in Kraków?"))
    >>> [record.step or record.event for record in records if record.kind == "event_end"]
    ['filter decision', 'filters', 'SimilarityEvent']
    >>> records[1].data
    {'type': 'PromptTemplate', 'prompt': '[withheld]'}

As text for people:

    >>> from {{ cookiecutter.package_name }}.formats import format_text
    >>> print(format_text(records[-1]))
    1f2e3d4c 2026-11-25 10:54:07.049 request_end  Elapsed Time: ...
    ...
    1f2e3d4c   Summary: StaffView, 1 rows, 2 calls, 0 failed, 230 tokens
    <BLANKLINE>

README.md says where to change what, and docs/operations.md what is promised.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .blocks import recording, unrecorded
    from .handler import {{ cookiecutter.handler_class }}
    from .logfile import LogFile
    from .privacy import INPUT, INPUT_AND_OUTPUT, METADATA, OUTPUT, PROMPT, declare
    from .recorder import Recorder
    from .records import Record

# Each name, and the module that has it.
_MODULES = {
    "{{ cookiecutter.handler_class }}": "handler",
    "LogFile": "logfile",
    "Record": "records",
    "Recorder": "recorder",
    "recording": "blocks",
    "unrecorded": "blocks",
    "declare": "privacy",
    "METADATA": "privacy",
    "INPUT": "privacy",
    "OUTPUT": "privacy",
    "INPUT_AND_OUTPUT": "privacy",
    "PROMPT": "privacy",
}

__all__ = [
    "INPUT",
    "INPUT_AND_OUTPUT",
    "METADATA",
    "OUTPUT",
    "PROMPT",
    "{{ cookiecutter.handler_class }}",
    "LogFile",
    "Record",
    "Recorder",
    "declare",
    "recording",
    "unrecorded",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for.

    To import db-ally takes a second or, with litellm, several. The command does not need it.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f".{_MODULES[name]}", __name__)
    return getattr(module, name)
