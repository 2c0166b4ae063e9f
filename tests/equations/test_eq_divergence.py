"""The three KL estimators against exact sums over a small vocabulary."""

import math

import pytest
import torch

from mmbook.equations import adaptive_beta, kl_k1, kl_k2, kl_k3


def two_policies(seed: int = 0, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    make = lambda: torch.randn(size, generator=g, dtype=torch.float64)  # noqa: E731
    return make().log_softmax(-1), make().log_softmax(-1)


def exact_kl(log_p: torch.Tensor, log_q: torch.Tensor) -> float:
    """A slow sum in plain Python."""
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(log_p.tolist(), log_q.tolist(), strict=True))


@pytest.mark.parametrize("d", [-2.0, -1e-4, 0.0, 0.5, 3.0])
def test_estimators_equal_their_formulas(d: float) -> None:
    log_p = torch.tensor([[-1.0]], dtype=torch.float64)
    log_q = log_p - d
    assert kl_k1(log_p, log_q).item() == pytest.approx(d, abs=1e-12)
    assert kl_k2(log_p, log_q).item() == pytest.approx(d * d / 2, abs=1e-12)
    assert kl_k3(log_p, log_q).item() == pytest.approx(math.exp(-d) - 1 + d, abs=1e-12)


def test_all_are_zero_when_the_policies_agree() -> None:
    log_p, _ = two_policies()
    for estimator in (kl_k1, kl_k2, kl_k3):
        assert not estimator(log_p, log_p).any()


def test_kl_is_never_negative() -> None:
    """Checks id:kl-nonnegative: the exact mean of k1 over the vocabulary is > 0, but 0 for equal policies."""
    for seed in range(50):
        log_p, log_q = two_policies(seed)
        kl = (log_p.exp() * kl_k1(log_p, log_q)).sum().item()
        assert kl == pytest.approx(exact_kl(log_p, log_q), abs=1e-12)
        assert kl > 0
        assert exact_kl(log_p, log_p) == 0
    assert (kl_k1(log_p, log_q) < 0).any()  # the control: a single k1 may be negative


def assert_right_on_average(estimator) -> None:  # type: ignore[no-untyped-def]
    log_p, log_q = two_policies(3)
    truth = exact_kl(log_p, log_q)
    assert (log_p.exp() * estimator(log_p, log_q)).sum().item() == pytest.approx(truth, abs=1e-12)
    drawn = torch.multinomial(log_p.exp(), 200_000, True, generator=torch.Generator().manual_seed(0))
    samples = estimator(log_p[drawn], log_q[drawn])
    assert abs(samples.mean().item() - truth) < 4 * samples.std().item() / math.sqrt(len(samples))


def test_k1_is_right_on_average() -> None:
    """Checks id:k1-unbiased: exactly, by enumeration, and by Monte Carlo within four standard errors."""
    assert_right_on_average(kl_k1)


def test_k3_is_right_on_average_and_k2_is_not() -> None:
    """Checks id:k3-unbiased: exactly, by enumeration, and by Monte Carlo within four standard errors."""
    assert_right_on_average(kl_k3)
    with pytest.raises(AssertionError):
        assert_right_on_average(kl_k2)


def test_k3_is_never_negative_and_not_clamped() -> None:
    d = torch.linspace(-12, 12, 4001)
    k3 = kl_k3(d, torch.zeros_like(d))
    assert (k3 >= 0).all()
    assert k3[0].item() == pytest.approx(math.exp(12) - 13, rel=1e-5)  # a clamp at 10 would show
    assert kl_k3(torch.tensor([1e-4]), torch.tensor([0.0])).item() == pytest.approx(5e-9, rel=1e-2)


def mean_gradient(estimator) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """The expected gradient by enumeration: the sampling weights are constants, as they are for samples."""
    torch.manual_seed(6)
    z, log_q = torch.randn(5, dtype=torch.float64, requires_grad=True), two_policies(1, 5)[1]
    log_p = z.log_softmax(-1)
    (log_p.exp().detach() * estimator(log_p, log_q)).sum().backward()
    return z.grad


def test_k2_pushes_as_the_exact_divergence_does() -> None:
    """Checks id:k2-gradient: its mean gradient for one token = that of the exact KL, by differences."""
    torch.manual_seed(6)
    z, log_q = torch.randn(5, dtype=torch.float64), two_policies(1, 5)[1]
    step = 1e-6
    slopes = [
        (exact_kl((z + e).log_softmax(-1), log_q) - exact_kl((z - e).log_softmax(-1), log_q)) / (2 * step)
        for e in torch.eye(5, dtype=torch.float64) * step
    ]
    exact = torch.tensor(slopes, dtype=torch.float64)
    assert torch.allclose(mean_gradient(kl_k2), exact, atol=1e-8)
    assert mean_gradient(kl_k1).abs().max() < 1e-12  # the controls: k1 does not push at all,
    assert not torch.allclose(mean_gradient(kl_k3), exact, atol=1e-2)  # and k3 pushes elsewhere


def test_half_precision_is_widened_before_the_difference() -> None:
    """Each input is rounded already, so only a difference taken in 32 bits is the exact one."""
    log_p, log_q = torch.tensor([-10.0625]).to(torch.bfloat16), torch.tensor([-0.0151367]).to(torch.bfloat16)
    got = kl_k1(log_p, log_q)
    assert got.dtype == torch.float32
    assert got.item() == log_p.double().item() - log_q.double().item() != (log_p - log_q).item()


def test_differing_shapes_are_named() -> None:
    for estimator in (kl_k1, kl_k2, kl_k3):
        with pytest.raises(ValueError, match=r"log_p_ref: expected shape \(2, 3\) like log_p, got \(2, 1\)"):
            estimator(torch.zeros(2, 3), torch.zeros(2, 1))


def test_price_follows_the_distance_but_not_far() -> None:
    assert adaptive_beta(0.1, 6.0, 6.0, 256, 10_000) == 0.1
    assert adaptive_beta(0.1, 6.6, 6.0, 256, 10_000) == pytest.approx(0.1 * (1 + 0.1 * 0.0256), abs=1e-12)
    assert adaptive_beta(0.1, 600.0, 6.0, 256, 10_000) == pytest.approx(0.1 * (1 + 0.2 * 0.0256), abs=1e-12)
    assert adaptive_beta(0.1, -3.0, 6.0, 256, 10_000) == pytest.approx(0.1 * (1 - 0.2 * 0.0256), abs=1e-12)
    assert adaptive_beta(torch.tensor(0.1), torch.tensor(12.0), 6.0, 1, 1.0).item() == pytest.approx(0.12)
    for bad in ({"KL_target": 0.0}, {"horizon": 0.0}, {"beta": -1.0}):
        with pytest.raises(ValueError, match=rf"{next(iter(bad))}: expected a number"):
            adaptive_beta(**{"beta": 0.1, "KL": 1.0, "KL_target": 1.0, "n": 1, "horizon": 1.0, **bad})
