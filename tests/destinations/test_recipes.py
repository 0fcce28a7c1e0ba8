"""The recipes, as the page prints them, on requests to a real collection; and that a fault in one is noticed."""

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pages import (
    PACKAGE,
    RECORDS_OF_A_REQUEST,
    Application,
    bake_page,
    blocks,
    change_fixtures,
    check,
    pass_contract,
    run_code,
)
from servers import free_port, wait_until

PAGE = blocks("recipes.md")
OF_A_REQUEST = ["request_start", *["event_start", "event_end"] * 3, "request_end"]
OF_A_FAILURE = ["request_start", "event_start", "event_failed", "request_failed"]

PRELUDE = """
import asyncio, contextlib, faulthandler, gc, json, logging, os, random, signal, sys, threading, time
from datetime import UTC, datetime
from pathlib import Path
from dbally.views.exceptions import ViewExecutionError
from application import make_collection, make_engine, say
from db_ally_file_handler import LogFile, Recorder, recording
from db_ally_file_handler.records import Record

faulthandler.dump_traceback_later(30, exit=True)  # what waits for ever is a failure

async def fail(conversation):
    raise ConnectionError("the model is away")

def ask(handler, reply=None, question="Who?", times=1):
    collection = make_collection(make_engine(), handler, reply=reply)
    for _ in range(times):
        with contextlib.suppress(ViewExecutionError), recording():
            asyncio.run(collection.ask(question))

def record(kind, request="0", event=None):
    now = datetime.now(UTC)
    event_id = 1 if event else None
    return Record(
        request_id=request, collection="staff", started_at=now, process="host:1", labels={},
        time=now, kind=kind, event_id=event_id, event=event,
    )

received = []
def kinds():
    return " ".join(each.kind for each in received)
"""

