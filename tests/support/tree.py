"""The tree of docs/architecture.md, made from the docstrings of the packages.

python tests/support/tree.py      # rewrites it
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
_BLOCK = re.compile(r"(<!-- tree: .*? -->\n```\n)(.*?)(```\n<!-- end of tree -->)", re.DOTALL)


def make_tree() -> str:
    """Every package with what its docstring says of its files; modules by their first line."""
    package = ROOT / "a2c_cli"
    lines = ["a2c_cli/"]
    for path in sorted(package.glob("*.py")):
        lines.append(f"  {path.name:12} {_docstring(path).splitlines()[0]}")
    for init in sorted(package.glob("*/__init__.py")):
        first, *contents = _docstring(init).splitlines()
        lines.append(f"  {init.parent.name + '/':12} {first}")
        lines += [f"      {line.removeprefix('- ')}" for line in contents if line]
    return "".join(line.rstrip() + "\n" for line in lines)


def shown_tree() -> str:
    """The tree that the page shows now."""
    found = _BLOCK.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None, f"{PAGE} has lost its markers"
    return found[2]


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


if __name__ == "__main__":
    page = _BLOCK.sub(lambda m: m[1] + make_tree() + m[3], PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8")
