"""What a request costs: db-ally's own requests, with each of several handlers, side by side.

A request is what `Collection.ask` does with its handlers, without the database: three prompts from
db-ally's templates go through its `LLM` and its tracker to a model that answers at once. These are
eight records. A prompt is as long as the views, filters or rows that it offers.

All handlers take turns in one process, in many short rounds, each time in another order. What is
counted is the CPU time of all threads, user and system, because other processes blur it less than
the clock. What is compared is the ratio within a round: what slows the machine slows all of them.
"""

import gc
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import LLMEvent, RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from dbally.iql_generator.prompt import FILTERS_GENERATION_TEMPLATE, IQLGenerationPromptFormat
from dbally.llms.base import LLM
from dbally.llms.clients.base import LLMClient, LLMOptions
from dbally.nl_responder.prompts import NL_RESPONSE_TEMPLATE, NLResponsePromptFormat
from dbally.prompt.template import PromptTemplate
from dbally.view_selection.prompt import VIEW_SELECTION_TEMPLATE, ViewSelectionPromptFormat
from dbally.views.exposed_functions import ExposedFunction, MethodParamWithTyping

ROOT = Path(__file__).parent.parent
SCRATCH = ROOT / "scratch" / "bench"

REQUESTS = 20  # of each handler in each round
REQUESTS_IF_SLOW = 2
SLOW = 2_000  # microseconds a request

Handler = EventHandler[Any, Any]
MakeHandler = Callable[[Path], Handler]  # from the empty directory that it may write to
Request = Callable[[], Coroutine[Any, Any, None]]
Costs = dict[str, list[float]]  # microseconds of CPU a request, one figure a round, by handler

QUESTION = "Who in Kraków earns more than 7000, and since when?"
CONTEXT = {
    "sql": "SELECT staff.name, staff.city, staff.salary \nFROM staff \nWHERE staff.city = 'Kraków'",
    "iql": {"filters": 'works_in("Kraków")', "aggregation": None},
}


async def measure(handlers: dict[str, MakeHandler], place: Path, prompt_size: int, rounds: int) -> Costs:
    """Return what a request costs with each handler, beyond what it costs without one.

    Args:
        handlers: what makes each of them, by name. They may have a method `flush`, which is called
            while the time is taken, and a method `close`, which is called afterwards.
        place: where the directories of the handlers are made.
        prompt_size: characters of a prompt, at least.
        rounds: how often all of them take their turn.
    """
    costs: Costs = {name: [] for name in handlers}
    gc.collect()
    gc.freeze()  # so that the collector does not walk through all imported modules again and again

    for _ in range(rounds + 1):
        without = await cost_of_requests(None, place, prompt_size, REQUESTS)

        for name in random.sample(list(handlers), len(handlers)):
            is_slow = bool(costs[name]) and costs[name][0] > SLOW
            count = REQUESTS_IF_SLOW if is_slow else REQUESTS
            cost = await cost_of_requests(handlers[name], place, prompt_size, count)
            costs[name].append(cost - without)

    gc.unfreeze()
    return {name: figures[1:] for name, figures in costs.items()}  # the first round only warms up


async def cost_of_requests(make_handler: MakeHandler | None, place: Path, prompt_size: int, count: int) -> float:
    """Return the microseconds of CPU that one of `count` requests takes."""
    handlers: list[Any] = []
    if make_handler is not None:
        handlers.append(make_handler(Path(tempfile.mkdtemp(dir=place))))

    requests = [make_request(handlers, prompt_size, number) for number in range(count + 1)]
    await requests.pop()()  # the first one may create or import something
    gc.collect()

    start = time.process_time()
    for request in requests:
        await request()
    for handler in handlers:
        if hasattr(handler, "flush"):
            handler.flush()
    seconds = time.process_time() - start

    for handler in handlers:
        if hasattr(handler, "close"):
            handler.close()
    return 1e6 * seconds / count


