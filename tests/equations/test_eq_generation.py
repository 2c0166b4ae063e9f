"""Generation: codes against slow searches, gradients against their definition, and the joint both ways."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmbook.equations import nearest_code, straight_through, vq_loss

F64 = torch.float64


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def test_the_nearest_code_is_what_a_search_finds() -> None:
    z, e = random(5, 7, 3), random(11, 3, seed=1)
    found = nearest_code(z, e)
    for i in range(5):
        for j in range(7):
            assert found[i, j] == min(range(11), key=lambda k: float((z[i, j] - e[k]).norm()))


def test_codes_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"e: expected shape \(K, 3\) for this z, got \(4, 2\)"):
        nearest_code(random(5, 3), random(4, 2))


def test_the_value_is_the_codes_and_the_gradient_the_vectors() -> None:
    z, e, weight = random(4, 3).requires_grad_(), random(4, 3, seed=1).requires_grad_(), random(4, 3, seed=2)
    out = straight_through(z, e)
    assert torch.allclose(out, e)
    by_z, by_e = torch.autograd.grad((out * weight).sum(), (z, e), allow_unused=True)
    assert torch.equal(by_z, weight) and by_e is None


@pytest.mark.parametrize("beta", [0.0, 0.25, 2.0])
def test_each_side_of_the_loss_moves_one_side_only(beta: float) -> None:
    z, e = random(6, 3).requires_grad_(), random(6, 3, seed=1).requires_grad_()
    loss = vq_loss(z, e, beta)
    slow = sum((1 + beta) * float((z[i] - e[i]).detach() @ (z[i] - e[i]).detach()) for i in range(6)) / 6
    assert loss.item() == pytest.approx(slow)
    by_z, by_e = torch.autograd.grad(loss, (z, e))
    assert torch.allclose(by_e, 2 * (e - z).detach() / 6)
    assert torch.allclose(by_z, beta * 2 * (z - e).detach() / 6)


def test_the_loss_refuses_a_negative_beta_and_other_shapes() -> None:
    with pytest.raises(ValueError, match="beta: expected a number >= 0"):
        vq_loss(random(2, 3), random(2, 3), -0.1)
    with pytest.raises(ValueError, match="e: expected shape"):
        vq_loss(random(2, 3), random(3, 3), 0.1)


def joint(seed: int = 0) -> Tensor:
    """A table of pictures (rows) and captions (columns)."""
    return random(6, 5, seed=seed).exp().flatten().softmax(0).view(6, 5)


def test_the_joint_distribution_factors_both_ways() -> None:
    """Checks id:both-ways."""
    p = joint()
    p_x, p_y = p.sum(1), p.sum(0)
    text_given_picture, picture_given_text = p / p_x[:, None], p / p_y
    assert torch.allclose(text_given_picture.sum(1), torch.ones(6, dtype=F64))
    assert torch.allclose(picture_given_text.sum(0), torch.ones(5, dtype=F64))
    assert torch.allclose(p_x[:, None] * text_given_picture, p_y * picture_given_text)


def test_a_painter_and_a_prior_make_a_reader() -> None:
    """Checks id:read-by-painting."""
    p = joint(1)
    p_y, picture_given_text = p.sum(0), p / p.sum(0)
    read = picture_given_text * p_y / (picture_given_text * p_y).sum(1, keepdim=True)
    assert torch.allclose(read, p / p.sum(1, keepdim=True))


def test_a_picture_is_as_likely_as_its_codes_one_after_another() -> None:
    """Checks id:code-by-code."""
    p = random(3, 4, 2).flatten().softmax(0).view(3, 4, 2)  # all pictures of three codes
    first = p.sum((1, 2))
    second = p.sum(2) / first[:, None]
    third = p / p.sum(2, keepdim=True)
    assert torch.allclose(first[:, None, None] * second[:, :, None] * third, p)
