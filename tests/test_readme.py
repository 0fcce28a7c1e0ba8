"""What the README of the template says is so; tests/test_project_pages.py has the pages of a project."""

import json
import re
from pathlib import Path

import pytest
from bake import QUESTIONS, TEMPLATE, files

README = (TEMPLATE / "README.md").read_text("utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/updating.md"]


def test_a_newcomer_sees_command_questions_result_and_screen_within_two_screens() -> None:
    first_two_screens = "\n".join(README.splitlines()[:80])

    rows = re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", first_two_screens, re.MULTILINE)
    assert README[: README.index("cookiecutter gh:")].count("\n") < 10
    assert [question for question, _ in rows] == QUESTIONS
    assert "src/<package>/" in first_two_screens
    assert "](docs/requests.svg)" in first_two_screens


def test_the_defaults_in_the_readme_are_those_of_the_template() -> None:
    asked = json.loads((TEMPLATE / "cookiecutter.json").read_text("utf-8"))
    rows = dict(re.findall(r"^\| `(\w+)` \| `?(.*?)`? \|", README, re.MULTILINE))

    for question in QUESTIONS:
        default = asked[question][0] if isinstance(asked[question], list) else asked[question]
        if "cookiecutter" not in default:
            assert rows[question] == default


def test_the_readme_names_what_is_in_a_project(default_project: Path) -> None:
    (tree,) = re.findall(r"^```text\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    named = re.findall(r"[\w<>/.-]+(?:/|\.py|\.md|\.toml)|LICENSE|\.gitignore", tree)
    in_project = files(default_project)

    for name in named:
        path = name.replace("<package>", "db_ally_file_handler")
        assert any(file == path or file.startswith(path) for file in in_project), name


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (TEMPLATE / page).read_text("utf-8")
    for link in re.findall(r"\]\((?!https:)([^)#]+)", text):
        assert ((TEMPLATE / page).parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES)
def test_the_targets_of_make_are_there(page: str) -> None:
    makefile = (TEMPLATE / "Makefile").read_text("utf-8")
    for target in re.findall(r"^(?:\| `)?make ([\w-]+)", (TEMPLATE / page).read_text("utf-8"), re.MULTILINE):
        assert re.search(f"^{target}: .*## ", makefile, re.MULTILINE), target


def test_the_pictures_show_what_the_command_prints_and_nothing_from_elsewhere(default_project: Path) -> None:
    requests = (default_project / "requests.svg").read_text("utf-8")
    assert (TEMPLATE / "docs" / "requests.svg").read_text("utf-8") == requests

    words = " ".join(re.sub(r"<[^>]*>", " ", requests).replace("&#160;", " ").split())
    for shown in (
        "started id collection outcome seconds calls tokens",
        "Who likes jazz?",
        "UnsupportedQueryError",
        "━━━",
    ):
        assert shown in words
    for picture in (TEMPLATE / "docs").glob("*.svg"):
        assert re.findall(r"(?:href|src)=|url\((?!#)|@import", picture.read_text("utf-8")) == []


def test_the_cost_in_the_readme_is_that_of_the_benchmark() -> None:
    results = (TEMPLATE / "bench" / "README.md").read_text("utf-8")
    micros = {name: int(cost) for name, cost in re.findall(r"^\| ([^|]+) \| (\d+) \|", results, re.MULTILINE)}
    ours = micros["ours, jsonl, a file a request"]
    (said,) = re.findall(r"costs ([\d.]+) ms of CPU", README)

    assert float(said) == round(ours / 1000, 1)
    assert micros["the same records, `logging` and `json.dumps`"] > ours
    assert micros["the same records, loguru, `serialize`"] / ours > 1.7
