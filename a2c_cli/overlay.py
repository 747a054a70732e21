"""The panel beside a film: score, value, entropy and action probabilities, drawn for each decision.

Everything has its fixed place and width, so that nothing moves between two frames but what it
shows. Texts are set in the scalable font that Pillow brings along: no font file is looked for.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from a2c_cli.envs.spec import ActionSpec
from a2c_cli.errors import safe_text
from a2c_cli.policies.acting import probabilities

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

BACKGROUND: Colour = (15, 18, 24)
_BOX: Colour = (28, 33, 42)
_DIM: Colour = (140, 150, 165)
_BRIGHT: Colour = (236, 240, 245)
BAR: Colour = (92, 120, 160)  # an action that was not taken
TAKEN: Colour = (255, 178, 66)
CURVE: Colour = (110, 214, 150)
POLICY: Colour = (64, 150, 255)  # saliency of the policy and of the value
VALUE: Colour = (255, 84, 60)

_DESIGN = 420  # the height, in pixels, that the sizes below are given for: an Atari screen twice
_LEAST = 320  # pixels; below it nobody could read the panel
_WINDOW = 150  # decisions that the curve shows: 10 s of an Atari game
_ROWS = 9  # actions in one column


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


@dataclass(frozen=True)
class Moment:
    """What the panel shows of one decision.

    Args:
        score: raw return of the episode before the decision.
        steps: agent steps before the decision.
        value: V(s).
        entropy: of π(·|s) in nats.
        rows: the policy and what was taken, see `describe`.
    """

    score: float
    steps: int
    value: float
    entropy: float
    rows: Sequence[Chance] | Sequence[Spread]


def describe(
    action: ActionSpec, outputs: NDArray[np.float32], log_std: Any, taken: Any
) -> list[Chance] | list[Spread]:
    """The policy in rows for the panel.

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
    rows = []
    parts = np.split(outputs, np.cumsum(action.sizes)[:-1])
    for i, (part, chosen) in enumerate(zip(parts, np.atleast_1d(taken).tolist(), strict=True)):
        for k, p in enumerate(probabilities(part)):
            name = action.meanings[k] if action.meanings else str(action.start[i] + k)
            label = name if action.kind == "discrete" else f"{i}: {name}"
            rows.append(Chance(label, p, k == chosen))
    return rows


def tint(frame: Pixels, saliency: NDArray[np.float32]) -> Pixels:
    """The frame with light where the network looks: blue for the policy, red for the value.

    Args:
        frame: (height, width, 3).
        saliency: (2, any height, any width) in [0, 1]: of the policy, of the value.
    """
    size = frame.shape[1], frame.shape[0]
    picture = frame.astype(np.float32)
    for part, colour in zip(saliency, (POLICY, VALUE), strict=True):
        strength = 0.75 * np.clip(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), 0, 1)
        picture += strength[..., None] * (np.array(colour, np.float32) - picture)
    return (picture + 0.5).astype(np.uint8)


def enlarge(frame: Pixels, scale: int) -> Pixels:
    """Every pixel `scale` times in both directions."""
    size = frame.shape[1] * scale, frame.shape[0] * scale
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_NEAREST), np.uint8)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


