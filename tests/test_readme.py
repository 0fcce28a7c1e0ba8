"""What the READMEs print is what their readers get."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

from bake import QUESTIONS, TEMPLATE, run


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def without_chance(text: str) -> str:
    """Return `text` without what differs from run to run: times, ids, seconds."""
    text = re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?", "<time>", text)
    text = re.sub(r"\b[0-9a-f]{32}\b", "<request>", text)
    text = re.sub(r"(?m)^[0-9a-f]{8} ", "<id> ", text)
    text = re.sub(r"(Process: |\"process\":\")[\w.-]+:\d+", r"\1<process>", text)
    return re.sub(r"(Elapsed Time: |Execution time[\w ]*: |\"elapsed\":)[\d.e-]+", r"\1<seconds>", text)


def example_logs(project: Path, tmp_path: Path, log_format: str) -> str:
    """Return the logs of the example, asked in `log_format`."""
    code = (
        f"import ask; Handler = ask.FileEventHandler; ask.FileEventHandler = lambda: Handler(log_format={log_format!r})"
    )
    subprocess.run(
        [sys.executable, "-c", f"{code}\nimport asyncio; asyncio.run(ask.main())"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{project / 'src'}{os.pathsep}{project / 'examples'}", "PYTHONUTF8": "1"},
        check=True,
        capture_output=True,
    )
    return "".join(path.read_text("utf-8") for path in sorted((tmp_path / "logs").iterdir()))


def test_the_log_in_the_readme_is_that_of_the_example(default_project: Path, tmp_path: Path) -> None:
    logs = without_chance(example_logs(default_project, tmp_path, "text"))
    (sample,) = code_blocks((default_project / "README.md").read_text("utf-8"), "text")
    for part in re.split(r"^ *(?:\| )?\[\.\.\.\]\n", without_chance(sample), flags=re.MULTILINE):
        assert part in logs


def test_the_pictures_show_what_the_command_prints_and_nothing_from_elsewhere(default_project: Path) -> None:
    requests = (default_project / "requests.svg").read_text("utf-8")
    assert (TEMPLATE / "docs" / "requests.svg").read_text("utf-8") == requests
    words = re.sub(r"<[^>]*>", " ", requests).replace("&#160;", " ")
    columns = "started id collection outcome seconds calls tokens question"
    for shown in (columns, "Who likes jazz?", "UnsupportedQueryError", "━━━", "Ann does."):
        assert " ".join(shown.split()) in " ".join(words.split())
    for picture in (requests, (TEMPLATE / "docs" / "journey.svg").read_text("utf-8")):
        assert re.findall(r"(?:href|src)=|url\((?!#)|@import", picture) == []


def test_the_json_in_the_readme_is_that_of_the_example(default_project: Path, tmp_path: Path) -> None:
    logs = without_chance(example_logs(default_project, tmp_path, "jsonl")).splitlines()
    (sample,) = code_blocks((default_project / "README.md").read_text("utf-8"), "json")
    for line in sample.splitlines():
        assert json.loads(line)
        assert without_chance(line) in logs


def test_the_arguments_in_the_readme_are_the_handlers(default_project: Path) -> None:
    (call,) = (
        block
        for block in code_blocks((default_project / "README.md").read_text("utf-8"), "python")
        if block.startswith("FileEventHandler(\n")
    )
    code = f"""
