"""Make the pictures of README.md and docs/.

python scripts/pictures.py curve      # docs/images/curve.png, from benchmarks/results
python scripts/pictures.py bodies     # docs/images/bodies.png, from the same
python scripts/pictures.py panel      # docs/images/panel.svg, of a short run made for it
python scripts/pictures.py page       # docs/images/page.png, of the same run; needs Chromium
python scripts/pictures.py notebook --run DIR   # docs/images/notebook.png
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
RESULTS = ROOT / "benchmarks" / "results"
BLUE, ORANGE, GREEN, GRAY = "#0072b2", "#d55e00", "#009e73", "#59636e"
# Breakout with sticky actions; docs/results.md has the sources.
PEERS: dict[str, float] = {
    "A2C, 16 env., 10 M": 273,
    "DQN with replay, 10 M": 82,
    "human tester": 30.5,
}
# After a million steps of one stream: CleanRL's PPO with one environment (v4), and what the RL Zoo
# tuned for each body (PPO and TRPO, v3); docs/results.md has the sources.
BODIES: dict[str, dict[str, float]] = {
    "HalfCheetah-v5": {"PPO": 1443, "PPO tuned": 5819, "TRPO tuned": 1785},
    "Walker2d-v5": {"PPO": 2288, "PPO tuned": 3479, "TRPO tuned": 4933},
    "Hopper-v5": {"PPO": 2383, "PPO tuned": 2410, "TRPO tuned": 3618},
    "Ant-v5": {"PPO tuned": 1327, "TRPO tuned": 4982},
}
SEEDS = ("-", "--", ":")


def draw_curve() -> None:
    """The learning curves of Breakout, with the scores of others as lines."""
    figure = Figure(figsize=(7.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in (("Breakout-v5-10000000", BLUE), ("Breakout-v5-2500000", ORANGE)):
        result = json.loads((RESULTS / "learning" / f"{name}.json").read_text())
        for run in result["runs"]:
            steps, returns = zip(*run["curve"], strict=True)
            seed = f"a2c, seed {run['seed']}, defaults of {result['defaults']}"
            millions = [step / 1e6 for step in steps]
            dashes = "--" if run["seed"] else "-"
            axes.plot(millions, returns, dashes, color=colour, lw=2, label=seed)
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 300)
    draw_levels(axes, PEERS)
    axes.set_xlabel("agent steps of one stream, millions")
    axes.set_ylabel("Breakout, mean of the last 100 returns")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", framealpha=1, edgecolor="white", fontsize=9)
    figure.savefig(IMAGES / "curve.png", dpi=130)


def draw_levels(axes: Axes, scores: dict[str, float]) -> None:
    """Scores of others as lines, with their names to the right of the chart."""
    room = 0.06 * (axes.get_ylim()[1] - axes.get_ylim()[0])
    ordered = sorted(scores.items(), key=lambda item: item[1])
    lower = [None, *[score for _, score in ordered[:-1]]]
    upper = [*[score for _, score in ordered[1:]], None]
    for (name, score), below, above in zip(ordered, lower, upper, strict=True):
        crowded = "top" if above is not None and above - score < room else "center"
        crowded = "bottom" if below is not None and score - below < room else crowded
        axes.axhline(score, color=GRAY, lw=1, ls=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{name}: {score:,g}", (1.01, score), xycoords=("axes fraction", "data"),
            color=GRAY, fontsize=9, va=crowded, annotation_clip=False,
        )  # fmt: skip


def draw_bodies() -> None:
    """The learning curves of four bodies, with the scores of others after as many steps."""
    figure = Figure(figsize=(10.4, 7.2), layout="constrained")
    for axes, (env, peers) in zip(figure.subplots(2, 2).flat, BODIES.items(), strict=True):
        result = json.loads((RESULTS / "learning" / f"{env}-1000000.json").read_text())
        for run, dashes in zip(result["runs"], SEEDS, strict=False):
            steps, returns = zip(*run["curve"], strict=True)
            axes.plot([s / 1e6 for s in steps], returns, dashes, color=BLUE, lw=1.8,
                      label=f"a2c, seed {run['seed']}")  # fmt: skip
        axes.set_title(env, loc="left", fontsize=11)
        axes.set_xlim(0, 1)
        axes.set_ylim(top=1.12 * max([*peers.values(), axes.get_ylim()[1] / 1.12]))
        draw_levels(axes, peers)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="upper left", framealpha=1, edgecolor="white", fontsize=9)
    figure.supxlabel("steps of one stream, millions")
    figure.supylabel("mean of the last 100 returns")
    figure.savefig(IMAGES / "bodies.png", dpi=110)


def draw_notebook(run: Path) -> None:
    """How the notebook's recipe dies: return, entropy and value loss, one above the other."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    charts = {
        "rollout/ep_rew_mean": ("mean return", "linear"),
        "train/entropy": ("entropy, nats", "linear"),
        "train/value_loss": ("value loss", "log"),
    }
    parts: list[Any] = list(figure.subplots(3, 1, sharex=True))
    for axes, (name, (label, scale)) in zip(parts, charts.items(), strict=True):
        points = [(line["env_steps"] / 1e3, line[name]) for line in lines if name in line]
        axes.plot(*zip(*points, strict=True), color=BLUE, lw=2)
        axes.set_yscale(scale)
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.axvspan(148, 160, color=ORANGE, alpha=0.2, lw=0)
    parts[0].annotate("the value runs away", (161, 1.2), color=ORANGE, fontsize=9)
    parts[1].annotate("the policy takes one action", (161, 0.9), color=ORANGE, fontsize=9)
    parts[2].set_xlabel("agent steps, thousands")
    figure.savefig(IMAGES / "notebook.png", dpi=130)


