"""How long the generated package is: `python -m bench.lines src/<package>` prints it, module by module."""

import ast
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

READER = ("reading/", "__main__.py")  # what an owner who wants no reader deletes

_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Length(NamedTuple):
    """Of a module, in lines.

    Attributes:
        code: all but blank ones, comments and docstrings.
        total: all.
        longest: of the longest function, without its docstring.
        function: the name of that one.
    """

    code: int
    total: int
    longest: int
    function: str


def measure(path: Path) -> Length:
    """Return how long a module is."""
    source = path.read_text("utf-8")
    with path.open("rb") as file:
        tokens = [token for token in tokenize.tokenize(file.readline) if token.type not in _NO_CODE][1:]  # the encoding
    code = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    functions = [(0, "")]
    for node in ast.walk(ast.parse(source)):
        docstring = set(_docstring(node))
        code -= docstring
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(((node.end_lineno or 0) - node.lineno + 1 - len(docstring), node.name))
    return Length(len(code), len(source.splitlines()), *max(functions))


def _docstring(node: ast.AST) -> Iterator[int]:
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        yield from range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)


def main(package: Path) -> None:
    """Print the table.

    Raises:
        FileNotFoundError: there is no package.
    """
    lengths = {path.relative_to(package).as_posix(): measure(path) for path in sorted(package.glob("**/*.py"))}
    if not lengths:
        raise FileNotFoundError(f"{package}: it holds no Python")
    reader = [name for name in lengths if name.startswith(READER)]
    parts = {"recording": [*lengths.keys() - reader], "reader": reader}
    print(f"{'module':22}{'code':>6}{'total':>7}  longest function")
    for name, length in lengths.items():
        print(f"{name:22}{length.code:6}{length.total:7}  {length.longest:2} {length.function}")
    for part, names in parts.items():
        code, total = sum(lengths[name].code for name in names), sum(lengths[name].total for name in names)
        longest, function = max(((lengths[name].longest, lengths[name].function) for name in names), default=(0, ""))
        print(f"{part:22}{code:6}{total:7}  {longest:2} {function}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
