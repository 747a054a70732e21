"""What a network's weights alone tell: norms, NaN and infinity, a picture of the first layer."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from a2c_cli.errors import ConfigError
from a2c_cli.policies.layout import Layout
from a2c_cli.runs.files import MARK

Weights = Mapping[str, NDArray[np.float32]]

_MARGIN = 16  # pixels
_LARGEST = 8192  # pixels per side of a picture
_NEGATIVE, _ZERO, _POSITIVE = (38, 92, 180), (245, 245, 245), (192, 44, 40)


def weight_statistics(layout: Layout, weights: Weights) -> dict[str, dict[str, Any]]:
    """The size of the weights of each layer, and of ln σ of a Gaussian policy.

    Args:
        layout: the network.
        weights: its parameters by their torch names.

    Returns:
        For each layer: `norm` (√ Σ w², without the bias), `largest` (max |w|), both None where
        they are not finite; `not_finite`, how many parameters, bias included, are NaN or infinite.
    """
    layers = {}
    for name in [*layout.operations(), *(["log_std"] if layout.continuous else [])]:
        own = [weights[key] for key in (f"{name}.weight", f"{name}.bias", name) if key in weights]
        weight = own[0]
        norm = float(np.sqrt(np.square(weight, dtype=np.float64).sum()))
        bad = sum(int(np.count_nonzero(~np.isfinite(array))) for array in own)
        layers[name] = {
            "norm": norm if math.isfinite(norm) else None,
            "largest": float(np.abs(weight).max()) if math.isfinite(norm) else None,
            "not_finite": bad,
        }
    return layers


def draw_first_layer(layout: Layout, weights: Weights) -> bytes:
    """The first layer's weights as a PNG: blue below zero, white at zero, red above.

    A convolution: one strip per filter, its planes side by side in the order of the observation's
    channels (of an Atari stack the oldest frame is on the left). A fully connected layer: one
    column per unit, one row per feature. One scale for all, so that a dead filter looks dead.

    Raises:
        ConfigError: the picture would be too large, or the weights are not finite.
    """
    name = next(iter(layout.operations()))
    weight = weights[f"{name}.weight"]
    if not np.isfinite(weight).all():
        raise ConfigError(f"{name} has weights that are not finite", "--weights counts them")
    filters = weight if weight.ndim == 4 else weight.T[None, None]
    count, planes, height, width = filters.shape
    zoom = max(1, (72 if weight.ndim == 4 else 900) // max(height, width))
    strip, tall = planes * (width * zoom + 2) - 2, height * zoom
    columns = max(1, min(count, round(math.sqrt(count * (tall + 24) / (strip + _MARGIN)))))
    rows = math.ceil(count / columns)
    size = (max(_MARGIN + columns * (strip + _MARGIN), 480), 48 + rows * (tall + 24) + _MARGIN)
    if max(size) > _LARGEST:
        raise ConfigError(
            f"a picture of {name} would be {size[0]} x {size[1]} pixels", "it is too large to draw"
        )
    bound = float(np.abs(weight).max()) or 1.0
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    font, small = ImageFont.load_default(16), ImageFont.load_default(11)
    what = f"{count} filters of {planes} x {height} x {width}"
    if weight.ndim == 2:
        what = f"{width} units of {height} features"
    draw.text((_MARGIN, 14), f"{name}: {what}, white 0, colours to ±{bound:.3g}", "black", font)
    for i, planes_of_one in enumerate(filters):
        x = _MARGIN + i % columns * (strip + _MARGIN)
        y = 48 + i // columns * (tall + 24)
        for plane in planes_of_one:
            tile = _colours(plane / bound).repeat(zoom, axis=0).repeat(zoom, axis=1)
            image.paste(Image.fromarray(tile), (x, y))
            draw.rectangle((x - 1, y - 1, x + width * zoom, y + tall), outline=(190, 190, 190))
            x += width * zoom + 2
        if count > 1:
            draw.text((x - strip - 2, y + tall + 2), str(i), (110, 110, 110), small)
    file = io.BytesIO()
    signed = PngInfo()
    signed.add_text("Software", MARK)
    image.save(file, "PNG", pnginfo=signed)
    return file.getvalue()


def _colours(shares: NDArray[Any]) -> NDArray[np.uint8]:
    """Numbers from -1 to 1 as RGB colours."""
    zero = np.array(_ZERO, np.float64)
    ends = np.where((shares < 0.0)[..., None], _NEGATIVE, _POSITIVE)
    picture: NDArray[np.uint8] = np.rint(zero + np.abs(shares)[..., None] * (ends - zero)).astype(
        np.uint8
    )
    return picture
