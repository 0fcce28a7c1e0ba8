"""What the pages of a generated project say, its README and docs/operations.md, is what its owner gets."""

import inspect
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bake import bake, run

OPERATIONS = "docs/operations.md"
PAGES = ["README.md", OPERATIONS]
DAY = 24 * 60 * 60


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def block_with(project: Path, page: str, words: str) -> str:
    """Return the only block of Python with these words."""
    (block,) = (block for block in code_blocks(project / page, "python") if words in block)
    return block


def table(page: Path, header: str) -> list[list[str]]:
    """Return the cells of the rows of a table, given how its header begins."""
    text = page.read_text("utf-8")
    rows = text[text.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def environment(project: Path) -> dict[str, str]:
    folders = [str(project / folder) for folder in ("src", "examples", "tests")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "PYTHONUTF8": "1"}


def run_code(project: Path, code: str, folder: Path, **options: Any) -> str:
    """Run `code` in `folder` with the package, the example and the tests of the project; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(code)],
        cwd=folder,
        env=environment(project),
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        **options,
    )
    return str(done.stdout)


@pytest.fixture
def logs(default_project: Path, tmp_path: Path) -> Path:
    """Run the example, and return the directory of its logs."""
    run_code(default_project, "import asyncio, ask; asyncio.run(ask.main())", tmp_path)
    return tmp_path / "logs"


def records_in(logs: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(logs.iterdir()) for line in path.read_text("utf-8").splitlines()]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("log_format", ["jsonl", "text"])
def test_the_readme_has_at_most_160_lines_and_its_links_lead_somewhere(tmp_path: Path, log_format: str) -> None:
    project = bake(tmp_path, log_format=log_format)

    assert len((project / "README.md").read_text("utf-8").splitlines()) <= 160
    for page in PAGES:
        text = (project / page).read_text("utf-8")
        for link in re.findall(r"\]\((?!https:)([^)]+)\)", text):
            path, _, section = link.partition("#")
            target = (project / page).parent / path if path else project / page
            assert target.exists(), link
            if section:
                headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
                assert section in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, link


def test_what_the_readme_says_to_change_is_there(default_project: Path) -> None:
    package = default_project / "src" / "db_ally_file_handler"
    for _, module, where in table(default_project / "README.md", "| to change | module |"):
        modules = [package / name for name in re.findall(r"`([\w/]+\.py)`", module)]
        code = "".join(path.read_text("utf-8") for path in modules)
        names = [name.rpartition(".")[2] for name in re.findall(r"`([\w.]+)", where)]
        for name in names if modules else []:
            assert re.search(rf"\b{name}\b", code), (name, module)


def test_the_python_of_the_pages_runs(default_project: Path, tmp_path: Path) -> None:
    readme, operations = ("\n".join(code_blocks(default_project / page, "python")) for page in PAGES)
    program = """
        import asyncio, ask
        from ask import make_llm
        llm = make_llm()
        async def pages():
    """
    indented = "".join(f"    {line}\n" for line in f"{readme}\n{operations}".splitlines())
    add_view = "    collection = ask.make_collection(llm, FileEventHandler())\n"
    indented = indented.replace("    from db_ally_file_handler import recording", f"{add_view}\\g<0>", 1)
    indented = indented.replace("\\g<0>", "    from db_ally_file_handler import recording")
    code = f"{inspect.cleandoc(program)}\n{indented}\nasyncio.run(pages())\n"

    said = run_code(default_project, code, tmp_path)

    request_id, questions = said.splitlines()
    recorded = {record["request_id"] for record in records_in(tmp_path / "logs")}
    assert (recorded, questions) == ({request_id}, "[]")


def test_the_defaults_in_the_readme_are_the_handlers(default_project: Path) -> None:
    rows = table(default_project / "README.md", "| argument | default |")
    told = {name.strip("`"): default.strip("`") for name, default, _ in rows}
    code = f"""
        import inspect
        from db_ally_file_handler import FileEventHandler
        parameters = inspect.signature(FileEventHandler).parameters
        told = {{name: eval(default) for name, default in {told!r}.items()}}
        assert told == {{name: parameter.default for name, parameter in parameters.items()}}, parameters
        assert list(told) == list(parameters)
    """
    run_code(default_project, code, default_project)


KEYS = """
    import asyncio, contextlib, json, typing
    from datetime import UTC, datetime
    import dbally
    from application import away, make_collection, make_engine
    from dbally.audit.events import LLMEvent
    from dbally.iql_generator import prompt as iql
    from dbally.nl_responder import prompts as answers
    from dbally.view_selection import prompt as views
    from dbally.views.freeform.text2sql import prompt as sql
    from db_ally_file_handler import Record, Recorder, recording
    from db_ally_file_handler.records import Kind, step_of

    now = datetime.now(UTC)
    everything = dict.fromkeys(Record._fields, 1) | {"time": now, "kind": "request_start"}
    templates = [
        views.VIEW_SELECTION_TEMPLATE, iql.FILTERING_DECISION_TEMPLATE, iql.FILTERS_GENERATION_TEMPLATE,
        iql.AGGREGATION_DECISION_TEMPLATE, iql.AGGREGATION_GENERATION_TEMPLATE, sql.SQL_GENERATION_TEMPLATE,
        answers.NL_RESPONSE_TEMPLATE, answers.QUERY_EXPLANATION_TEMPLATE,
    ]
    records = []
    for options in ({}, {"reply": away}):
        with contextlib.suppress(dbally.DbAllyError), recording():
            asyncio.run(make_collection(make_engine(), Recorder(records.append), **options).ask("Who?"))
    print(json.dumps({
        "keys": list(Record(**everything).as_dict()),
        "kind": typing.get_args(Kind),
        "step": [step_of(LLMEvent(list(template.chat), "PromptTemplate")) for template in templates],
        "summary": sorted({key for record in records for key in record.summary or []}),
    }))
"""


def test_the_keys_in_the_readme_are_those_of_records(default_project: Path, tmp_path: Path) -> None:
    known = json.loads(run_code(default_project, KEYS, tmp_path))
    rows = table(default_project / "README.md", "| key | in | meaning |")
    told = {key: meaning for key, _, meaning in rows}

    assert re.findall(r"`(\w+)`", " ".join(told)) == known["keys"]
    assert re.findall(r"`([\w-]+(?: \w+)?)`", told["`kind`"]) == known["kind"]
    assert re.findall(r"`([\w-]+(?: \w+)?)`", told["`event_id`, `event`, `step`"]) == known["step"]
    assert sorted(re.findall(r"`(\w+)`", told["`summary`"])) == known["summary"]


def test_the_record_in_the_readme_is_one_of_the_example(default_project: Path, logs: Path) -> None:
    (sample,) = code_blocks(default_project / "README.md", "json")
    printed = json.loads(sample)
    recorded = next(record for record in records_in(logs) if record["kind"] == "request_failed")

    for record in (printed, recorded):
        for name in ("time", "request_id", "elapsed"):
            del record[name]
    assert printed == recorded


def test_every_command_in_the_readme_works(default_project: Path, logs: Path) -> None:
    request_id = records_in(logs)[0]["request_id"][:8]
    cells = [row[0] for row in table(default_project / "README.md", "| `python -m")]
    commands = [command for cell in cells for command in re.findall("`([^`]+)`", cell)]
    assert len(commands) >= 9
    for command in commands:
        name = "stats " if command.startswith("--") else ""
        arguments = shlex.split(name + command.replace("6f2f3f08", request_id))
        run(logs.parent, "db_ally_file_handler", *arguments, env=environment(default_project))


def test_what_the_printed_line_compresses_is_still_read(default_project: Path, logs: Path) -> None:
    (line,) = re.findall(r"^`(find [^`]+)`", (default_project / "README.md").read_text("utf-8"), re.MULTILINE)
    assert line in (default_project / OPERATIONS).read_text("utf-8")
    old, *young = sorted(logs.iterdir())
    long_ago = time.time() - 3 * DAY
    os.utime(old, (long_ago, long_ago))
    environ = environment(default_project)
    before = run(logs.parent, "db_ally_file_handler", "list", "--json", env=environ).splitlines()

    subprocess.run(["sh", "-euc", line], cwd=logs.parent, check=True)

    assert sorted(logs.iterdir()) == [old.with_name(f"{old.name}.gz"), *young]
    after = run(logs.parent, "db_ally_file_handler", "list", "--json", env=environ).splitlines()
    ids = [[json.loads(row)["request_id"] for row in rows] for rows in (before, after)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == 4


def test_the_replay_asks_again_and_compares(default_project: Path, logs: Path) -> None:
    replay = block_with(default_project, OPERATIONS, "async def replay")
    rows = run(logs.parent, "db_ally_file_handler", "list", "--json", env=environment(default_project)).splitlines()
    changed = [row.replace("SELECT", "SELECT DISTINCT") if "7000" in row else row for row in rows]
    collection = 'ask.make_collection(ask.make_llm(), ask.FileEventHandler("again"))'

    said = run_code(
        default_project,
        f"{replay}\nimport ask, asyncio\nasyncio.run(replay({collection}))",
        logs.parent,
        input="\n".join(changed),
    )

    assert [line.split(" ", 2)[::2] for line in said.splitlines()] == [
        ["same", "Who works in Kraków?"],
        ["CHANGED", "Who in Kraków earns more than 7000?"],
        ["same", "What is the average salary in each city?"],
    ]


MASKED = """
    print(mask("ann.b+c@ex-am.ple.co.uk, <bob@x.org>; é@ü.de, x@localhost, " + "q" * 100 + "@x.org"))
    import time

    def seconds(size):
        texts = [(part * size)[:size] for part in ("a", "a.", "a@", "@", "a@a.", "-", "a@b.c", "x@y ")]
        started = time.process_time()
        for text in texts:
            mask(text)
            mask("x@" + text)
        return time.process_time() - started

    print(seconds(100_000) < 20 * max(seconds(10_000), 0.001))
"""


def test_the_mask_hides_addresses_and_its_time_grows_no_faster_than_the_text(
    default_project: Path, tmp_path: Path
) -> None:
    block = block_with(default_project, OPERATIONS, "def mask")

    said = run_code(default_project, f"{block}\n{inspect.cleandoc(MASKED)}", tmp_path)

    assert said.splitlines() == ["[email], <[email]>; [email], x@localhost, [email]", "True"]


ROTATE = """
    import asyncio, os, shutil
    from files import ask
    from db_ally_file_handler import FileEventHandler

    handler = FileEventHandler("logs", "all.jsonl", "jsonl")
    for step in {steps!r}:
        asyncio.run(ask(handler))
        exec(step)
    print(sum(open(f"logs/{{name}}").read().count("\\n") for name in os.listdir("logs")))
"""
MOVE = 'os.rename("logs/all.jsonl", "logs/all.jsonl.1")'
COPY = 'shutil.copyfile("logs/all.jsonl", "logs/all.jsonl.1")'
TRUNCATE = 'os.truncate("logs/all.jsonl", 0)'


@pytest.mark.skipif(os.name == "nt", reason="logrotate is for POSIX")
def test_rotation_by_moving_loses_nothing_and_copying_does(default_project: Path, tmp_path: Path) -> None:
    operations = (default_project / OPERATIONS).read_text("utf-8")
    assert "    nocreate\n" in operations
    assert "    copytruncate\n" not in operations
    written = {}
    for name, steps in (("moved", [MOVE, "pass"]), ("copied", [COPY, TRUNCATE])):
        (tmp_path / name).mkdir()
        written[name] = int(run_code(default_project, ROTATE.format(steps=steps), tmp_path / name))

    assert written == {"moved": 8, "copied": 4}
