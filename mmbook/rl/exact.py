"""What a policy-gradient method does on average, computed without sampling: by listing every response."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmbook.equations import log_prob
from mmbook.rl.networks import ActorCritic
from mmbook.rl.rollouts import Rollout
from mmbook.world.caption_tree import CaptionTree


def all_responses(tree: CaptionTree, model: ActorCritic) -> tuple[Rollout, Tensor]:
    """Every response of a tree as an episode, K rows of a rollout, and its probability (K,)."""
    paths = tree.paths
    states, actions = torch.as_tensor(paths.states), torch.as_tensor(paths.actions)
    with torch.no_grad():
        z, V = model(states)
    m = torch.as_tensor(paths.m, dtype=V.dtype)
    log_p = log_prob(z, actions) * m
    last = m - torch.cat([m[:, 1:], torch.zeros_like(m[:, :1])], dim=1)  # 1 on a response's last word
    r = last * torch.as_tensor(tree.rewards, dtype=V.dtype)[:, None]
    t = torch.arange(m.shape[1]) * m
    return Rollout(states, actions, log_p, V * m, r, r, t, m), log_p.sum(1).exp()


def expected_gradient(
    model: ActorCritic, batch: Rollout, p: Tensor, loss: Callable[[Rollout], Tensor]
) -> Tensor:
    """Mean (S, A) of minus the gradient by the policy's table, over single episodes with probabilities p.

    `loss` takes a rollout of one episode; p is a constant, as it is for a program that samples.
    """
    total = torch.stack([p[k] * loss(batch.rows(slice(k, k + 1))) for k in range(len(p))]).sum()
    return -torch.autograd.grad(total, model.policy_head.weight)[0].T
