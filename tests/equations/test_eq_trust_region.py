"""Trust regions against slow loops, listed actions, second derivatives and random decision processes."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmbook.equations import (
    fisher_matrix,
    mean_divergence,
    natural_step,
    softmax_policy_gradient,
    surrogate,
)

F64 = torch.float64
GAMMA = 0.9


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def mask() -> Tensor:
    return (torch.arange(5) < torch.tensor([5, 2, 1, 4])[:, None]).to(F64)


# Each function against an independent evaluation


def test_surrogate_equals_a_slow_loop() -> None:
    m = mask()
    for seed in range(3):
        old, noise, A = draw(3, 4, 5, seed=seed)
        new = old + 0.4 * noise
        terms = [math.exp(new[b, t] - old[b, t]) * A[b, t].item() for b, t in m.nonzero().tolist()]
        assert surrogate(new, old, A, m).item() == pytest.approx(math.fsum(terms) / len(terms), abs=1e-12)
        assert surrogate(new, old, A, m, N=24).item() == pytest.approx(math.fsum(terms) / 24, abs=1e-12)


def test_padding_touches_neither_surrogate_nor_divergence() -> None:
    m, (old, new, A), (z_old, z) = mask(), draw(3, 4, 5), draw(2, 4, 5, 3)
    clean = surrogate(new, old, A, m), mean_divergence(z_old, z, m)
    for x in (new, old, A, z_old, z):
        x[m == 0] = math.nan
    assert surrogate(new, old, A, m).item() == clean[0].item()
    assert mean_divergence(z_old, z, m).item() == clean[1].item()


def test_mean_divergence_equals_a_slow_loop() -> None:
    m, (z_old, z) = mask(), draw(2, 4, 5, 3)
    total = 0.0
    for b, t in m.nonzero().tolist():
        p, q = ([math.exp(v) for v in x[b, t].tolist()] for x in (z_old, z))
        p, q = ([v / sum(x) for v in x] for x in (p, q))
        total += sum(u * math.log(u / v) for u, v in zip(p, q, strict=True))
    assert mean_divergence(z_old, z, m).item() == pytest.approx(total / m.sum().item(), abs=1e-12)
    assert mean_divergence(z, z, m).item() == 0


def test_fisher_matrix_is_the_mean_square_of_the_score_over_listed_actions() -> None:
    d, pi = draw(4).exp(), torch.softmax(draw(4, 3, seed=1), -1)
    slow = torch.zeros(4, 3, 3, dtype=F64)
    for s in range(4):
        for a in range(3):
            score = torch.eye(3, dtype=F64)[a] - pi[s]  # the gradient of log pi(a | s) by the logits
            slow[s] += d[s] * pi[s, a] * score[:, None] * score
    torch.testing.assert_close(fisher_matrix(d, pi), slow, rtol=0, atol=1e-12)


def positive(n: int, seed: int = 0) -> Tensor:
    M = draw(n, n, seed=seed)
    return M @ M.T + torch.eye(n, dtype=F64)


def test_natural_step_has_the_divergence_it_was_given_and_no_other_step_gains_more() -> None:
    F, g, delta = positive(6), draw(6, seed=1), 0.03
    step = natural_step(g, torch.linalg.solve(F, g), delta)
    assert (step @ F @ step / 2).item() == pytest.approx(delta, abs=1e-12)
    for other in draw(200, 6, seed=2):
        rival = other * torch.sqrt(2 * delta / (other @ F @ other))
        assert (g @ rival).item() <= (g @ step).item()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: surrogate(draw(2, 3), draw(2, 2), draw(2, 3), torch.ones(2, 3)), "log_p_old: expected"),
        (lambda: surrogate(*draw(3, 2, 3), torch.zeros(2, 3)), "at least one response token"),
        (lambda: mean_divergence(draw(2, 3, 4), draw(2, 3, 5), torch.ones(2, 3)), "z: expected shape"),
        (lambda: fisher_matrix(draw(3), torch.full((2, 2), 0.5)), "d: expected shape"),
        (lambda: natural_step(draw(3), draw(4), 0.1), "x: expected shape"),
        (lambda: natural_step(draw(3), draw(3), 0.0), "delta: expected a number > 0"),
    ],
)
def test_errors_say_what_was_expected(call: Callable[[], Tensor], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


# What the chapter states


class Process:
    """A random decision process of 6 states and 3 actions, solved by linear algebra in 64 bits."""

    def __init__(self, seed: int) -> None:
        self.P, self.r = torch.softmax(2 * draw(6, 3, 6, seed=seed), -1), draw(6, 3, seed=seed + 100)
        self.d_0 = torch.softmax(draw(6, seed=seed + 200), -1)

    def solve(self, pi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The return J, discounted visits d (S,) and advantages (S, A) of a policy (S, A)."""
        step = torch.einsum("sa,sat->st", pi, self.P)
        eye = torch.eye(6, dtype=F64)
        V = torch.linalg.solve(eye - GAMMA * step, (pi * self.r).sum(-1))
        d = torch.linalg.solve(eye - GAMMA * step.T, self.d_0)
        return self.d_0 @ V, d, self.r + GAMMA * self.P @ V - V[:, None]


def pair(seed: int, far: float) -> tuple[Tensor, Tensor]:
    z = draw(6, 3, seed=seed + 300)
    return torch.softmax(z, -1), torch.softmax(z + far * draw(6, 3, seed=seed + 400), -1)


