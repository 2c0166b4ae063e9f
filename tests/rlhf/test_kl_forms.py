"""The price of leaving the reference, in the reward and in the loss: exact means over a tree's captions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from mmbook.equations import kl_k1, kl_k2, kl_k3, kl_objective, kl_regularised_optimum, shaped_reward
from mmbook.models import TableLM
from mmbook.rlhf import KnownReward, Likelihood, RewardSum
from mmbook.world.caption_tree import CaptionTree

TREE = CaptionTree()
WAYS, WORDS = torch.tensor(TREE.paths.states), torch.tensor(TREE.paths.actions)
M = torch.tensor(TREE.paths.m).double()


def table(seed: int) -> Tensor:
    """Logits (S, A) of some policy."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(len(TREE.prefixes), len(TREE.words), generator=draw, dtype=torch.float64)


REFERENCE = table(0).log_softmax(-1)


def said(z: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each word (K, T) of each caption, and the probability of each caption (K,)."""
    log_p = z.log_softmax(-1)[WAYS, WORDS] * M
    return log_p, log_p.sum(1).exp()


def gradient(of: Callable[[Tensor], Tensor], seed: int = 1) -> Tensor:
    """Of a number that depends on the logits."""
    z = table(seed).requires_grad_()
    return torch.autograd.grad(of(z), z)[0]


def as_loss(estimator: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The mean gradient of an estimator that is descended as a loss; who samples has no gradient."""

    def mean(z: Tensor) -> Tensor:
        log_p, p = said(z)
        return p.detach() @ (estimator(log_p, REFERENCE[WAYS, WORDS]) * M).sum(1)

    return gradient(mean)


def at_fixed_prefixes(forward: bool) -> Tensor:
    """The gradient of the next word's divergence, summed over prefixes as often as they are visited."""
    visits = torch.zeros(len(TREE.prefixes), dtype=torch.float64)
    visits.index_add_(0, WAYS.flatten(), (said(table(1))[1][:, None] * M).flatten())

    def mean(z: Tensor) -> Tensor:
        pi, ref = Categorical(logits=z), Categorical(logits=REFERENCE)
        return visits @ (kl_divergence(ref, pi) if forward else kl_divergence(pi, ref))

    return gradient(mean)


def whole() -> Tensor:
    """The gradient of the divergence over captions: what one would like to have."""
    log_p_ref = TREE.log_prob(REFERENCE)
    return gradient(lambda z: -kl_objective(TREE.log_prob(z.log_softmax(-1)), log_p_ref, 0 * log_p_ref, 1.0))


def test_k1_as_a_loss_does_not_push() -> None:
    """Checks id:kl-loss-k1: its mean gradient over all captions is 0."""
    assert as_loss(kl_k1).abs().max() < 1e-12
    assert whole().abs().max() > 1e-2  # the control: there is something to push for


def test_k2_as_a_loss_pushes_as_the_divergence_at_fixed_prefixes() -> None:
    """Checks id:kl-loss-k2: its mean gradient against that of exact divergences, weighted by visits."""
    assert torch.allclose(as_loss(kl_k2), at_fixed_prefixes(forward=False), atol=1e-12)
    assert not torch.allclose(as_loss(kl_k2), whole(), atol=1e-2)  # which is not the whole


def test_k3_as_a_loss_pushes_as_the_forward_divergence_at_fixed_prefixes() -> None:
    """Checks id:kl-loss-k3: its mean gradient against that of KL(reference || policy) at each prefix."""
    assert torch.allclose(as_loss(kl_k3), at_fixed_prefixes(forward=True), atol=1e-12)
    assert not torch.allclose(as_loss(kl_k3), at_fixed_prefixes(forward=False), atol=1e-2)


def test_k1_in_the_reward_pushes_as_the_whole_divergence() -> None:
    """Checks id:kl-reward: scores times what is still to be paid, against autograd of the exact sum."""

    def mean(z: Tensor) -> Tensor:
        log_p, p = said(z)
        r = shaped_reward(log_p.detach(), REFERENCE[WAYS, WORDS], M, torch.zeros(len(M)), 1.0)
        to_come = r.flip(1).cumsum(1).flip(1)
        return -(p.detach() @ (log_p * to_come).sum(1))

    assert torch.allclose(gradient(mean), whole(), atol=1e-12)


def test_k3_in_the_reward_has_the_right_mean_and_another_gradient() -> None:
    def mean(z: Tensor) -> Tensor:
        log_p, p = said(z)
        paid = (kl_k3(log_p.detach(), REFERENCE[WAYS, WORDS]) * M).flip(1).cumsum(1).flip(1)
        return p.detach() @ (log_p * paid).sum(1)

    log_p, p = said(table(1))
    k1, k3 = (p @ (k(log_p, REFERENCE[WAYS, WORDS]) * M).sum(1) for k in (kl_k1, kl_k3))
    assert k1.item() == pytest.approx(k3.item(), abs=1e-12)
    assert not torch.allclose(gradient(mean), whole(), atol=1e-2)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_likelihood_preference_and_entropy_are_rlhf(beta: float) -> None:
    """Checks id:documents-objective: the package's r + lambda h, and entropy, against RLHF's aim."""
    base, lam = TableLM(TREE, REFERENCE), 0.7
    reward = RewardSum(fluency=(beta, Likelihood(base)), preference=(lam, KnownReward(base)))
    captions = [TREE.text(way) for way in TREE.responses]
    paid = reward.score([TREE.scene] * len(captions), captions).double()
    h = torch.tensor(TREE.rewards)
    for seed in range(1, 6):
        p = Categorical(logits=TREE.log_prob(table(seed).log_softmax(-1)))
        left = p.probs @ paid + beta * p.entropy()
        kl = kl_divergence(p, Categorical(logits=base.log_pi()))
        assert left.item() == pytest.approx((lam * p.probs @ h - beta * kl).item(), abs=1e-6)


def test_only_the_price_in_the_reward_leads_to_the_best_policy() -> None:
    """What the four statements mean for training: exact ascent from the reference, each form at one price."""
    R, log_p_ref, beta = torch.tensor(TREE.rewards), TREE.log_prob(REFERENCE), 2.0
    best, away = kl_regularised_optimum(log_p_ref, R, beta), {}
    for form in (None, kl_k1, kl_k2, kl_k3):
        z = REFERENCE.clone().requires_grad_()
        adam = torch.optim.Adam([z], lr=0.05)
        for _ in range(250):
            log_p, p = said(z)
            price = p @ (log_p - REFERENCE[WAYS, WORDS] * M).sum(1)
            if form:
                price = p.detach() @ (form(log_p, REFERENCE[WAYS, WORDS]) * M).sum(1)
            adam.zero_grad()
            (beta * price - p @ R).backward()
            adam.step()
        log_p = said(z.detach())[0].sum(1)
        away[form] = (log_p.exp() @ (log_p - best)).item()
    assert away[None] < 1e-3
    assert all(away[form] > 10 * away[None] and away[form] > 1e-3 for form in (kl_k1, kl_k2, kl_k3)), away
