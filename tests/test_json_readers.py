"""JSON lines are read by every reader of JSON, whatever text is in them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import jq
import msgspec
import orjson
import pytest

HOSTILE = {
    "half an emoji": "Who is \ud83d",
    "the other half": "\udc36 is who",
    "nul": "Krak\0w",
    "controls": "".join(map(chr, range(32))) + "\x7f\x85\x9b",
    "line separators": "a\u2028b\u2029c",
    "tags": "".join(chr(0xE0000 + ord(letter)) for letter in "secret"),
    "bidi and zero width": "\u202eabc\u202c\u2066\u200b\ufeff\xad",
    "emoji and letters": "Kraków 🦊 👩\u200d💻 日本",
    "quotes": '"\\\\"{}[],:',
}
RECORD = """
import asyncio, json, sys
from dbally.audit.event_tracker import EventTracker
from dbally.audit.events import RequestEnd, RequestStart
from dbally.collection.results import ExecutionResult
from db_ally_file_handler import FileEventHandler


async def main(texts):
    for text in texts:
        tracker = EventTracker.initialize_with_handlers([FileEventHandler("logs", "all.jsonl", "jsonl")])
        await tracker.request_start(RequestStart(text, text))
        row = {text: text, "wide": 1 << 80, "nan": float("nan")}
        await tracker.request_end(RequestEnd(ExecutionResult([row], {"sql": text}, 1, 1, "View", text)))


asyncio.run(main(json.loads(sys.stdin.read())))
"""


def read_with_python(file: Path) -> list[Any]:
    lines = file.read_text("utf-8").splitlines()
    return [json.loads(line, parse_constant=pytest.fail) for line in lines]


def read_with_orjson(file: Path) -> list[Any]:
    return [orjson.loads(line) for line in file.read_bytes().splitlines()]


def read_with_msgspec(file: Path) -> list[Any]:
    return [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]


def read_with_jq(file: Path) -> list[Any]:
    return list(jq.compile(".").input_text(file.read_text("utf-8")).all())


def read_with_duckdb(file: Path) -> list[Any]:
    database = duckdb.connect()
    by_schema = f"SELECT data FROM read_json('{file}', format = 'newline_delimited')"
    assert len(database.execute(by_schema).fetchall()) == 2 * len(HOSTILE)

    by_line = f"SELECT json(column0) FROM read_csv('{file}', header = false, delim = '\x01', quote = '', escape = '')"
    return [json.loads(row[0]) for row in database.execute(by_line).fetchall()]


READERS: list[Callable[[Path], list[Any]]] = [
    read_with_python,
    read_with_orjson,
    read_with_msgspec,
    read_with_jq,
    read_with_duckdb,
]


@pytest.fixture(scope="module")
def file(default_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a request for each hostile text."""
    folder = tmp_path_factory.mktemp("hostile")
    code = f"import sys; sys.path.insert(0, {str(default_project / 'src')!r})\n{RECORD}"
    texts = json.dumps(list(HOSTILE.values()))
    subprocess.run([sys.executable, "-c", code], cwd=folder, input=texts, text=True, check=True)
    return folder / "logs" / "all.jsonl"


def escaped(text: str) -> str:
    """Return `text` with an escape for each character that some readers refuse: NUL and lone surrogates."""
    return "".join(f"\\u{ord(char):04x}" if char == "\0" or "\ud800" <= char <= "\udfff" else char for char in text)


@pytest.mark.parametrize("read", READERS)
def test_a_file_of_hostile_text_is_read(read: Callable[[Path], list[Any]], file: Path) -> None:
    records = read(file)

    questions = [record["data"]["question"] for record in records if record["kind"] == "request_start"]
    assert questions == [escaped(text) for text in HOSTILE.values()]


def test_people_can_grep_it(file: Path) -> None:
    data = file.read_bytes()

    assert "Kraków 🦊".encode() in data
    assert len(data.splitlines()) == data.count(b"\n") == 2 * len(HOSTILE)
    assert "\u202e".encode() not in data
