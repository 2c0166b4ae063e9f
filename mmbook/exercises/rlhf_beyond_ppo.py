"""Checkers of the chapter on what stands beside PPO."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from mmbook.equations import best_of_n_policy, dpo_loss, log_prob
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare, reaches


@exercise("rlhf-beyond-ppo/dpo-loss")
def direct_loss(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p_c, log_p_r, log_p_ref_c, log_p_ref_r, beta)` is DPO's loss, a scalar."""
    g = torch.Generator().manual_seed(4)
    c, r, ref_c, ref_r = (-5 - torch.rand(7, generator=g) * 8 for _ in range(4))
    [x.requires_grad_() for x in (c, ref_c, ref_r)]
    got, beta = answer(c, r, ref_c, ref_r, 0.3), 0.3
    lead, plain = (c - ref_c) - (r - ref_r), c - r
    mistakes = {
        "the reference is missing: rewards are log-ratios, not log-probabilities": -logsigmoid(beta * plain),
        "chosen and rejected are exchanged, or the sign is: this pushes the chosen down": -logsigmoid(
            -beta * lead
        ),
        "beta is missing, or it stands outside the sigmoid": -logsigmoid(lead),
        "beta belongs inside the sigmoid: it prices the lead, not the loss": -beta * logsigmoid(lead),
        "this is the mean probability of the choices: take minus its logarithm": torch.sigmoid(beta * lead),
        "the reference is added, not taken off": -logsigmoid(beta * (c + ref_c - r - ref_r)),
    }
    wrong = {says: x.mean().detach() for says, x in mistakes.items()}
    wrong["take the mean over pairs, not the sum"] = -logsigmoid(beta * lead).sum().detach()
    compare(got, dpo_loss(c - ref_c, r - ref_r, beta).detach(), wrong)
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Mistake("no gradient reaches the policy's log-probabilities: do not detach them")
    if any(g is not None for g in torch.autograd.grad(got, [ref_c, ref_r], allow_unused=True)):
        raise Mistake("gradients flow into the reference: it is fixed, so detach its log-probabilities")


@exercise("rlhf-beyond-ppo/response-log-prob")
def response_log_prob(answer: Callable[..., Tensor]) -> None:
    """`answer(logits, ids, m)` is the log-probability (B,) of responses; logits (B, T, V), ids, m (B, T)."""
    g = torch.Generator().manual_seed(5)
    z, ids = torch.randn(4, 6, 9, generator=g), torch.randint(9, (4, 6), generator=g)
    m = (torch.arange(6) < torch.tensor([[6], [3], [1], [4]])).float()
    each = log_prob(z, ids)
    last = m - torch.nn.functional.pad(m[:, 1:], (0, 1))
    shifted = log_prob(z[:, :-1], ids[:, 1:]) * m[:, 1:]
    got = answer(learned := z.clone().requires_grad_(), ids, m)
    compare(
        got,
        (each * m).sum(1),
        {
            "padding is counted: multiply by m before the sum": each.sum(1),
            "this is the mean over tokens: a response's probability is a product, so sum": (each * m).sum(1)
            / m.sum(1),
            "the last token, EOS, is missing: ending is an action too": (each * (m - last)).sum(1),
            "the tokens are shifted by one: logits[:, t] already belong to ids[:, t]": shifted.sum(1),
            "these are logits: take log_softmax first": (z.gather(-1, ids[..., None])[..., 0] * m).sum(1),
            "these are probabilities: take the logarithm": (each * m).sum(1).exp(),
        },
    )
    reaches(got, learned)


@exercise("rlhf-beyond-ppo/best-of-n")
def best_of_n(answer: Callable[..., Tensor]) -> None:
    """`answer(p, R, n)` are the probabilities (K,) of the best of n samples of p (K,) by reward R (K,)."""
    p = torch.tensor([0.3, 0.1, 0.25, 0.2, 0.15]).double()
    R, n = torch.tensor([1.0, 3.0, 1.0, -2.0, 0.0]).double(), 3
    right = best_of_n_policy(p.log(), R, n).exp()
    at_most, below = (p * (R[:, None] >= R)).sum(-1), (p * (R[:, None] > R)).sum(-1)
    order = torch.argsort(R, stable=True)
    F = p[order].cumsum(0)
    split = torch.empty_like(p)
    split[order] = F**n - torch.cat([F.new_zeros(1), F[:-1]]) ** n
    whole = at_most**n - below**n
    compare(
        answer(p.clone(), R.clone(), n),
        right,
        {
            "this is the probability that all n earn no more: take off that all n earn less": at_most**n,
            "responses of equal reward each get the whole share of their level: split it by p": whole,
            "equals are put in some order: those of one reward share their level in proportion to p": split,
            "this is one response too few: n, not n - 1": best_of_n_policy(p.log(), R, n - 1).exp(),
            "this is the reference itself": p,
            "this is the chance to see the response among n samples, not to see it win": 1 - (1 - p) ** n,
        },
    )
    if not torch.allclose(torch.as_tensor(answer(p, R, 1)).to(p), p):
        raise Mistake("with n = 1 the best sample is the sample: the reference should come back")