# What each prints when the recipe keeps its promise.
PROBES: dict[str, tuple[str, str]] = {
    "only failures arrive, and whole": (
        """
from db_ally_file_handler.only_failures import only_failures
handler = Recorder(only_failures(received.append))
ask(handler)
print(len(received))
ask(handler, fail)
print(kinds())
""",
        f"0\n{' '.join(OF_A_FAILURE)}\n",
    ),
    "what is over leaves no memory": (
        """
from db_ally_file_handler.only_failures import only_failures
handler = Recorder(only_failures(lambda record: None))
ask(handler, times=20)
ask(handler, fail, times=20)
gc.collect()
print(sum(type(each) is Record for each in gc.get_objects()))
""",
        "0\n",
    ),
    "requests without room are passed on": (
        """
from db_ally_file_handler.only_failures import only_failures
handler = Recorder(only_failures(received.append, max_requests=2))
async def main():
    waiting, gate = [], asyncio.Event()
    async def reply(conversation):
        waiting.append(1)
        if len(waiting) == 5:
            gate.set()
        await gate.wait()
        return await say()(conversation)
    collection = make_collection(make_engine(), handler, reply=reply)
    await asyncio.gather(*(collection.ask("Who?") for _ in range(5)))
asyncio.run(main())
print(len({each.request_id for each in received}), len(received))
received.clear()
ask(handler)
print(len(received))
""",
        f"3 {3 * RECORDS_OF_A_REQUEST}\n0\n",
    ),
    "a request with more records than there is room for is passed on": (
        """
from db_ally_file_handler.only_failures import only_failures
ask(Recorder(only_failures(received.append, max_records=3)))
print(kinds())
""",
        f"{' '.join(OF_A_REQUEST)}\n",
    ),
    "an event that ends after its request failed arrives": (
        """
from db_ally_file_handler.only_failures import only_failures
sink = only_failures(received.append)
for kind, event in [("request_start", None), ("event_start", "E"), ("request_failed", None), ("event_end", "E")]:
    sink(record(kind, event=event))
print(kinds())
""",
        "request_start event_start request_failed event_end\n",
    ),
    "no thread waits for another one's sink": (
        """
from db_ally_file_handler.only_failures import only_failures
is_inside, go_on = threading.Event(), threading.Event()
def inner(record):
    received.append(record)
    if record.request_id == "slow":
        is_inside.set()
        go_on.wait(20)
sink = only_failures(inner)
def send(request):
    sink(record("request_start", request))
    sink(record("request_failed", request))
slow = threading.Thread(target=send, args=("slow",))
slow.start()
is_inside.wait()
fast = threading.Thread(target=send, args=("fast",), daemon=True)
fast.start()
fast.join(3)
print(fast.is_alive(), [each.request_id for each in received])
go_on.set()
slow.join()
""",
        "False ['slow', 'fast', 'fast']\n",
    ),
    "a record may come in the middle of another": (
        """
from db_ally_file_handler.only_failures import only_failures
faulthandler.dump_traceback_later(5, exit=True)
sink = only_failures(received.append)
late = [("request_failed", None), ("event_end", "E"), ("event_start", "E"), ("request_start", None)]
class Interrupted(Record):
    @property
    def request_id(self):
        if late:
            kind, event = late.pop()
            sink(record(kind, "late", event))
        return "0"
for kind, event in late[::-1]:
    sink(Interrupted(*record(kind, event=event)))
for request in ("late", "0"):
    print(" ".join(each.kind for each in received if each.request_id == request))
""",
        "request_start event_start event_end request_failed\n" * 2,
    ),
    # A collection ends a failed request wherever it happens to run: here all the time, on each thread.
    "the garbage collector may record at any time": (
        """
from db_ally_file_handler.only_failures import only_failures
sink = only_failures(lambda record: received.append((record.request_id, record.kind)), max_requests=100_000)
class Dropped:
    def __init__(self, request):
        self.request, self.itself = request, self
        sink(record("request_start", request))
    def __del__(self):
        sink(record("request_failed", self.request))
def work(thread):
    for number in range(2_000):
        gc.set_threshold(random.randrange(1, 20))
        Dropped(f"{thread}-{number}-dropped")
        sink(record("request_start", f"{thread}-{number}"))
    for kind, event in [("event_start", "E"), ("event_end", "E"), ("request_end", None)]:
        for number in range(2_000):
            sink(record(kind, f"{thread}-{number}", event))
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
gc.collect()
print(len(received), len({*received}), all("dropped" in request for request, _ in received))
""",
        "16000 16000 True\n",
    ),
    "with Lenient inside, a record that is refused is the only one that is lost": (
        """
from db_ally_file_handler.lenient import Lenient
from db_ally_file_handler.only_failures import only_failures
def inner(record):
    if record.kind == "event_start":
        raise OSError("not this one")
    received.append(record)
lenient = Lenient(inner)
handler = Recorder(only_failures(lenient))
ask(handler, fail)
print(kinds(), lenient.lost, handler.lost_records)
""",
        "request_start event_failed request_failed 1 0\n",
    ),
    "without it, the rest of that request is lost too, and counts once": (
        """
from db_ally_file_handler.only_failures import only_failures
def inner(record):
    if record.kind == "event_start":
        raise OSError("not this one")
    received.append(record)
handler = Recorder(only_failures(inner))
ask(handler, fail)
print(kinds(), handler.lost_records)
""",
        "request_start 1\n",
    ),
    "what either of two refuses reaches the other and counts": (
        """
from db_ally_file_handler.tee import tee
def refuse(record):
    raise OSError("no space")
for sinks in ((refuse, received.append), (received.append, refuse)):
    handler = Recorder(tee(*sinks))
    ask(handler)
    print(kinds(), handler.lost_records)
    received.clear()
handler = Recorder(tee(refuse, refuse))
gc.disable()
ask(handler, fail)
print(handler.lost_records)
""",
        f"{' '.join(OF_A_REQUEST)} {RECORDS_OF_A_REQUEST}\n" * 2 + f"{len(OF_A_FAILURE)}\n",
    ),
    "what the lenient one refuses reaches nobody, is counted and said": (
        """
from db_ally_file_handler.lenient import Lenient
from db_ally_file_handler.tee import tee
logging.basicConfig(stream=sys.stdout, format="%(message)s")
class Refuse:
    def __call__(self, record):
        raise OSError("away")
    def __repr__(self):
        return "refuse"
lenient = Lenient(Refuse())
handler = Recorder(tee(received.append, lenient), raise_errors=True)
ask(handler, times=2)
print(kinds(), lenient.lost, handler.lost_records)
""",
        "1 records lost in refuse: away\n10 records lost in refuse: away\n"
        f"{' '.join(OF_A_REQUEST * 2)} {2 * RECORDS_OF_A_REQUEST} 0\n",
    ),
    "a failed request is over at once, whatever the lenient one refuses": (
        """
from db_ally_file_handler.lenient import Lenient
from db_ally_file_handler.tee import tee
def refuse(record):
    raise OSError("away")
gc.disable()
async def main():
    collection = make_collection(make_engine(), Recorder(tee(Lenient(refuse), received.append)), reply=fail)
    with contextlib.suppress(ViewExecutionError):
        await collection.ask("Who?")
    await asyncio.sleep(0)  # asyncio takes a turn to let go of the exception
    print(kinds())
asyncio.run(main())
""",
        f"{' '.join(OF_A_FAILURE)}\n",
    ),
    "a strict one that refuses keeps the model from being asked": (
        """
from db_ally_file_handler.lenient import Lenient
from db_ally_file_handler.tee import tee
async def never(conversation):
    print("asked")
Path("audit").touch()
try:
    ask(Recorder(tee(LogFile("audit"), Lenient(received.append)), raise_errors=True), never)
except OSError as error:
    print(type(error).__name__, kinds())
""",
        "NotADirectoryError request_start\n",
    ),
    "a request is one line, whatever was asked": (
        """
from db_ally_file_handler.log_summary import log_summary, logger
class Lines(logging.Handler):
    def emit(self, entry):
        line = entry.getMessage()
        row = json.loads(line)
        asked = row["summary"]["question"] == question
        print(entry.levelname, row["kind"], line.isprintable(), asked, "Kraków" in line, row.get("error", {}).get("type"))
logger.addHandler(Lines())
logger.setLevel(logging.INFO)
question = "Kraków\\nERROR forged \\x1b[2J \\u202e %s"
for reply in (None, fail):
    ask(Recorder(log_summary), reply, question)
""",
        "INFO request_end True True True None\nERROR request_failed True True True ViewExecutionError\n",
    ),
    "a file that has grown is renamed, and nothing is lost": (
        """
from db_ally_file_handler.rotated import rotated
handler = Recorder(rotated(LogFile("logs", "all.jsonl", "jsonl"), max_bytes=20_000))
def write():
    ask(handler, times=10)
threads = [threading.Thread(target=write) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
files = sorted(Path("logs").iterdir())
lines = [line for file in files for line in file.read_text("utf-8").splitlines()]
print(len(files) > 3, max(file.stat().st_size for file in files) < 60_000, len(lines), handler.lost_records)
from db_ally_file_handler.reading import requests
print(len(list(requests("logs"))))
""",
        f"True True {30 * RECORDS_OF_A_REQUEST} 0\n30\n",
    ),
    "a mask hides addresses": (
        PAGE["mask_app.py"]
        + """
handler.sink = received.append
ask(handler, question="Does ann.b+c@mail.example.org work in Kraków, or <bob@example.org>?")
print(received[0].data["question"])
""",
        "Does [email] work in Kraków, or <[email]>?\n",
    ),
    "a logger that is turned off loses no summary without a word": (
        """
import logging.config
from db_ally_file_handler.log_summary import log_summary
logging.config.dictConfig({"version": 1})
handler = Recorder(log_summary)
ask(handler)
print(handler.lost_records)
""",
        "1\n",
    ),
}

