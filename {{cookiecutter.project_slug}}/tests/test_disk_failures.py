"""Each operation of a disk fails, and each record is cut short: what is left is whole.

Delete this file with `logfile.py`, if your records go nowhere near a disk.
"""

import errno
import gc
import json
import os

import pytest
from files import HEADLINE, ask, file_recorder, posix_only, read

OPERATIONS = ("open", "write", "close", "mkdir", "lseek", "fstat")
# The first record finds no file and makes two directories; each of the four opens, writes, closes.
OPERATIONS_OF_A_REQUEST = 3 + 4 * 3
WHOLE = b'{"of":"another process"}\n'


def refuse():
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def fail_at(patch, number):
    """Let the disk operation of that number fail; return whether there was one."""
    gc.collect()  # so that no request of another test ends meanwhile
    calls = 0

    def wrap(operation):
        def wrapped(*args):
            nonlocal calls
            calls += 1
            if calls != number:
                return operation(*args)

            if operation.__name__ == "close":
                operation(*args)  # Linux closes the file although it reports an error
            return refuse()

        return wrapped

    for name in OPERATIONS:
        patch.setattr(os, name, wrap(getattr(os, name)))
    return lambda: calls >= number


def cut_short(patch, shorten):
    """Let the disk take a part of each record; then another process appends a line."""
    write = os.write

    def write_a_part(descriptor, data):
        if data.isspace():  # the part of a record is blanked out
            return write(descriptor, data)

        written = 0
        if shorten(len(data)) > 0:
            written = write(descriptor, data[: shorten(len(data))])
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        write(descriptor, WHOLE)
        os.lseek(descriptor, position, os.SEEK_SET)
        return written

    patch.setattr(os, "write", write_a_part)


def count_open_files():
    return len(os.listdir("/dev/fd"))


@posix_only
async def test_a_request_has_as_many_disk_operations_as_the_next_tests_let_fail(
    log_dir, monkeypatch
):
    with monkeypatch.context() as patch:
        has_failed = fail_at(patch, OPERATIONS_OF_A_REQUEST + 1)
        await ask(file_recorder(log_dir, "{collection}/log.jsonl"))

    assert not has_failed()


@posix_only
@pytest.mark.parametrize("number", range(1, OPERATIONS_OF_A_REQUEST + 1))
async def test_one_disk_operation_that_fails_costs_one_record(number, log_dir, monkeypatch, caplog):
    handler = file_recorder(log_dir, "{collection}/log.jsonl")
    before = count_open_files()

    with monkeypatch.context() as patch:
        has_failed = fail_at(patch, number)
        await ask(handler)

    assert has_failed()
    assert count_open_files() == before
    lines = read(log_dir).splitlines()
    assert all(json.loads(line) for line in lines)
    assert len(lines) >= 3
    assert handler.lost_records == 1
    assert len(caplog.messages) == 1


@posix_only
@pytest.mark.parametrize("number", range(1, OPERATIONS_OF_A_REQUEST + 1))
async def test_one_disk_operation_that_fails_is_raised_if_that_is_wanted(
    number, log_dir, monkeypatch
):
    handler = file_recorder(log_dir, "{collection}/log.jsonl", raise_errors=True)
    before = count_open_files()

    with monkeypatch.context() as patch:
        fail_at(patch, number)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            await ask(handler)

    assert count_open_files() == before
    assert all(json.loads(line) for line in read(log_dir).splitlines())


@posix_only
@pytest.mark.parametrize("log_format", ["text", "jsonl"])
@pytest.mark.parametrize(
    "shorten",
    [
        pytest.param(lambda size: 0, id="nothing"),
        pytest.param(lambda size: 1, id="one byte"),
        pytest.param(lambda size: size // 2, id="half"),
        pytest.param(lambda size: size - 1, id="all but the newline"),
    ],
)
async def test_a_record_that_is_cut_short_spoils_no_other(
    shorten, log_format, log_dir, monkeypatch, caplog
):
    handler = file_recorder(log_dir, "{collection}", log_format)
    before = count_open_files()

    await ask(handler)
    with monkeypatch.context() as patch:
        cut_short(patch, shorten)
        await ask(handler)
    await ask(handler)

    assert count_open_files() == before
    assert handler.lost_records == 4
    assert f"[Errno {errno.ENOSPC}] room for" in caplog.text
    lines = [line for line in read(log_dir).splitlines() if line.strip()]
    assert lines.count(WHOLE.decode().strip()) == 4
    if log_format == "jsonl":
        assert len([json.loads(line) for line in lines]) == 8 + 4
    else:
        assert len(HEADLINE.findall(read(log_dir))) == 8


@posix_only
async def test_a_part_of_a_record_becomes_an_empty_line(log_dir, monkeypatch):
    with monkeypatch.context() as patch:
        cut_short(patch, lambda size: 7)
        await ask(file_recorder(log_dir, "{collection}.jsonl"))

    assert read(log_dir) == (" " * 6 + "\n" + WHOLE.decode()) * 4


@posix_only
async def test_a_part_of_a_record_is_not_blanked_in_the_file_that_took_the_place_of_its_own(
    log_dir, monkeypatch
):
    file = log_dir / "staff.jsonl"
    write = os.write

    def write_a_part_and_rotate(descriptor, data):
        if data.isspace():  # the part of a record is blanked out
            return write(descriptor, data)

        written = write(descriptor, data[:10])
        file.rename(log_dir / "staff.jsonl.1")
        file.write_bytes(WHOLE)
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_a_part_and_rotate)
        await ask(file_recorder(log_dir, "{collection}.jsonl"))

    assert file.read_bytes() == WHOLE


@posix_only
@pytest.mark.parametrize("name", ["open", "fstat", "lseek"])
async def test_if_a_part_of_a_record_cannot_be_blanked_the_loss_is_counted_and_no_file_stays_open(
    name, log_dir, monkeypatch, caplog
):
    handler = file_recorder(log_dir, "{collection}.jsonl")
    before = count_open_files()
    operation = getattr(os, name)
    write = os.write

    def write_a_part(descriptor, data):
        monkeypatch.setattr(os, name, lambda *args: refuse())
        return write(descriptor, data[:10])

    monkeypatch.setattr(os, "write", write_a_part)
    await ask(handler)
    monkeypatch.setattr(os, name, operation)

    assert count_open_files() == before
    assert handler.lost_records == 4
    assert "[Errno " in caplog.messages[0]
