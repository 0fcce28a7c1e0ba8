"""What the README of the template prints is what its readers get; tests/test_project_pages.py has that of a project."""

import re
from pathlib import Path

from bake import QUESTIONS, TEMPLATE


def test_the_pictures_show_what_the_command_prints_and_nothing_from_elsewhere(default_project: Path) -> None:
    requests = (default_project / "requests.svg").read_text("utf-8")
    assert (TEMPLATE / "docs" / "requests.svg").read_text("utf-8") == requests
    words = re.sub(r"<[^>]*>", " ", requests).replace("&#160;", " ")
    columns = "started id collection outcome seconds calls tokens question"
    for shown in (columns, "Who likes jazz?", "UnsupportedQueryError", "━━━", "Ann does."):
        assert " ".join(shown.split()) in " ".join(words.split())
    for picture in (requests, (TEMPLATE / "docs" / "journey.svg").read_text("utf-8")):
        assert re.findall(r"(?:href|src)=|url\((?!#)|@import", picture) == []


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

    assert 0.5 < 1000 * float(said) / ours < 2  # what a request costs depends on the machine, ratios do not
    for logger in ("`logging` and `json.dumps`", "structlog"):
        assert 0.8 < micros[f"the same records, {logger}"] / ours < 1.25
    assert micros["the same records, loguru, `serialize`"] / ours > 1.7
