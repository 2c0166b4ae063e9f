"""Tables, perceptrons and small convolutional networks, chosen by what an environment shows."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn


class OneHot(nn.Module):
    """Turn state numbers (N,) into unit vectors (N, S): a linear map after it is a table."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.states = states

    def forward(self, s: Tensor) -> Tensor:
        return nn.functional.one_hot(s.long(), self.states).to(torch.get_default_dtype())


class Picture(nn.Module):
    """Bring uint8 pictures (N, H, W, C) into the range from -1 to 1 and channels to the front."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2).to(torch.get_default_dtype()) / 127.5 - 1


def body(
    space: gymnasium.Space, width: int = 64, gain: float = math.sqrt(2), hidden: type[nn.Module] = nn.Tanh
) -> tuple[nn.Sequential, int]:
    """Layers from observations of a space (N, ...) to features (N, D), and D; gain 0 keeps PyTorch's start.

    A Discrete space gives one-hot states, a vector two layers of `hidden` units, a picture 3 convolutions.
    Raises ValueError for another space.
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return nn.Sequential(OneHot(int(space.n))), int(space.n)
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) not in (1, 3):
        raise ValueError(f"space: expected Discrete, a vector or a picture (H, W, C), got {space}")
    if len(space.shape) == 1:
        first, second = nn.Linear(space.shape[0], width), nn.Linear(width, width)
        layers = [start(first, gain), hidden(), start(second, gain), hidden()]
        return nn.Sequential(*layers), width
    layers, channels, side = [Picture()], space.shape[2], space.shape[0]
    for out in (16, 32, 64):
        layers += [start(nn.Conv2d(channels, out, 3, stride=2, padding=1), gain), nn.ReLU()]
        channels, side = out, -(-side // 2)
    flat = start(nn.Linear(channels * side * side, 2 * width), gain)
    return nn.Sequential(*layers, nn.Flatten(), flat, nn.ReLU()), 2 * width


def start(layer: Any, gain: float) -> Any:
    """Begin a layer with orthogonal weights of this gain and bias 0, unless the gain is 0."""
    if gain:
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return layer


def as_tensor(obs: np.ndarray) -> Tensor:
    """An observation as a tensor of its own: environments may write into their arrays again.

    Floats become those that weights are made of, as many environments show 64 bits.
    """
    x = torch.as_tensor(np.array(obs))
    return x.to(torch.get_default_dtype()) if x.is_floating_point() else x


class ActorCritic(nn.Module):
    """A policy and a value for each observation: logits (..., A) and V (...) of observations (..., *shape).

    Pictures have one body for both, everything else two. Tables start at 0: a uniform policy. The seed alone
    decides the weights.
    """

    def __init__(self, envs: Any, seed: int = 0, width: int = 64, orthogonal: bool = True) -> None:
        super().__init__()
        space, actions = envs.single_observation_space, int(envs.single_action_space.n)
        self.dims = len(space.shape)
        gain = math.sqrt(2) if orthogonal else 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor, features = body(space, width, gain)
            shared = len(space.shape) == 3
            self.critic = self.actor if shared else body(space, width, gain)[0]
            # A policy that begins nearly uniform; the critic's gain is 1 (Huang et al. 2022).
            self.policy_head = start(nn.Linear(features, actions), 0.01 * bool(gain))
            self.value_head = start(nn.Linear(features, 1), 1.0 * bool(gain))
        if isinstance(space, gymnasium.spaces.Discrete):
            nn.init.zeros_(self.policy_head.weight)
            nn.init.zeros_(self.value_head.weight)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        lead = obs.shape[: obs.dim() - self.dims]
        obs = obs.reshape(-1, *obs.shape[len(lead) :])
        features = self.actor(obs)
        seen = features if self.critic is self.actor else self.critic(obs)
        return self.policy_head(features).reshape(*lead, -1), self.value_head(seen).reshape(lead)

    @torch.no_grad()
    def act(self, obs: np.ndarray, generator: torch.Generator | None = None) -> np.ndarray:
        """Actions (N,) for observations (N, ...): sampled with a generator, else the likeliest."""
        logits = self(as_tensor(obs))[0]
        return (logits.argmax(-1) if generator is None else sample(logits, generator)).numpy()


class QNetwork(nn.Module):
    """Action values Q (N, A) of observations (N, ...); a table starts at 0."""

    def __init__(self, envs: Any, seed: int = 0, width: int = 64) -> None:
        super().__init__()
        space = envs.single_observation_space
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body, features = body(space, width, 0.0, nn.ReLU)
            self.head = nn.Linear(features, int(envs.single_action_space.n))
        if isinstance(space, gymnasium.spaces.Discrete):
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, obs: Tensor) -> Tensor:
        return self.head(self.body(obs))

    @torch.no_grad()
    def act(self, obs: np.ndarray) -> np.ndarray:
        """The best action (N,) of each observation."""
        return self(as_tensor(obs)).argmax(-1).numpy()


def sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one action (...) from each row of logits (..., A)."""
    p = torch.softmax(logits, -1)
    return torch.multinomial(p.flatten(0, -2), 1, generator=generator).reshape(p.shape[:-1])
