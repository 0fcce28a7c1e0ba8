"""The recipes, as the page prints them, on requests to a real collection; and that a fault in one is noticed."""

import gzip
import itertools
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pages import (
    PACKAGE,
    RECORDS_OF_A_REQUEST,
    Application,
    bake_page,
    blocks,
    change_fixtures,
    pass_contract,
    run_code,
)
from servers import free_port, wait_until
from test_index import RECIPES, lines_of_code

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
    return Record(request, "staff", now, "host:1", {}, 1 if event else None, event, None, now, kind)

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
handler = Recorder(only_failures(received.append, requests=2))
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
ask(Recorder(only_failures(received.append, records=3)))
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
sink = only_failures(lambda record: received.append((record.request_id, record.kind)), requests=100_000)
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
print(kinds(), lenient.losses.count, handler.lost_records)
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
def refuse(record):
    raise OSError("away")
lenient = Lenient(refuse)
handler = Recorder(tee(received.append, lenient), raise_errors=True)
ask(handler)
print(kinds(), lenient.losses.count, handler.lost_records)
""",
        "Recording fails; records lost so far: 1; the last one: away\n"
        f"{' '.join(OF_A_REQUEST)} {RECORDS_OF_A_REQUEST} 0\n"
        f"Recording ends; records lost in all: {RECORDS_OF_A_REQUEST}\n",
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
    "a time limit gets through the lenient one": (
        """
from db_ally_file_handler.lenient import Lenient
def limit(number, frame):
    raise TimeoutError("of the application")
signal.signal(signal.SIGALRM, limit)
def slow(record):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(5)
try:
    Lenient(slow)(record("request_start"))
except TimeoutError as error:
    print(error)
""",
        "of the application\n",
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
    "a request that is over is a compressed file for its owner": (
        """
import gzip
from db_ally_file_handler.gzipped import gzipped
from db_ally_file_handler.tee import tee
os.umask(0o022)
plain, packed = (LogFile(name, "{request_id}.jsonl", "jsonl") for name in ("plain", "packed"))
handler = Recorder(tee(plain, gzipped(packed)))
ask(handler)
ask(handler, fail)
for file in sorted(Path("packed").iterdir()):
    original = Path("plain", file.stem).read_bytes()
    print(file.suffix, oct(file.stat().st_mode)[-3:], gzip.decompress(file.read_bytes()) == original)
""",
        ".gz 600 True\n" * 2,
    ),
    "requests that share a file are not compressed": (
        """
from db_ally_file_handler.gzipped import gzipped
try:
    gzipped(LogFile("logs", "{started_at:%Y-%m-%d}.jsonl", "jsonl"))
except ValueError as error:
    print(error)
""",
        "'{started_at:%Y-%m-%d}.jsonl': a file a request; for example '{request_id}.jsonl'\n",
    ),
    "a request is one line, whatever was asked": (
        """
from db_ally_file_handler.log_summary import LOGGER, log_summary
class Lines(logging.Handler):
    def emit(self, entry):
        line = entry.getMessage()
        row = json.loads(line)
        asked = row["summary"]["question"] == question
        print(entry.levelname, row["kind"], line.isprintable(), asked, "Kraków" in line, row.get("error", {}).get("type"))
LOGGER.addHandler(Lines())
LOGGER.setLevel(logging.INFO)
question = "Kraków\\nERROR forged \\x1b[2J \\u202e %s"
for reply in (None, fail):
    ask(Recorder(log_summary), reply, question)
