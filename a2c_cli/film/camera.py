"""Between an environment's frames and a film: which decision belongs to which frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from a2c_cli.envs.spec import Obs
from a2c_cli.errors import CheckpointError
from a2c_cli.evaluation.episodes import Episode
from a2c_cli.film.canvas import Pixels, enlarge, lights, tint
from a2c_cli.film.panel import Moment, Panel
from a2c_cli.film.policy_bars import make_bars
from a2c_cli.policies.agent import Agent, Decision
from a2c_cli.policies.distributions import entropy

# Of an observation and an action, both maps in [0, 1]: (2, height, width).
SaliencyMaps = Callable[[Obs, Any], NDArray[np.float32]]


class Camera:
    """Pairs each frame with the decision that was made on it, draws, and thins out.

    A frame waits until the next one comes: a decision in between was made on it. So the panel
    shows, from the frame that the agent saw on, what it decided there, until it decides again.

    Args:
        agent: whose decisions they are.
        keep: the share of the frames to keep, at most 1.
        scale: factor on the game's pixels.
        maps: the saliency of a decision, or None.
        panel: makes the panel for a (height, width) of the enlarged game, or None.
    """

    def __init__(
        self,
        agent: Agent,
        keep: Fraction,
        scale: int,
        maps: SaliencyMaps | None,
        panel: Callable[[tuple[int, int]], Panel] | None,
    ) -> None:
        self._agent, self._keep, self._scale = agent, keep, scale
        self._maps, self._make_panel = maps, panel

    def start(self, write: Callable[[Pixels], None]) -> None:
        """A new episode, whose pictures go to `write`."""
        self._write = write
        self._panel: Panel | None = None
        self._picture: Pixels | None = None  # of the panel, as of the last decision
        self._moment: Moment | None = None
        self._saliency: NDArray[np.float32] | None = None
        self._lights: list[NDArray[np.float32]] = []  # of the last decision, for all its frames
        self._waiting: Pixels | None = None
        self._count = self._kept = 0

    def frame(self, frame: Pixels) -> None:
        """The environment has drawn a frame."""
        self._flush()
        if self._make_panel is not None and self._panel is None:
            height, width, _ = frame.shape
            self._panel = self._make_panel((height * self._scale, width * self._scale))
        if math.floor(self._count * self._keep) >= self._kept:
            self._waiting = frame
            self._kept += 1
        self._count += 1

    def watch(self, obs: Obs, decision: Decision, so_far: Episode) -> None:
        """The agent has decided.

        Raises:
            CheckpointError: large weights gave numbers that cannot be shown, or acted on.
        """
        if not (math.isfinite(decision.value) and np.isfinite(decision.outputs).all()):
            raise CheckpointError(
                "the checkpoint's network gives numbers that are not finite", "use an earlier one"
            )
        if self._maps is not None:
            self._saliency, self._lights = self._maps(obs, decision.action), []
        if self._panel is not None:
            action, log_std = self._agent.spec.action, self._agent.network.log_std
            self._moment = Moment(
                so_far.episode_return,
                so_far.length,
                decision.value,
                entropy(action, decision.outputs, log_std),
                make_bars(action, decision.outputs, log_std, decision.action),
            )
            self._picture = self._panel.draw(self._moment)

    def finish(self, episode: Episode) -> None:
        """The last frame, on which nothing was decided any more, shows the final score."""
        if self._panel is not None and self._moment is not None:
            final = replace(self._moment, score=episode.episode_return, steps=episode.length)
            self._picture = self._panel.redraw(final)
        self._saliency = None
        self._flush()

    def _flush(self) -> None:
        if self._waiting is None:
            return
        frame, self._waiting = self._waiting, None
        if self._saliency is not None:
            self._lights = self._lights or lights(self._saliency, frame)
            frame = tint(frame, self._lights)
        if self._scale > 1:
            frame = enlarge(frame, self._scale)
        if self._panel is not None and self._picture is not None:
            frame = self._panel.compose(frame, self._picture)
        self._write(frame)
