"""Write the generated parts of README.md and docs/: commands, settings, tables of results.

    python scripts/docs.py            # rewrites them
    python scripts/docs.py --check    # exits with 1 if one of them is out of date

Commands and settings come from the declarations that `--help` shows, numbers from
benchmarks/results. A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import math
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer.main

from a2c_cli.commands.app import app
from a2c_cli.commands.help import entries, split_help
from a2c_cli.commands.options import describe_default, describe_range
from a2c_cli.config.defaults import GRADIENT, GRADIENT_CONTINUOUS
from a2c_cli.config.kinds import KINDS
from a2c_cli.config.settings import settings
from a2c_cli.evaluation.scores import reference_scores
from a2c_cli.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NEWEST = ".".join(VERSION.split(".")[:2])  # whose defaults need no mark
_GAME = 2_500_000  # agent steps of a game, by default
_PART = re.compile(r"(<!-- generated: ([\w. -]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The files that have generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rewrite(text: str) -> str:
    """A page with its generated parts as they should be."""
    return _PART.sub(lambda match: f"{match[1]}{make(match[2])}{match[4]}", text)


def make(name: str) -> str:
    """The part of this name, e.g. `command train` or `results`."""
    kind, _, rest = name.partition(" ")
    makers: dict[str, Callable[[str], str]] = {
        "command": _command,
        "settings": _settings,
        "gradient-defaults": _gradient_defaults,
        "results": _results,
        "games": _games,
        "speed": _speed,
    }
    return makers[kind](rest)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _command(name: str) -> str:
    """Purpose, examples and options of a command; `train`'s settings have their own page."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    purpose, examples = split_help(command.help)
    own = [e for e in entries(command) if name != "train" or e.main]
    rows = [[f"`{e.names}`", _cell(e.meaning), _cell(e.default)] for e in own]
    return (
        f"{purpose}\n\n```\n"
        + "".join(f"{example}\n" for example in examples)
        + "```\n\n"
        + _table(["option", "meaning", "default"], rows)
    )


def _settings(_: str) -> str:
    """All settings by group: option, key of config.toml, meaning, range, default by kind."""
    groups: dict[str, list[list[str]]] = {}
    for name, field in settings().items():
        meta = field.metadata
        kinds = "" if set(meta["kinds"]) == set(KINDS) else ", ".join(meta["kinds"])
        if meta["continuous"] is not None:
            kinds = "continuous actions" if meta["continuous"] else "discrete actions"
        row = [
            f"`{name}`",
            _cell(meta["doc"]),
            _cell(describe_range(name)),
            _cell(describe_default(name)),
            kinds,
            "yes" if meta["on_resume"] else "",
        ]
        groups.setdefault(meta["group"], []).append(row)
    head = ["key", "meaning", "range", "default", "only for", "changes on resume"]
    return "\n".join(f"## {group}\n\n{_table(head, rows)}" for group, rows in groups.items())


def _gradient_defaults(_: str) -> str:
    names = dict.fromkeys([*GRADIENT, *GRADIENT_CONTINUOUS])
    rows = [
        [f"`{n}`", str(GRADIENT.get(n, "as above")), str(GRADIENT_CONTINUOUS.get(n, "as above"))]
        for n in names
    ]
    return _table(["key", "discrete actions", "continuous actions"], rows)


def read_results() -> list[dict[str, Any]]:
    """What benchmarks/learning.py has measured with plain defaults, by environment and budget."""
    found = [json.loads(p.read_text()) for p in sorted((RESULTS / "learning").glob("*.json"))]
    plain = [result for result in found if not result["options"]]
    return sorted(
        plain, key=lambda r: (not r["env"].startswith("ALE/"), r["env"], r["total_steps"])
    )


def _results(which: str) -> str:
    """A table of runs with plain defaults: `short` for the README, with commands otherwise."""
    if which == "short":
        return _short_results(_newest(read_results()))
    rows = []
    for result in read_results():
        returns = [run["mean_return_100"] for run in result["runs"]]
        reference = reference_scores(result["env"])
        random, human = ("", "") if reference is None else map(_score, reference)
        command = (
            f"python benchmarks/learning.py --env {result['env']}"
            f" --total-steps {result['total_steps']} --seeds {len(returns)}"
        )
        rows.append(
            [
                result["env"],
                f"{result['total_steps']:,}",
                ", ".join(map(_score, returns)),
                _score(statistics.fmean(returns)),
                random,
                human,
                result["defaults"],
                f"`{command}`",
            ]
        )
    head = ["environment", "steps", "each seed", "mean", "random", "human", "defaults of"]
    return _table([*head, "command"], rows)