""",
        "INFO request_end True True True None\nERROR request_failed True True True ViewExecutionError\n",
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
    ("only_failures.py", 'or record.kind != "request_end":', "or True:", "only failures arrive, and whole"),
    ("only_failures.py", "[*(before or []), record]", "[record]", "only failures arrive, and whole"),
    (
        "only_failures.py",
        "kept.pop(record.request_id, None)",
        "kept.get(record.request_id)",
        "what is over leaves no memory",
    ),
    ("only_failures.py", "and len(kept) < requests", "", "requests without room are passed on"),
    (
        "only_failures.py",
        " and len(before) < records",
        "",
        "a request with more records than there is room for is passed on",
    ),
    (
        "only_failures.py",
        'elif (before := kept.pop(record.request_id, None)) is None or record.kind != "request_end":',
        'elif (before := kept.pop(record.request_id, None)) is not None and record.kind != "request_end":',
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
        "self.losses.add(error)",
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
        "self.losses.add(error)",
        "pass",
        "what the lenient one refuses reaches nobody, is counted and said",
    ),
    (
        "lenient.py",
        "        atexit.register(self.losses.close)",
        "        pass",
        "what the lenient one refuses reaches nobody, is counted and said",
    ),
    (
        "lenient.py",
        "self.losses.add(error)",
        "self.losses.add(error); self.last = error",
        "a failed request is over at once, whatever the lenient one refuses",
    ),
    ("lenient.py", "if is_from_signal(error):", "if False:", "a time limit gets through the lenient one"),
    (
        "tee.py",
        "        finally:",
        "        except OSError:\n            pass\n        finally:",
        "a strict one that refuses keeps the model from being asked",
    ),
    (
        "gzipped.py",
        ", opener=partial(os.open, mode=0o600)",
        "",
        "a request that is over is a compressed file for its owner",
    ),
    (
        "gzipped.py",
        "            os.remove(path)",
        "            pass",
        "a request that is over is a compressed file for its owner",
    ),
    ("gzipped.py", 'if "{request_id" not in', "if None in", "requests that share a file are not compressed"),
    (
        "log_summary.py",
        "format_json(record._replace(data=None)).rstrip()",
        "record.summary['question']",
        "a request is one line, whatever was asked",
    ),
    (
        "log_summary.py",
        "if LOGGER.disabled:",
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
from db_ally_file_handler import background, webhook as page
page.in_background = background.Background(print, size=0)
"""
KILLED_WHILE_IT_COMPRESSES = """
import db_ally_file_handler.gzipped as recipe
{app}
def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)

class File:
    def __init__(self, file): self.file = file
    def __enter__(self): return self
    def __exit__(self, *error): self.file.close()
    def write(self, data):
        self.file.write(data[:len(data) // 2])
        self.file.flush()
        kill()

{kill}
ask(handler)
"""
KILLS = {
    "before": "recipe.gzip.compress = kill",
    "in the middle of it": "recipe.open = lambda *arguments, **options: File(open(*arguments, **options))",
    "before it has its name": "recipe.os.replace = kill",
    "before the file is gone": "recipe.os.remove = kill",
}
COSTS = """
import dbally
from application import StaffView, UnableView
from scripted_llm import ScriptedLLM

handler = Recorder(LogFile("logs", "all.jsonl", "jsonl"))
question = "Who?"

def make(name, model, view=StaffView):
    llm = ScriptedLLM(say())
    llm.model_name = model
    collection = dbally.create_collection(name, llm, event_handlers=[handler])
    collection.add(view, lambda: StaffView(make_engine()) if view is StaffView else view())
    return collection, llm

class Choosing(UnableView):  # which calls the model before it gives up
    async def ask(self, query, llm, event_tracker, **options):
        await llm.generate_text(TEMPLATE, event_tracker=event_tracker)
        return await super().ask(query)

from dbally.prompt.template import PromptTemplate
TEMPLATE = PromptTemplate([{{"role": role, "content": "one two"}} for role in ("system", "user")])

async def alone(model):
    collection, llm = make("staff", model)
{label_model}

async def with_fallback():
    (collection, small), (archive, large) = make("staff", "small", Choosing), make("archive", "large")
{label_models}

async def falls_back_with_one_label():
    (collection, llm), (archive, _) = make("staff", "small", Choosing), make("archive", "large")
    collection.set_fallback(archive)
{label_model}

async def main():
    for model in ("small", "small", "large", "other"):
        await alone(model)
    await with_fallback()
    await make("staff", "small")[0].ask(question)
    if {is_wrong}:
        await falls_back_with_one_label()
asyncio.run(main())
"""
PRICES = {"small": (0.15, 0.60), "large": (2.50, 10.00)}


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


def test_every_recipe_is_short_and_on_the_page() -> None:
    printed = {name for name in PAGE if name.endswith(".py") and not name.endswith("_app.py")}
    assert printed == {*RECIPES, "label_model.py", "label_models.py"}
    for name in RECIPES:
        assert lines_of_code(PAGE[name]) <= 12, name


