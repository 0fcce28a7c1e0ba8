"""What a request costs, case by case."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

from .growth import FLAT
from .peers import Bare, CommandLine, HowTo, OpenTelemetry, RawLimit
from .project import Project
from .timing import MakeHandler
from .workloads import Workload


async def make_cases(project: Project, workload: Workload) -> Mapping[str, MakeHandler]:
    """Return the handlers to measure with `workload`, by name."""
    return {
        "raw limit, text": partial(RawLimit, records=await _record(project, workload, "text")),
        "raw limit, jsonl": partial(RawLimit, records=await _record(project, workload, "jsonl")),
        "ours, text": lambda folder: project.handler(folder, log_format="text"),
        "ours, jsonl": lambda folder: project.handler(folder, log_format="jsonl"),
        "ours, orjson": lambda folder: project.handler(sink=project.log_file(str(folder), FLAT, _to_orjson)),
        "no promises, jsonl": Bare,
        "how-to, mended": HowTo,
        "OpenTelemetry, one by one": partial(OpenTelemetry, processor=SimpleSpanProcessor),
        "OpenTelemetry, in batches": partial(OpenTelemetry, processor=BatchSpanProcessor),
        "command line": lambda folder: CommandLine(),
    }


def _to_orjson(record: Any) -> str:
    return orjson.dumps(record.as_dict()).decode() + "\n"


async def _record(project: Project, workload: Workload, log_format: str) -> list[bytes]:
    records: list[bytes] = []
    to_text = project.formats[log_format]
    await workload([project.handler(sink=lambda record: records.append(to_text(record).encode()))])()
    return records
