"""Maps of what an input did: linear and quadratic functions have them in closed form."""

import pytest
import torch

from mmbook.equations import integrated_gradients, occlusion

F64 = torch.float64


def middles(x: torch.Tensor, x_0: torch.Tensor, f, K: int) -> torch.Tensor:
    """The gradients of f at the middles of K steps, by central differences, coordinate by coordinate."""
    rows, step = [], 1e-6
    for k in range(K):
        at = x_0 + (k + 0.5) / K * (x - x_0)
        rows.append(
            torch.stack(
                [(f(at + step * e) - f(at - step * e)) / (2 * step) for e in torch.eye(len(x), dtype=F64)]
            )
        )
    return torch.stack(rows)


def test_covering_a_linear_function_gives_its_terms() -> None:
    w, x = torch.randn(3, 5, dtype=F64), torch.randn(3, 5, dtype=F64)
    covered = torch.stack([(w * x * (torch.arange(5) != q)).sum(1) for q in range(5)], 1)
    assert torch.allclose(occlusion((w * x).sum(1), covered), w * x)


def test_of_a_linear_function_they_are_weight_times_difference() -> None:
    w, x, x_0 = torch.randn(3, 4, dtype=F64).unbind()
    for K in (1, 3):
        assert torch.allclose(integrated_gradients(x, x_0, w.expand(K, 4)), w * (x - x_0))


def test_of_a_quadratic_function_they_are_its_exact_integral() -> None:
    """For f = x'Mx / 2 with symmetric M the integral is (x - x_0) M (x + x_0) / 2."""
    M = torch.randn(4, 4, dtype=F64)
    M, (x, x_0) = M + M.T, torch.randn(2, 4, dtype=F64).unbind()
    g = middles(x, x_0, lambda v: v @ M @ v / 2, 1)
    assert torch.allclose(integrated_gradients(x, x_0, g), (x - x_0) * (M @ (x + x_0)) / 2, atol=1e-6)


def test_the_parts_add_up_to_the_rise() -> None:
    """Checks id:completeness: exact for a quadratic at every K, in the limit for a saturating function."""
    x, x_0 = torch.tensor([3.0, -1.0, 2.0], dtype=F64), torch.tensor([-0.5, 0.2, 0.0], dtype=F64)

    def quadratic(v: torch.Tensor) -> torch.Tensor:
        return (v * v * torch.tensor([1.0, -2.0, 0.5], dtype=F64)).sum() + v[0] * v[2]

    def saturating(v: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.logsigmoid(4 * v.sum() - 3)

    for K in (1, 2, 7):
        total = integrated_gradients(x, x_0, middles(x, x_0, quadratic, K)).sum()
        assert total.item() == pytest.approx((quadratic(x) - quadratic(x_0)).item(), abs=1e-6)
    rise = (saturating(x) - saturating(x_0)).item()
    errors = [
        abs(integrated_gradients(x, x_0, middles(x, x_0, saturating, K)).sum().item() - rise)
        for K in (1, 8, 128)
    ]
    assert errors[0] > 0.5 and errors[1] < errors[0] and errors[2] < 1e-2


def test_refusals() -> None:
    with pytest.raises(ValueError, match="f_covered"):
        occlusion(torch.zeros(2), torch.zeros(3, 4))
    with pytest.raises(ValueError, match="x_0"):
        integrated_gradients(torch.zeros(2), torch.zeros(3), torch.zeros(1, 2))
