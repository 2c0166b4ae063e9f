"""Checkers for the chapter on deep Q-learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmbook.exercises import Mistake, exercise
from mmbook.exercises.rl_mdp import compare, numbers

R = torch.tensor([1.0, -0.5, 2.0, 0.25])
GAMMA = 0.8
Q_NET = torch.tensor([[3.0, 1.0, -2.0], [0.5, 4.0, 1.5], [2.0, 2.5, 6.0], [1.0, -1.0, 0.0]])
Q_OLD = torch.tensor([[1.5, 5.0, -1.0], [7.0, 2.0, 0.5], [3.5, 1.0, 4.5], [2.0, 9.0, 8.0]])


@exercise("rl-dqn/target")
def target(answer: Callable[..., Any]) -> None:
    """The targets y (B,) of four transitions, of which one has terminated and another was truncated."""
    terminated, truncated = torch.tensor([False, True, False, False]), torch.tensor([False] * 3 + [True])
    Q = Q_OLD.clone().requires_grad_()
    y = answer(R.clone(), Q, terminated, truncated, GAMMA)
    got = numbers(
        y.detach() if isinstance(y, Tensor) else y, (4,), "one target for each of the 4 transitions"
    )
    best = Q_OLD.amax(-1)
    goes_on = 1 - terminated.float()
    wrong = {
        "you bootstrap from states that ended: nothing follows a termination": R + GAMMA * best,
        "you stop at a truncation: that episode was cut off by the clock and would have gone on": R
        + GAMMA * best * goes_on * ~truncated,
        "your mask is the wrong way round: you bootstrap only where the episode has terminated": R
        + GAMMA * best * ~goes_on.bool(),
        "you take the mean over the actions; the greedy policy takes the best one": R
        + GAMMA * Q_OLD.mean(-1) * goes_on,
        "you do not discount what follows": R + best * goes_on,
        "your targets leave out the reward": GAMMA * best * goes_on,
        "you discount the reward as well": GAMMA * (R + best * goes_on),
        "your targets leave out what follows; that is right for a bandit only": R,
        "you max over the wrong axis: over the whole batch, not over the actions": R
        + GAMMA * Q_OLD.max() * goes_on,
    }
    compare(got, (R + GAMMA * best * goes_on).numpy(), {says: x.numpy() for says, x in wrong.items()})
    if isinstance(y, Tensor) and y.requires_grad:
        raise Mistake("gradient flows through the target: it is a constant to be reached, so detach it")


@exercise("rl-dqn/double")
def double(answer: Callable[..., Any]) -> None:
    """The double-Q targets (B,) of four transitions, the second of which has ended."""
    ended = torch.tensor([0.0, 1.0, 0.0, 0.0])
    got = numbers(answer(R.clone(), Q_NET.clone(), Q_OLD.clone(), ended, GAMMA), (4,), "4 targets")

    def y(chooses: Tensor, says: Tensor, goes_on: Tensor) -> Any:
        picked = says.gather(1, chooses.argmax(1, keepdim=True)).squeeze(1)
        return (R + GAMMA * picked * goes_on).numpy()

    wrong = {
        "your networks have changed places: the online one chooses, the target one evaluates": y(
            Q_OLD, Q_NET, 1 - ended
        ),
        "the target network both chooses and evaluates: that is plain DQN": y(Q_OLD, Q_OLD, 1 - ended),
        "the online network both chooses and evaluates: the target network is not used": y(
            Q_NET, Q_NET, 1 - ended
        ),
        "you bootstrap from states that ended: nothing follows a termination": y(Q_NET, Q_OLD, 1 + 0 * ended),
        "you choose the same action for the whole batch; every row has its own best one": (
            R + GAMMA * Q_OLD[:, Q_NET.sum(0).argmax()] * (1 - ended)
        ).numpy(),
        "you average the two networks; one of them chooses, the other evaluates": y(
            (Q_NET + Q_OLD) / 2, (Q_NET + Q_OLD) / 2, 1 - ended
        ),
    }
    compare(got, y(Q_NET, Q_OLD, 1 - ended), wrong)
    one = answer(R[:1].clone(), Q_NET[:1].clone(), Q_OLD[:1].clone(), ended[:1], GAMMA)
    if np.shape(one) != (1,):
        raise Mistake("a batch of one transition has one target, of shape (1,): say squeeze(-1)")
