"""The panel beside a film: score, value, entropy and action probabilities, drawn for each decision.

Everything has its fixed place and width, so that nothing moves between two frames but what it
shows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.film.canvas import (
    BACKGROUND,
    BOX,
    BRIGHT,
    DIM,
    POLICY,
    VALUE,
    Canvas,
    Colour,
    Pixels,
)
from a2c_cli.film.policy_bars import BAR, TAKEN, Chance, PolicyView, Spread, needs_two_columns
from a2c_cli.text import number

CURVE: Colour = (110, 214, 150)

_DESIGN = 420  # the height, in pixels, that all sizes are given for: an Atari screen twice
_LEAST = 320  # pixels; below it nobody could read the panel
_LARGE = 1e7  # numbers from here on would not fit their place with all their digits
_WINDOW = 150  # decisions that the curve shows: 10 s of an Atari game


@dataclass(frozen=True)
class Moment:
    """What the panel shows of one decision.

    Args:
        score: raw return of the episode before the decision.
        steps: agent steps before the decision.
        value: V(s).
        entropy: of π(·|s) in nats.
        bars: the policy and what was taken, see `make_bars`.
    """

    score: float
    steps: int
    value: float
    entropy: float
    bars: Sequence[Chance] | Sequence[Spread]


class Panel:
    """Draws the panel of one episode; both sides of the whole picture are even.

    Args:
        title, note: texts of the first line, left and right.
        action: the action space.
        frame: (height, width) of the game's picture as it will stand beside the panel.
        legend: whether to explain the colours of the saliency.
        value_unit: what values are counted in where that is not the rewards' own unit, in a word.
    """

    def __init__(
        self,
        title: str,
        note: str,
        action: ActionSpec,
        frame: tuple[int, int],
        legend: bool = False,
        value_unit: str = "",
    ) -> None:
        self._value_unit = f", {value_unit}" if value_unit else ""
        height = max(frame[0], _LEAST)
        height += height % 2
        unit = height / _DESIGN
        width = round((400 if needs_two_columns(action) else 290) * unit)
        width += (width + frame[1]) % 2
        self._frame, self._action = frame, action
        self._blank = Canvas(Image.new("RGB", (width, height), BACKGROUND), unit)
        px = self._blank.px
        self._left, self._right = px(16), width - px(16)
        self._policy = PolicyView(
            action, self._left, px(256), self._right, height - px(36 if legend else 14)
        )
        self._draw_labels(title, note, legend, height)
        self._values: deque[float] = deque(maxlen=_WINDOW)
        self._range = (math.inf, -math.inf)
        self._whole: Pixels = np.empty((height, frame[1] + width, 3), np.uint8)
        self._whole[...] = BACKGROUND

    def _draw_labels(self, title: str, note: str, legend: bool, height: int) -> None:
        blank, left, right = self._blank, self._left, self._right
        px = blank.px
        blank.text(left, px(14), title, 17, BRIGHT, room=right - left - px(75))
        gaussian = self._action.kind == "continuous"
        for top, text in (
            (46, "score"),
            (102, "value"),
            (194, "entropy"),
            (234, "action, mean ± deviation" if gaussian else "policy"),
        ):
            blank.text(left, px(top), text, 13, DIM)
        for top, text, colour in ((16, note, DIM), (46, "step", DIM), (234, "taken", TAKEN)):
            blank.text(right, px(top), text, 13, colour, right=True)
        if legend:
            x, y, side = left, height - px(26), px(10)
            for text, colour in (("moves the policy", POLICY), ("moves the value", VALUE)):
                blank.box(x, y + px(2), x + side, y + px(2) + side, colour)
                blank.text(x + px(16), y, text, 12, DIM)
                x += (right - left) // 2

    def draw(self, moment: Moment) -> Pixels:
        """The panel, (height, width, 3): call it once for every decision, in order."""
        self._values.append(moment.value)
        low, high = self._range
        self._range = min(low, moment.value), max(high, moment.value)
        return self.redraw(moment)

    def redraw(self, moment: Moment) -> Pixels:
        """The panel again, without moving the curve on."""
        canvas = Canvas(self._blank.image.copy(), self._blank.unit)
        px, left, right = canvas.px, self._left, self._right
        score = number(moment.score, ",.0f" if moment.score.is_integer() else ",.1f", _LARGE)
        canvas.text(left, px(60), score, 32, BRIGHT, room=px(190))
        canvas.text(right, px(64), f"{moment.steps:,}", 22, BRIGHT, right=True)
        low, high = self._range
        canvas.text(
            left + px(46), px(104), f"{_value(low)} to {_value(high)}{self._value_unit}", 11, DIM
        )
        canvas.text(right, px(102), _value(moment.value), 14, CURVE, right=True)
        most = self._action.max_entropy
        of = f" of {most:.2f}" if most is not None else ""
        canvas.text(right, px(194), f"{moment.entropy:.2f}{of} nats", 14, BRIGHT, right=True)
        if most:
            canvas.bar(left, right, px(216), px(6), moment.entropy / most, BAR)
        self._policy.draw(canvas, moment.bars)
        canvas.box(left, px(122), right, px(184), BOX)
        picture = np.array(canvas.image)
        self._draw_curve(picture, px(122), px(184))
        return picture

    def compose(self, frame: Pixels, panel: Pixels) -> Pixels:
        """The game's picture with the panel on its right; the array is reused by the next call."""
        height, width = self._frame
        top = (len(self._whole) - height) // 2
        self._whole[top : top + height, :width] = frame
        self._whole[:, width:] = panel
        return self._whole

    def _draw_curve(self, picture: Pixels, top: int, bottom: int) -> None:
        px = self._blank.px
        low, high = self._range
        pad = px(6)
        step = (self._right - self._left - 2 * pad) / (_WINDOW - 1)
        slope = (bottom - top - 2 * pad) / ((high - low) or 1.0)
        newest = len(self._values) - 1
        points = [
            (self._right - pad - (newest - i) * step, bottom - pad - (value - low) * slope)
            for i, value in enumerate(self._values)
        ]
        # In sixteenths of a pixel, so that the curve moves smoothly.
        fixed = np.round(16 * np.array(points)).astype(np.int32)
        cv2.polylines(picture, [fixed], False, CURVE, max(1, px(1.6)), cv2.LINE_AA, 4)
        cv2.circle(picture, fixed[-1].tolist(), px(48), CURVE, -1, cv2.LINE_AA, 4)


def _value(value: float) -> str:
    return number(value, limit=_LARGE)
