"""Why a request failed, in words for a person.

The exception that leaves an `ask` seldom says what went wrong: db-ally puts errors of its own
around the reason, and an application may put another one around those. So the chain of errors is
searched for the first one that says more.
"""

from typing import Any

from .. import formats
from . import events
from .parsing import Request, Row, mapping, name_of
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
EMPTY_MESSAGE = "Connection error."


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
        if not is_wrapper and not each["message"].endswith(EMPTY_MESSAGE):
            return each
    return chain[-1]


def explain(request: Request) -> list[str]:
    """Return why a request failed: the step and the error, and what the model replied.

    The reply is told if no call of the model failed: then it could not be used, or what followed
    from it went wrong. For example:

        filters: RateLimitError: Too many requests
        after text-to-SQL: JSONDecodeError: Expecting value: line 1 column 1 (char 0)
        the model replied: UNSUPPORTED QUERY
    """
    step, error = request.failed_step, request.error
    call: Row | None = None
    if step is None or error is None:
        for event in events(request):
            if request.error is None:
                error = event.get("error") or error  # the best guess
            if _is_more_suspect(event, call):
                call = event

    text = UNKNOWN
    if error is not None:
        text = error_text(explaining_error(error))
    if step is not None:
        return [f"{step}: {text}"]
    if call is not None:
        reply = one_line(reply_of(call) or "nothing")
        return [f"after {name_of(call)}: {text}", f"the model replied: {reply}"]
    return [text]


def _is_more_suspect(event: Row, call: Row | None) -> bool:
    """Return whether an event is an LLM call that more likely spoilt a request than another one.

    Nothing can be done with an empty reply, and nearly any reply to a decision is good enough.
    """
    if event["kind"] != "event_end" or event.get("event") != "LLMEvent":
        return False
    if call is None or not reply_of(event):
        return True
    return bool(reply_of(call)) and not name_of(event).endswith("decision")


def reply_of(call: Row) -> Any:
    """Return what the model replied to an LLM call that ended."""
    return mapping(call.get("data")).get("response")


def error_text(error: Row) -> str:
    """Return an error without its causes."""
    return formats.show_errors({**error, "causes": []})[0]
