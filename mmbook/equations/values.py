"""The losses of learners that fit action values with a network: deep Q-learning and soft actor-critic."""

from __future__ import annotations

import torch
from torch import Tensor

from ._arguments import Number, check_range, check_shapes, widen


def dqn_loss(Q: Tensor, y: Tensor) -> Tensor:
    """Mean Huber loss of the values Q (B,) of the actions taken against their targets y (B,), a constant.

    Implements {eq}`eq:dqn-loss`. Returns a scalar. Raises ValueError for differing shapes. Source: Mnih et
    al. 2015.
    """
    check_shapes(Q=Q, y=y)
    return torch.nn.functional.huber_loss(widen(Q), widen(y).detach())


def soft_state_value(Q: Tensor, log_p: Tensor, beta: Number) -> Tensor:
    """Value of a state under a policy that is also paid beta for each nat of entropy; Q, log_p (..., A).

    Implements {eq}`eq:sac-value`. Returns (...). Raises ValueError for differing shapes or beta < 0. Source:
    Haarnoja et al. 2018, Christodoulou 2019.
    """
    check_shapes(Q=Q, log_p=log_p)
    check_range("beta", beta, 0, open_low=False)
    log_p = widen(log_p)
    return (log_p.exp() * (widen(Q) - beta * log_p)).sum(-1)


def sac_policy_loss(Q: Tensor, log_p: Tensor, beta: Number) -> Tensor:
    """Minus the mean soft value of the states, for a policy log_p (B, A) to descend; Q (B, A) is a constant.

    Implements {eq}`eq:sac-policy`. Returns a scalar. Raises ValueError as soft_state_value does.
    """
    return -soft_state_value(Q.detach(), log_p, beta).mean()
