"""What people would pick instead. Each is made with an empty directory; `flush` and `close` are there where needed.

What logs with a library records what our package does: one entry for each thing that happens, in one file that stays
open, with nothing withheld, bounded or copied. The last three send to the server at `URL`, from a thread.
"""

import json
import logging
import os
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
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

URL = ""  # of the server, once it is there


class RawLimit(EventHandler[Any, Any]):
    """Writes records made before: one open, write and close each is all it does."""

    def __init__(self, folder: Path, records: list[bytes]) -> None:
        self._folder = folder
        self._records = records

    async def request_start(self, user_request: RequestStart) -> Any:
        context = f"{self._folder}/{uuid.uuid4().hex}", iter(self._records)
        self._append(*context)
        return context

    async def event_start(self, event: Event, request_context: Any) -> None:
        self._append(*request_context)

    async def event_end(self, event: Event | None, request_context: Any, event_context: None) -> None:
        self._append(*request_context)

    async def request_end(self, output: RequestEnd, request_context: Any) -> None:
        self._append(*request_context)

    def _append(self, path: str, records: Any) -> None:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, next(records))
        os.close(file)


@dataclass
class _Context:
    request_id: str
    started: float
    events: int = 0


class Logged(EventHandler[_Context, tuple[int, float]]):
    """Hands each thing that happens to `log`, which a library's handler below defines."""

    async def request_start(self, user_request: RequestStart) -> _Context:
        context = _Context(uuid.uuid4().hex, time.perf_counter())
        self.log("request_start", {"request_id": context.request_id, "data": vars(user_request)})
        return context

    async def event_start(self, event: Event, request_context: _Context) -> tuple[int, float]:
        request_context.events += 1
        data = {name: value for name, value in vars(event).items() if value is not None}
        self._log_event("event_start", event, request_context, request_context.events, data=data)
        return request_context.events, time.perf_counter()

    async def event_end(self, event: Event | None, request_context: _Context, event_context: tuple[int, float]) -> None:
        number, started = event_context
        data = {name: value for name, value in vars(event).items() if name not in ("prompt", "type")} if event else None
        elapsed = round(time.perf_counter() - started, 6)
        self._log_event("event_end", event, request_context, number, elapsed=elapsed, data=data)

    async def request_end(self, output: RequestEnd, request_context: _Context) -> None:
        elapsed = round(time.perf_counter() - request_context.started, 6)
        data = {"result": vars(output.result)}
        self.log("request_end", {"request_id": request_context.request_id, "elapsed": elapsed, "data": data})

    def _log_event(self, kind: str, event: Event | None, request: _Context, number: int, **fields: object) -> None:
        names = {"request_id": request.request_id, "event_id": number, "event_type": type(event).__name__}
        self.log(kind, {**names, **fields})

    def log(self, kind: str, fields: dict[str, object]) -> None:
        raise NotImplementedError


class Logging(Logged):
    """The standard library's, with a formatter of five lines or another one."""

    class Formatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            time = datetime.fromtimestamp(record.created, UTC).isoformat()
            return json.dumps({"time": time, "kind": record.getMessage(), **record.fields}, default=str)  # type: ignore[attr-defined]

    def __init__(self, folder: Path) -> None:
        self._handler = logging.FileHandler(folder / "log.jsonl")
        self._handler.setFormatter(self.Formatter())
        self._logger = logging.Logger("db-ally")
        self._logger.addHandler(self._handler)

    def log(self, kind: str, fields: dict[str, object]) -> None:
        self._logger.info(kind, extra={"fields": fields})

    def close(self) -> None:
        self._handler.close()


class PythonJsonLogger(Logging):
    Formatter = partial(JsonFormatter, "%(asctime)s %(message)s")  # type: ignore[assignment]

    def log(self, kind: str, fields: dict[str, object]) -> None:
        self._logger.info(kind, extra=fields)


