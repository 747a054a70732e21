"""Random and human reference scores of the 57 Atari games, and the usual sets of games.

The numbers are facts reported with Mnih et al. 2015, Nature 518 ("Human-level control …") and
Wang et al. 2016 (arXiv 1511.06581), as collected in google-deepmind/dqn_zoo,
dqn_zoo/atari_data.py: undiscounted returns of uniformly random play and of a professional
human tester, episodes opened by 1 to 30 no-op actions and cut at 108 000 frames (30 minutes).
They were measured without sticky actions, which ALE v5 environments use by default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

# Game name as in ALE/<name>-v5 -> (random, human), in game points.
REFERENCE_SCORES: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "Alien": (227.8, 7127.7),
        "Amidar": (5.8, 1719.5),
        "Assault": (222.4, 742.0),
        "Asterix": (210.0, 8503.3),
        "Asteroids": (719.1, 47388.7),
        "Atlantis": (12850.0, 29028.1),
        "BankHeist": (14.2, 753.1),
        "BattleZone": (2360.0, 37187.5),
        "BeamRider": (363.9, 16926.5),
        "Berzerk": (123.7, 2630.4),
        "Bowling": (23.1, 160.7),
        "Boxing": (0.1, 12.1),
        "Breakout": (1.7, 30.5),
        "Centipede": (2090.9, 12017.0),
        "ChopperCommand": (811.0, 7387.8),
        "CrazyClimber": (10780.5, 35829.4),
        "Defender": (2874.5, 18688.9),
        "DemonAttack": (152.1, 1971.0),
        "DoubleDunk": (-18.6, -16.4),
        "Enduro": (0.0, 860.5),
        "FishingDerby": (-91.7, -38.7),
        "Freeway": (0.0, 29.6),
        "Frostbite": (65.2, 4334.7),
        "Gopher": (257.6, 2412.5),
        "Gravitar": (173.0, 3351.4),
        "Hero": (1027.0, 30826.4),
        "IceHockey": (-11.2, 0.9),
        "Jamesbond": (29.0, 302.8),
        "Kangaroo": (52.0, 3035.0),
        "Krull": (1598.0, 2665.5),
        "KungFuMaster": (258.5, 22736.3),
        "MontezumaRevenge": (0.0, 4753.3),
        "MsPacman": (307.3, 6951.6),
        "NameThisGame": (2292.3, 8049.0),
        "Phoenix": (761.4, 7242.6),
        "Pitfall": (-229.4, 6463.7),
        "Pong": (-20.7, 14.6),
        "PrivateEye": (24.9, 69571.3),
        "Qbert": (163.9, 13455.0),
        "Riverraid": (1338.5, 17118.0),
        "RoadRunner": (11.5, 7845.0),
        "Robotank": (2.2, 11.9),
        "Seaquest": (68.4, 42054.7),
        "Skiing": (-17098.1, -4336.9),
        "Solaris": (1236.3, 12326.7),
        "SpaceInvaders": (148.0, 1668.7),
        "StarGunner": (664.0, 10250.0),
        "Surround": (-10.0, 6.5),
        "Tennis": (-23.8, -8.3),
        "TimePilot": (3568.0, 5229.2),
        "Tutankham": (11.4, 167.6),
        "UpNDown": (533.4, 11693.2),
        "Venture": (0.0, 1187.5),
        "VideoPinball": (16256.9, 17667.9),
        "WizardOfWor": (563.5, 4756.5),
        "YarsRevenge": (3092.9, 54576.9),
        "Zaxxon": (32.5, 9173.3),
    }
)

# The 57 games of Wang et al. 2016 as Gymnasium ids, in alphabetical order.
ATARI_57: Final[tuple[str, ...]] = tuple(f"ALE/{game}-v5" for game in REFERENCE_SCORES)

# The five games whose scores best predict the median over all 57:
# Aitchison et al. 2022, "Atari-5" (arXiv 2210.02019).
ATARI_5: Final[tuple[str, ...]] = (
    "ALE/BattleZone-v5",
    "ALE/DoubleDunk-v5",
    "ALE/NameThisGame-v5",
    "ALE/Phoenix-v5",
    "ALE/Qbert-v5",
)

# The flavours differ in frame skip, sticky actions and observation, not in how points are
# scored, so all of them share one row of the table.
_ENV_ID = re.compile(
    r"(?:ALE/)?(?P<game>[A-Za-z]+?)(?:-ram)?(?:NoFrameskip|Deterministic)?-v[0-9]+"
)


_FRAMES = 108_000  # of a game at most


def reference_scores(
    env_id: str,
    args: Mapping[str, Any] = MappingProxyType({}),
    frame_skip: float = 4,
    step_cap: int | None = None,
) -> tuple[float, float] | None:
    """Random and human score of the game behind a Gymnasium environment id.

    Understands ALE/Breakout-v5, Breakout-v4, BreakoutNoFrameskip-v4 and their kin. Scores of
    another protocol are not set beside them: another mode or difficulty, another frame skip, other
    sticky actions than none or .25, games that end before 108,000 frames.

    Source: dqn_zoo, see the module's docstring.

    Args:
        args: the environment's arguments.
        frame_skip: frames per agent step.
        step_cap: agent steps after which an episode was cut short, if it was.

    Returns:
        (random, human) in game points, or None for an id of no game in the table.
    """
    match = _ENV_ID.fullmatch(env_id)
    limits = (step_cap, args.get("max_episode_steps"))
    same = (
        args.get("mode") is None
        and args.get("difficulty") is None
        and args.get("repeat_action_probability", 0.25) in (0, 0.25)
        and args.get("max_num_frames_per_episode", _FRAMES) == _FRAMES
        and round(frame_skip, 6) == 4
        and all(limit is None or limit * frame_skip >= _FRAMES for limit in limits)
    )
    return REFERENCE_SCORES.get(match["game"]) if match and same else None
