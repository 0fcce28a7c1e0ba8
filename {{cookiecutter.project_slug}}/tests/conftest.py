"""Fixtures. The first three are all that test_handler_contract.py knows of where the records go."""

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import application
import pytest
from dbally.audit.event_handlers.base import EventHandler
from dbally.collection.collection import Collection
from sqlalchemy import Engine

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler

MakeHandler = Callable[..., EventHandler[Any, Any]]
ReadRecords = Callable[[], Awaitable[list[dict[str, Any]]]]

# To send records somewhere else, change these three: a handler with your sink, what it stored, and
# a handler whose sink fails. Every test of the contract then holds for your destination.


@pytest.fixture
def make_handler(log_dir: Path) -> MakeHandler:
    """Make a handler; options are the handler's own, but for where and how it writes."""
    return lambda **options: Handler(log_dir, "{request_id}.jsonl", "jsonl", **options)


@pytest.fixture
def read_records(log_dir: Path) -> ReadRecords:
    """Read every record, as `Record.as_dict` shows it; those of one request in their order."""

    async def read() -> list[dict[str, Any]]:
        await asyncio.sleep(
            0
        )  # a failed request ends when its exception dies, for which asyncio takes a turn
        gc.collect()
        lines = [
            line
            for path in sorted(log_dir.glob("*"))
            for line in path.read_text("utf-8").split("\n")
            if line
        ]
        return [json.loads(line) for line in lines]

    return read


@pytest.fixture
def make_broken_handler(tmp_path: Path) -> MakeHandler:
    """Make a handler whose sink refuses every record."""
    (tmp_path / "file").touch()
    return lambda **options: Handler(tmp_path / "file" / "in-the-way", **options)


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Return a directory that does not exist yet."""
    return tmp_path / "logs"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Return a database of staff."""
    engine = application.make_engine(tmp_path / "staff.db")
    yield engine
    engine.dispose()


@pytest.fixture
def make_collection(engine: Engine) -> Callable[..., Collection]:
    """Make a collection: `make_collection(*handlers, name=..., reply=...)`."""
    return lambda *handlers, **options: application.make_collection(engine, *handlers, **options)


@pytest.fixture
def records() -> list[Any]:
    """Return a list, for the records of `make`."""
    return []


@pytest.fixture
def make(
    records: list[Any], make_collection: Callable[..., Collection]
) -> Callable[..., Collection]:
    """Make a collection whose records go into the list of that name."""
    return lambda **options: make_collection(application.into(records), **options)
