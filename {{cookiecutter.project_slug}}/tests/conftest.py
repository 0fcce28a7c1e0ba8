"""Fixtures of all tests. Keep this file as long as you keep any test.

The first three are all that `test_handler_contract.py` knows of where the records go. To prove a
destination of your own, change these three: a handler with your sink, the records that it stored,
and a handler whose sink fails. Then every test of the contract holds for your destination.
"""

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
from files import Handler
from sqlalchemy import Engine

from {{ cookiecutter.package_name }} import Record

MakeHandler = Callable[..., EventHandler[Any, Any]]
ReadRecords = Callable[[], Awaitable[list[dict[str, Any]]]]

# The contract is about these options. Your handler may have other defaults.
OPTIONS: dict[str, Any] = {
    "record_inputs": True,
    "record_prompts": True,
    "record_outputs": True,
    "mask": None,
    "max_chars": 150_000,
    "raise_errors": False,
}


@pytest.fixture
def make_handler(log_dir: Path) -> MakeHandler:
    """Make a handler; the options are those of `OPTIONS`."""

    def make(**options: Any) -> Handler:
        return Handler(log_dir, "{request_id}.jsonl", "jsonl", **(OPTIONS | options))

    return make


@pytest.fixture
def read_records(log_dir: Path) -> ReadRecords:
    """Read every record, as `Record.as_dict` shows it; those of one request in their order."""

    async def read() -> list[dict[str, Any]]:
        await asyncio.sleep(0)  # a failed request ends when asyncio drops its exception
        gc.collect()

        records = []
        for path in sorted(log_dir.glob("*")):
            for line in path.read_text("utf-8").splitlines():
                records.append(json.loads(line))
        return records

    return read


@pytest.fixture
def make_broken_handler(tmp_path: Path) -> MakeHandler:
    """Make a handler whose sink refuses every record."""
    (tmp_path / "file").touch()

    def make(**options: Any) -> Handler:
        return Handler(tmp_path / "file" / "in-the-way", **(OPTIONS | options))

    return make


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> None:
    """Let the garbage collector pass over everything that is imported: tests call it often."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """Return a directory that does not exist yet."""
    return tmp_path / "logs"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Return a database of staff, which no test changes."""
    engine = application.make_engine(tmp_path_factory.mktemp("database") / "staff.db")
    yield engine
    engine.dispose()


@pytest.fixture
def make_collection(engine: Engine) -> Callable[..., Collection]:
    """Make a collection: `make_collection(*handlers, name=..., reply=...)`."""

    def make(*handlers: EventHandler[Any, Any], **options: Any) -> Collection:
        return application.make_collection(engine, *handlers, **options)

    return make


@pytest.fixture
def records() -> list[Record]:
    """Return a list, for the records of `make`."""
    return []


@pytest.fixture
def make(
    records: list[Record], make_collection: Callable[..., Collection]
) -> Callable[..., Collection]:
    """Make a collection whose records go into the list `records`."""

    def make_with_list(**options: Any) -> Collection:
        return make_collection(application.into(records), **options)

    return make_with_list
