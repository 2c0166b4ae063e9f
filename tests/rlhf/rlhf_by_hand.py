"""The slow way: each number of a rollout again, one caption and one token at a time; and known rewards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mmbook.models import VLM, Adapted
from mmbook.rlhf import PPOConfig, RewardModel, ppo
from mmbook.world import SceneBatch, render, sample_scenes


@dataclass
class Run:
    """A rollout with everything that made it; `calls` has the arguments and results of its equations."""

    policy: Adapted
    scorer: ppo.Scorer
    scenes: SceneBatch
    config: PPOConfig
    batch: ppo.Rollout
    calls: dict[str, list[tuple[tuple, Any]]]

    def loss(
        self, rows: Tensor | None = None, N: Tensor | None = None, **changes: Any
    ) -> tuple[Tensor, Tensor]:
        """The loss and new log-probabilities of some rows, as PPO computes them."""
        part = self.batch.part(torch.arange(len(self.batch.m)) if rows is None else rows)
        config = PPOConfig(**{**vars(self.config), **changes})
        return ppo.loss(self.policy.model, self.scorer, part, part.m.sum() if N is None else N, config)


def spy(patch: pytest.MonkeyPatch, module: Any, *names: str) -> dict[str, list[tuple[tuple, Any]]]:
    """Record the arguments and the result of each call of some functions of a module."""
    calls: dict[str, list[tuple[tuple, Any]]] = {name: [] for name in names}

    def wrap(name: str, function: Callable) -> Callable:
        def called(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            calls[name].append(((*args, *kwargs.values()), result))
            return result

        return called

    for name in names:
        patch.setattr(module, name, wrap(name, getattr(module, name)))
    return calls


def moved(model: VLM, by: float, rank: int = 4, seed: int = 0) -> Adapted:
    """A policy away from its reference: the adapters' second factors, zero at first, get random weights."""
    policy = Adapted(model, rank, seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in policy.model.module.named_parameters():
            if "lora_B" in name:
                weight.copy_(by * torch.randn(weight.shape, generator=draw))
    return policy


def run_rollout(
    model: VLM, reward: RewardModel, n: int = 12, by: float = 0.1, longest: int | None = None, **changes: Any
) -> Run:
    """One rollout of a moved policy on `n` scenes; `longest` makes some captions end without EOS."""
    model = model.copy()
    model.max_words = longest or model.max_words
    config = PPOConfig(**{"batch": n, "minibatches": 1, "beta": 0.3, "gamma": 0.9, "lam": 0.8, **changes})
    draw, policy = torch.Generator().manual_seed(1), moved(model, by)
    scorer = ppo.Scorer(reward, model, sample_scenes(2 * n, 5), config, draw)
    scenes = sample_scenes(n, 6)
    with pytest.MonkeyPatch.context() as patch:
        calls = spy(patch, ppo, "decode", "log_prob", "standardised_score", "shaped_reward", "gae", "whiten")
        batch = ppo.rollout(policy, scorer, scenes, draw, config)
    return Run(policy, scorer, scenes, config, batch, calls)


@torch.no_grad()
def log_probs_alone(model: VLM, scenes: SceneBatch, ids: Tensor, m: Tensor, tau: float) -> Tensor:
    """Log-probabilities (B, T), each caption alone through the whole Hugging Face model, in float64."""
    out = torch.zeros(m.shape, dtype=torch.float64)
    for i, n in enumerate(m.sum(1).long().tolist()):
        z = logits_alone(model, scenes, i, ids[i, :n]).double() / tau
        for t in range(n):
            out[i, t] = z[t, ids[i, t]] - torch.logsumexp(z[t], 0)
    return out


@torch.no_grad()
def logits_alone(model: VLM, scenes: SceneBatch, i: int, response: Tensor) -> Tensor:
    """Next-token logits (n, V) of response i: picture and prompt in, no batch, no cache, no prefix."""
    inputs = model.processor(
        images=list(render(scenes[i : i + 1], model.picture_size)), text=[model.prompt], return_tensors="pt"
    )
    start = inputs["input_ids"].shape[1]
    ids = torch.cat([inputs["input_ids"], response[None]], 1)
    out = model.module(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=inputs["pixel_values"]
    )
    return out.logits[0, start - 1 : -1]


def advantages_alone(r: list[float], V: list[float], gamma: float, lam: float) -> list[float]:
    """The advantages of one response by the definition, a double sum over temporal differences."""
    n = len(r)
    delta = [r[t] + (gamma * V[t + 1] if t + 1 < n else 0.0) - V[t] for t in range(n)]
    return [sum((gamma * lam) ** (k - t) * delta[k] for k in range(t, n)) for t in range(n)]


def tokens(x: Tensor, m: Tensor) -> np.ndarray:
    """The entries of (B, T) that belong to responses, in float64."""
    return x.detach().double()[m.bool()].numpy()


def gradients(run: Run, part: ppo.Rollout, **changes: Any) -> Tensor:
    """The whole gradient that the optimizer sees at a minibatch, in one vector."""

    class Recorder:
        @property
        def param_groups(self) -> list[dict[str, Any]]:
            return [{"params": weights}]

        def zero_grad(self) -> None:
            for weight in weights:
                weight.grad = None

        def step(self) -> None:
            seen.extend(torch.zeros_like(w) if w.grad is None else w.grad.clone() for w in weights)

    weights, seen = [*run.policy.parameters(), *run.scorer.value_head.parameters()], list[Tensor]()
    config = PPOConfig(**{**vars(run.config), "clip_norm": 1e9, **changes})
    ppo.minibatch_step(run.policy, run.scorer, Recorder(), part, config)
    return torch.cat([g.flatten() for g in seen])
