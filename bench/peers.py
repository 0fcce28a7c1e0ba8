"""The handlers that ours is measured beside."""

import itertools
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from dbally.audit.event_handlers.base import EventHandler
from dbally.audit.event_handlers.cli_event_handler import CLIEventHandler
from dbally.audit.event_handlers.otel_event_handler import OtelEventHandler
from dbally.audit.events import Event, RequestEnd, RequestStart
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor


class RawLimit(EventHandler[tuple[str, Iterator[bytes]], None]):
    """Writes bytes made before: one open, write and close a record is all it does."""

    def __init__(self, folder: Path, records: list[bytes]) -> None:
        self._paths = (f"{folder}/{number}" for number in itertools.count())
        self._records = records

    async def request_start(self, user_request: RequestStart) -> tuple[str, Iterator[bytes]]:
        context = next(self._paths), iter(self._records)
        self._append(*context)
        return context

    async def event_start(self, event: Event, request_context: tuple[str, Iterator[bytes]]) -> None:
        self._append(*request_context)

    async def event_end(
        self, event: Event | None, request_context: tuple[str, Iterator[bytes]], event_context: None
    ) -> None:
        self._append(*request_context)

    async def request_end(self, output: RequestEnd, request_context: tuple[str, Iterator[bytes]]) -> None:
        self._append(*request_context)

    def _append(self, path: str, records: Iterator[bytes]) -> None:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, next(records))
        os.close(file)


class Bare(EventHandler[str, None]):
    """Writes JSON lines as ours does, with none of its promises: what Python's own encoder costs at the least."""

    def __init__(self, folder: Path) -> None:
        self._paths = (f"{folder}/{number}" for number in itertools.count())
        self._encode = json.JSONEncoder(default=vars).encode

    async def request_start(self, user_request: RequestStart) -> str:
        path = next(self._paths)
        self._append(path, "request_start", user_request)
        return path

    async def event_start(self, event: Event, request_context: str) -> None:
        self._append(request_context, "event_start", event)

    async def event_end(self, event: Event | None, request_context: str, event_context: None) -> None:
        ended = event and {name: value for name, value in vars(event).items() if name != "prompt"}
        self._append(request_context, "event_end", ended)

    async def request_end(self, output: RequestEnd, request_context: str) -> None:
        self._append(request_context, "request_end", output)

    def _append(self, path: str, kind: str, data: object) -> None:
        line = self._encode({"time": datetime.now(UTC).isoformat(), "request": path, "kind": kind, "data": data}) + "\n"
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line.encode())
        os.close(file)


class HowTo(EventHandler[TextIO, datetime]):
    """The handler of db-ally's how-to, its faults mended and nothing else: buffered, and open until the end."""

    def __init__(self, folder: Path) -> None:
        self.log_dir = folder
        self.log_dir.mkdir(exist_ok=True)

    async def request_start(self, user_request: RequestStart) -> TextIO:
        file_name = f"{datetime.now():%Y%m%dT%H%M%S.%f}.log"
        log_file = open(self.log_dir / file_name, "x", encoding="utf-8")  # noqa: SIM115
        log_file.write(f"Collection: {user_request.collection_name}\n")
        log_file.write(f"Question: {user_request.question}\n")
        return log_file

    async def event_start(self, event: Event, request_context: TextIO) -> datetime:
        event_time = datetime.now()
        request_context.write(f"{event}\n")
        return event_time

    async def event_end(self, event: Event | None, request_context: TextIO, event_context: datetime) -> None:
        elapsed_time = datetime.now() - event_context
        request_context.write(f"Elapsed Time: {elapsed_time.total_seconds() * 1000} ms\n")
        request_context.write(f"{event}\n")

    async def request_end(self, output: RequestEnd, request_context: TextIO) -> None:
        request_context.write(f"Output: {output.result}\n")
        request_context.close()


class OpenTelemetry(OtelEventHandler):
    """db-ally's handler with the SDK's own exporter, a line of JSON a span."""

    def __init__(self, folder: Path, processor: type[SimpleSpanProcessor] | type[BatchSpanProcessor]) -> None:
        self._file = open(folder / "spans.jsonl", "w", encoding="utf-8")  # noqa: SIM115
        exporter = ConsoleSpanExporter(out=self._file, formatter=lambda span: span.to_json(indent=None) + "\n")
        self._provider = TracerProvider()
        self._provider.add_span_processor(processor(exporter))
        super().__init__(self._provider)

    def flush(self) -> None:
        """Export the spans that wait."""
        self._provider.force_flush()

    def close(self) -> None:
        """End the processor's thread."""
        self._provider.shutdown()
        self._file.close()


class CommandLine(CLIEventHandler):
    """db-ally's handler, printing to the null device."""

    def __init__(self) -> None:
        super().__init__()
        self._null = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self._console.file = self._null  # type: ignore[union-attr]

    def close(self) -> None:
        """Close the null device."""
        self._null.close()
