"""Checkers of the chapter on generation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import nearest_code, vq_loss
from mmbook.exercises import Mistake, exercise
from mmbook.exercises.comparing import compare


@exercise("multimodal-generation/nearest-code")
def nearest(answer: Callable[..., Tensor]) -> None:
    """`answer(z, e)` are the numbers (N,) of the codes e (K, D) that are nearest to z (N, D)."""
    g = torch.Generator().manual_seed(3)
    z, e = torch.randn(40, 4, generator=g), torch.randn(12, 4, generator=g)
    e = e * torch.linspace(0.2, 3, 12)[:, None]
    got, apart = answer(z.clone(), e.clone()), z[:, None] - e
    if np.shape(got) == (40, 4):
        raise Mistake(
            "these are the codes themselves: return their numbers, which are what a picture's words are"
        )
    if np.shape(got) == (12,):
        raise Mistake("each code looks for its vector here: the argmin goes over codes, for each z")
    if isinstance(got, Tensor) and got.is_floating_point() and got.shape == (40,):
        raise Mistake("these are no numbers of codes but measures of nearness: take argmin, not min")
    length = z.norm(dim=-1, keepdim=True) * e.norm(dim=-1)
    compare(
        got,
        nearest_code(z, e),
        {
            "this is the farthest code: take the argmin of distances": apart.norm(dim=-1).argmax(-1),
            "the dot product alone favours long codes: |e|^2 belongs to the distance too": (z @ e.T).argmax(
                -1
            ),
            "this is the smallest dot product: distance is |z|^2 - 2 z e + |e|^2": (z @ e.T).argmin(-1),
            "this is the cosine: lengths count too": (z @ e.T / length).argmax(-1),
            "these are sums of absolute differences: square them": apart.abs().sum(-1).argmin(-1),
            "|e|^2 - z e forgets the factor 2": (e.square().sum(-1) - z @ e.T).argmin(-1),
        },
    )


@exercise("multimodal-generation/vq-loss")
def codes_loss(answer: Callable[..., Tensor]) -> None:
    """`answer(z, e, beta)` is the loss of vectors z (N, D) and the codes e (N, D) they chose."""
    g, beta = torch.Generator().manual_seed(4), 0.25
    z, e = (torch.randn(9, 6, generator=g).requires_grad_() for _ in range(2))
    square = (z - e).detach().square()
    compare(
        answer(z, e, beta),
        vq_loss(z, e, beta).detach(),
        {
            "the commitment is missing: nothing holds the encoder to its codes": square.sum(-1).mean(),
            "the codebook's term is missing: nothing moves the codes": beta * square.sum(-1).mean(),
            "beta weighs both terms: it weighs the commitment only": 2 * beta * square.sum(-1).mean(),
            "both terms have weight 1: beta weighs the commitment": 2 * square.sum(-1).mean(),
            "this is the mean over coordinates: sum over D, then the mean over vectors": (1 + beta)
            * square.mean(),
            "this is the sum over vectors: take their mean": (1 + beta) * square.sum(),
            "these are distances, not their squares": (1 + beta) * square.sum(-1).sqrt().mean(),
        },
    )
    z, e = z.detach().requires_grad_(), e.detach().requires_grad_()
    loss = answer(z, e, beta)
    if not (isinstance(loss, Tensor) and loss.requires_grad):
        raise Mistake("the loss has no gradient: stop it on one side of each term, and return a tensor")
    by_z, by_e = torch.autograd.grad(loss, (z, e), allow_unused=True)
    right_z, right_e = torch.autograd.grad(vq_loss(z, e, beta), (z, e))
    if by_z is None or by_e is None:
        raise Mistake("no gradient reaches one of the sides: each term stops the gradient of one side only")
    if torch.allclose(by_z, right_z / beta) and torch.allclose(by_e, right_e * beta):
        raise Mistake("beta stands before the wrong term: it weighs the one that moves the encoder")
    if torch.allclose(by_z, (1 + beta) * right_z / beta):
        raise Mistake("the gradient is stopped nowhere: detach z in the first term and e in the second")
    if not (torch.allclose(by_z, right_z) and torch.allclose(by_e, right_e)):
        raise Mistake("the value is right and the gradients are not: look at what is detached in which term")


@exercise("multimodal-generation/read-by-painting")
def posterior(answer: Callable[..., Tensor]) -> None:
    """`answer(log_p, log_prior)` is p(y | x) (N, C) of log p(x | y) and log p(y): pictures x, captions y."""
    g = torch.Generator().manual_seed(5)
    log_p = -200 + 4 * torch.randn(6, 4, generator=g)
    log_prior = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    both = log_p + log_prior
    got = answer(log_p.clone(), log_prior.clone())
    if isinstance(got, Tensor) and not (got.isfinite().all() and got.any()):
        raise Mistake("exp(-200) is 0 in 32-bit floats, and 0 / 0 is not a number: normalise the logarithms")
    compare(
        got,
        both.softmax(-1),
        {
            "the prior is missing: rare captions are rarer": log_p.softmax(-1),
            "this sums to 1 over pictures: for one picture, compare the captions": both.softmax(0),
            "these are logarithms: take exp": both.log_softmax(-1),
            "this is the joint distribution in logarithms, not normalised": both,
            "the prior is taken off: it is multiplied, so its logarithm is added": (
                log_p - log_prior
            ).softmax(-1),
            "this is the prior: look at the picture": log_prior.softmax(-1).expand(6, 4),
        },
    )