class Structlog(Logged):
    def __init__(self, folder: Path) -> None:
        self._file = open(folder / "log.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self._logger = structlog.wrap_logger(
            structlog.WriteLogger(self._file),
            processors=[structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        )

    def log(self, kind: str, fields: dict[str, object]) -> None:
        self._logger.info(kind, **fields)

    def close(self) -> None:
        self._file.close()


class Loguru(Logged):
    def __init__(self, folder: Path) -> None:
        loguru.logger.remove()
        self._sink = loguru.logger.add(folder / "log.jsonl", serialize=True)

    def log(self, kind: str, fields: dict[str, object]) -> None:
        loguru.logger.bind(**fields).info(kind)

    def close(self) -> None:
        loguru.logger.remove(self._sink)


class OpenTelemetry(OtelEventHandler):
    """db-ally's handler with the SDK's own exporter, a line of JSON a span."""

    def __init__(self, folder: Path) -> None:
        self._file = open(folder / "spans.jsonl", "w", encoding="utf-8")  # noqa: SIM115
        exporter = ConsoleSpanExporter(out=self._file, formatter=lambda span: span.to_json(indent=None) + "\n")
        self._provider = TracerProvider()
        self._provider.add_span_processor(SimpleSpanProcessor(exporter))
        super().__init__(self._provider)

    def close(self) -> None:
        self._provider.shutdown()
        self._file.close()


class CommandLine(CLIEventHandler):
    """db-ally's handler, with a file for a terminal."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = open(folder / "terminal", "w", encoding="utf-8")  # noqa: SIM115
        self._console = Console(record=True, file=self._file)

    def close(self) -> None:
        self._file.close()


class LangSmith(LangSmithEventHandler):
    def __init__(self, folder: Path) -> None:
        self._client = _langsmith()  # all that db-ally's own does here

    def flush(self) -> None:
        self._client.tracing_queue.join()


class Spans(EventHandler[Any, Any]):
    """A span for each request and each event, as the two SDKs below start them."""

    async def request_start(self, user_request: RequestStart) -> Any:
        return self.start("request", None, user_request.question)

    async def event_start(self, event: Event, request_context: Any) -> Any:
        return self.start(type(event).__name__, request_context, getattr(event, "prompt", None) or vars(event))

    async def event_end(self, event: Event | None, request_context: Any, event_context: Any) -> None:
        self.end(event_context, getattr(event, "response", None))

    async def request_end(self, output: RequestEnd, request_context: Any) -> None:
        self.end(request_context, vars(output.result))

    def start(self, name: str, parent: Any, inputs: object) -> Any:
        raise NotImplementedError

    def end(self, span: Any, outputs: object) -> None:
        raise NotImplementedError


class Langfuse(Spans):
    def __init__(self, folder: Path) -> None:
        self._client = _langfuse()

    def start(self, name: str, parent: Any, inputs: object) -> Any:
        kind = "generation" if parent else "span"
        return (parent or self._client).start_observation(name=name, as_type=kind, input=inputs)

    def end(self, span: Any, outputs: object) -> None:
        span.update(output=outputs)
        span.end()

    def flush(self) -> None:
        self._client.flush()


class MLflow(Spans):
    """Over OTLP: `mlflow-tracing` has no store of its own."""

    def __init__(self, folder: Path) -> None:
        os.environ["MLFLOW_TRACKING_URI"] = URL
        os.environ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{URL}/v1/traces"
        os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"

    def start(self, name: str, parent: Any, inputs: object) -> Any:
        return mlflow.start_span_no_context(name, parent_span=parent, inputs={"inputs": inputs})

    def end(self, span: Any, outputs: object) -> None:
        span.end(outputs={"outputs": outputs})

    def flush(self) -> None:
        mlflow_provider.get().force_flush()


@lru_cache
def _langsmith() -> Any:
    return langsmith.Client(api_url=URL, api_key="none")


@lru_cache
def _langfuse() -> Any:
    return langfuse.Langfuse(public_key="none", secret_key="none", base_url=URL, tracer_provider=TracerProvider())
