"""README and docs name only files and commands that there are."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from tree import ROOT, make_tree, shown_tree

DOCS = sorted((ROOT / "docs").rglob("*.md"))
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "checkpoints/README.md")
PAGES = [*(ROOT / name for name in OTHERS), *DOCS]
EXTENDING = ROOT / "docs" / "extending.md"


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_path_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"\b(?:a2c_cli|tests|benchmarks|docs|examples|scripts)/[\w./-]*\w/?", text)
    missing = [p for p in named if "NAME" not in p and not (ROOT / p).exists()]
    assert missing == []


def test_names_said_to_be_in_a_file_are_there() -> None:
    text = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
    named = re.findall(r"`(\w+)` in \[[^]]+\]\(([^)]+)\)", text)
    assert named
    for name, file in named:
        code = (ROOT / "docs" / file).read_text(encoding="utf-8")
        assert re.search(rf"\b{name}\b", code), (name, file)


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert 180 <= len(lines) <= 200
    assert max(map(len, lines)) <= 100


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    named = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(ROOT / "docs")) for page in DOCS)


def test_generated_parts_are_what_the_declarations_and_results_say() -> None:
    """A part that was edited by hand, or not rewritten, differs."""
    spec = importlib.util.spec_from_file_location("docs_script", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    parts = 0
    for page in script.pages():
        text = page.read_text(encoding="utf-8")
        parts += text.count("<!-- generated: ")
        assert script.rewrite(text) == text, f"python scripts/docs.py rewrites {page_name(page)}"
    assert parts >= 10


def test_the_tree_is_that_of_the_docstrings() -> None:
    assert shown_tree() == make_tree(), "python tests/support/tree.py rewrites it"


def test_each_list_of_files_is_as_long_as_its_heading_says() -> None:
    numbers = ["nothing", "one", "two", "three", "four", "five", "six"]
    sections = EXTENDING.read_text(encoding="utf-8").split("\n## ")[1:]
    assert len(sections) == 5
    for section in sections:
        heading, _, body = section.partition("\n")
        items = re.findall(r"^(\d+)\. `([\w./]+)`", body, re.MULTILINE)
        assert [int(number) for number, _ in items] == list(range(1, len(items) + 1)), heading
        stated = [numbers.index(word) for word in heading.split() if word in numbers]
        assert len(items) == max(stated), heading


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_commands_in_the_docs_have_options_that_exist(page: Path) -> None:
    known = known_options()
    text = page.read_text(encoding="utf-8")
    for command, rest in re.findall(r"\ba2c (\w+)((?: [^\n`#]*)?)", text):
        if command in known:
            unknown = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", rest)) - known[command]
            assert not unknown, f"a2c {command}{rest}"


def known_options() -> dict[str, set[str]]:
    """The long options of every command."""
    import typer.main

    from a2c_cli.commands.app import app

    group = typer.main.get_command(app)
    return {
        name: {flag for p in command.params for flag in (*p.opts, *p.secondary_opts)} | {"--help"}
        for name, command in group.commands.items()  # type: ignore[attr-defined]
    }
