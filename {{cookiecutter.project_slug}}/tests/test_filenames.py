"""What files are called: by the pattern, on every system, whatever a collection is called.

Delete this file with `filenames.py`, if your records go to no files.
"""

import datetime
import json
import re
from hashlib import blake2b

import pytest
from files import Handler, ask, file_recorder, logs, posix_only, read
from hypothesis import given
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import LogFile, Recorder
from {{ cookiecutter.package_name }}.filenames import TIME_CODES, fill, pattern_as_regex, safe_name

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
BRACES = "{" * 2 + "}" * 2  # as a format string has them


# What a pattern makes


async def test_each_request_can_have_a_file_and_files_sort_by_time(log_dir):
    handler = file_recorder(log_dir, "{started_at:%Y%m%dT%H%M%S.%fZ}-{request_id:.8}.jsonl")
    questions = [f"question {number}" for number in range(10)]
    for question in questions:
        await ask(handler, question=question)

    starts = []
    for name in logs(log_dir):
        first_line, *_ = (log_dir / name).read_text("utf-8").splitlines()
        starts.append(json.loads(first_line))
    assert [start["data"]["question"] for start in starts] == questions


async def test_the_pattern_decides_what_shares_a_file(log_dir):
    handler = file_recorder(log_dir, "{started_at:%Y}/{collection}.jsonl")
    for collection in ("staff", "orders", "staff"):
        await ask(handler, collection=collection)

    year = str(datetime.datetime.now(datetime.UTC).year)
    assert logs(log_dir) == [f"{year}/orders.jsonl", f"{year}/staff.jsonl"]
    assert (log_dir / year / "staff.jsonl").read_text("utf-8").count("\n") == 8


async def test_a_brace_in_the_pattern_is_doubled(log_dir):
    await ask(file_recorder(log_dir, BRACES + "{collection}"))

    assert logs(log_dir) == ["{}staff"]


@pytest.mark.parametrize("code", TIME_CODES)
def test_the_name_of_a_file_tells_that_the_pattern_made_it(code):
    pattern = "{started_at:" + code + ".}/" + BRACES + "{collection:.9}"

    path = fill(pattern, NOW, "Sales EU", "0" * 32)

    assert re.fullmatch(pattern_as_regex(pattern), path)
    assert not re.fullmatch(pattern_as_regex(pattern), path.replace(".", "-"))


async def test_the_file_of_a_record_is_known(log_dir, records):
    await ask(Recorder(records.append))
    log_file = LogFile(log_dir, "{started_at:%Y%f}/{collection}-{request_id}", "jsonl")

    log_file(records[0])

    assert [str(log_dir / name) for name in logs(log_dir)] == [log_file.path_of(records[0])]


def test_paths_are_absolute_from_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log_file = LogFile("logs", "{collection}", "jsonl")
    monkeypatch.chdir("/")

    assert log_file.log_dir == str(tmp_path / "logs")


# What is refused


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "/absolute.log",
        "../outside.log",
        "a/../b.log",
        "./a.log",
        "folder/",
        "a//b.log",
        "trailing-dot.",
        "trailing-space ",
        "con.log",
        "aux/a.log",
        "back\\slash.log",
        "new\nline.log",
        "question?.log",
        "{started_at}.log",
        "{started_at:%H:%M}.log",
        "{started_at:%d/%m/%Y}.log",
        "{started_at:%-d}.log",
        "{started_at:%x}.log",
        "{started_at:%}.log",
        "%Y-%m-%d.log",
        "{collection",
        "collection}",
        "{}",
        "{0}.log",
        "{user}.log",
        "{collection.name}.log",
        "{collection[0]}.log",
        "{collection!r}.log",
        "{collection:{request_id}}.log",
        "{collection:>300}.log",
        "{collection:>99999999999}.log",
        "{collection:<60}",
        "{collection:/<60}",
        "{request_id:d}.log",
        "{request_id:.100}",
        pytest.param("a" * 247 + "{started_at:%A}", id="256 bytes on Wednesdays alone"),
        pytest.param("ą" * 200, id="400 bytes"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern):
    with pytest.raises(ValueError, match=r"^filename_pattern ") as refusal:
        Handler(filename_pattern=pattern)

    assert repr(pattern) in str(refusal.value)
    assert "for example '{started_at:%Y-%m-%d}" in str(refusal.value)


def test_a_name_may_be_as_long_as_a_disk_takes_it():
    Handler(filename_pattern="x" * 223 + "{request_id}")

    with pytest.raises(ValueError, match="255 bytes"):
        Handler(filename_pattern="x" * 224 + "{request_id}")


