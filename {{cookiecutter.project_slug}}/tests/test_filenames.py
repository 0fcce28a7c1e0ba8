"""What files are called: by the pattern, on every system, whatever a collection is called."""

import datetime
import json
import os
import re
from hashlib import blake2b
from pathlib import Path

import pytest
from files import HEADLINE, ask, logs, posix_only, read, run_python
from hypothesis import given
from hypothesis import strategies as st

from {{ cookiecutter.package_name }} import {{ cookiecutter.handler_class }} as Handler
from {{ cookiecutter.package_name }}.filenames import fill, safe_name
from {{ cookiecutter.package_name }}.logfile import LogFile
from {{ cookiecutter.package_name }}.recorder import Recorder
from {{ cookiecutter.package_name }}.records import Record


async def test_each_request_has_a_file_and_files_sort_by_time(log_dir: Path) -> None:
    handler = Handler(log_dir, "{started_at:%Y%m%dT%H%M%S.%fZ}-{request_id:.8}.log", "text")
    for number in range(10):
        await ask(handler, collection=f"c{9 - number}")

    texts = [(log_dir / name).read_text("utf-8") for name in logs(log_dir)]
    assert [re.findall(r"\bc\d\b", text) for text in texts] == [
        [f"c{9 - number}"] for number in range(10)
    ]


async def test_the_pattern_decides_what_shares_a_file(log_dir: Path) -> None:
    handler = Handler(log_dir, "{started_at:%Y}/{collection}.log", "text")
    for collection in ("staff", "orders", "staff"):
        await ask(handler, collection=collection)

    year = f"{datetime.datetime.now(datetime.UTC):%Y}"
    assert logs(log_dir) == [f"{year}/orders.log", f"{year}/staff.log"]
    assert len(HEADLINE.findall((log_dir / year / "staff.log").read_text("utf-8"))) == 8


@pytest.mark.parametrize(
    "pattern",
    [
        *("", "/absolute.log", "../outside.log", "a/../b.log", "./a.log", "folder/", "a//b.log"),
        *("trailing-dot.", "trailing-space ", "con.log", "aux/a.log"),
        *("back\\slash.log", "new\nline.log", "question?.log"),
        *(
            "{started_at}.log",
            "{started_at:%H:%M}.log",
            "{collection",
            "collection}",
            "{}",
            "{0}.log",
            "{user}.log",
        ),
        *(
            "{collection.name}.log",
            "{collection[0]}.log",
            "{collection!r}.log",
            "{collection:{request_id}}.log",
        ),
        "{request_id:d}.log",
        "a" * 247 + "{started_at:%A}",  # 256 bytes on Wednesdays alone
        "{collection:>300}.log",
        "{collection:<60}",
        "{collection:/<60}",
        "{collection:>99999999999}.log",
        "{request_id:.100}",
        "ą" * 200,
    ],
)
def test_a_pattern_that_cannot_work_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="filename_pattern") as refusal:
        Handler(filename_pattern=pattern)
    assert repr(pattern) in str(refusal.value)
    assert "for example '{started_at:%Y-%m-%d}" in str(refusal.value)


def test_a_refusal_names_the_value_the_rule_and_an_example() -> None:
    message = "log_dir 'a:b': a name may not have control characters or <>:\"|?*\\ in it; for example '/var/log/ask'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Handler("a:b")
    rule = "'{started_at}.log': its fields are {started_at} with a format, such as {started_at:%Y-%m-%d}"
    with pytest.raises(ValueError, match=f"^filename_pattern {re.escape(rule)}.*; for example"):
        Handler(filename_pattern="{started_at}.log")


def test_a_name_may_be_as_long_as_a_disk_takes_it() -> None:
    Handler("/var/logX", "x" * 223 + "{request_id}")
    with pytest.raises(ValueError, match="a name may have at most 255 bytes"):
        Handler("/var/logX", "x" * 224 + "{request_id}")


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
def test_a_directory_that_cannot_work_is_refused(log_dir: str, rule: str) -> None:
    with pytest.raises(
        ValueError, match=rf"log_dir .*{rule}.*; for example '/var/log/ask'"
    ) as refusal:
        Handler(log_dir)
    assert repr(log_dir) in str(refusal.value)


@pytest.mark.parametrize(
    "log_dir",
    [
        *(
            "logs",
            "logs/",
            "./logs",
            "../logs",
            "../../logs",
            ".",
            "..",
            "a//b",
            "a b/c.d",
            "console",
        ),
        *("/", "/var/log/ask", "/" + "x" * 255, "~", "~/logs", "dziennik/日本"),
        *("C:\\logs", "c:\\logs", "C:\\", "C:/logs", "\\\\server\\share\\logs", "logs\\ask"),
    ],
)
def test_a_directory_as_people_write_them_is_taken(log_dir: str) -> None:
    Handler(log_dir)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"log_format 'xml'.*for example 'jsonl'"):
        Handler(log_format="xml")


