"""The results of commands as tables, or as JSON; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from a2c_cli.terminal.console import (
    Results,
    print_columns,
    print_json,
    print_rows,
    print_table,
    sparkline,
)
from a2c_cli.text import number, percent, plain_value, safe_text, short_count

if TYPE_CHECKING:
    from a2c_cli.plots.comparison import Comparison


def evaluation(result: Mapping[str, Any], *, json: bool) -> None:
    """Scores of an evaluation."""
    if json:
        print_json(result)
        return
    low, high = result["ci95"]
    interval = f"  (95 % interval {low:,.2f} to {high:,.2f})" if result["episodes"] > 1 else ""
    rows = [
        ("environment", result["env_id"]),
        ("policy", result["policy"]),
        ("episodes", f"{_games(result)}, seed {result['seed']}"),
        ("mean", f"{result['mean']:,.2f}{interval}"),
        ("median", f"{result['median']:,.2f}"),
        ("IQM", f"{result['iqm']:,.2f}"),
        ("std", f"{result['std']:,.2f}"),
        ("range", f"{result['min']:,.2f} to {result['max']:,.2f}"),
        ("length", f"{sum(result['lengths']) / len(result['lengths']):,.0f} steps a game"),
    ]
    if result["success_rate"] is not None:
        rows.append(("success", _successes(result)))
    if result["random_mean"] is not None:
        rows.append(("random play", f"{result['random_mean']:,.2f}"))
        rows.append(("human-normalised", f"{100 * result['human_normalized']:,.0f} %"))
    shown = {k: v for k, v in result["protocol"].items() if v is not None}
    told = (f"{k.replace('_', ' ')} {plain_value(v)}" for k, v in shown.items())
    rows.append(("protocol", ", ".join(told)))
    print_rows(rows)


def _games(result: Mapping[str, Any]) -> str:
    many = "game" if result["episodes"] == 1 else "games"
    if not result["cut"]:
        return f"{result['episodes']:,} whole {many}"
    which = "" if result["cut"] == result["episodes"] else f"{result['cut']:,} of them "
    rate = sum(result["returns"]) / sum(result["lengths"])
    return (
        f"{result['episodes']:,} {many}, {which}cut after"
        f" {result['protocol']['step_cap']:,} steps ({rate:.4g} a step)"
    )


def _successes(result: Mapping[str, Any]) -> str:
    rate, n = result["success_rate"], result["success_episodes"]
    low, high = (100 * end for end in result["success_ci95"])
    told = "" if n == result["episodes"] else " that told"
    return (
        f"{100 * rate:.1f} %, {round(rate * n):,} of {n:,} games{told}"
        f"  (95 % interval {low:.1f} to {high:.1f} %)"
    )


def recording(result: Mapping[str, Any], *, json: bool) -> None:
    """Files of a recording."""
    if json:
        print_json(result)
        return
    rows = [
        (f"{film['return']:,.2f}", f"{film['length']:,}", film["file"])
        for film in result["episodes"]
    ]
    print_table(Results(), ("return", "steps", "file"), rows, left=2)
    cut = sum(film["cut"] for film in result["episodes"])
    if cut:
        what = "the game was" if len(rows) == 1 else f"{cut} of {len(rows)} games were"
        Results().put(Text(f"{what} cut by the limit of steps before the end"))


def inspection(result: Mapping[str, Any], *, json: bool) -> None:
    """What is in a checkpoint."""
    if json:
        print_json(result)
        return
    observation, actions = result["observation"], result["actions"]
    print_rows(
        [
            ("environment", result["env_id"]),
            ("observation", f"{'x'.join(map(str, observation['shape']))} {observation['dtype']}"),
            ("actions", f"{actions['kind']} {'x'.join(map(str, actions['sizes']))}"
             + (f": {' '.join(actions['meanings'])}" if actions["meanings"] else "")),
            ("trained for", f"{result['env_steps']:,} steps ({result['frames']:,} frames),"
             f" {result['updates']:,} updates, {result['episodes']:,} episodes"),
            ("return", f"{number(result['mean_return_100'])} over the last"
             f" {len(result['recent_returns'])} episodes, best mean"
             f" {number(result['best_mean_return'])}"),
            *_spark(result["recent_returns"]),
            *([] if result["success_rate"] is None
              else [("success", f"{percent(result['success_rate'])} of the last episodes")]),
            ("resumable", "yes" if result["resumable"] else "no, it holds weights only"),
            ("versions", ", ".join(f"{k} {v}" for k, v in result["versions"].items())),
            ("sha256", result["sha256"]),
        ]
    )  # fmt: skip
    _print_network(result)
    if result["filters"] is not None:
        print_rows([("filters", result["filters"])])
    Results().put(Text())
    print_rows([(name, plain_value(value)) for name, value in result["config"].items()])


def _print_network(result: Mapping[str, Any]) -> None:
    network = [
        (
            layer["name"],
            "x".join(map(str, layer["shape"])),
            f"{layer['parameters']:,}",
            f"{100 * layer['share']:.1f} %",
            short_count(layer["flops"]),
        )
        for layer in result["network"]
    ]
    total = ("total", "", f"{result['parameters']:,}", "100.0 %", short_count(result["flops"]))
    print_columns(("layer", "shape", "params", "share", "FLOPs/step"), [*network, total])
    columns = {
        "norm": ("norm", ",.2f"),
        "max |w|": ("largest", ",.2f"),
        "silent": ("silent", ",d"),
        "NaN/inf": ("not_finite", ",d"),
    }
    shown = {name: c for name, c in columns.items() if any(c[0] in n for n in result["network"])}
    if shown:
        print_columns(
            ("layer", *shown),
            [
                (layer["name"], *(number(layer.get(key), form) for key, form in shown.values()))
                for layer in result["network"]
            ],
        )


def _spark(returns: Sequence[float]) -> list[tuple[str, str]]:
    if not returns:
        return []
    return [("", f"{sparkline(returns)}  {min(returns):,.4g} to {max(returns):,.4g}")]


def curves(
    comparisons: Sequence[Comparison], output: Path | None, title: str, *, json: bool
) -> None:
    """Where the curves end; without a file, the curves themselves."""
    from a2c_cli.plots.comparison import summarize_group

    if json:
        file = None if output is None else str(output)
        groups = [summarize_group(group) for part in comparisons for group in part.groups]
        print_json({"file": file, "groups": groups})
    elif output is None:
        console = Results()
        if title:
            console.print(Text(safe_text(title), style="bold"), soft_wrap=True)
        for comparison in comparisons:
            _print_comparison(console, comparison)


def _print_comparison(console: Results, comparison: Comparison) -> None:
    from a2c_cli.evaluation.statistics import few_seeds_note
    from a2c_cli.plots.comparison import summarize_group
    from a2c_cli.plots.text_plot import draw_text, mark

    unicode = console.encoding.startswith("utf")
    # Without colours, dots would not tell the groups apart.
    dots = unicode and (console.color_system is not None or len(comparison.groups) == 1)
    console.print(Text(safe_text(comparison.env_id), style="bold"), soft_wrap=True)
    for group in comparison.groups:
        if group.label:
            console.print(mark(group.number, dots).append(f" {safe_text(group.label)}"))
    plot = draw_text(comparison, min(console.width, 100), dots=dots)
    console.print(plot, end="", soft_wrap=True)
    ends = Table(box=None, pad_edge=False)
    for title in ("", "seeds", "steps", "return", "95 % interval"):
        ends.add_column(title, justify="right")
    for group in comparison.groups:
        summary = summarize_group(group)
        low, high = summary["ci95"] or (None, None)
        ends.add_row(
            mark(group.number, dots),
            str(len(group.runs)),
            f"{summary['env_steps']:,}",
            number(summary["reward_rate"], ".4g")
            if group.endless
            else number(summary["mean_return_100"]),
            "-" if low is None else f"{number(low)} to {number(high)}",
        )
    console.print(ends)
    note = few_seeds_note({len(group.runs) for group in comparison.groups})
    if note:
        console.print(Text(note), soft_wrap=True)
    metrics = Table(box=None, show_header=False, pad_edge=False)
    for metric in comparison.series:
        for group in comparison.groups:
            if metric in group.series:
                values = [float(v) for v in group.series[metric].center]
                bars = sparkline(values, max(5, min(20, console.width - 47))) if unicode else "..."
                shown = (f"{values[0]:.3g}", bars, f"{values[-1]:.3g}")
                metrics.add_row(mark(group.number, dots), metric.split("/")[-1], *shown)
    console.print(metrics)
