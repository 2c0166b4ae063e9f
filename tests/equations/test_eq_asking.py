"""What an answer would tell: closed forms, and mutual information by its own definition."""

import math

import pytest
import torch

from mmbook.equations import answer_entropy, ask_threshold, information_gain

F64 = torch.float64


def test_models_that_agree_have_nothing_to_learn() -> None:
    p = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]] * 4, dtype=F64)
    assert information_gain(p).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert answer_entropy(p)[0].item() == pytest.approx(math.log(2))


def test_two_sure_models_that_disagree_tell_one_bit() -> None:
    p = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]], dtype=F64)
    assert information_gain(p).item() == pytest.approx(math.log(2))


def test_gain_is_the_mutual_information_of_answer_and_model() -> None:
    """The sum of p(k, c) log p(k, c) / (p(k) p(c)), with every model equally likely."""
    p = torch.rand(5, 7, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    p /= p.sum(-1, keepdim=True)
    joint = p / 5
    both = (joint * (joint / (joint.sum(0) * (1 / 5))).log()).sum((0, 2))
    assert torch.allclose(information_gain(p), both)
    assert (information_gain(p) <= answer_entropy(p)).all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="models, questions, answers"):
        information_gain(torch.ones(2, 2))
    with pytest.raises(ValueError, match="add up to 1"):
        answer_entropy(torch.full((1, 2, 2), 0.7))


@pytest.mark.parametrize(("c", "ell"), [(0.5, 1.0), (0.2, 3.0), (1.2, 0.5), (0.0, 1.0), (3.0, 1.0)])
def test_above_the_threshold_guessing_is_worth_more_than_asking(c: float, ell: float) -> None:
    """Where the two are worth the same, by bisection of p - ell (1 - p) = 1 - c."""
    low, high = -5.0, 5.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if p - ell * (1 - p) < 1 - c else (low, p)
    assert ask_threshold(c, ell) == pytest.approx(p)


def test_the_threshold_wants_a_price() -> None:
    with pytest.raises(ValueError, match="c: expected a number >= 0"):
        ask_threshold(-0.1, 1.0)
