"""Observations as the agent sees them, and those that are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from a2c_cli.envs.encoder import Encoder, OutsideSpaceError
from a2c_cli.envs.pixels import to_frame
from a2c_cli.envs.spaces import observation_parts, picture_settings


class Mission(spaces.Space[str]):
    """Strings in a space of a package's own."""

    def __init__(self) -> None:
        super().__init__(dtype=str)


NUMBERS = spaces.Dict(
    arm=spaces.Box(-9, 9, (2, 2), np.float32),
    rest=spaces.Tuple([spaces.Discrete(5, start=1), spaces.MultiDiscrete([2, 3])]),
    said=spaces.Text(5),
    mission=Mission(),
    bits=spaces.MultiBinary(3),
    byte=spaces.Box(0, 255, (1,), np.uint8),
)
TEXTS = {"said": "hi", "mission": "go"}


def encoder(space: Any, **wrappers: Any) -> Encoder:
    return Encoder(observation_parts(space, "x"), wrappers)


def test_numbers_stand_as_gymnasium_flattens_them_without_the_text() -> None:
    space = spaces.Dict(**{k: v for k, v in NUMBERS.items() if k not in TEXTS})  # in their order
    space.seed(3)
    for _ in range(20):
        obs = space.sample()
        expected = spaces.flatten(space, obs).astype(np.float32)
        assert np.array_equal(encoder(NUMBERS).encode({**obs, **TEXTS}, True), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rest": (0, [0, 0])}, r"part 'rest.0' is 0, its space says 1 to 5"),
        ({"rest": (6, [0, 0])}, r"part 'rest.0' is 6"),
        ({"rest": (1, [2, 0])}, r"part 'rest.1' is \[2, 0\], its space says 0 to 1"),
        ({"byte": [-1]}, r"part 'byte' is \[-1\], which uint8 cannot hold"),
        ({"byte": [300]}, r"part 'byte' is \[300\]"),
        ({"byte": [1.5]}, r"part 'byte' is \[1.5\]"),
        ({"bits": [0, 1, 2]}, r"part 'bits' is \[0, 1, 2\], its space says 0 or 1"),
        ({"arm": np.zeros((4,))}, r"part 'arm' has shape \(4,\), its space says \(2, 2\)"),
        ({"arm": np.full((2, 2), np.nan)}, "not finite"),
        ({"arm": "up"}, "part 'arm'"),
        ({"arm": [[1], [1, 2]]}, "arm is no array"),
    ],
)
def test_what_is_outside_its_space_is_named(change: Any, message: str) -> None:
    fine = {"arm": np.zeros((2, 2)), "rest": (1, [0, 0]), "bits": [0, 1, 0], "byte": [7]}
    encoder(NUMBERS).encode(fine, True)
    with pytest.raises(OutsideSpaceError, match=message):
        encoder(NUMBERS).encode({**fine, **change}, True)


def test_a_missing_part_is_named() -> None:
    with pytest.raises(OutsideSpaceError, match="part 'arm' is missing"):
        encoder(NUMBERS).encode({}, True)


def test_double_precision_stays_until_it_is_normalised() -> None:
    space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
    near, far = (encoder(space).encode(np.array([1e8 + d]), True) for d in (0.0, 1.0))
    assert far - near == 1.0


@pytest.mark.parametrize(
    ("space", "shape", "suggested"),
    [
        (spaces.Box(0, 255, (48, 40, 3), np.uint8), (12, 48, 40), {}),
        (spaces.Box(0, 255, (3, 48, 40), np.uint8), (12, 48, 40), {}),
        (spaces.Box(0, 1, (48, 40, 3), np.float32), (12, 48, 40), {}),
        (spaces.Box(0, 255, (48, 40), np.uint8), (4, 48, 40), {}),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), (16, 84, 84), {"frame_stack": 1}),
        (spaces.Box(0, 255, (240, 320, 3), np.uint8), (12, 240, 320), {"resize": 84}),
    ],
)
def test_pictures_are_seen_as_such(space: Any, shape: Any, suggested: Any) -> None:
    found = encoder(space, frame_stack=4)
    assert (found.kind, found.obs_shape) == ("image", shape)
    assert picture_settings(observation_parts(space, "x")) == suggested
    assert encoder(space, resize=36, grayscale=True).obs_shape[1:] == (36, 36)


def test_one_picture_in_all_its_forms_is_the_same() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    last = encoder(spaces.Box(0, 255, (48, 40, 3), np.uint8)).encode(picture, True)
    first = encoder(spaces.Box(0, 255, (3, 48, 40), np.uint8))
    floats = encoder(spaces.Box(0, 1, (48, 40, 3), np.float32))
    assert np.array_equal(last, picture.transpose(2, 0, 1))
    assert np.array_equal(first.encode(picture.transpose(2, 0, 1), True), last)
    assert np.array_equal(floats.encode(picture / np.float32(255), True), last)


def test_small_grids_are_vectors() -> None:
    assert encoder(spaces.Box(0, 1, (10, 10, 4), bool)).kind == "vector"
    assert encoder(spaces.Box(-5, 5, (48, 40, 3), np.float32)).kind == "vector"


COLOUR = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (COLOUR, COLOUR),
        (COLOUR / 255, COLOUR),
        (COLOUR.astype(np.float32), COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR.transpose(2, 0, 1), COLOUR),
        ([COLOUR], COLOUR),
        (np.concatenate([COLOUR, COLOUR[..., :1]], axis=2), COLOUR),
        (COLOUR[..., 0], COLOUR[..., :1].repeat(3, 2)),
        (COLOUR[..., :1], COLOUR[..., :1].repeat(3, 2)),
        (np.ones((4, 6), bool), np.full((4, 6, 3), 255)),
    ],
)
def test_films_show_what_was_drawn(drawn: Any, expected: Any) -> None:
    frame = to_frame(drawn)
    assert frame.dtype == np.uint8
    assert np.array_equal(frame, expected)


@pytest.mark.parametrize(
    "drawn", [None, "x", [], np.zeros((2, 3, 4, 5)), np.zeros((0, 3, 3)), np.array([[np.nan]])]
)
def test_what_is_no_picture_is_refused(drawn: Any) -> None:
    with pytest.raises(ValueError, match="it gave"):
        to_frame(drawn)
