"""The rules of the design, held by reading the source: who imports whom, how long a file is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from process import run_python

import a2c_cli

PACKAGE = Path(a2c_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A package imports only from ranks before its own, and itself.
RANKS = [
    {"errors", "text", "rng", "outside", "version"},
    {"config"},
    {"envs"},
    {"policies"},
    {"algorithm", "runs"},
    {"evaluation", "tracking"},
    {"film", "plots"},
    {"training"},
    {"terminal"},
    {"sweep"},
    {"commands"},
]
RANK = {name: height for height, names in enumerate(RANKS) for name in names}

LONGEST = 400  # lines; a file that grows past this holds two ideas


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[tuple[str, bool, bool]]:
    """Every import: module, whether it runs at import time, whether it is for type checkers."""

    def visit(node: ast.AST, top: bool, typing: bool) -> Iterator[tuple[str, bool, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, top, typing
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                yield child.module or "", top, typing
                for alias in child.names:  # `from a2c_cli import checkpoint` names a module too
                    if (child.module or "") in ("a2c_cli", "a2c_cli.commands"):
                        yield f"{child.module}.{alias.name}", top, typing
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from visit(child, False, typing)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from visit(child, top, True)
            else:
                yield from visit(child, top, typing)

    return visit(ast.parse(path.read_text()), True, False)


def users_of(package: str, *, at_run_time: bool = True) -> set[str]:
    """The modules that import a package anywhere (imports for type checkers do not count)."""
    return {
        module_name(path)
        for path in FILES
        for name, _, typing in imports(path)
        if name.split(".")[0] == package and not (at_run_time and typing)
    }


def package(module: str) -> str:
    """`policies` of `policies.acting`."""
    return module.split(".")[0]


def test_every_package_has_its_rank() -> None:
    assert {package(module_name(path)) for path in FILES} == set(RANK) | {"", "__main__"}


def test_imports_point_one_way() -> None:
    wrong = []
    for path in FILES:
        user = module_name(path)
        if package(user) in ("", "__main__"):
            continue
        for name, _, typing in imports(path):
            used = name.removeprefix("a2c_cli").removeprefix(".")
            if not name.startswith("a2c_cli.") or typing or package(used) == package(user):
                continue
            if RANK[package(used)] >= RANK[package(user)]:
                wrong.append(f"{user} imports {used}")
    assert not wrong


def test_a_package_s_docstring_is_its_table_of_contents() -> None:
    for init in PACKAGE.glob("*/__init__.py"):
        tree = ast.parse(init.read_text())
        assert len(tree.body) == 1, f"{init} holds more than a docstring"
        contents = ast.get_docstring(tree) or ""
        for file in init.parent.glob("[!_]*.py"):
            assert re.search(rf"\b{file.stem}\b", contents), f"{init} does not name {file.name}"


def test_typer_is_known_to_the_app_and_its_commands_alone() -> None:
    users = users_of("typer")
    assert {"commands.app", "commands.train"} <= users
    assert {package(u) for u in users} == {"commands"}


def test_gymnasium_and_the_emulator_are_known_to_the_environments_alone() -> None:
    users = users_of("gymnasium") | users_of("ale_py")
    assert {package(u) for u in users} == {"envs"}


def test_matplotlib_is_known_to_the_drawing_alone() -> None:
    assert users_of("matplotlib") == {"plots.axes", "plots.figures"}


def test_templates_are_known_to_the_page_alone() -> None:
    assert users_of("jinja2") == {"plots.page"}


def test_ray_is_known_to_its_backend_alone() -> None:
    assert users_of("ray") == {"sweep.cluster", "sweep.node"}


def test_what_acts_or_only_reads_never_imports_torch() -> None:
    users = users_of("torch")
    assert "algorithm.learner" in users
    torch_free = {
        "errors",
        "text",
        "rng",
        "outside",
        "config",
        "envs",
        "runs",
        "evaluation",
        "film",
        "plots",
        "sweep",
    }
    assert {u for u in users if package(u) in torch_free} == set()
    for module in (
        "policies.acting", "policies.convolution", "policies.layout", "policies.agent",
        "policies.normalizer", "algorithm.segment", "algorithm.schedules", "algorithm.scales",
        "policies.pixel_gradient", "terminal.results",
    ):  # fmt: skip
        assert module not in users, module


def test_commands_are_thin() -> None:
    heavy = ("torch", "gymnasium", "numpy", "safetensors", "ale_py", "cv2", "matplotlib")
    for path in FILES:
        if package(module_name(path)) != "commands":
            continue
        for name, top, typing in imports(path):
            assert name.split(".")[0] not in heavy, f"{path.name} imports {name}"
            light = (
                "commands", "config", "errors", "outside", "terminal.signals", "terminal.streams",
                "text", "version",
            )  # fmt: skip
            if top and not typing and name.startswith("a2c_cli."):
                used = name.removeprefix("a2c_cli.")
                assert used.startswith(light), f"{path.name} imports {name} before it is needed"


def test_pure_mathematics_imports_nothing_of_ours() -> None:
    for name in ("algorithm/returns", "algorithm/losses", "errors", "evaluation/statistics"):
        found = [i for i, _, _ in imports(PACKAGE / f"{name}.py") if i.startswith("a2c_cli")]
        assert found == [], name


def test_importing_the_package_is_cheap() -> None:
    done = run_python(
        "-c",
        "import sys, a2c_cli; a2c_cli.TrainConfig; a2c_cli.A2CError;"
        "print({'torch', 'gymnasium', 'numpy', 'typer', 'rich'} & set(sys.modules))",
    )
    assert done.stdout.strip() == "set()", done.stderr


def test_help_needs_neither_torch_nor_gymnasium() -> None:
    done = run_python(
        "-c",
        "import sys; sys.argv = ['a2c', 'train', '--help']\n"
        "from a2c_cli.commands.app import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code\n"
        "print({'torch', 'gymnasium', 'numpy', 'cv2'} & set(sys.modules))",
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_the_public_names_are_there() -> None:
    for name in a2c_cli.__all__:
        assert getattr(a2c_cli, name).__name__.rpartition(".")[2] == name
    assert dir(a2c_cli) == sorted(a2c_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        a2c_cli.nonsense  # noqa: B018


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_are_short_documented_and_postpone_annotations(path: Path) -> None:
    text = path.read_text()
    lines = text.count("\n")
    assert lines <= LONGEST, f"{lines} lines"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    if any(isinstance(n, ast.FunctionDef) for n in tree.body) and path.name != "__main__.py":
        assert "from __future__ import annotations" in text
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            decorators = [ast.unparse(d) for d in node.decorator_list]
            public = node in tree.body and "overload" not in decorators
            assert not public or ast.get_docstring(node), f"{node.name} has no docstring"


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    names = {path.stem for path in FILES}
    assert not names & {"utils", "util", "common", "helpers", "base", "misc"}


def test_nothing_is_unpickled_or_evaluated() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads", "torch.load")
        assert "pickle" not in {name for name, _, _ in imports(path)}


def test_no_test_file_imports_another() -> None:
    for path in Path(__file__).parent.rglob("test_*.py"):
        for name, _, _ in imports(path):
            assert not name.split(".")[0].startswith("test_"), f"{path} imports {name}"
