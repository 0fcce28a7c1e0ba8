"""What the tables of destinations say of the pages' code."""

import ast
import re

from bake import TEMPLATE
from pages import DOCS, blocks

MODULES = {
    "database.md": "database.py",
    "logging.md": "application_log.py",
    "object-store.md": "object_store.py",
    "queue.md": "message_queue.py",
    "opentelemetry.md": "telemetry.py",
    "background.md": "background.py",
}
RECIPES = ["only_failures.py", "tee.py", "lenient.py", "webhook.py", "gzipped.py", "log_summary.py", "costs.py"]


def lines_of_code(module: str) -> int:
    """Return how many lines hold code: no imports, no docstrings, no comments alone on their line."""
    tree = ast.parse(module)
    left_out = {
        line
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
        for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    lines = enumerate(module.splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") for number, line in lines if number not in left_out
    )


def test_the_index_counts_the_lines_of_each_page() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| \[([\w-]+\.md)\]\S+ \| [^|]+ \| (\d+) \|", index, re.MULTILINE)

    longest = max(lines_of_code(blocks("recipes.md")[name]) for name in RECIPES)
    assert {page: int(lines) for page, lines in rows} == {
        page: lines_of_code(blocks(page)[name]) for page, name in MODULES.items()
    } | {"recipes.md": longest}


def test_the_readme_says_of_the_pages_what_their_index_says() -> None:
    rows = {}
    for readme, columns in ((DOCS / "README.md", (0, 1, 3)), (TEMPLATE / "README.md", (0, 1, 2))):
        lines = re.findall(r"^\| (\[[\w-]+\.md\].*) \|$", readme.read_text("utf-8"), re.MULTILINE)
        cells = [line.replace("](docs/", "](").split(" | ") for line in lines]
        rows[readme.parent.name] = [[row[column] for column in columns] for row in cells]
    index, template = rows.values()
    assert len(index) == len(MODULES) + 1
    assert template == index
