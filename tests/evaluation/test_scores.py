"""The table of reference scores, and the sets of games."""

from __future__ import annotations

import math
from typing import Any

import ale_py
import gymnasium
import pytest

from a2c_cli.evaluation.scores import ATARI_5, ATARI_57, REFERENCE_SCORES, reference_scores

gymnasium.register_envs(ale_py)


@pytest.mark.parametrize(
    ("env_id", "expected"),
    [
        ("ALE/Breakout-v5", (1.7, 30.5)),
        ("Breakout-v4", (1.7, 30.5)),
        ("BreakoutNoFrameskip-v4", (1.7, 30.5)),
        ("BreakoutDeterministic-v4", (1.7, 30.5)),
        ("Breakout-ram-v4", (1.7, 30.5)),
        ("Breakout-ramNoFrameskip-v0", (1.7, 30.5)),
        ("ALE/MsPacman-v5", (307.3, 6951.6)),
        ("ALE/SpaceInvaders-v5", (148.0, 1668.7)),
        ("QbertNoFrameskip-v4", (163.9, 13455.0)),
        ("ALE/Pong-v5", (-20.7, 14.6)),
        ("ALE/DoubleDunk-v5", (-18.6, -16.4)),
        ("ALE/Skiing-v5", (-17098.1, -4336.9)),
    ],
)
def test_known_scores(env_id: str, expected: tuple[float, float]) -> None:
    assert reference_scores(env_id) == expected


@pytest.mark.parametrize(
    "env_id",
    [
        "ALE/Adventure-v5",  # an ALE game, but not one of the 57
        "CartPole-v1",
        "ALE/breakout-v5",
        "ALE/Breakout",
        "Breakout",
        "ALE/Breakout-v5\n",
        "other/Breakout-v5",
        "xALE/Breakout-v5",
        "",
    ],
)
def test_unknown_ids_have_no_scores(env_id: str) -> None:
    assert reference_scores(env_id) is None


@pytest.mark.parametrize(
    ("args", "frame_skip", "step_cap"),
    [({"mode": 1}, 4, None), ({"difficulty": 1}, 4, None), ({}, 1, None), ({}, 4, 50),
     ({"repeat_action_probability": 0.5}, 4, None), ({"max_episode_steps": 50}, 4, None),
     ({"max_num_frames_per_episode": 1000}, 4, None)],
)  # fmt: skip
def test_another_protocol_has_no_reference(args: Any, frame_skip: int, step_cap: Any) -> None:
    assert reference_scores("ALE/Pong-v5", args, frame_skip, step_cap) is None


def test_the_usual_protocols_have_one() -> None:
    for args in ({}, {"repeat_action_probability": 0.0}, {"obs_type": "ram", "mode": None}):
        assert reference_scores("ALE/Pong-v5", args, 4, 27_000) == (-20.7, 14.6)


def test_every_game_is_registered_with_gymnasium() -> None:
    registered = {name for name in gymnasium.registry if name.startswith("ALE/")}
    assert set(ATARI_57) <= registered


def test_each_older_id_finds_the_same_row() -> None:
    old_ids = [name for name in gymnasium.registry if name.endswith("NoFrameskip-v4")]
    found = {name: reference_scores(name) for name in old_ids}
    known = {name.removesuffix("NoFrameskip-v4"): row for name, row in found.items() if row}
    # Surround has no id of the old form.
    assert known == {game: row for game, row in REFERENCE_SCORES.items() if game != "Surround"}


def test_table_is_whole_and_unchanged() -> None:
    assert len(ATARI_57) == len(set(ATARI_57)) == 57
    assert list(ATARI_57) == sorted(ATARI_57)
    assert all(human > random for random, human in REFERENCE_SCORES.values())
    # Sums of the source's two columns: a slip in any one number shows here.
    randoms, humans = zip(*REFERENCE_SCORES.values(), strict=True)
    assert math.fsum(randoms) == pytest.approx(50864.9, abs=1e-6)
    assert math.fsum(humans) == pytest.approx(606494.2, abs=1e-6)


def test_atari_5_is_the_published_subset() -> None:
    names = {"BattleZone", "DoubleDunk", "NameThisGame", "Phoenix", "Qbert"}
    assert set(ATARI_5) == {f"ALE/{name}-v5" for name in names}
    assert len(ATARI_5) == 5
    assert set(ATARI_5) <= set(ATARI_57)


def test_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        REFERENCE_SCORES["Pong"] = (0.0, 1.0)  # type: ignore[index]