LOCKED = """
    import threading
    lock = threading.{lock}()
    def locked(record):
        with lock:
            pass_on(record)
    return locked
"""

# A fault in a recipe, and the promise that it breaks.
FAULTS = [
    (
        "only_failures.py",
        'and record.kind == "request_end":\n            return',
        'and record.kind == "request_end":\n            pass',
        "only failures arrive, and whole",
    ),
    ("only_failures.py", "[*(earlier or []), record]", "[record]", "only failures arrive, and whole"),
    (
        "only_failures.py",
        "kept.pop(record.request_id, None)",
        "kept.get(record.request_id)",
        "what is over leaves no memory",
    ),
    ("only_failures.py", " and len(kept) < max_requests", "", "requests without room are passed on"),
    (
        "only_failures.py",
        " and len(earlier) < max_records",
        "",
        "a request with more records than there is room for is passed on",
    ),
    (
        "only_failures.py",
        "if earlier is not None and record.kind",
        "if earlier is None or record.kind",
        "an event that ends after its request failed arrives",
    ),
    ("only_failures.py", "    return pass_on", LOCKED.format(lock="Lock"), "no thread waits for another one's sink"),
    ("only_failures.py", "    return pass_on", LOCKED.format(lock="RLock"), "no thread waits for another one's sink"),
    (
        "only_failures.py",
        "    return pass_on",
        LOCKED.format(lock="Lock"),
        "a record may come in the middle of another",
    ),
    (
        "lenient.py",
        "self.lost += 1",
        "raise",
        "with Lenient inside, a record that is refused is the only one that is lost",
    ),
    (
        "tee.py",
        "        try:\n            first(record)\n        finally:\n            second(record)",
        "        first(record)\n        second(record)",
        "what either of two refuses reaches the other and counts",
    ),
    (
        "tee.py",
        "finally:",
        "except Exception:\n            pass\n        if True:",
        "what either of two refuses reaches the other and counts",
    ),
    (
        "lenient.py",
        "self.lost += 1",
        "self.lost += 0",
        "what the lenient one refuses reaches nobody, is counted and said",
    ),
    (
        "lenient.py",
        "self._next_warning *= 10",
        "pass",
        "what the lenient one refuses reaches nobody, is counted and said",
    ),
    (
        "lenient.py",
        "self.lost += 1",
        "self.lost += 1; self.last = error",
        "a failed request is over at once, whatever the lenient one refuses",
    ),
    (
        "tee.py",
        "        finally:",
        "        except OSError:\n            pass\n        finally:",
        "a strict one that refuses keeps the model from being asked",
    ),
    ("rotated.py", ">= max_bytes", ">= max_bytes * 10", "a file that has grown is renamed, and nothing is lost"),
    (
        "rotated.py",
        ".{record.time:%Y%m%dT%H%M%S.%f}-{record.request_id:.8}",
        ".1",
        "a file that has grown is renamed, and nothing is lost",
    ),
    (
        "log_summary.py",
        "format_json(without_rows).rstrip()",
        "record.summary['question']",
        "a request is one line, whatever was asked",
    ),
    (
        "log_summary.py",
        "if logger.disabled:",
        "if False:",
        "a logger that is turned off loses no summary without a word",
    ),
]

