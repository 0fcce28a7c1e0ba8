"""Requests as db-ally makes them: its prompts, from its templates, through its tracker."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property, lru_cache, partial
from typing import Any

from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from dbally.iql_generator.prompt import FILTERS_GENERATION_TEMPLATE, IQLGenerationPromptFormat
from dbally.llms.base import LLM
from dbally.llms.clients.base import LLMClient, LLMOptions
from dbally.nl_responder.prompts import NL_RESPONSE_TEMPLATE, NLResponsePromptFormat
from dbally.prompt.template import PromptFormat, PromptTemplate
from dbally.view_selection.prompt import VIEW_SELECTION_TEMPLATE, ViewSelectionPromptFormat
from dbally.views.exposed_functions import ExposedFunction, MethodParamWithTyping

Request = Callable[[], Coroutine[Any, Any, None]]
Reply = Callable[[LLMEvent], Awaitable[str]]  # what the model answers; it may raise

_QUESTION = "Who in {} earns more than 7000, and since when?"
_IQL = 'works_in("{}") AND earns_more_than(7000)'
_SQL = "SELECT staff.name, staff.city, staff.salary \nFROM staff \nWHERE staff.city = '{}' AND staff.salary > 7000"


async def answer(event: LLMEvent) -> str:
    """Answer as a model does that finds all that it needs."""
    return "Decision: True"


def requests(
    prompt_size: int,
    handlers: list[Any],
    count: int,
    *,
    rows: int = 3,
    city: str = "Kraków",
    reply: Reply = answer,
) -> list[Request]:
    """Make requests of three calls of a model, eight records each, with new prompts of about `prompt_size` characters.

    They are numbered: `asked-0007` is in the question of the eighth, `prompt-0007-1` in its first prompt. The city is in
    every question, and in every row.
    """
    context = {"sql": _SQL.format(city), "iql": {"filters": _IQL.format(city), "aggregation": None}}
    result = ExecutionResult(_staff(rows, city), context, 0.25, 0.125, "StaffView", "Ann does.")
    ask = partial(_ask, handlers, _Model(reply), result)
    return [partial(ask, number, city, _prompts(prompt_size, number, city)) for number in range(count)]


async def _ask(
    handlers: list[Any],
    model: LLM[LLMOptions],
    result: ExecutionResult,
    number: int,
    city: str,
    prompts: list[PromptTemplate[Any]],
) -> None:
    """Do what `Collection.ask` does with its handlers."""
    tracker = EventTracker.initialize_with_handlers(handlers)
    await tracker.request_start(RequestStart("staff", f"{_QUESTION.format(city)} (asked-{number:04})"))
    for prompt in prompts:
        await model.generate_text(prompt, event_tracker=tracker)
    await tracker.request_end(RequestEnd(result))


@lru_cache(maxsize=8)
def _staff(rows: int, city: str) -> list[dict[str, Any]]:
    return [{"name": f"Ann {number:05}", "city": city, "salary": 7200 + number} for number in range(rows)]


class _Model(LLM[LLMOptions]):
    _options_cls = LLMOptions

    def __init__(self, reply: Reply) -> None:
        super().__init__("scripted")
        self.reply = reply

    @cached_property
    def client(self) -> LLMClient[LLMOptions]:
        return _Client(self.reply)


class _Client(LLMClient[LLMOptions]):
    def __init__(self, reply: Reply) -> None:
        super().__init__("scripted")
        self.reply = reply

    async def call(self, conversation: Any, options: LLMOptions, event: LLMEvent, json_mode: bool = False) -> str:
        event.prompt_tokens, event.completion_tokens, event.total_tokens = 1_000, 20, 1_020
        return await self.reply(event)


def _prompts(size: int, number: int, city: str) -> list[PromptTemplate[Any]]:
    prompts = []
    for call, (template, content) in enumerate(_contents(size, city), 1):
        content.question = f"{_QUESTION.format(city)} (prompt-{number:04}-{call})"
        prompts.append(template.format_prompt(content))
    return prompts


@lru_cache
def _contents(size: int, city: str) -> list[tuple[PromptTemplate[Any], Any]]:
    """Return db-ally's templates, each with as many views, filters or rows as a prompt of `size` characters takes."""
    question = _QUESTION.format(city)

    def select_view(entries: int) -> PromptFormat:
        views = {
            f"Staff{entry}View": f"Staff of {2000 + entry}: names, cities and salaries." for entry in range(entries)
        }
        return ViewSelectionPromptFormat(question=question, views=views)

    def generate_filters(entries: int) -> PromptFormat:
        place = [MethodParamWithTyping("city", str)]
        methods = [ExposedFunction(f"works_in_{entry}", "Staff in a city.", place) for entry in range(entries)]
        return IQLGenerationPromptFormat(question=question, methods=methods)

    def answer_in_words(entries: int) -> PromptFormat:
        return NLResponsePromptFormat(question=question, results=_staff(entries, city))

    makers: list[tuple[PromptTemplate[Any], Callable[[int], PromptFormat]]] = [
        (VIEW_SELECTION_TEMPLATE, select_view),
        (FILTERS_GENERATION_TEMPLATE, generate_filters),
        (NL_RESPONSE_TEMPLATE, answer_in_words),
    ]
    contents = []
    for template, make in makers:
        one, eleven = (_length(template, make(entries)) for entries in (1, 11))
        contents.append((template, make(max(1, 1 + 10 * (size - one) // (eleven - one)))))
    return contents


def _length(template: PromptTemplate[Any], content: PromptFormat) -> int:
    return sum(len(message["content"]) for message in template.format_prompt(content).chat)
