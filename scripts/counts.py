"""How large the code is: files, lines, long functions, long parameter lists.

    python scripts/counts.py

Counts a2c_cli only. A function's lines run from its `def` to its last statement, without the
decorators and the docstring; parameters are counted without `self` and `cls`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "a2c_cli"
# What docs/architecture.md names as the files to read for the algorithm.
ALGORITHM = ("learner", "update", "returns", "losses", "segment")
_LONG = 50  # lines of a function


class Function(NamedTuple):
    """One function or method."""

    where: str
    lines: int
    parameters: int


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of one file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            start = node.body[0]
            if ast.get_docstring(node) is not None and len(node.body) > 1:
                start = node.body[1]
            header = node.body[0].lineno - node.lineno
            lines = (node.end_lineno or node.lineno) - start.lineno + 1 + header
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            named = [a for a in arguments if a.arg not in ("self", "cls")]
            yield Function(f"{path.relative_to(PACKAGE)}:{node.name}", lines, len(named))


def main() -> None:
    """Print the counts and the outliers' names."""
    files = sorted(PACKAGE.rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    read = [PACKAGE / "algorithm" / f"{name}.py" for name in ALGORITHM]
    found = [function for path in files for function in functions(path)]
    long = sorted((f for f in found if f.lines > _LONG), key=lambda f: -f.lines)
    widest = max(found, key=lambda f: f.parameters)
    rows = [
        ("files at the top level", len(list(PACKAGE.glob("*.py")))),
        ("packages", sum(path.is_dir() for path in PACKAGE.glob("[!_]*"))),
        ("files", len(files)),
        ("lines", sum(lines.values())),
        ("files to read for the algorithm", len(read)),
        ("their lines", sum(lines[path] for path in read)),
        ("functions", len(found)),
        ("median lines of a function", median(f.lines for f in found)),
        (f"functions of more than {_LONG} lines", len(long)),
        ("longest parameter list", f"{widest.parameters} ({widest.where})"),
    ]
    for name, value in rows:
        print(f"{name:<36}{value}")
    for function in long:
        print(f"  {function.lines:3} lines  {function.parameters:2} parameters  {function.where}")


if __name__ == "__main__":
    main()