def _games(_: str) -> str:
    """Our newest numbers of each game beside what others have published."""
    published = json.loads((RESULTS / "published.json").read_text())["games"]
    rows = []
    for result in _newest(read_results(), most_steps=_GAME):
        reference = reference_scores(result["env"])
        if reference is None:
            continue
        others = published.get(result["env"], {})
        mark = "" if result["defaults"] == NEWEST else f" ({result['defaults']})"
        if result["total_steps"] != _GAME:
            mark += f" after {result['total_steps'] / 1e6:g} M"
        rows.append(
            [
                result["env"].removeprefix("ALE/").removesuffix("-v5"),
                ", ".join(_score(run["mean_return_100"]) for run in result["runs"]) + mark,
                *(", ".join(map(_score, others.get(name, []))) for name in ("dqn", "a2c-16")),
                *map(_score, reference),
            ]
        )
    head = ["game", "a2c, 2.5 M steps, each seed", "DQN with replay, 2.5 M, 10 M"]
    return _table([*head, "A2C, sixteen environments, 10 M", "random play", "a human tester"], rows)


def _short_results(results: list[dict[str, Any]]) -> str:
    """Games on the left, with a human tester's score; everything else on the right."""
    games, others = [], []
    for result in results:
        name = result["env"].removeprefix("ALE/").rpartition("-v")[0]
        returns = ", ".join(_score(run["mean_return_100"]) for run in result["runs"])
        millions = f"{result['total_steps'] / 1e6:g} M"
        mark = "" if result["defaults"] == NEWEST else f" ({result['defaults']})"
        if result["env"].startswith("ALE/"):
            human = (reference_scores(result["env"]) or (0.0, 0.0))[1]
            games.append([f"{name}, {millions}", f"{returns}{mark}", _score(human)])
        else:
            others.append([f"{result['env']}, {millions}", f"{returns}{mark}"])
    rows = [
        [*(games[i] if i < len(games) else ["", "", ""]), *(others[i : i + 1] or [["", ""]])[0]]
        for i in range(max(len(games), len(others)))
    ]
    return _table(["game, steps", "each seed", "human", "environment, steps", "each seed"], rows)


def _newest(results: list[dict[str, Any]], most_steps: float = math.inf) -> list[dict[str, Any]]:
    """One result per environment: of the newest defaults, and of those the largest budget."""
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        if result["total_steps"] > most_steps:
            continue
        other = best.get(result["env"])
        if other is None or _rank(result) > _rank(other):
            best[result["env"]] = result
    return list(best.values())


def _rank(result: dict[str, Any]) -> tuple[list[int], int]:
    return [int(part) for part in result["defaults"].split(".")], result["total_steps"]


def _score(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _speed(_: str) -> str:
    """Steps per second of each contender, as benchmarks/speed.py measured them."""
    record = json.loads((RESULTS / "speed.json").read_text())
    rates = record["steps_per_second"]
    names = {
        "raw": "raw emulator, four `act` calls per step, no screen",
        "ours": "**`a2c train`, one thread**",
        "ours-2-threads": "`a2c train --threads 2`",
        "notebook": "the notebook's loop",
        "sb3-1": "SB3 A2C, 1 environment",
        "sb3-8": "SB3 A2C, 8 environments",
        "sb3-16": "SB3 A2C, 16 environments",
    }
    median = {name: statistics.median(values) for name, values in rates.items()}
    rows = [
        [
            words,
            f"{median[name]:,.0f}",
            f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}",
            f"{median[name] / median['raw']:.2f}",
            "" if name.startswith(("raw", "ours")) else f"{median['ours'] / median[name]:.1f} x",
        ]
        for name, words in names.items()
    ]
    head = ["", "steps/s", "range", "share of raw", "a2c is faster by"]
    return _table(head, rows)


def main() -> int:
    """Rewrite the pages, or say which are out of date."""
    stale = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        new = rewrite(text)
        if new != text:
            stale.append(path)
            if "--check" not in sys.argv:
                path.write_text(new, encoding="utf-8")
    for path in stale:
        print(path.relative_to(ROOT))
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