HANGING = """
logging.basicConfig(stream=sys.stdout, format="%(message)s")
began = time.perf_counter()
ask(handler, fail, times=3)
print(time.perf_counter() - began < 5)
"""
NO_ROOM = """
from db_ally_file_handler.background import Background
webhook._sink.background = Background(print, size=0)
"""

# It stands for the network: all else of LiteLLM's client is db-ally's own.
LITELLM = """
from types import SimpleNamespace

class openai:
    class APIConnectionError(Exception): ...
    class APIStatusError(Exception): ...
    class APIResponseValidationError(Exception): ...

async def acompletion(model, messages, **options):
    import application
    text = "".join(message["content"] for message in messages)
    answer = await application.say()(text)
    usage = SimpleNamespace(prompt_tokens=1_000, completion_tokens=100, total_tokens=1_100)
    return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=answer))], usage=usage)
"""
ASK_MODELS = """
from application import StaffView
{app}
async def main():
    for name in ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "another"):
        llm = NamedLiteLLM(name)
        collection = dbally.create_collection("staff", llm, event_handlers=[FileEventHandler(record_prompts=False)])
        collection.add(StaffView, lambda: StaffView(make_engine()))
        with contextlib.suppress(ViewExecutionError):
            await collection.ask("Who?")
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with all recipes. Each test runs them in a directory of its own."""
    return bake_page(tmp_path_factory.mktemp("recipes"), "recipes.md", "background.md")