def test_a_policy_gains_the_old_advantages_of_what_it_does() -> None:
    """Checks id:performance-difference: returns by linear algebra against new visits and old advantages."""
    for seed in range(5):
        process, (old, new) = Process(seed), pair(seed, far=2.0)
        (J_old, _, A), (J_new, d_new, _) = process.solve(old), process.solve(new)
        assert (J_new - J_old).item() == pytest.approx((d_new[:, None] * new * A).sum().item(), abs=1e-10)


def test_the_surrogate_starts_with_the_slope_of_the_return() -> None:
    """Checks id:surrogate-gradient: autograd through the solved return against the surrogate's."""
    process, z = Process(0), draw(6, 3, seed=7).requires_grad_()
    J, d, A = process.solve(torch.softmax(z, -1))
    (exact,) = torch.autograd.grad(J, z)
    # States are weighted by their visits, actions listed with the old policy's probabilities.
    old = torch.log_softmax(z, -1).detach()
    weight = d.detach()[:, None] * old.exp()
    L = surrogate(torch.log_softmax(z, -1), old, weight * A.detach(), torch.ones_like(weight), N=1)
    torch.testing.assert_close(torch.autograd.grad(L, z)[0], exact, rtol=0, atol=1e-10)


def test_the_return_never_falls_below_the_bound() -> None:
    """Checks id:trust-region-bound: the exact return against the surrogate less its price, near and far."""
    slack = []
    for seed in range(20):
        for far in (0.01, 0.1, 1.0):
            process, (old, new) = Process(seed), pair(seed, far)
            (J_old, d, A), J_new = process.solve(old), process.solve(new)[0]
            L = J_old + (d[:, None] * new * A).sum()
            C = 4 * GAMMA * A.abs().max() / (1 - GAMMA) ** 2
            worst = (old * (old / new).log()).sum(-1).max()
            slack.append((J_new - (L - C * worst)).item())
            assert (J_new - L).abs() <= C * worst  # it bounds the error on both sides
    assert min(slack) >= 0


def shared(theta: Tensor) -> Tensor:
    """Logits (1, S, A) of a small network whose 11 weights touch every state."""
    hidden = torch.tanh(draw(4, 2, seed=8) @ theta[:4].reshape(2, 2) + theta[4:6])
    return (hidden @ theta[6:10].reshape(2, 2) + torch.stack([theta[10], -theta[10]]))[None]


def scores(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (S, A) and the gradient (S, A, n) of each log-probability."""
    log_pi = torch.log_softmax(shared(theta)[0], -1)
    rows = torch.autograd.functional.jacobian(lambda t: torch.log_softmax(shared(t)[0], -1), theta)
    return log_pi.exp(), rows


def test_the_divergence_is_flat_at_the_old_policy_and_curves_as_the_fisher_matrix() -> None:
    """Checks id:fisher-kl: the Hessian of the divergence against the mean square of the score."""
    theta, m = draw(11, seed=9), torch.ones(1, 4, dtype=F64)
    z_old = shared(theta).detach()
    pi, score = scores(theta)
    F = torch.einsum("sa,san,sak->nk", pi, score, score) / 4

    def divergence(t: Tensor) -> Tensor:
        return mean_divergence(z_old, shared(t), m)

    torch.testing.assert_close(torch.autograd.functional.hessian(divergence, theta), F, rtol=0, atol=1e-10)
    assert torch.autograd.functional.jacobian(divergence, theta).abs().max() < 1e-12
    assert F.abs().max() > 0.01


def test_the_natural_gradient_is_the_same_step_in_every_coordinates() -> None:
    """Checks id:natural-invariance: the step in other coordinates, carried back, against the step here."""
    M, phi = positive(3, seed=1), draw(3, seed=2)
    A = draw(4, seed=3)

    def theta(p: Tensor) -> Tensor:
        return torch.tanh(M @ p / 4) + M @ p

    def natural(logits: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
        """Plain and natural gradient of the mean of A in coordinates `at`, both by autograd."""

        def log_pi(t: Tensor) -> Tensor:
            return torch.log_softmax(torch.nn.functional.pad(logits(t), (0, 1)), -1)  # the last logit is 0

        score = torch.autograd.functional.jacobian(log_pi, at)
        pi = log_pi(at).exp()
        g = ((pi * A)[:, None] * score).sum(0)
        return g, torch.linalg.solve(score.T @ (pi[:, None] * score), g)

    g_theta, x_theta = natural(lambda t: t, theta(phi))
    g_phi, x_phi = natural(theta, phi)
    J = torch.autograd.functional.jacobian(theta, phi)
    torch.testing.assert_close(J @ x_phi, x_theta, rtol=1e-8, atol=1e-10)
    plain = torch.nn.functional.cosine_similarity(J @ g_phi, g_theta, dim=0)
    assert plain < 0.9  # the plain gradient is another direction


def test_on_a_table_the_natural_direction_is_the_advantage() -> None:
    """Checks id:natural-table: the Fisher blocks times the advantages against the gradient of the return."""
    for seed in range(3):
        pi = pair(seed, far=0.0)[0]
        _, d, A = Process(seed).solve(pi)
        F_A = torch.einsum("sab,sb->sa", fisher_matrix(d, pi), A)
        torch.testing.assert_close(F_A, softmax_policy_gradient(d, pi, A), rtol=0, atol=1e-10)
