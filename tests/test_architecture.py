"""The rules of the design, held by reading the source: who imports whom, how long a file is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import run_python

import a2c_cli

PACKAGE = Path(a2c_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Lower may not import higher. Files of one layer may import each other.
LAYERS = [
    ["errors", "schedules", "returns", "losses", "signals", "rng", "statistics", "scores",
     "canvas", "guards", "prediction"],
    ["checks"],
    ["config", "config_text", "envs", "envs.spec", "normalizers", "video"],
    ["defaults", "policies.layout", "policies.heads", "policies.convolution", "run", "segment",
     "envs.frames"],
    ["policies.acting", "policies.network", "policies.gradient", "envs.atari", "envs.gym_env",
     "header", "trackers"],
    ["checkpoint"],
    ["envs.make", "agent", "rollout", "optimizers", "weights", "policy_view", "curves", "policies"],
    ["update", "loading"],
    ["learner", "evaluation", "bookkeeping", "saliency", "overlay", "inspection"],
    ["comparison", "markup"],
    ["panels", "plots", "exhibits", "page", "text_plot"],
    ["device", "camera", "recording", "progress", "filming", "judging", "keeping", "tracking"],
    ["training"],
    ["engine"],
    ["report"],
    ["train_report"],
    ["sweep", "sweep.plan", "sweep.trial", "sweep.state", "sweep.summary", "sweep.drive",
     "sweep.local", "sweep.node", "sweep.cluster", "sweep.table"],
    ["commands.options"],
    ["commands", "commands.train", "commands.evaluate", "commands.record", "commands.inspect",
     "commands.plot", "commands.sweep"],
    ["app"],
    ["__main__", ""],
]  # fmt: skip
HEIGHT = {name: level for level, names in enumerate(LAYERS) for name in names}

LONGEST = 300  # lines


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


def test_every_module_has_its_place() -> None:
    assert {module_name(path) for path in FILES} <= set(HEIGHT)


def test_imports_point_one_way() -> None:
    wrong = []
    for path in FILES:
        user = module_name(path)
        for name, _, typing in imports(path):
            used = name.removeprefix("a2c_cli").removeprefix(".")
            if not name.startswith("a2c_cli") or typing or used not in HEIGHT or used == "":
                continue
            if HEIGHT[used] > HEIGHT[user]:
                wrong.append(f"{user} imports {used}")
    assert not wrong


def test_typer_is_known_to_the_app_and_its_commands_alone() -> None:
    users = users_of("typer")
    assert {"app", "commands.train"} <= users
    assert {u for u in users if u != "app" and not u.startswith("commands.")} == set()


def test_gymnasium_and_the_emulator_are_known_to_the_environments_alone() -> None:
    users = users_of("gymnasium") | users_of("ale_py")
    assert "envs.gym_env" in users
    assert {u for u in users if not (u + ".").startswith("envs.")} == set()


def test_matplotlib_is_known_to_the_drawing_alone() -> None:
    assert users_of("matplotlib") == {"panels", "plots"}


def test_ray_is_known_to_its_backend_alone() -> None:
    assert users_of("ray") == {"sweep.cluster", "sweep.node"}


def test_what_acts_or_only_reads_never_imports_torch() -> None:
    users = users_of("torch")
    assert "learner" in users
    for module in (
        "errors", "config", "schedules", "report", "checkpoint", "run", "agent", "rollout",
        "segment", "normalizers", "policies.acting", "policies.layout", "loading", "evaluation",
        "recording",
        "inspection", "statistics", "weights", "overlay", "policy_view",
        "canvas", "camera", "scores", "video", "envs.make", "envs.atari", "envs.gym_env",
        "envs.spec", "rng", "curves", "comparison", "plots", "page",
        "sweep.plan", "sweep.drive", "sweep.summary", "sweep.table",
    ):  # fmt: skip
        assert module not in users, module


def test_commands_are_thin() -> None:
    heavy = ("torch", "gymnasium", "numpy", "safetensors", "ale_py", "cv2", "matplotlib")
    for path in FILES:
        if not module_name(path).startswith(("commands", "app")):
            continue
        for name, top, _ in imports(path):
            assert name.split(".")[0] not in heavy, f"{path.name} imports {name}"
            light = (
                "a2c_cli.commands",
                "a2c_cli.config",  # and config_text
                "a2c_cli.defaults",
                "a2c_cli.errors",
                "a2c_cli.signals",
            )
            if top and name.startswith("a2c_cli."):
                assert name.startswith(light), f"{path.name} imports {name} before it is needed"


def test_pure_mathematics_imports_nothing_of_ours() -> None:
    for name in ("returns", "losses", "schedules", "errors", "statistics"):
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
        "from a2c_cli.app import main\n"
        "try: main()\n"
        "except SystemExit as left: assert not left.code\n"
        "print({'torch', 'gymnasium', 'numpy', 'cv2'} & set(sys.modules))",
    )
    assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_the_public_names_are_there() -> None:
    for name in a2c_cli.__all__:
        assert getattr(a2c_cli, name).__name__ == name
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
