"""A policy as bars: probabilities of choices, or mean and deviation of real numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.film.canvas import BOX, BRIGHT, DIM, Canvas, Colour
from a2c_cli.policies.distributions import probabilities

BAR: Colour = (92, 120, 160)
TAKEN: Colour = (255, 178, 66)

_BARS = 9  # actions in one column


class Chance(NamedTuple):
    """One choice of a categorical policy."""

    name: str
    probability: float
    taken: bool


class Spread(NamedTuple):
    """One number of a Gaussian policy, in the environment's units; a bound may be infinite."""

    name: str
    low: float
    high: float
    mean: float
    deviation: float
    taken: float


def make_bars(
    action: ActionSpec, outputs: NDArray[np.float32], log_std: Any, taken: Any
) -> list[Chance] | list[Spread]:
    """The policy as bars for the panel.

    Args:
        action: the action space.
        outputs: (action.outputs,) logits or means.
        log_std: (numbers,) ln σ of a Gaussian policy, else None.
        taken: the action in the policy's own form: int, (choices,) or (numbers,).
    """
    if action.kind == "continuous":
        # to_env is linear inside the bounds: its slope turns deviations into the env's units.
        scale = [
            (high - low) / 2 if math.isfinite(low) and math.isfinite(high) else 1.0
            for low, high in zip(action.low, action.high, strict=True)
        ]
        deviations = np.exp(log_std) * scale
        means, numbers = (np.ravel(action.to_env(x)).tolist() for x in (outputs, taken))
        return [
            Spread(f"action {i}", low, high, mean, float(deviation), number)
            for i, (low, high, mean, deviation, number) in enumerate(
                zip(action.low, action.high, means, deviations, numbers, strict=True)
            )
        ]
    bars = []
    parts = np.split(outputs, np.cumsum(action.sizes)[:-1])
    for i, (part, chosen) in enumerate(zip(parts, np.atleast_1d(taken).tolist(), strict=True)):
        for k, p in enumerate(probabilities(part)):
            name = action.meanings[k] if action.meanings else str(action.start[i] + k)
            label = name if action.kind == "discrete" else f"{i}: {name}"
            bars.append(Chance(label, p, k == chosen))
    return bars


def needs_two_columns(action: ActionSpec) -> bool:
    """Whether the bars need a wide place."""
    return action.outputs > _BARS


class PolicyView:
    """Draws the policy of one action space, each always in the same place.

    Args:
        action: the action space.
        left, top, right, bottom: the place, in pixels.
    """

    def __init__(self, action: ActionSpec, left: int, top: int, right: int, bottom: int) -> None:
        self._action = action
        self._left, self._top, self._right, self._bottom = left, top, right, bottom
        self._reach: dict[str, float] = {}  # of numbers without bounds, so far

    def draw(self, canvas: Canvas, bars: Sequence[Chance] | Sequence[Spread]) -> None:
        """The bars of `make_bars`; of too many the most probable (or first) ones."""
        columns = 2 if needs_two_columns(self._action) else 1
        room = self._bottom - self._top
        limit = columns * max(_BARS, room // canvas.px(15))
        shown: list[Chance | Spread] = list(bars)
        if len(shown) > limit:
            shown.sort(key=lambda bar: -bar.probability if isinstance(bar, Chance) else 0.0)
            shown = shown[: limit - 1]
        each = math.ceil(min(len(bars), limit) / columns)
        pitch = min(canvas.px(24), room / each)
        gap = canvas.px(18)
        width = (self._right - self._left - gap * (columns - 1)) // columns
        places = [
            (self._left + (i // each) * (width + gap), round(self._top + (i % each) * pitch))
            for i in range(min(len(bars), limit))
        ]
        for (x, y), bar in zip(places, shown, strict=False):
            if isinstance(bar, Chance):
                _draw_chance(canvas, bar, x, y, width, pitch)
            else:
                self._draw_spread(canvas, bar, x, y, width, pitch)
        if len(shown) < len(bars):
            canvas.text(*places[-1], f"and {len(bars) - len(shown)} more", 12, DIM)

    def _draw_spread(
        self, canvas: Canvas, bar: Spread, x: int, y: int, width: int, pitch: float
    ) -> None:
        low, high = bar.low, bar.high
        if not (math.isfinite(low) and math.isfinite(high)):
            farthest = max(abs(bar.mean) + 2 * bar.deviation, abs(bar.taken))
            reach = max(self._reach.get(bar.name, 1.0), farthest)
            self._reach[bar.name] = reach
            low, high = -reach, reach
        size = _letters(canvas, pitch)
        label, number = canvas.px(58), canvas.px(92)
        left, right = x + label, x + width - number
        top = y + canvas.px(2)
        bottom = top + _thickness(pitch) - 1

        def place(value: float) -> int:
            share = (value - low) / (high - low) if high > low else 0.5
            return round(left + min(max(share, 0.0), 1.0) * (right - left))

        canvas.text(x, y, bar.name, size, DIM, room=label - canvas.px(4))
        canvas.box(left, top, right, bottom, BOX)
        canvas.box(
            place(bar.mean - bar.deviation), top, place(bar.mean + bar.deviation), bottom, BAR
        )
        for value, colour in ((bar.mean, BRIGHT), (bar.taken, TAKEN)):
            canvas.box(place(value) - 1, top, place(value) + 1, bottom, colour)
        text = f"{bar.mean:+.2f} ± {bar.deviation:.2f}"
        canvas.text(x + width, y, text, size, BRIGHT, right=True, room=number)


def _draw_chance(canvas: Canvas, bar: Chance, x: int, y: int, width: int, pitch: float) -> None:
    size, colour = _letters(canvas, pitch), BRIGHT if bar.taken else DIM
    label, number = canvas.px(7.2 * size), canvas.px(3.4 * size)
    canvas.text(x, y, _readable(bar.name), size, colour, room=label - canvas.px(4))
    canvas.bar(
        x + label,
        x + width - number,
        y + canvas.px(2),
        _thickness(pitch),
        bar.probability,
        TAKEN if bar.taken else BAR,
    )
    text = f"{100 * bar.probability:.0f} %"
    canvas.text(x + width, y, text, size, colour, right=True)


def _letters(canvas: Canvas, pitch: float) -> float:
    return min(13.0, pitch / canvas.unit - 3)


def _thickness(pitch: float) -> int:
    return max(3, round(pitch * 0.5))


def _readable(name: str) -> str:
    """ALE's names in small letters with spaces: `UPRIGHTFIRE` is `up right fire`."""
    if not name.isupper():
        return name
    for word in ("UP", "DOWN", "RIGHT", "LEFT", "FIRE"):
        name = name.replace(word, f" {word}")
    return name.strip().lower()
