"""How densely Python is written: `python -m bench.density FOLDER` counts the package in a folder.

The figures of three packages that are held up as models stand below those of the folder. They were
counted in the same way, in what PyPI has of them. They are signs and no limits: no line is broken
or joined for their sake.

- A line of code is one that is not blank, no comment and no docstring.
- A syntax node is a node of Python's `ast`. Contexts such as `Load`, and the wrappers of arguments
  and of imported names, are not counted.
- Blank lines are counted from the first statement of each function to its last one, because these
  are the ones that set steps apart.
"""

import argparse
import ast
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LONG_LINE = 100  # columns
NOT_COUNTED = (ast.Load, ast.Store, ast.Del, ast.arguments, ast.alias)
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
HAS_DOCSTRING = (ast.Module, ast.ClassDef, *FUNCTION)
COMPREHENSION = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass
class Density:
    """What was counted in some files; two of these can be added."""

    lines: int = 0
    nodes: int = 0
    conditional_expressions: int = 0
    comprehensions: int = 0
    starred: int = 0
    long_lines: int = 0
    function_lines: int = 0  # from the first statement on, a docstring included
    blank_lines: int = 0  # of those

    def add(self, other: "Density") -> None:
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)


MODELS = {
    "stamina 26.1.0": Density(801, 2_828, 4, 3, 9, 1, 952, 165),
    "llm 0.36": Density(12_702, 47_287, 118, 195, 21, 5, 12_637, 698),
    "httpx 0.28.1": Density(5_774, 23_837, 82, 56, 2, 2, 5_071, 483),
}


def main(folder: Path) -> None:
    """Print the table.

    Raises:
        FileNotFoundError: there is no Python in the folder.
    """
    paths = sorted(folder.rglob("*.py"))
    if not paths:
        raise FileNotFoundError(f"{folder}: there is no Python in it")

    rows = {
        "recording": count([path for path in paths if not is_reader(path)]),
        "reader and command": count([path for path in paths if is_reader(path)]),
        "both": count(paths),
        **MODELS,
    }

    print(f"{'':20}   code  syntax  nodes a  per 100 lines of code:            % over 100  % blank in")
    print(f"{'':20}  lines   nodes     line  if-else  comprehensions  starred    columns   functions")
    for name, density in rows.items():
        print(row(name, density))


def is_reader(path: Path) -> bool:
    """Return whether a file is part of what an owner deletes who does not need the command."""
    return path.parent.name == "reading" or path.name == "__main__.py"


def row(name: str, density: Density) -> str:
    lines = max(density.lines, 1)
    function_lines = max(density.function_lines, 1)
    return (
        f"{name:20} {density.lines:6,} {density.nodes:7,} {density.nodes / lines:8.1f}"
        f" {100 * density.conditional_expressions / lines:8.1f}"
        f" {100 * density.comprehensions / lines:15.1f}"
        f" {100 * density.starred / lines:8.1f}"
        f" {100 * density.long_lines / lines:11.1f}"
        f" {100 * density.blank_lines / function_lines:11.1f}"
    )


def count(paths: Iterable[Path]) -> Density:
    """Return what is counted in all these files together."""
    total = Density()
    for path in paths:
        total.add(count_file(path.read_text("utf-8")))
    return total


def count_file(source: str) -> Density:
    tree = ast.parse(source)
    lines = source.split("\n")
    density = Density()

    docstring_lines = lines_of_docstrings(tree)
    for number, line in enumerate(lines, 1):
        is_comment = line.strip().startswith("#")
        if not line.strip() or is_comment or number in docstring_lines:
            continue

        density.lines += 1
        if len(line) > LONG_LINE:
            density.long_lines += 1

    for node in ast.walk(tree):
        if isinstance(node, NOT_COUNTED):
            continue

        density.nodes += 1
        if isinstance(node, ast.IfExp):
            density.conditional_expressions += 1
        elif isinstance(node, COMPREHENSION):
            density.comprehensions += 1
        elif isinstance(node, ast.Starred):
            density.starred += 1
        elif isinstance(node, FUNCTION):
            body = lines[node.body[0].lineno - 1 : node.end_lineno]
            density.function_lines += len(body)
            density.blank_lines += len([line for line in body if not line.strip()])

    return density


def lines_of_docstrings(tree: ast.Module) -> set[int]:
    numbers: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, HAS_DOCSTRING) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            numbers.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return numbers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.density", description="How densely Python is written.")
    parser.add_argument("folder", type=Path, help="with the package to count")
    main(parser.parse_args().folder)
