"""The lists of the pages name every page, and say the same."""

import re

from bake import TEMPLATE
from pages import DOCS, MODULES


def pages_in(text: str) -> set[str]:
    return set(re.findall(r"\]\((?:docs/)?([\w-]+\.md)\)", text))


def destinations(text: str, columns: tuple[int, ...]) -> dict[str, list[str]]:
    """Return some cells of the row of each destination, by its page."""
    rows = re.findall(r"^\| \[([\w-]+\.md)\][^|]* \| (.*) \|$", text, re.MULTILINE)
    cells = {page: rest.split(" | ") for page, rest in rows}
    return {page: [row[column] for column in columns] for page, row in cells.items()}


def test_the_index_names_every_page() -> None:
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}

    assert pages_in((DOCS / "README.md").read_text("utf-8")) == pages


def test_the_readme_says_of_the_destinations_what_their_index_says() -> None:
    index = destinations((DOCS / "README.md").read_text("utf-8"), (0, 1))
    readme = destinations((TEMPLATE / "README.md").read_text("utf-8"), (0, 1))

    assert index.keys() == MODULES.keys() - {"recipes.md", "make-it-yours.md"}
    assert index.items() <= readme.items()