import inspect
from db_ally_file_handler import FileEventHandler
arguments = dict(
{call.removeprefix("FileEventHandler(")}
parameters = inspect.signature(FileEventHandler).parameters
assert arguments == {{name: parameter.default for name, parameter in parameters.items()}}, parameters
assert list(arguments) == list(parameters)
"""
    subprocess.run([sys.executable, "-c", code], cwd=default_project / "src", check=True)


def test_the_python_of_the_readme_runs(default_project: Path, tmp_path: Path) -> None:
    blocks = code_blocks((default_project / "README.md").read_text("utf-8"), "python")
    program = inspect.cleandoc("""
        import asyncio, queue
        from ask import SCRIPT, make_llm, StaffView
        import sqlalchemy
        llm = make_llm()
        queue = queue.Queue()
        from db_ally_file_handler import FileEventHandler
        async def readme():
    """)
    body = "\n".join(blocks)
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    indented = indented.replace("result = await collection.ask", "result = None and await collection.ask")
    (tmp_path / "readme.py").write_text(f"{program}\n{indented}\nasyncio.run(readme())\n", "utf-8")
    env = {"PYTHONPATH": f"{default_project / 'src'}{os.pathsep}{default_project / 'examples'}"}
    assert run(tmp_path, "readme", env=env) == "None\n"


def test_the_readme_of_the_template_lists_what_the_template_asks() -> None:
    readme = (TEMPLATE / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", readme, re.MULTILINE)
    assert re.findall(r"\w+", " ".join(rows)) == QUESTIONS
    assert readme[: readme.index("```sh")].count("\n") < 20


def test_the_cost_in_the_readme_is_that_of_the_benchmark() -> None:
    results = (TEMPLATE / "bench" / "README.md").read_text("utf-8")
    micros = {name: int(cost) for name, cost in re.findall(r"^\| ([^|]+) \| (\d+) \|", results, re.MULTILINE)}
    ours = micros["ours, jsonl, a file a request"]
    (said,) = re.findall(r"costs ([\d.]+) ms of CPU", (TEMPLATE / "README.md").read_text("utf-8"))

    assert float(said) == round(ours / 1000, 1)
    for logger in ("`logging` and `json.dumps`", "structlog"):
        assert 0.8 < micros[f"the same records, {logger}"] / ours < 1.25
    assert micros["the same records, loguru, `serialize`"] / ours > 1.7


def test_the_keys_in_the_readme_are_those_of_records(default_project: Path) -> None:
    code = """
        import json
        from db_ally_file_handler.contexts import _TOKENS
        from db_ally_file_handler.records import _OPTIONAL, _STEPS, Kind
        always = ["time", "request_id", "kind", "version", "dbally", "process", "labels"]
        summary = ["collection", "question", "labels", "view", "rows", "calls", "failed_calls", *_TOKENS]
        print(json.dumps({"keys": [*always, *_OPTIONAL], "kind": Kind.__args__, "step": _STEPS, "summary": summary}))
    """
    env = {**os.environ, "PYTHONPATH": str(default_project / "src")}
    command = [sys.executable, "-c", inspect.cleandoc(code)]
    known = json.loads(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout)
    readme = (default_project / "README.md").read_text("utf-8")
    table = readme[readme.index("| key | in | meaning |") :].split("\n\n")[0].splitlines()[2:]
    told = {row.split(" | ")[0].strip("| "): row.split(" | ")[2] for row in table}

    assert re.findall(r"`(\w+)`", " ".join(told)) == known["keys"]
    assert re.findall(r"`([\w-]+(?: \w+)?)`", told["`kind`"]) == known["kind"]
    assert re.findall(r"`([\w-]+(?: \w+)?)`", told["`event_id`, `event`, `step`"]) == known["step"]
    assert re.findall(r"`(\w+)`", told["`summary`"]) == known["summary"]


def test_the_evaluation_in_the_readme_asks_again_and_compares(default_project: Path, tmp_path: Path) -> None:
    blocks = code_blocks((default_project / "README.md").read_text("utf-8"), "python")
    (replay,) = (block for block in blocks if "async def replay" in block)
    example_logs(default_project, tmp_path, "jsonl")
    paths = [str(default_project / folder) for folder in ("src", "examples")]
    rows = run(tmp_path, "db_ally_file_handler", "list", "--json", env={"PYTHONPATH": paths[0]}).splitlines()
    changed = [row.replace("SELECT", "SELECT DISTINCT") if "7000" in row else row for row in rows]
    code = (
        f"{replay}\nimport ask, asyncio\n"
        'asyncio.run(replay(ask.make_collection(ask.make_llm(), ask.FileEventHandler("again"))))'
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"},
        input="\n".join(changed),
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    said = [line.split(" ", 2)[::2] for line in done.stdout.splitlines()]
    assert said == [
        ["same", "Who works in Kraków?"],
        ["CHANGED", "Who in Kraków earns more than 7000?"],
        ["same", "What is the average salary in each city?"],
    ]
