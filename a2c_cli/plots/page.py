"""One page about some runs that needs nothing else: curves, settings, evaluation, network, videos.

`page.html.j2` lays out what `sections` gathers. The page has no script, and its content security
policy lets a browser fetch nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from a2c_cli.plots import sections
from a2c_cli.plots.comparison import Comparison
from a2c_cli.plots.evaluation_file import Evaluation
from a2c_cli.runs.files import MARK
from a2c_cli.text import safe_text
from a2c_cli.version import VERSION


def make_page(
    comparisons: Sequence[Comparison], evaluations: Sequence[Evaluation] = (), title: str = ""
) -> str:
    """The page as HTML.

    Args:
        comparisons: at least one.
        evaluations: what `read_evaluation` gives.
        title: in place of the environments' names.
    """
    runs = [run for c in comparisons for group in c.groups for run in group.runs]
    return (
        _templates()
        .get_template("page.html.j2")
        .render(
            title=title or ", ".join(comparison.env_id for comparison in comparisons),
            alone=len(comparisons) == 1,
            curves=[sections.curves(comparison) for comparison in comparisons],
            evaluations=evaluations,
            protocols=sections.protocols(evaluations),
            videos=sections.videos(runs),
            networks=[sections.networks(comparison) for comparison in comparisons],
            settings=[sections.settings(comparison) for comparison in comparisons],
            runs=runs,
            mark=MARK,
            version=VERSION,
        )
    )


def _templates() -> Environment:
    """Every value is escaped and loses its control characters, unless it is `Markup` of ours."""
    templates = Environment(
        loader=PackageLoader("a2c_cli", "plots"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else safe_text(str(value)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {
        "number": _number,
        "rate": _rate,
        "interval": _interval,
        "count": _count,
        "place": _place,
    }
    return templates


def _number(value: float | None) -> str:
    """Two decimals; a dash for None."""
    return "–" if value is None else f"{value:,.2f}".replace("-", "\N{MINUS SIGN}")


def _rate(value: float) -> str:
    """Four digits: a reward of a step may be small."""
    return f"{value:,.4g}".replace("-", "\N{MINUS SIGN}")


def _interval(ends: Sequence[float] | None) -> str:
    """`low to high`; a dash for None."""
    return "–" if ends is None else f"{_number(ends[0])} to {_number(ends[1])}"


def _count(value: Any) -> str:
    return f"{value:,}"


def _place(path: str) -> str:
    """`run/best.safetensors`: where the run lies on its maker's disk is nobody's business."""
    return "/".join(PurePath(path).parts[-2:])