class Panel:
    """Draws the panel of one episode; both sides of the whole picture are even.

    Args:
        title, note: texts of the first line, left and right.
        action: the action space.
        frame: (height, width) of the game's picture as it will stand beside the panel.
        legend: whether to explain the colours of the saliency.
    """

    def __init__(
        self,
        title: str,
        note: str,
        action: ActionSpec,
        frame: tuple[int, int],
        legend: bool = False,
    ) -> None:
        height = max(frame[0], _LEAST)
        self._height, self._frame = height + height % 2, frame
        self._unit = self._height / _DESIGN
        self._action = action
        wide = action.kind != "continuous" and action.outputs > _ROWS
        width = self._px(400 if wide else 290)
        self.width = width + (width + frame[1]) % 2
        self._left, self._right = self._px(16), self.width - self._px(16)
        self._values: deque[float] = deque(maxlen=_WINDOW)
        self._range = (math.inf, -math.inf)
        self._reach: dict[str, float] = {}  # of numbers without bounds, so far
        self._bottom = self._height - self._px(36 if legend else 14)
        self._blank = Image.new("RGB", (self.width, self._height), BACKGROUND)
        self._draw = ImageDraw.Draw(self._blank)
        self._draw_labels(title, note, legend)
        self._canvas: Pixels = np.empty((self._height, frame[1] + self.width, 3), np.uint8)
        self._canvas[...] = BACKGROUND

    def _px(self, units: float) -> int:
        return round(units * self._unit)

    def _draw_labels(self, title: str, note: str, legend: bool) -> None:
        room = self._right - self._left
        self._text(14, title, 17, _BRIGHT, room=room - self._px(75))
        self._text(16, note, 13, _DIM, right=True)
        self._text(46, "score", 13, _DIM)
        self._text(46, "step", 13, _DIM, right=True)
        self._text(102, "value", 13, _DIM)
        self._text(194, "entropy", 13, _DIM)
        gaussian = self._action.kind == "continuous"
        self._text(234, "action, mean ± deviation" if gaussian else "policy", 13, _DIM)
        self._text(234, "taken", 13, TAKEN, right=True)
        if legend:
            x, y, side = self._left, self._height - self._px(26), self._px(10)
            for text, colour in (("moves the policy", POLICY), ("moves the value", VALUE)):
                self._draw.rectangle((x, y + self._px(2), x + side, y + self._px(2) + side), colour)
                self._text(None, text, 12, _DIM, x=x + self._px(16), y=y)
                x += room // 2

    def _text(
        self,
        top: float | None,
        text: str,
        size: float,
        colour: Colour,
        *,
        right: bool = False,
        x: int | None = None,
        y: int = 0,
        room: int | None = None,
    ) -> None:
        """One line. `top` is in units from above; else `y` in pixels, the ascender's line."""
        font = _font(max(9, self._px(size)))
        text = safe_text(text)
        if room is not None and font.getlength(text) > room:
            while text and font.getlength(text + "...") > room:
                text = text[:-1]
            text += "..."
        if x is None:
            x = self._right if right else self._left
        place = (x, self._px(top) if top is not None else y)
        self._draw.text(place, text, colour, font, "ra" if right else "la")

    def draw(self, moment: Moment) -> Pixels:
        """The panel, (height, width, 3): call it once for every decision, in order."""
        self._values.append(moment.value)
        low, high = self._range
        self._range = min(low, moment.value), max(high, moment.value)
        return self.redraw(moment)

    def redraw(self, moment: Moment) -> Pixels:
        """The panel again, without moving the curve on."""
        image = self._blank.copy()
        self._draw = ImageDraw.Draw(image)
        self._text(60, _score(moment.score), 32, _BRIGHT, room=self._px(190))
        self._text(64, f"{moment.steps:,}", 22, _BRIGHT, right=True)
        low, high = self._range
        self._text(104, f"{low:,.2f} to {high:,.2f}", 11, _DIM, x=self._left + self._px(46))
        self._text(102, f"{moment.value:,.2f}", 14, CURVE, right=True)
        most = self._action.max_entropy
        of = f" of {most:.2f}" if most is not None else ""
        self._text(194, f"{moment.entropy:.2f}{of} nats", 14, _BRIGHT, right=True)
        if most:
            self._bar(self._left, self._right, self._px(216), self._px(6),
                      moment.entropy / most, BAR)  # fmt: skip
        self._draw_policy(moment.rows)
        box = (self._left, self._px(122), self._right, self._px(184))
        self._draw.rectangle(box, _BOX)
        picture = np.array(image)
        self._draw_curve(picture, box)
        return picture

    def compose(self, frame: Pixels, panel: Pixels) -> Pixels:
        """The game's picture with the panel on its right; the array is reused by the next call."""
        height, width = self._frame
        top = (self._height - height) // 2
        self._canvas[top : top + height, :width] = frame
        self._canvas[:, width:] = panel
        return self._canvas

    def _draw_curve(self, picture: Pixels, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = box
        low, high = self._range
        span = high - low or 1.0
        pad = self._px(6)
        step = (right - left - 2 * pad) / (_WINDOW - 1)
        height = bottom - top - 2 * pad
        newest = len(self._values) - 1
        points = [
            (right - pad - (newest - i) * step, bottom - pad - (v - low) / span * height)
            for i, v in enumerate(self._values)
        ]
        # In sixteenths of a pixel, so that the curve moves smoothly.
        fixed = np.round(16 * np.array(points)).astype(np.int32)
        thick = max(1, self._px(1.6))
        cv2.polylines(picture, [fixed], False, CURVE, thick, cv2.LINE_AA, 4)
        cv2.circle(picture, fixed[-1].tolist(), self._px(48), CURVE, -1, cv2.LINE_AA, 4)

    def _bar(
        self, left: int, right: int, y: int, height: int, share: float, colour: Colour
    ) -> None:
        self._draw.rectangle((left, y, right, y + height - 1), _BOX)
        length = round((right - left) * min(max(share, 0.0), 1.0))
        if length:
            self._draw.rectangle((left, y, left + length, y + height - 1), colour)

    def _draw_policy(self, rows: Sequence[Chance] | Sequence[Spread]) -> None:
        columns = 1 if self._action.kind == "continuous" or self._action.outputs <= _ROWS else 2
        top = self._px(256)
        limit = columns * max(_ROWS, (self._bottom - top) // self._px(15))
        shown: list[Chance | Spread] = list(rows)
        if len(shown) > limit:  # the most probable ones, as many as can be read
            shown.sort(key=lambda row: -row.probability if isinstance(row, Chance) else 0.0)
            shown = shown[:limit]
        each = math.ceil(min(self._action.outputs, limit) / columns)
        pitch = min(self._px(24), (self._bottom - top) / each)
        gap = self._px(18)
        width = (self._right - self._left - gap * (columns - 1)) // columns
        for i, row in enumerate(shown):
            x = self._left + (i // each) * (width + gap)
            y = round(top + (i % each) * pitch)
            if isinstance(row, Chance):
                self._draw_chance(row, x, y, width, pitch)
            else:
                self._draw_spread(row, x, y, width, pitch)

    def _draw_chance(self, row: Chance, x: int, y: int, width: int, pitch: float) -> None:
        colour = TAKEN if row.taken else BAR
        size = min(13.0, pitch / self._unit - 3)
        label, number = self._px(92), self._px(44)
        text = _BRIGHT if row.taken else _DIM
        self._text(None, _readable(row.name), size, text, x=x, y=y, room=label - self._px(4))
        thick = max(3, round(pitch * 0.5))
        self._bar(x + label, x + width - number, y + self._px(2), thick, row.probability, colour)
        self._text(None, f"{100 * row.probability:.0f} %", size, text, right=True, x=x + width, y=y)

    def _draw_spread(self, row: Spread, x: int, y: int, width: int, pitch: float) -> None:
        low, high = row.low, row.high
        if not (math.isfinite(low) and math.isfinite(high)):
            reach = max(self._reach.get(row.name, 1.0), abs(row.mean) + 2 * row.deviation,
                        abs(row.taken))  # fmt: skip
            self._reach[row.name] = reach
            low, high = -reach, reach
        size = min(13.0, pitch / self._unit - 3)
        label, number = self._px(58), self._px(92)
        self._text(None, row.name, size, _DIM, x=x, y=y, room=label - self._px(4))
        left, right = x + label, x + width - number
        thick = max(3, round(pitch * 0.5))
        y0 = y + self._px(2)

        def place(number: float) -> int:
            share = (number - low) / (high - low) if high > low else 0.5
            return round(left + min(max(share, 0.0), 1.0) * (right - left))

        self._draw.rectangle((left, y0, right, y0 + thick - 1), _BOX)
        band = place(row.mean - row.deviation), place(row.mean + row.deviation)
        self._draw.rectangle((band[0], y0, band[1], y0 + thick - 1), BAR)
        for value, colour in ((row.mean, _BRIGHT), (row.taken, TAKEN)):
            at = place(value)
            self._draw.rectangle((at - 1, y0, at + 1, y0 + thick - 1), colour)
        text = f"{row.mean:+.2f} ± {row.deviation:.2f}"
        self._text(None, text, size, _BRIGHT, right=True, x=x + width, y=y)


def _score(score: float) -> str:
    return f"{score:,.0f}" if float(score).is_integer() else f"{score:,.1f}"


def _readable(name: str) -> str:
    """ALE's names in small letters with spaces: `UPRIGHTFIRE` is `up right fire`."""
    if not name.isupper():
        return name
    for word in ("UP", "DOWN", "RIGHT", "LEFT", "FIRE"):
        name = name.replace(word, f" {word}")
    return name.strip().lower()