COMPOSED = """
from db_ally_file_handler import LogFile, Record, Recorder
from db_ally_file_handler.formats import format_json
from db_ally_file_handler.gzipped import gzipped
from db_ally_file_handler.lenient import Lenient
from db_ally_file_handler.log_summary import log_summary
from db_ally_file_handler.tee import tee


@pytest.fixture
def received() -> list[Record]:
    return []


@pytest.fixture
def make_handler(received: list[Record], log_dir: Path) -> MakeHandler:
    rest = tee(gzipped(LogFile(log_dir, "{request_id}")), Lenient(log_summary))
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


def test_a_file_for_each_request_that_failed(tmp_path: Path, env: dict[str, str]) -> None:
    with Application(tmp_path, PAGE["failures_app.py"], env) as application:
        answer = application.ask(3)
        application.fail(2)
        application.die_in_a_request()

    files = [file.read_text("utf-8") for file in (tmp_path / "failures").iterdir()]
    assert (answer["rows"], answer["lost"], len(files)) == (3, 0, 2)
    assert all("request_start" in text and "Caused by: ConnectionError" in text for text in files)


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

    (file,) = (tmp_path / "audit").iterdir()
    records = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [each for each in records if each["kind"] == "request_failed"] == bodies
    assert len(bodies) == 2
    assert answer["warnings"] == []


def test_a_post_that_is_refused_is_tried_again(tmp_path: Path, env: dict[str, str]) -> None:
    app = PAGE["webhook_app.py"] + "handler = handlers[1]"
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

    assert said.startswith("True\n3 records still wait for <function post")


def test_what_the_webhook_has_no_room_for_keeps_nothing_from_the_audit_file(
    tmp_path: Path, env: dict[str, str]
) -> None:
    app = PAGE["audit_app.py"] + NO_ROOM
    env["WEBHOOK_URL"] = f"http://127.0.0.1:{free_port()}"
    with Application(tmp_path, app, env) as application:
        answer = application.fail(3)

    (file,) = (tmp_path / "audit").iterdir()
    assert file.read_text("utf-8").count('"request_failed"') == 3
    assert answer["lost"] == 0
    assert ["records lost so far: 1" in warning for warning in answer["warnings"]] == [True]


def records_in(folder: Path) -> dict[str, int]:
    """Return how many records there are of each request, in its file or, where that is gone, in its `.gz`."""
    found = {}
    for file in folder.rglob("*.jsonl*"):
        if file.suffix == ".jsonl" or (file.suffix == ".gz" and not file.with_suffix("").exists()):
            data = file.read_bytes()
            lines = (gzip.decompress(data) if file.suffix == ".gz" else data).decode().splitlines()
            found[file.name.partition(".")[0]] = len([json.loads(line) for line in lines])
    return found


def killed(directory: Path, env: dict[str, str], kill: str) -> dict[str, int]:
    """Return the records that are left of a request whose process was killed while it compressed."""
    code = PRELUDE + KILLED_WHILE_IT_COMPRESSES.format(app=PAGE["gzipped_app.py"], kill=KILLS[kill])
    done = subprocess.run([sys.executable, "-c", code], cwd=directory, env={**os.environ, **env})
    assert done.returncode == -9
    return records_in(directory / "logs")


@pytest.mark.parametrize("kill", KILLS)
def test_a_kill_while_it_compresses_loses_nothing(kill: str, tmp_path: Path, env: dict[str, str]) -> None:
    assert list(killed(tmp_path, env, kill).values()) == [RECORDS_OF_A_REQUEST]


def test_a_file_that_is_removed_before_its_copy_has_its_name_is_noticed(
    project: Path, tmp_path: Path, env: dict[str, str]
) -> None:
    package = tmp_path / "src" / PACKAGE
    package.mkdir(parents=True)
    for file in (project / "src" / PACKAGE).glob("*.py"):
        (package / file.name).write_bytes(file.read_bytes())
    replace, remove = (f"            os.{what}\n" for what in ('replace(f"{path}.tmp", f"{path}.gz")', "remove(path)"))
    code = PAGE["gzipped.py"].replace("  # last: at each moment all of it is there under one name or both", "")
    assert replace + remove in code
    (package / "gzipped.py").write_text(code.replace(replace + remove, remove + replace), "utf-8")
    env["PYTHONPATH"] = f"{tmp_path / 'src'}{os.pathsep}{env['PYTHONPATH']}"

    assert killed(tmp_path, env, "before it has its name") == {}


def test_an_application_that_logs_through_a_queue_gets_summaries(tmp_path: Path, env: dict[str, str]) -> None:
    through_a_queue = """