@pytest.mark.parametrize(
    ("log_dir", "rule"),
    [
        ("", "must have a name"),
        (" ", "must have a name"),
        ("\u3000", "must have a name"),
        ("logs/ /a", "must have a name"),
        ("/var/log.", "must have a name"),
        ("logs \\a", "must have a name"),
        (".../logs", "must have a name"),
        ("a\0b", "control characters"),
        ("what?", "control characters"),
        ("new\nline", "control characters"),
        ("a:b", "control characters"),
        ("C:", "control characters"),
        ("/C:/logs", "control characters"),
        ("con", "for a device"),
        ("C:\\logs\\NUL.txt", "for a device"),
        ("../com1/logs", "for a device"),
        ("/" + "ą" * 128, "255 bytes"),
    ],
)
def test_a_directory_that_cannot_work_is_refused(log_dir, rule):
    expected = rf"^log_dir .*{rule}.*; for example '/var/log/ask'$"
    with pytest.raises(ValueError, match=expected) as refusal:
        Handler(log_dir)

    assert repr(log_dir) in str(refusal.value)


@posix_only
def test_the_home_of_a_user_who_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="Could not determine home directory"):
        Handler("~nobody-has-this-name/logs")


@posix_only
def test_a_relative_directory_is_refused_if_the_working_directory_was_deleted(
    tmp_path, monkeypatch
):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(ValueError, match=r"^log_dir 'logs': the working directory was deleted; "):
        Handler("logs")


@pytest.mark.parametrize(
    "log_dir",
    [
        "logs",
        "logs/",
        "./logs",
        "../logs",
        "../../logs",
        ".",
        "..",
        "/",
        "~",
        "~/logs",
        "a//b",
        "a b/c.d",
        "console",
        "/var/log/ask",
        "/" + "x" * 255,
        "dziennik/日本",
        "C:\\logs",
        "c:\\logs",
        "C:\\",
        "C:/logs",
        "\\\\server\\share\\logs",
        "logs\\ask",
    ],
)
def test_a_directory_as_people_write_it_is_taken(log_dir):
    Handler(log_dir)


# What becomes of the name of a collection


ODD_NAMES = st.sampled_from(["a", "A", "con", "CON", "..", ".", "", "a ", "a.", "ą", "a\u0328"])


@pytest.mark.slow
@given(st.lists(st.text() | ODD_NAMES, unique=True))
def test_no_two_collections_share_a_name_on_any_system(collections):
    names = [safe_name(collection) for collection in collections]

    case_insensitive = {name.casefold() for name in names}
    assert len(case_insensitive) == len(collections)
    assert case_insensitive.isdisjoint(["con", "prn", "aux", "nul", "com1", "lpt1"])
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_~-]{1,60}", name)


def test_a_name_that_is_not_safe_is_cleaned_and_gets_a_hash():
    digest = blake2b(b"Sales EU, 2026", digest_size=10).hexdigest()

    assert safe_name("sales_eu-2026") == "sales_eu-2026"
    assert safe_name("Sales EU, 2026") == f"Sales_EU_2026~{digest}"
    assert safe_name("\ud83d").startswith("_~")
    assert len(safe_name("X" * 3_000)) == 60


def test_a_part_of_a_name_that_is_a_device_is_changed():
    path = fill("{collection:.3}/{collection}.log", NOW, "console", "0" * 32)

    assert path == "_con/console.log"


@pytest.mark.parametrize(
    ("collection", "recorded"),
    [
        ("../../etc/passwd", "../../etc/passwd"),
        ("/etc/passwd", "/etc/passwd"),
        ("C:\\x", "C:\\x"),
        ("a\nb", "a\nb"),
        ("con", "con"),
        ("\0", "\\u0000"),
        ("ł\ud800", "ł\\ud800"),
        pytest.param("x" * 3_000, "x" * 3_000, id="3,000 characters"),
    ],
)
async def test_the_file_of_a_hostile_collection_is_in_the_directory(collection, recorded, log_dir):
    handler = file_recorder(log_dir, "{collection:.3}/{collection}.jsonl")
    await ask(handler, collection=collection)

    (name,) = logs(log_dir)
    folder, file = name.split("/")
    assert [path.name for path in log_dir.parent.iterdir()] == ["logs"]
    assert [path.name for path in log_dir.iterdir()] == [folder]
    assert len(file) <= 60 + len(".jsonl")
    first_line, *_ = read(log_dir).splitlines()
    assert json.loads(first_line)["data"]["collection_name"] == recorded
