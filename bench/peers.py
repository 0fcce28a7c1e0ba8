"""What a request costs, beside what people would pick instead: `python -m bench.peers`.

The comparison is fair in two ways. *The same records* are ours, and a logging library is their
sink. *By hand* is a handler of forty lines that gives a library what db-ally says, as it is: one
entry for each thing that happens, with nothing copied, withheld or bounded, and nothing of failures.
"""

import asyncio
import json
import logging
import multiprocessing
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

import langfuse
import langsmith
import loguru
import mlflow
import structlog
from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.event_handlers.cli_event_handler import CLIEventHandler
from dbally.audit.event_handlers.langsmith_event_handler import LangSmithEventHandler
from dbally.audit.event_handlers.otel_event_handler import OtelEventHandler
from dbally.audit.events import Event, RequestEnd, RequestStart
from mlflow.tracing.provider import provider as mlflow_provider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
from pythonjsonlogger.json import JsonFormatter
from rich.console import Console

from .before import import_package, to_files
from .cost import ROOT, Costs, MakeHandler, in_memory, make_request, measure, on_disk

ROUNDS = 20
README = ROOT / "bench" / "README.md"
HEADING = "## Figures\n"
OURS = "ours, jsonl, a file a request"
PACKAGES = (
    "dbally",
    "langfuse",
    "langsmith",
    "loguru",
    "mlflow-tracing",
    "opentelemetry-sdk",
    "python-json-logger",
    "structlog",
)


async def main() -> None:
    """Measure, and write the figures at the end of the README."""
    package = import_package("now")

    with in_memory() as memory, on_disk() as disk, server() as url:
        handlers = await make_handlers(package, memory, url)
        columns = {
            "µs, 1 KB": await measure(handlers, disk, 1_000, ROUNDS),
            "µs, 4 KB": await measure(handlers, disk, 4_000, ROUNDS),
            "in memory": await measure(handlers, memory, 4_000, ROUNDS),
        }

    figures = f"\n{machine()}\n\n{table(columns)}"
    print(figures)
    text = README.read_text("utf-8").partition(HEADING)[0]
    README.write_text(text + HEADING + figures, "utf-8")


async def make_handlers(package: Any, folder: Path, url: str) -> dict[str, MakeHandler]:
    """Return what makes each handler, by the name of its row."""
    handlers: dict[str, MakeHandler] = {
        "ours, text, a file a request": to_files(package, "text"),
        OURS: to_files(package, "jsonl"),
        "ours, jsonl, a file a day": to_files(package, "jsonl", "{started_at:%Y-%m-%d}.jsonl"),
    }

    libraries: dict[str, Callable[[Path], Logged]] = {
        "`logging` and `json.dumps`": Logging,
        "python-json-logger": PythonJsonLogger,
        "structlog": Structlog,
        "loguru, `serialize`": Loguru,
    }
    for name, library in libraries.items():
        handlers[f"the same records, {name}"] = partial(same_records, package, library)
    for name, library in libraries.items():
        handlers[f"by hand, {name}"] = library

    handlers["db-ally's OpenTelemetry"] = OpenTelemetry
    handlers["db-ally's command line"] = CommandLine
    handlers["db-ally's LangSmith, in the background"] = partial(LangSmith, url=url)
    handlers["Langfuse, in the background"] = partial(Langfuse, url=url)
    handlers["MLflow, in the background"] = partial(MLflow, url=url)

    written = await bytes_of_request(package, folder)
    handlers["raw limit"] = partial(RawLimit, records=written)
    return handlers


async def bytes_of_request(package: Any, folder: Path) -> list[bytes]:
    """Return what the package writes for a request, line by line."""
    logs = Path(mkdtemp(dir=folder))
    await make_request([to_files(package, "jsonl")(logs)], 4_000, 1)()

    (file,) = logs.iterdir()
    return file.read_bytes().splitlines(keepends=True)


def machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{platform.platform()}, CPython {platform.python_version()}; {versions}."


def table(columns: dict[str, Costs]) -> str:
    """Return the figures as a table: medians, and medians of the ratios of each round."""
    header = "| |"
    for title in columns:
        header += f" {title} | × ours |"
    lines = [header, "|---|" + "---:|" * 2 * len(columns)]

    for name in columns["µs, 1 KB"]:
        line = f"| {name} |"
        for costs in columns.values():
            ratios = [cost / ours for cost, ours in zip(costs[name], costs[OURS], strict=True)]
            line += f" {median(costs[name]):,.0f} | {median(ratios):.2f} |"
        lines.append(line)

    return "\n".join(lines) + "\n"


