"""The exercises on policy gradients: published solutions pass, and typical mistakes hear what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import mmbook.exercises
from mmbook.exercises import Mistake, check


def backwards(step: Callable[[int, Any, Any], Any], T: int) -> torch.Tensor:
    """A column for each of T steps, from the last to the first; each sees the one after it."""
    columns: list[Any] = []
    for t in reversed(range(T)):
        columns.append(step(t, columns[-1] if columns else 0.0, t + 1 < T))
    return torch.stack(columns[::-1], 1)


def to_go(r, m, gamma):
    return backwards(lambda t, rest, _: (r[:, t] + gamma * rest) * m[:, t], r.shape[1])


def delta(r, V, m, gamma, t, more):
    return r[:, t] + (gamma * V[:, t + 1] * m[:, t + 1] if more else 0) - V[:, t]


def gae(r, V, m, gamma, lam):
    return backwards(
        lambda t, rest, more: (delta(r, V, m, gamma, t, more) + gamma * lam * rest) * m[:, t], r.shape[1]
    )


def ones(m):
    return torch.ones_like(m)


MISTAKES = {
    "rl-policy-gradients/to-go": {
        "they stop at the end of an episode": lambda r, m, g: to_go(r, ones(m), g),
        "although the padding itself is 0": lambda r, m, g: to_go(r, ones(m), g) * m,
        "whole episode": lambda r, m, g: to_go(r, m, g)[:, :1] * m,
        "not discounted": lambda r, m, g: to_go(r, m, 1.0),
        "from the start of the episode": lambda r, m, g: to_go(r, m, g) * g ** torch.arange(4),
        "add up what came before": lambda r, m, g: (r * m).cumsum(1) * m,
        "leave out the step's own reward": lambda r, m, g: to_go(r, m, g) - r * m,
        "expected a tensor of shape": lambda r, m, g: to_go(r, m, g)[:, 0],
        "stopped with KeyError": lambda r, m, g: {}["no"],
    },
    "rl-policy-gradients/gae": {
        "do not stop at the end of an episode$": lambda r, V, m, g, lam: gae(r, V, ones(m), g, lam),
        "padding flows into them": lambda r, V, m, g, lam: gae(r, V, ones(m), g, lam) * m,
        "last step sees": lambda r, V, m, g, lam: backwards(
            lambda t, rest, more: (delta(r, V, ones(m), g, t, more) + g * lam * rest) * m[:, t], 4
        ),
        "leave out the value of the next state": lambda r, V, m, g, lam: backwards(
            lambda t, rest, _: (r[:, t] - V[:, t] + g * lam * rest) * m[:, t], 4
        ),
        "gamma times lam$": lambda r, V, m, g, lam: backwards(
            lambda t, rest, more: (delta(r, V, m, g, t, more) + lam * rest) * m[:, t], 4
        ),
        "lam is missing": lambda r, V, m, g, lam: gae(r, V, m, g, 1.0),
        "one step's surprise": lambda r, V, m, g, lam: gae(r, V, m, g, 0.0),
        "target G": lambda r, V, m, g, lam: gae(r, V, m, g, lam) + V * m,
        "sign is wrong": lambda r, V, m, g, lam: -gae(r, V, m, g, lam),
    },
    "rl-policy-gradients/others": {
        "includes the response itself": lambda R: R - R.mean(1, keepdim=True),
        "that is GRPO": lambda R: (R - R.mean(1, keepdim=True)) / R.std(1, keepdim=True, correction=0),
        "mixes prompts; average": lambda R: R - R.mean(),
        "not in a column": lambda R: R - (R.sum(0) - R) / (len(R) - 1),
        "divide by K - 1": lambda R: R - (R.sum(1, keepdim=True) - R) / R.shape[1],
        "sum of the others": lambda R: R - (R.sum(1, keepdim=True) - R),
        "take the baseline off": lambda R: (R.sum(1, keepdim=True) - R) / (R.shape[1] - 1) - R,
        "you return the baseline": lambda R: (R.sum(1, keepdim=True) - R) / (R.shape[1] - 1),
    },
}


def test_the_right_answer_may_be_computed_in_any_way():
    check("rl-policy-gradients/to-go", to_go)
    check("rl-policy-gradients/gae", gae)
    assert {"rl-policy-gradients/to-go", "rl-policy-gradients/gae"} <= mmbook.exercises.EXERCISES.keys()


def test_arrays_and_64_bits_are_answers_too(capsys):
    check("rl-policy-gradients/to-go", lambda r, m, gamma: to_go(r.double(), m, gamma).numpy())
    check("rl-policy-gradients/others", lambda R: mmbook.equations.leave_one_out(R).numpy())
    assert capsys.readouterr().out == "Right.\n" * 2


def test_groups_have_no_mask_to_show():
    with pytest.raises(Mistake) as caught:
        check("rl-policy-gradients/others", lambda R: R)
    assert "mask" not in str(caught.value)
