"""What the pages print fits into the project that it is for."""

from pathlib import Path

import pytest
from bake import run
from pages import bake_page

PAGES = ["background.md", "database.md", "logging.md", "object-store.md", "queue.md", "opentelemetry.md"]


def test_the_modules_of_all_pages_pass_the_checks_of_the_project(tmp_path: Path) -> None:
    project = bake_page(tmp_path, *PAGES, "recipes.md")

    run(project, "ruff", "check", "src")
    run(project, "ruff", "format", "--check", "src")
    run(project, "mypy", "src")


@pytest.mark.parametrize("page", PAGES)
def test_the_fixtures_of_a_page_leave_nothing_that_ruff_cannot_put_in_order(page: str, tmp_path: Path) -> None:
    run(bake_page(tmp_path, page), "ruff", "check", "--fix", "tests")
