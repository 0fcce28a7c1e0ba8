"""What may be in a record: one table, the switches and the mask live here and nowhere else."""

from collections.abc import Callable, Iterable, Sized
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from typing import Any

from dbally.audit.events import FallbackEvent, LLMEvent, RequestEnd, RequestStart, SimilarityEvent
from dbally.collection.results import ExecutionResult
from dbally.views.exceptions import ViewExecutionError

from .errors import is_from_signal, with_causes
from .plain import Data, Path, Plain, PlainCopy

WITHHELD = "[withheld]"

_MOST_ERRORS = 20  # of one record
_SHORT = 3_000  # characters of what a summary starts with
_UNCHANGING = (str, int, float, bool, tuple, type(None))  # all else can change and stay the same object

# The switches that have to be on for a field to be recorded, by what it can hold. An error can quote the SQL and its
# literals, a `repr` anything, a prompt rows and earlier answers: that is both what users typed and what came of it.
METADATA: frozenset[str] = frozenset()
INPUT = frozenset({"record_inputs"})
OUTPUT = frozenset({"record_outputs"})
BOTH = INPUT | OUTPUT
PROMPT = BOTH | {"record_prompts"}

# Every field of db-ally's classes, in the order of records. Any other field counts as both until it is declared.
_DBALLY: dict[type, dict[str, frozenset[str]]] = {
    RequestStart: {"collection_name": METADATA, "question": INPUT},
    LLMEvent: {"type": METADATA, "prompt": PROMPT, "response": OUTPUT}
    | dict.fromkeys(["prompt_tokens", "completion_tokens", "total_tokens"], METADATA),
    SimilarityEvent: {"store": BOTH, "fetcher": BOTH, "input_value": BOTH, "output_value": OUTPUT},
    FallbackEvent: {
        "triggering_collection_name": METADATA,
        "triggering_view_name": OUTPUT,  # all that the model said, if that is no view's name
        "fallback_collection_name": METADATA,
        "error_description": BOTH,
    },
    RequestEnd: {"result": BOTH},  # but it is looked into, field by field:
    ExecutionResult: {"textual_response": OUTPUT, "view_name": METADATA}
    | {"execution_time": METADATA, "execution_time_view": METADATA, "context": OUTPUT}
    | {"results": OUTPUT},  # last: the rows take what the record has room for
}
CONTENT = dict(_DBALLY)


def declare(event_class: type, **content: frozenset[str]) -> None:
    """Say at any time what fields of an event class of yours hold: `declare(CacheEvent, key=INPUT, hits=METADATA)`.

    Raises:
        ValueError: it is none of `METADATA`, `INPUT`, `OUTPUT`, `BOTH` and `PROMPT`.
    """
    for name, holds in content.items():
        if holds not in (METADATA, INPUT, OUTPUT, BOTH, PROMPT):
            raise ValueError(f"{name} {holds!r}: METADATA, INPUT, OUTPUT, BOTH or PROMPT; for example {name}=INPUT")
    CONTENT[event_class] = CONTENT.get(event_class, {}) | content
    _declared.cache_clear()


class Policy:
    """Decides what of db-ally's objects goes into a record.

    Args:
        switches: the names of those that are on.
        mask: from text to text; `None` for no change.
        max_chars: characters that one record may hold; `None` for any number.
    """

    def __init__(self, switches: Iterable[str], mask: Callable[[str], str] | None, max_chars: int | None) -> None:
        self._switches = frozenset(switches)
        self._mask = mask and partial(_masked, mask)
        self._max_chars = max_chars

    def copier(self) -> PlainCopy:
        """Return what copies the values of one record."""
        return PlainCopy(self._max_chars, self._mask)

    def opening(self, request: RequestStart, labels: dict[str, object]) -> tuple[str, Plain, Data]:
        """Return the collection of a request, and its question and its labels in short, as they may be recorded."""
        short = PlainCopy(min(self._max_chars or _SHORT, _SHORT), self._mask)
        collection = short.text(str(request.collection_name))
        question = short.copy(request.question) if self._switches >= INPUT else WITHHELD
        return collection, question, {name: short.copy(value) for name, value in labels.items()}

    def data(self, source: object, seen: dict[str, object], copier: PlainCopy, path: Path = ()) -> Data:
        """Return the fields of `source` that are not what was `seen` of them before, or `None`; from now on they are."""
        data: Data = {}
        declared = _declared(type(source), self._switches)  # type: ignore[arg-type]  # see plain.py
        is_ours = type(source) in _DBALLY
        for name in declared if is_ours else [*{**declared, **getattr(source, "__dict__", {})}]:
            try:
                value = getattr(source, name, None)
            except Exception as error:  # the application's own objects may raise anything
                if is_from_signal(error):
                    raise
                value = f"<{name}: {type(error).__name__} when read>"
            if value is seen.get(name) and (is_ours or type(value) in _UNCHANGING):
                continue  # db-ally puts other objects into its own events, and changes none of them
            seen[name] = value
            if name == "result" and issubclass(type(value), ExecutionResult):  # isinstance would ask the object itself
                data[name] = self.data(value, {}, copier, (name,))
            else:
                data[name] = copier.copy(value, name, path) if declared.get(name, self._switches >= BOTH) else WITHHELD
        return data

    def found(self, output: object, copier: PlainCopy) -> Data:
        """Return what the summary of a request says of its result or error: its view, and how many rows there are."""
        result = output if isinstance(output, ViewExecutionError) else getattr(output, "result", None)
        view, rows = getattr(result, "view_name", None), getattr(result, "results", None)
        found: Data = {} if view is None else {"view": copier.copy(view, "view")}
        return found | ({"rows": len(rows)} if isinstance(rows, Sized) else {})

    def error(self, error: BaseException, before: int, copier: PlainCopy) -> Data:
        """Return type and message of `error`, and under `causes` those of what led to it: see `with_causes`."""
        errors: list[Data] = []
        for each in with_causes(error, before=before)[:_MOST_ERRORS]:
            message = copier.copy(each, "error") if self._switches >= BOTH else WITHHELD
            errors.append({"type": type(each).__name__, "message": message})
        return errors[0] | {"causes": [*errors[1:]]}


def _masked(mask: Callable[[str], str], text: str) -> str:
    try:
        masked = mask(text)
    except Exception as error:  # whatever it is, its message could quote the text
        if is_from_signal(error):
            raise
        return WITHHELD
    return masked if type(masked) is str else WITHHELD


@lru_cache(maxsize=256)
def _declared(source: type[Any], switches: frozenset[str]) -> dict[str, bool]:
    """Return which fields of a class may be recorded, in the order of records."""
    known = {name: holds for base in reversed(source.__mro__) for name, holds in CONTENT.get(base, {}).items()}
    names = [*known, *(field.name for field in (fields(source) if is_dataclass(source) else ()))]
    return {name: known.get(name, BOTH) <= switches for name in names}