@pytest.fixture
def env(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what lets processes elsewhere find the project."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return {"PYTHONPATH": os.pathsep.join(str(project / part) for part in ("src", "tests", "examples"))}


def run_probe(directory: Path, name: str, env: dict[str, str]) -> str:
    return run_code(directory, PRELUDE + PROBES[name][0], env)


@pytest.mark.parametrize("probe", PROBES)
def test_a_recipe_keeps_its_promise(probe: str, tmp_path: Path, env: dict[str, str]) -> None:
    assert run_probe(tmp_path, probe, env) == PROBES[probe][1]


@pytest.mark.parametrize(("module", "part", "fault", "probe"), FAULTS)
def test_a_fault_in_a_recipe_is_noticed(
    module: str, part: str, fault: str, probe: str, project: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    assert PAGE[module].count(part) == 1
    package = tmp_path / "src" / PACKAGE
    package.mkdir(parents=True)
    for file in (project / "src" / PACKAGE).glob("*.py"):
        (package / file.name).write_bytes(file.read_bytes())
    (package / module).write_text(PAGE[module].replace(part, fault), "utf-8")
    env["PYTHONPATH"] = f"{tmp_path / 'src'}{os.pathsep}{env['PYTHONPATH']}"

    try:
        said = run_probe(tmp_path, probe, env)
    except AssertionError:
        return  # it came to no good end
    assert said != PROBES[probe][1]


COMPOSED = """
from db_ally_file_handler import LogFile, Record, Recorder
from db_ally_file_handler.formats import format_json
from db_ally_file_handler.lenient import Lenient
from db_ally_file_handler.log_summary import log_summary
from db_ally_file_handler.tee import tee


@pytest.fixture
def received() -> list[Record]:
    return []


@pytest.fixture
def make_handler(received: list[Record], log_dir: Path) -> MakeHandler:
    rest = tee(LogFile(log_dir, "{request_id}.jsonl"), Lenient(log_summary))
    return lambda **options: Recorder(tee(received.append, rest), **options)


@pytest.fixture
def read_records(received: list[Record]) -> ReadRecords:
    async def read() -> list[dict[str, Any]]:
        await asyncio.sleep(0)
        gc.collect()
        return [json.loads(format_json(record)) for record in received]

    return read


@pytest.fixture
def make_broken_handler(tmp_path: Path) -> MakeHandler:
    (tmp_path / "file").touch()
    return lambda **options: Recorder(tee(LogFile(tmp_path / "file" / "in-the-way"), Lenient(print)), **options)
"""


def test_the_contract_holds_for_a_composition(tmp_path: Path) -> None:
    project = bake_page(tmp_path, "recipes.md")
    change_fixtures(project / "tests" / "conftest.py", COMPOSED)

    pass_contract(project)


def test_the_project_is_green_after_the_page(tmp_path: Path) -> None:
    check(bake_page(tmp_path, "background.md", "recipes.md"))


def test_a_file_for_each_request_that_failed(tmp_path: Path, env: dict[str, str]) -> None:
    with Application(tmp_path, PAGE["failures_app.py"], env) as application:
        answer = application.ask(3)
        application.fail(2)
        application.die_in_a_request()

    files = [file.read_text("utf-8") for file in (tmp_path / "logs" / "failures").iterdir()]
    assert (answer["rows"], answer["lost"], len(files)) == (3, 0, 2)
    assert all('"request_start"' in text and '"ConnectionError"' in text for text in files)


def test_two_sinks_hold_the_same_requests(tmp_path: Path, env: dict[str, str]) -> None:
    with Application(tmp_path, PAGE["tee_app.py"], env) as application:
        application.ask(3)

    (lines,) = (tmp_path / "logs").glob("*.jsonl")
    ids = {json.loads(line)["request_id"] for line in lines.read_text("utf-8").splitlines()}
    assert len(ids) == 3
    assert {file.stem for file in (tmp_path / "logs" / "text").iterdir()} == ids


@contextmanager
def receiver(*answers: int, hangs: bool = False) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Receive posts, each answered with the next status and, after the last of `answers`, 200; give URL and bodies."""
    bodies: list[dict[str, Any]] = []
    statuses, go_on = [*answers], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if hangs:
                go_on.wait(60)
            bodies.append(body)
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, *about: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/alerts", bodies
        go_on.set()
        server.shutdown()
        thread.join()


def test_the_webhook_gets_failures_with_the_ids_of_the_audit_file(tmp_path: Path, env: dict[str, str]) -> None:
    with receiver() as (env["WEBHOOK_URL"], bodies), Application(tmp_path, PAGE["audit_app.py"], env) as application:
        application.ask(2)
        answer = application.fail(2)
        wait_until(lambda: len(bodies) == 2)

    (file,) = (tmp_path / "logs" / "audit").iterdir()
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [each for each in records if each["kind"] == "request_failed"] == bodies
    assert len(bodies) == 2
    assert answer["warnings"] == []


def test_a_post_that_is_refused_is_tried_again(tmp_path: Path, env: dict[str, str]) -> None:
    app = PAGE["webhook_app.py"]
    with receiver(500, 429) as (env["WEBHOOK_URL"], bodies), Application(tmp_path, app, env) as application:
        application.fail()
        wait_until(lambda: len(bodies) == 3)
        answer = application.ask(0)

    assert len({body["request_id"] for body in bodies}) == 1
    assert (answer["lost"], answer["warnings"]) == (0, [])


def test_no_request_waits_for_a_webhook_and_an_exit_counts_what_is_lost(tmp_path: Path, env: dict[str, str]) -> None:
    code = PRELUDE + PAGE["audit_app.py"] + HANGING
    with receiver(hangs=True) as (env["WEBHOOK_URL"], bodies):
        said = run_code(tmp_path, code, env)
        assert bodies == []

    assert said.startswith("True\n3 records still wait for <bound method Webhook")


def test_what_the_webhook_has_no_room_for_keeps_nothing_from_the_audit_file(
    tmp_path: Path, env: dict[str, str]
) -> None:
    app = PAGE["audit_app.py"] + NO_ROOM
    env["WEBHOOK_URL"] = f"http://127.0.0.1:{free_port()}"
    with Application(tmp_path, app, env) as application:
        answer = application.fail(3)

    (file,) = (tmp_path / "logs" / "audit").iterdir()
    assert file.read_text("utf-8").count('"request_failed"') == 3
    assert answer["lost"] == 0
    assert ["1 records lost in" in warning for warning in answer["warnings"]] == [True]


def test_an_application_that_logs_through_a_queue_gets_summaries(tmp_path: Path, env: dict[str, str]) -> None:
    through_a_queue = """
import queue
from logging.handlers import QueueHandler, QueueListener
waiting = queue.SimpleQueue()
logger.addHandler(QueueHandler(waiting))
listener = QueueListener(waiting, logging.StreamHandler(sys.stdout))
listener.start()
ask(handler, times=2)
listener.stop()
"""
    said = run_code(tmp_path, PRELUDE + PAGE["summary_app.py"] + through_a_queue, env).splitlines()

    assert [json.loads(line)["kind"] for line in said] == ["request_end"] * 2


@pytest.fixture
def models(tmp_path: Path, env: dict[str, str]) -> list[dict[str, Any]]:
    """Ask three models through LiteLLM; return the last records of their calls."""
    (tmp_path / "litellm.py").write_text(LITELLM, "utf-8")
    env["PYTHONPATH"] = f"{tmp_path}{os.pathsep}{env['PYTHONPATH']}"
    run_code(tmp_path, PRELUDE + ASK_MODELS.format(app=PAGE["model_app.py"]), env)
    lines = [line for path in (tmp_path / "logs").iterdir() for line in path.read_text("utf-8").splitlines()]
    records = [json.loads(line) for line in lines]
    return [record for record in records if record["kind"] == "event_end" and record["event"] == "LLMEvent"]


def test_each_call_names_its_model(models: list[dict[str, Any]]) -> None:
    assert Counter(record["data"]["model"] for record in models) == {"gpt-4o-mini": 4, "gpt-4o": 2, "another": 2}


def test_the_files_tell_the_cost_of_each_model(
    models: list[dict[str, Any]], tmp_path: Path, env: dict[str, str]
) -> None:
    (tmp_path / "logs" / "torn.jsonl").write_text('{"kind":"event_end","da', "utf-8")

    rows = [line.split("\t") for line in run_code(tmp_path, PAGE["costs.py"], env).splitlines()]

    of_a_call = {"gpt-4o-mini": 1_000 * 0.15 + 100 * 0.60, "gpt-4o": 1_000 * 2.50 + 100 * 10.00}
    assert rows == [
        ["another", "2 calls", "no price"],
        ["gpt-4o", "2 calls", f"{2 * of_a_call['gpt-4o'] / 1e6:.6f}"],
        ["gpt-4o-mini", "4 calls", f"{4 * of_a_call['gpt-4o-mini'] / 1e6:.6f}"],
    ]


def test_without_files_there_are_no_costs(tmp_path: Path, env: dict[str, str]) -> None:
    assert run_code(tmp_path, PAGE["costs.py"], env) == ""


def test_the_mask_is_that_of_the_pages_of_the_project(project: Path) -> None:
    assert f"```python\n{PAGE['mask_app.py']}```" in (project / "docs" / "operations.md").read_text("utf-8")
