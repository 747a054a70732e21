"""What quietly kills a run, told while it still can be helped.

Each guard reads the metrics since it last looked and what came before. It warns once, with the
cause and what to try, and only about runs that are not doing well: a policy that has solved its
task may be as certain as it likes.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from a2c_cli.text import percent

FIRST = 20  # episodes at the start, whose policy is still nearly uniform
_FAIR_SHARE = 0.5  # of the budget, after which something should have been learned
_MANY = 100  # episodes, without which that cannot be said
_COLLAPSED = 0.01  # of the greatest entropy
_ONE_ACTION = 0.98  # of all steps
_EXPLODED = 100.0  # times the usual value loss
_ONE_REWARD = 1.0  # the value loss that a first reward of 1 can cause after many steps without any
_DEAD = 0.95  # of a layer's units
_LAYER = "train/dead_units_"
_STANDS = 0.5  # of the natural steps rejected
_FALLEN = 1 / 3  # of what had been gained
_HISTORY = 50  # entries
_ENDLESS = 10_000  # steps of an episode, after which it may never end
_SPAN = 10_000  # steps between two looks


def steps_between_looks(total_steps: int) -> int:
    """How often a run is looked at: fewer steps than that say little, whatever is logged.

    Args:
        total_steps: its budget; a short one is looked at ten times.
    """
    return max(1000, min(_SPAN, total_steps // 10))


@dataclass
class Guards:
    """Watches one run; its state is part of the checkpoint."""

    first_returns: list[float] = field(default_factory=list)
    value_losses: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    best: float | None = None  # mean return of the last episodes at any entry

    def check_endless(self, env_steps: int) -> list[str]:
        """Of a run that learns from whole episodes, none of which has ended."""
        if env_steps < _ENDLESS or "endless" in self.said:
            return []
        self.said.append("endless")
        return [
            f"no episode has ended in {env_steps:,} steps, and --n-steps 0 learns from whole"
            " episodes: nothing has been learned, and memory grows; start again with a number of"
            " steps, e.g. --n-steps 128"
        ]

    def add_episode(self, episode_return: float) -> None:
        """The return of an episode that has just ended."""
        if len(self.first_returns) < FIRST:
            self.first_returns.append(episode_return)

    def check(
        self,
        entry: Mapping[str, Any],
        returns: Sequence[float],
        spent: float,
        max_entropy: float | None,
    ) -> list[str]:
        """The warnings that an entry gives rise to, each once in a run.

        Args:
            entry: the metrics since the last look, by their names in metrics.jsonl.
            returns: of the last episodes, up to 100.
            spent: share of the budget.
            max_entropy: nats; None for continuous actions, whose entropy has no maximum.
        """
        warnings = self._fall(returns) | self._blindness(entry)
        if not self._better(returns):
            warnings |= self._certainty(entry, max_entropy)
            known = len(self.first_returns) == FIRST  # not in runs from before there were guards
            if known and spent >= _FAIR_SHARE and len(returns) >= _MANY:
                now, then = statistics.fmean(returns), statistics.fmean(self.first_returns)
                warnings["random"] = (
                    f"after {percent(spent)} of the budget the mean return is {now:.4g}, no better"
                    f" than the untrained policy's {then:.4g}; try a longer --n-steps, another"
                    " --learning-rate, or more --total-steps where rewards are rare"
                )
            warnings |= self._critic(entry) | self._standstill(entry)
        self._remember(entry)
        new = {name: text for name, text in warnings.items() if name not in self.said}
        self.said += new
        return list(new.values())

    def _better(self, returns: Sequence[float]) -> bool:
        """Whether the last episodes are clearly better than the first: two standard errors."""
        first = self.first_returns
        if len(first) < FIRST or len(returns) < FIRST:
            return False
        noise = statistics.variance(first) / len(first) + statistics.variance(returns) / len(
            returns
        )
        return statistics.fmean(returns) - statistics.fmean(first) > 2.0 * math.sqrt(noise)

    def _fall(self, returns: Sequence[float]) -> dict[str, str]:
        """Training means against training means: an evaluation is of another policy and moment."""
        if len(self.first_returns) < FIRST or len(returns) < FIRST:
            return {}
        start, mean = statistics.fmean(self.first_returns), statistics.fmean(returns)
        best = self.best = mean if self.best is None else max(mean, self.best)
        noise = 2.0 * math.sqrt(statistics.variance(self.first_returns) / FIRST)
        if best - start <= 3.0 * noise or mean - start >= _FALLEN * (best - start):
            return {}
        return {
            "fall": f"the mean return has fallen from {best:.4g} to {mean:.4g}: one step was too"
            " large; try a smaller --learning-rate or a larger --optimizer-eps (the best agent is"
            " kept)"
        }

    def _blindness(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """A layer whose units are all dead lets nothing of the observation through, for good."""
        share = entry.get("train/dead_units", 0.0)
        if share < _DEAD:
            return {}
        layers = {k.removeprefix(_LAYER): v for k, v in entry.items() if k.startswith(_LAYER)}
        worst = max(layers, key=lambda name: layers[name], default="a layer")
        return {
            "blind": f"{percent(share)} of the units of {worst} are dead: the network is blind, and"
            " ReLU units do not come back; start again with another --seed, a smaller"
            " --learning-rate, or more --calibration-steps"
        }

    def _certainty(self, entry: Mapping[str, Any], max_entropy: float | None) -> dict[str, str]:
        entropy, top = entry.get("train/entropy"), entry.get("train/top_action_share")
        cure = "try a larger --entropy-coef, a smaller --learning-rate, or --optimizer rmsprop"
        if top is not None and top > _ONE_ACTION:
            return {
                "action": f"one action is taken {percent(top, 1)} of the time: the policy no longer"
                f" explores, and its gradient vanishes; {cure}"
            }
        if max_entropy and entropy is not None and entropy < _COLLAPSED * max_entropy:
            return {
                "entropy": f"the policy's entropy has collapsed to {entropy:.2g} of"
                f" {max_entropy:.2f} nats: it no longer explores; {cure}"
            }
        return {}

    def _critic(self, entry: Mapping[str, Any]) -> dict[str, str]:
        loss = entry.get("train/value_loss")
        if loss is None or len(self.value_losses) < 3:
            return {}
        usual = statistics.median(self.value_losses)
        if loss <= max(_EXPLODED * usual, _ONE_REWARD) or usual <= 0.0:
            return {}
        return {
            "critic": f"the value error explodes: a loss of {loss:.3g}, usually {usual:.3g}; try a"
            " smaller --critic-learning-rate, a --gamma below 1 or a --reward-transform"
        }

    def _standstill(self, entry: Mapping[str, Any]) -> dict[str, str]:
        """Natural steps of which hardly any is accepted: the policy stays what it is."""
        share = entry.get("train/rejected_steps", 0.0)
        if share <= _STANDS:
            return {}
        return {
            "standstill": f"{percent(share)} of the natural steps were rejected by the line search:"
            " the policy stands still; try a larger --fisher-damping, more --cg-iterations or"
            " longer --n-steps"
        }

    def _remember(self, entry: Mapping[str, Any]) -> None:
        if entry.get("train/value_loss") is not None:
            self.value_losses = [*self.value_losses, entry["train/value_loss"]][-_HISTORY:]