def train_one(run: Path) -> Any:
    """A short run on CartPole; the last state that it reported."""
    from a2c_cli import TrainConfig, train
    from a2c_cli.training.progress import Progress

    states: list[Progress] = []
    train(
        TrainConfig(env="CartPole-v1", total_steps=12_000, log_every=500),
        run_dir=run,
        on_progress=states.append,
    )
    return [state for state in states if state.env_steps < 12_000][-1]


def draw_panel(state: Any) -> None:
    """What a terminal shows while a run goes."""
    from rich.console import Console

    from a2c_cli.terminal.live import panel

    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(panel(state, 100))
    svg = console.export_svg(title="a2c train --env CartPole-v1 --total-steps 12000")
    # The fonts would be fetched from elsewhere.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    (IMAGES / "panel.svg").write_text(svg)


def draw_page(run: Path) -> None:
    """The top of the page that `a2c plot --output run.html` makes."""
    from playwright.sync_api import sync_playwright

    from a2c_cli.plots.comparison import compare
    from a2c_cli.plots.page import make_page
    from a2c_cli.runs.metrics import read_runs

    file = run / "run.html"
    file.write_text(make_page(compare(read_runs([run])[0])[0]))
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.goto(file.as_uri())
        page.screenshot(path=IMAGES / "page.png")
        browser.close()


def main() -> None:
    """Make the pictures named, or all that need no run of the user's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = ["curve", "bodies", "panel", "page", "notebook"]
    parser.add_argument(
        "names", nargs="*", help=f"of {', '.join(names)}; all but the last by default"
    )
    parser.add_argument("--run", type=Path, help="a run of --preset notebook on Breakout")
    args = parser.parse_args()
    args.names = args.names or names[:4]
    if "curve" in args.names:
        draw_curve()
    if "bodies" in args.names:
        draw_bodies()
    if "notebook" in args.names:
        draw_notebook(args.run)
    if {"panel", "page"} & set(args.names):
        with tempfile.TemporaryDirectory() as directory:
            run = Path(directory) / "cartpole"
            state = train_one(run)
            if "panel" in args.names:
                draw_panel(state)
            if "page" in args.names:
                draw_page(run)


if __name__ == "__main__":
    main()