class RawLimit(EventHandler[Any, Any]):
    """Writes bytes that are ready: one `open`, `write` and `close` a record, and nothing else."""

    def __init__(self, folder: Path, records: list[bytes]) -> None:
        self.folder = folder
        self.records = records

    async def request_start(self, user_request: RequestStart) -> Any:
        context = f"{self.folder}/{uuid.uuid4().hex}", iter(self.records)
        self.append(*context)
        return context

    async def event_start(self, event: Event, request_context: Any) -> None:
        self.append(*request_context)

    async def event_end(self, event: Event | None, request_context: Any, event_context: None) -> None:
        self.append(*request_context)

    async def request_end(self, output: RequestEnd, request_context: Any) -> None:
        self.append(*request_context)

    def append(self, path: str, records: Iterator[bytes]) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, next(records))
        os.close(descriptor)


@dataclass
class RequestState:
    request_id: str
    start_time: float
    events: int = 0


class Logged(EventHandler[RequestState, tuple[int, float]]):
    """Gives each thing that happens to `log`, which a subclass for each library defines."""

    async def request_start(self, user_request: RequestStart) -> RequestState:
        request = RequestState(uuid.uuid4().hex, time.perf_counter())
        self.log("request_start", {"request_id": request.request_id, "data": vars(user_request)})
        return request

    async def event_start(self, event: Event, request_context: RequestState) -> tuple[int, float]:
        request_context.events += 1
        event_id = request_context.events
        data = {name: value for name, value in vars(event).items() if value is not None}

        fields = {"request_id": request_context.request_id, "event_id": event_id, "event_type": type(event).__name__}
        self.log("event_start", fields | {"data": data})
        return event_id, time.perf_counter()

    async def event_end(
        self, event: Event | None, request_context: RequestState, event_context: tuple[int, float]
    ) -> None:
        event_id, start_time = event_context
        elapsed = round(time.perf_counter() - start_time, 6)
        data = {}
        if event is not None:
            data = {name: value for name, value in vars(event).items() if name not in ("prompt", "type")}

        fields = {"request_id": request_context.request_id, "event_id": event_id, "event_type": type(event).__name__}
        self.log("event_end", fields | {"elapsed": elapsed, "data": data})

    async def request_end(self, output: RequestEnd, request_context: RequestState) -> None:
        elapsed = round(time.perf_counter() - request_context.start_time, 6)
        data = {"result": vars(output.result)}
        self.log("request_end", {"request_id": request_context.request_id, "elapsed": elapsed, "data": data})

    def log(self, kind: str, fields: dict[str, object]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class Logging(Logged):
    """The standard library's, with a formatter of a few lines."""

    class Formatter(logging.Formatter):
        def format(self, record: Any) -> str:
            time = datetime.fromtimestamp(record.created, UTC).isoformat()
            return json.dumps({"time": time, "kind": record.getMessage(), **record.fields}, default=str)

    def __init__(self, folder: Path) -> None:
        self.handler = logging.FileHandler(folder / "log.jsonl")
        self.handler.setFormatter(self.Formatter())
        self.logger = logging.Logger("db-ally")
        self.logger.addHandler(self.handler)

    def log(self, kind: str, fields: dict[str, object]) -> None:
        self.logger.info(kind, extra={"fields": fields})

    def close(self) -> None:
        self.handler.close()


class PythonJsonLogger(Logging):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.handler.setFormatter(JsonFormatter("%(asctime)s %(message)s"))

    def log(self, kind: str, fields: dict[str, object]) -> None:
        self.logger.info(kind, extra=fields)


class Structlog(Logged):
    def __init__(self, folder: Path) -> None:
        self.file = open(folder / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self.logger = structlog.wrap_logger(
            structlog.WriteLogger(self.file),
            processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        )

    def log(self, kind: str, fields: dict[str, object]) -> None:
        self.logger.info(kind, **fields)

    def close(self) -> None:
        self.file.close()


class Loguru(Logged):
    def __init__(self, folder: Path) -> None:
        loguru.logger.remove()
        self.sink = loguru.logger.add(folder / "log.jsonl", serialize=True)

    def log(self, kind: str, fields: dict[str, object]) -> None:
        loguru.logger.bind(**fields).info(kind)

    def close(self) -> None:
        loguru.logger.remove(self.sink)


def same_records(package: Any, make_library: Callable[[Path], Logged], folder: Path) -> Any:
    """Return our recorder with a library for its sink."""
    library = make_library(folder)
    handler = package.Recorder(lambda record: library.log(record.kind, {"record": record.as_dict()}))
    handler.close = library.close
    return handler


class OpenTelemetry(OtelEventHandler):
    """db-ally's handler with the SDK's own exporter to a file, a line of JSON a span."""

    def __init__(self, folder: Path) -> None:
        self.file = open(folder / "spans.jsonl", "w", encoding="utf-8")  # noqa: SIM115
        exporter = ConsoleSpanExporter(out=self.file, formatter=lambda span: span.to_json(indent=None) + "\n")
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(exporter))
        super().__init__(self.provider)

    def close(self) -> None:
        self.provider.shutdown()
        self.file.close()


class CommandLine(CLIEventHandler):
    """db-ally's handler, with a file for a terminal."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = open(folder / "terminal", "w", encoding="utf-8")  # noqa: SIM115
        self._console = Console(record=True, file=self.file)

    def close(self) -> None:
        self.file.close()


# What follows sends to a server, from a thread of its own. That thread's time is counted.


class LangSmith(LangSmithEventHandler):
    def __init__(self, folder: Path, url: str) -> None:
        self._client = langsmith_client(url)  # db-ally's own does nothing else here

    def flush(self) -> None:
        self._client.tracing_queue.join()  # type: ignore[union-attr]


class Spans(EventHandler[Any, Any]):
    """A span for each request and each event, as the SDKs below start them."""

    async def request_start(self, user_request: RequestStart) -> Any:
        return self.start("request", None, user_request.question)

    async def event_start(self, event: Event, request_context: Any) -> Any:
        prompt = getattr(event, "prompt", None)
        return self.start(type(event).__name__, request_context, prompt or vars(event))

    async def event_end(self, event: Event | None, request_context: Any, event_context: Any) -> None:
        self.end(event_context, getattr(event, "response", None))

    async def request_end(self, output: RequestEnd, request_context: Any) -> None:
        self.end(request_context, vars(output.result))

    def start(self, name: str, parent: Any, inputs: object) -> Any:
        raise NotImplementedError

    def end(self, span: Any, outputs: object) -> None:
        raise NotImplementedError


class Langfuse(Spans):
    def __init__(self, folder: Path, url: str) -> None:
        self.client = langfuse_client(url)

    def start(self, name: str, parent: Any, inputs: object) -> Any:
        if parent is None:
            return self.client.start_observation(name=name, as_type="span", input=inputs)
        return parent.start_observation(name=name, as_type="generation", input=inputs)

    def end(self, span: Any, outputs: object) -> None:
        span.update(output=outputs)
        span.end()

    def flush(self) -> None:
        self.client.flush()


class MLflow(Spans):
    """Over OTLP, because `mlflow-tracing` has no store of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = url
        os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{url}/v1/traces"
        os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"

    def start(self, name: str, parent: Any, inputs: object) -> Any:
        return mlflow.start_span_no_context(name, parent_span=parent, inputs={"inputs": inputs})

    def end(self, span: Any, outputs: object) -> None:
        span.end(outputs={"outputs": outputs})

    def flush(self) -> None:
        mlflow_provider.get().force_flush()


@cache
def langsmith_client(url: str) -> Any:
    return langsmith.Client(api_url=url, api_key="none")


@cache
def langfuse_client(url: str) -> Any:
    return langfuse.Langfuse(public_key="none", secret_key="none", base_url=url, tracer_provider=TracerProvider())


class Receiver(BaseHTTPRequestHandler):
    """Takes whatever is sent."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_GET = do_PATCH = do_POST

    def log_message(self, *args: object) -> None: ...


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a server. It is a process of its own, so that its time is not counted."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    process = multiprocessing.get_context("fork").Process(target=listening.serve_forever)
    process.start()
    listening.server_close()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        process.terminate()


if __name__ == "__main__":
    asyncio.run(main())
