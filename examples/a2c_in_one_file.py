"""Online advantage actor-critic (A2C) in one file, from one stream of experience.

    python examples/a2c_in_one_file.py --seed 0 --steps 200000

One environment, no replay buffer, no parallel copies. The agent acts for T steps, turns what it
has lived through into returns, takes one gradient step, forgets the segment and acts on. It needs
torch and gymnasium alone; `a2c_cli` is the same algorithm made fast, resumable and general.

Sources: A3C, arXiv 1602.01783 (n-step advantage actor-critic); GAE, arXiv 1506.02438 (λ).
"""

from __future__ import annotations

import argparse

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Categorical

GAMMA = 0.99  # γ, the discount: a reward k steps ahead counts γ^k
LAMBDA = 0.95  # λ: 1 trusts the rewards of the segment, 0 trusts the critic's V(s') alone
T = 32  # steps of a segment, and so of an update
VALUE_COEF = 0.5  # c, the weight of the critic's loss
ENTROPY_COEF = 0.001  # β at the start, the price of a nat of entropy; it decays to 0
LEARNING_RATE = 2e-3  # η at the start; it decays to 0
MAX_GRAD_NORM = 0.5  # a longer gradient is shortened to this
REWARD_SCALE = 1.0 - GAMMA  # an endless stream of rewards of 1 is then worth Σ γ^k (1-γ) = 1


class ActorCritic(nn.Module):
    """Two small networks that share nothing: π(·|s), the actor, and V(s), the critic."""

    def __init__(self, features: int, actions: int, hidden: int = 64) -> None:
        super().__init__()

        def network(outputs: int, gain: float) -> nn.Sequential:
            layers = [nn.Linear(features, hidden), nn.Linear(hidden, hidden)]
            last = nn.Linear(hidden, outputs)
            for layer, g in ((layers[0], 2**0.5), (layers[1], 2**0.5), (last, gain)):
                nn.init.orthogonal_(layer.weight, g)
                nn.init.zeros_(layer.bias)
            return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), last)

        self.actor = network(actions, gain=0.01)  # almost uniform: the first policy explores
        self.critic = network(1, gain=1.0)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, actions) and values (N,) of observations (N, features)."""
        return self.actor(obs), self.critic(obs).squeeze(-1)


def lambda_returns(
    rewards: Tensor, terminated: Tensor, values: Tensor, gamma: float, lam: float
) -> Tensor:
    """G_0 ... G_{T-1} from T rewards and T+1 values, from the last step backwards."""
    returns = torch.zeros_like(rewards)
    following = values[-1]  # G_T = V(s_T): the critic stands in for all that comes later
    for t in reversed(range(len(rewards))):
        discount = gamma * (1.0 - terminated[t])  # d_t: nothing comes after a termination
        # G_t = r_t + d_t ((1-λ) V(s_{t+1}) + λ G_{t+1})
        following = rewards[t] + discount * ((1.0 - lam) * values[t + 1] + lam * following)
        returns[t] = following
    return returns


def loss(
    network: nn.Module, segment: dict[str, Tensor], entropy_coef: float,
    gamma: float = GAMMA, lam: float = LAMBDA, value_coef: float = VALUE_COEF,
) -> Tensor:  # fmt: skip
    """L = mean_t [ -log π(a_t|s_t) A_t + c (G_t - V(s_t))² - β H(π(·|s_t)) ].

    The segment has T+1 observations and T actions, rewards and terminations.
    """
    logits, values = network(segment["obs"])
    policy, value = Categorical(logits=logits[:-1]), values[:-1]
    # Targets and advantages are numbers to learn from, not functions to differentiate.
    returns = lambda_returns(segment["rewards"], segment["terminated"], values.detach(), gamma, lam)
    advantages = returns - value.detach()  # A_t = G_t - V(s_t): better or worse than expected
    policy_loss = -(policy.log_prob(segment["actions"]) * advantages).mean()
    value_loss = (returns - value).square().mean()
    return policy_loss + value_coef * value_loss - entropy_coef * policy.entropy().mean()


def train(env_id: str, steps: int, seed: int) -> list[float]:
    """Learn online for so many steps; gives the raw return of every episode."""
    torch.manual_seed(seed)
    env = gymnasium.make(env_id)
    network = ActorCritic(env.observation_space.shape[0], int(env.action_space.n))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, eps=1e-5)
    obs, _ = env.reset(seed=seed)
    finished, episode_return = [], 0.0
    observations, actions, rewards, terminations = [], [], [], []
    for step in range(1, steps + 1):
        # Act: a_t ~ π(·|s_t), by the parameters as of the last update.
        with torch.no_grad():
            logits = network.actor(torch.as_tensor(obs))
        action = int(Categorical(logits=logits).sample())
        following, reward, terminated, truncated, _ = env.step(action)
        observations.append(obs)
        actions.append(action)
        rewards.append(REWARD_SCALE * float(reward))
        terminations.append(float(terminated))
        episode_return += float(reward)
        obs = following

        # Learn: when T steps are gathered, or where a time limit cuts the stream. Terminated means
        # that the future is worth 0 (d_t = 0). Truncated means only that nobody watches it: the
        # segment ends there and V(s_T) of the observation before the reset stands for the rest.
        if len(actions) == T or truncated:
            segment = {
                "obs": torch.as_tensor(np.stack([*observations, obs])),  # T+1: s_T closes it
                "actions": torch.tensor(actions),
                "rewards": torch.tensor(rewards),
                "terminated": torch.tensor(terminations),
            }
            left = 1.0 - step / steps  # β and η fall to 0: explore first, settle at the end
            optimizer.zero_grad()
            loss(network, segment, ENTROPY_COEF * left).backward()
            nn.utils.clip_grad_norm_(network.parameters(), MAX_GRAD_NORM)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * left
            optimizer.step()
            observations, actions, rewards, terminations = [], [], [], []

        if terminated or truncated:
            finished.append(episode_return)
            episode_return = 0.0
            obs, _ = env.reset()
            if len(finished) % 100 == 0:
                print(f"step {step:,}: the last 100 games brought {np.mean(finished[-100:]):.1f}")
    env.close()
    return finished


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Online A2C in one file.")
    parser.add_argument("--env", default="CartPole-v1", help="with Box observations")
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    games = train(options.env, options.steps, options.seed)
    print(f"mean return of the last 100 of {len(games):,} games: {np.mean(games[-100:]):.1f}")