async def test_a_brace_in_the_pattern_is_doubled(log_dir: Path) -> None:
    await ask(Handler(log_dir, "{" * 2 + "{collection}" + "}" * 2))

    assert logs(log_dir) == ["{staff}"]


@given(
    st.lists(
        st.text()
        | st.sampled_from(["a", "A", "con", "CON", "..", ".", "", "a ", "a.", "ą", "a\u0328"]),
        unique=True,
    )
)
def test_no_two_collections_share_a_name_on_any_system(collections: list[str]) -> None:
    names = [safe_name(collection) for collection in collections]

    assert len({name.casefold() for name in names}) == len(collections)
    assert all(re.fullmatch(r"[A-Za-z0-9_~-]{1,60}", name) for name in names)
    assert not {name.casefold() for name in names} & {"con", "prn", "aux", "nul", "com1", "lpt1"}


def test_a_name_is_cleaned_and_told_apart_by_a_hash() -> None:
    assert (
        safe_name("Sales EU, 2026")
        == "Sales_EU_2026~" + blake2b(b"Sales EU, 2026", digest_size=10).hexdigest()
    )
    assert safe_name("\ud83d").startswith("_~")
    assert len(safe_name("X" * 3_000)) == 60
    assert fill(
        "{collection:.3}/{collection}.log", datetime.datetime.now(datetime.UTC), "console", "0" * 32
    ) == ("_con/console.log")


@pytest.mark.parametrize(
    ("collection", "shown"),
    [
        *(
            (name, name)
            for name in ("../../etc/passwd", "/etc/passwd", "C:\\x", "a\nb", "x" * 3000, "con")
        ),
        ("\0", "\\u0000"),
        ("ł\ud800", "ł\\ud800"),
    ],
    ids=range(8),
)
async def test_a_hostile_collection_stays_in_the_directory(
    collection: str, shown: str, log_dir: Path
) -> None:
    await ask(
        Handler(log_dir, "{collection:.3}/{collection}.jsonl", "jsonl"), collection=collection
    )

    (name,) = logs(log_dir)
    assert os.listdir(log_dir.parent) == ["logs"]
    assert json.loads(read(log_dir).split("\n")[0])["data"]["collection_name"] == shown
    assert len(name.split("/")[1]) <= 60 + len(".jsonl")


@posix_only
@pytest.mark.parametrize("log_dir", ["~/logs", "~nobody-has-this-name/logs"])
def test_a_home_that_nobody_knows_is_refused(log_dir: str) -> None:
    code = """
os.environ.pop("HOME", None)
os.setuid(54321) if os.getuid() == 0 else sys.exit(3)
Handler(sys.argv[1])
"""
    process = run_python(code, log_dir)
    if process.returncode == 3:
        pytest.skip("only root can become a user that has no entry")

    assert f"ValueError: log_dir {log_dir!r}: Could not determine home directory" in process.stderr


@posix_only
def test_a_relative_directory_under_a_deleted_one_is_refused(tmp_path: Path) -> None:
    code = """
os.chdir(sys.argv[1])
os.rmdir(sys.argv[1])
Handler("logs")
"""
    (tmp_path / "gone").mkdir()

    process = run_python(code, str(tmp_path / "gone"))

    assert "ValueError: log_dir 'logs': the working directory was deleted" in process.stderr


def test_a_directory_that_cannot_be_found_is_refused_in_this_process_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone() -> str:
        raise FileNotFoundError

    with monkeypatch.context() as patch:
        patch.setattr("os.path.expanduser", lambda path: path)
        with pytest.raises(
            ValueError, match="log_dir '~/logs': Could not determine home directory"
        ):
            Handler("~/logs")
    with monkeypatch.context() as patch:
        patch.setattr("os.getcwd", gone)
        with pytest.raises(
            ValueError, match=r"^log_dir 'logs': the working directory was deleted; "
        ):
            Handler("logs")


async def test_the_path_of_a_request_can_be_told(log_dir: Path) -> None:
    records: list[Record] = []
    await ask(Recorder(records.append))

    assert LogFile(log_dir, "{collection}/x.log", "text").path_of(records[0]) == str(
        log_dir / "staff" / "x.log"
    )
    file = LogFile(log_dir, "{started_at:%Y%f}-{request_id}", "text")
    file(records[0])
    assert [file.path_of(records[0])] == [str(log_dir / name) for name in logs(log_dir)]


def test_paths_are_absolute_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink = LogFile("logs", "{collection}", "text")
    monkeypatch.chdir("/")

    assert sink.log_dir == str(tmp_path / "logs")