def make_request(handlers: list[Handler], prompt_size: int, number: int) -> Request:
    """Return a request that is ready to be made: its prompts are there, so that they cost nothing."""
    question = f"{QUESTION} ({number})"
    prompts = make_prompts(prompt_size, question)
    result = ExecutionResult(make_rows(3), CONTEXT, 0.25, 0.125, "StaffView", "Ann does.")
    model = ScriptedLLM("scripted")

    async def request() -> None:
        tracker = EventTracker.initialize_with_handlers(handlers)
        await tracker.request_start(RequestStart("staff", question))
        for prompt in prompts:
            await model.generate_text(prompt, event_tracker=tracker)
        await tracker.request_end(RequestEnd(result))

    return request


def make_prompts(size: int, question: str) -> list[PromptTemplate[Any]]:
    """Return the prompts of a request, of about `size` characters each."""
    prompts = []
    for template, content in contents_of(size):
        content.question = question
        prompts.append(template.format_prompt(content))
    return prompts


@lru_cache
def contents_of(size: int) -> list[tuple[PromptTemplate[Any], Any]]:
    """Return each template, and as many views, filters or rows as make a prompt of `size` of it."""
    contents = []
    for template, make_content in TEMPLATES:
        count = 1
        while length(template, make_content(count)) < size:
            count += 1
        contents.append((template, make_content(count)))
    return contents


def length(template: PromptTemplate[Any], content: Any) -> int:
    messages = template.format_prompt(content).chat
    return sum(len(message["content"]) for message in messages)


def select_view(count: int) -> ViewSelectionPromptFormat:
    views = {f"Staff{year}View": f"Staff of {year}: names, cities and salaries." for year in range(count)}
    return ViewSelectionPromptFormat(question=QUESTION, views=views)


def generate_filters(count: int) -> IQLGenerationPromptFormat:
    parameters = [MethodParamWithTyping("city", str)]
    filters = [ExposedFunction(f"works_in_{number}", "Staff in a city.", parameters) for number in range(count)]
    return IQLGenerationPromptFormat(question=QUESTION, methods=filters)


def answer_in_words(count: int) -> NLResponsePromptFormat:
    return NLResponsePromptFormat(question=QUESTION, results=make_rows(count))


def make_rows(count: int) -> list[dict[str, Any]]:
    return [{"name": f"Ann {number:05}", "city": "Kraków", "salary": 7200 + number} for number in range(count)]


TEMPLATES: list[tuple[PromptTemplate[Any], Callable[[int], Any]]] = [
    (VIEW_SELECTION_TEMPLATE, select_view),
    (FILTERS_GENERATION_TEMPLATE, generate_filters),
    (NL_RESPONSE_TEMPLATE, answer_in_words),
]


class ScriptedClient(LLMClient[LLMOptions]):
    async def call(self, conversation: Any, options: LLMOptions, event: LLMEvent, json_mode: bool = False) -> str:
        event.prompt_tokens = 1_000
        event.completion_tokens = 20
        event.total_tokens = 1_020
        return "Decision: True"


class ScriptedLLM(LLM[LLMOptions]):
    _options_cls = LLMOptions

    @cached_property
    def client(self) -> LLMClient[LLMOptions]:
        return ScriptedClient("scripted")


@contextmanager
def in_memory() -> Iterator[Path]:
    """Yield a directory that is on no disk, if the system has a place for it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@contextmanager
def on_disk() -> Iterator[Path]:
    """Yield a directory on the disk of this repository.

    On ext4, a new file looks for an inode near its folder, and passes one by one over those that
    were freed in the last minutes. The files of the last run would make it ten times as expensive.
    The attribute T tells ext4 to spread the folders in this directory over the whole disk.
    """
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        with suppress(FileNotFoundError):
            subprocess.run(["chattr", "+T", folder], stderr=subprocess.DEVNULL)
        yield Path(folder)