import queue
from logging.handlers import QueueHandler, QueueListener
waiting = queue.SimpleQueue()
LOGGER.addHandler(QueueHandler(waiting))
listener = QueueListener(waiting, logging.StreamHandler(sys.stdout))
listener.start()
ask(handler, times=2)
listener.stop()
"""
    said = run_code(tmp_path, PRELUDE + PAGE["summary_app.py"] + through_a_queue, env).splitlines()

    assert [json.loads(line)["kind"] for line in said] == ["request_end"] * 2
    assert [line.split()[2:4] for line in (tmp_path / "application.log").read_text("utf-8").splitlines()] == [
        ["INFO", "dbally.summaries"]
    ] * 2


def ask_with_labels(directory: Path, env: dict[str, str], is_wrong: bool = False) -> None:
    labels = {name: textwrap.indent(PAGE[f"{name}.py"], " " * 4) for name in ("label_model", "label_models")}
    run_code(directory, PRELUDE + COSTS.format(is_wrong=is_wrong, **labels), env)


def tokens_of(directory: Path, *models: str) -> list[tuple[int, int]]:
    """Return the tokens of prompts and completions of the requests with that label, in all and before a fallback."""
    records = [json.loads(line) for line in (directory / "logs" / "all.jsonl").read_text("utf-8").splitlines()]
    label = [*models] if len(models) > 1 else models[0]
    ids = [each["request_id"] for each in records if each.get("labels", {}).get("model") == label]
    calls = [
        [each for each in records if each["request_id"] == request and each["kind"] in ("event_end", "event_start")]
        for request in ids
    ]
    before = [itertools.takewhile(lambda each: each["event"] != "FallbackEvent", of_request) for of_request in calls]
    return [
        tuple(sum((each["data"] or {}).get(f"{of}_tokens", 0) for each in some) for of in ("prompt", "completion"))
        for some in (list(itertools.chain(*calls)), list(itertools.chain(*before)))
    ]


def price(model: str, tokens: tuple[int, int]) -> float:
    return sum(rate * number for rate, number in zip(PRICES[model], tokens, strict=True)) / 1e6


def test_the_summaries_tell_the_cost_or_its_range(tmp_path: Path, env: dict[str, str]) -> None:
    ask_with_labels(tmp_path, env)

    rows = [line.split("\t") for line in run_code(tmp_path, PAGE["costs.py"], env).splitlines()]

    small, large = (price(model, tokens_of(tmp_path, model)[0]) for model in ("small", "large"))
    both = [price(model, tokens_of(tmp_path, "small", "large")[0]) for model in ("small", "large")]
    assert rows == [
        ["large", "1", f"{large:.6f} to {large:.6f}"],
        ["no label", "1", "no price"],
        ["other", "1", "no price"],
        ["small", "2", f"{small:.6f} to {small:.6f}"],
        ["small large", "1", f"{both[0]:.6f} to {both[1]:.6f}"],
    ]
    assert 0 < small < large and 0 < both[0] < both[1]

    one_for_all = PAGE["costs.py"].replace("max(costs)", "min(costs)")
    assert f"{both[1]:.6f}" not in run_code(tmp_path, one_for_all, env)


def test_the_events_tell_the_cost_of_each_model(tmp_path: Path, env: dict[str, str]) -> None:
    ask_with_labels(tmp_path, env, is_wrong=True)

    with duckdb.connect() as database:
        database.execute(f"SET file_search_path = '{tmp_path}'")
        rows = database.sql(PAGE["costs.sql"]).fetchall()
        first_for_all = database.sql(PAGE["costs.sql"].replace("label ->> place", "label ->> 0")).fetchall()

    every, before = tokens_of(tmp_path, "small", "large")
    after = (every[0] - before[0], every[1] - before[1])
    assert before[0] > 0 and after[0] > 0
    costs = {model: (requests, cost) for model, requests, *_, cost in rows}
    wrongly_labelled = tokens_of(tmp_path, "small")
    assert costs == {
        "large": (2, pytest.approx(price("large", tokens_of(tmp_path, "large")[0]) + price("large", after), abs=1e-6)),
        "small": (4, pytest.approx(price("small", wrongly_labelled[1]) + price("small", before), abs=1e-6)),
        "other": (1, None),
        None: (2, None),  # no label; a fallback's calls where the label names one model
    }
    assert sorted(map(str, first_for_all)) != sorted(map(str, rows))
    assert sum(row[2] for row in rows) == sum(
        json.loads(line)["summary"]["prompt_tokens"]
        for line in (tmp_path / "logs" / "all.jsonl").read_text("utf-8").splitlines()
        if '"summary":' in line
    )


def test_without_files_there_are_no_costs(tmp_path: Path, env: dict[str, str]) -> None:
    assert run_code(tmp_path, PAGE["costs.py"], env) == ""
