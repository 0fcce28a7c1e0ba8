"""Why a request failed, in words for a person.

The exception that leaves an `ask` seldom says what went wrong: db-ally puts errors of its own
around the reason, and an application may put another one around those. So the chain of errors is
searched for the first one that says more.
"""

from typing import Any

from ..formats import show_errors
from . import events
from .parsing import Request, Row, as_mapping, name_of
from .terminal import one_line

UNKNOWN = "unknown"

# These only say that something inside them failed. The last three are of db-ally, too: they repeat
# the message of the model's client, whose class says more.
WRAPPERS = {
    "ViewExecutionError",
    "Text2SQLError",
    "PromptTemplateError",
    "LLMConnectionError",
    "LLMStatusError",
    "LLMResponseError",
}
# These of db-ally say themselves what went wrong.
REASONS = {"UnsupportedQueryError", "NoViewFoundError"}
# These come from frameworks around db-ally.
FRAMEWORK_WRAPPERS = {"HTTPException", "ExceptionGroup", "BaseExceptionGroup"}
# What clients of models say if they cannot reach a server; their causes say why.
VAGUE_MESSAGE = "Connection error."


def explaining_error(error: Row) -> Row:
    """Return the first error of a chain that says what went wrong.

    For example the `RateLimitError` of `HTTPException`, caused by `ViewExecutionError`, caused by
    `LLMStatusError`, caused by `RateLimitError`.
    """
    chain: list[Row] = [error, *error["causes"]]
    for index, each in enumerate(chain):
        if each["type"] in WRAPPERS | REASONS:
            chain = chain[index:]  # without what the application put around it
            break

    for each in chain:
        is_wrapper = each["type"] in WRAPPERS | FRAMEWORK_WRAPPERS
        if not is_wrapper and not each["message"].endswith(VAGUE_MESSAGE):
            return each
    return chain[-1]


def explain(request: Request) -> list[str]:
    """Return why a request failed: the step and the error, and what the model replied.

    The reply is included if no step failed: then it could not be used, or led to the error. For
    example:

        filters: RateLimitError: Too many requests
        after text-to-SQL: JSONDecodeError: Expecting value: line 1 column 1 (char 0)
        the model replied: UNSUPPORTED QUERY
    """
    step = request.failed_step
    error = request.error
    if step is not None:
        if error is None:
            error = _error_of_step(request, step)
        return [f"{step}: {_error_text(error)}"]

    calls = [event for event in events(request) if _is_answered_call(event)]
    if not calls:
        return [_error_text(error)]

    call = sorted(calls, key=_suspicion)[-1]
    reply = one_line(_reply_of(call) or "nothing")
    return [f"after {name_of(call)}: {_error_text(error)}", f"the model replied: {reply}"]


def _error_of_step(request: Request, step: str) -> Row | None:
    """Return the error of the last event that was this step, if it failed."""
    error = None
    for event in events(request):
        if name_of(event) == step:
            error = event.get("error")
    return error


def _error_text(error: Row | None) -> str:
    if error is None:
        return UNKNOWN
    explaining = explaining_error(error)
    return show_errors({**explaining, "causes": []})[0]


def _is_answered_call(event: Row) -> bool:
    return event["kind"] == "event_end" and event.get("event") == "LLMEvent"


def _suspicion(call: Row) -> int:
    """Return how likely the reply to an LLM call made its request fail; more is likelier."""
    if not _reply_of(call):
        return 2  # nothing can be done with an empty reply
    if name_of(call).endswith("decision"):
        return 0  # nearly any reply is good enough
    return 1


def _reply_of(call: Row) -> Any:
    return as_mapping(call.get("data")).get("response")
