"""Log-probability, entropy and masked averages against slow sums in plain Python."""

import math

import pytest
import torch

from mmbook.equations import entropy, log_prob, masked_mean, whiten


def slow_log_softmax(row: list[float], tau: float) -> list[float]:
    scaled = [z / tau for z in row]
    top = max(scaled)
    log_sum = top + math.log(math.fsum(math.exp(z - top) for z in scaled))
    return [z - log_sum for z in scaled]


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.5])
def test_log_prob_and_entropy_equal_slow_sums(tau: float) -> None:
    torch.manual_seed(0)
    logits, actions = torch.randn(3, 4, 7) * 3, torch.randint(0, 7, (3, 4))
    got, spread = log_prob(logits, actions, tau), entropy(logits, tau)
    for b in range(3):
        for t in range(4):
            slow = slow_log_softmax(logits[b, t].tolist(), tau)
            assert got[b, t].item() == pytest.approx(slow[actions[b, t]], abs=1e-5)
            assert spread[b, t].item() == pytest.approx(-sum(math.exp(x) * x for x in slow), abs=1e-5)
    oracle = torch.distributions.Categorical(logits=logits / tau)
    assert torch.allclose(got, oracle.log_prob(actions), atol=1e-5)
    assert torch.allclose(spread, oracle.entropy(), atol=1e-5)


def test_log_prob_gradient_is_one_hot_minus_softmax_over_tau() -> None:
    torch.manual_seed(1)
    logits = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    actions, tau = torch.randint(0, 5, (2, 3)), 0.7
    log_prob(logits, actions, tau).sum().backward()
    expected = (torch.eye(5, dtype=torch.float64)[actions] - (logits.detach() / tau).softmax(-1)) / tau
    assert torch.allclose(logits.grad, expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda z: entropy(z, tau), logits)


def test_log_prob_in_chunks_equals_whole_in_value_and_gradient() -> None:
    torch.manual_seed(2)
    whole = torch.randn(4, 6, 9, requires_grad=True)
    parts = whole.detach().clone().requires_grad_()
    actions, weight = torch.randint(0, 9, (4, 6)), torch.randn(4, 6)
    one = log_prob(whole, actions, 0.8)
    chunks = [log_prob(parts[:, t : t + 2], actions[:, t : t + 2], 0.8) for t in (0, 2, 4)]
    many = torch.cat(chunks, dim=1)
    assert torch.allclose(one, many, atol=1e-6)
    (one * weight).sum().backward()
    (many * weight).sum().backward()
    assert torch.allclose(whole.grad, parts.grad, atol=1e-6)


def test_half_precision_logits_are_widened_before_the_sum() -> None:
    torch.manual_seed(3)
    logits, actions = torch.randn(2, 2, 2000).to(torch.bfloat16), torch.randint(0, 2000, (2, 2))
    got = log_prob(logits, actions)
    assert got.dtype == entropy(logits).dtype == torch.float32
    exact = log_prob(logits.double(), actions)
    assert (got - exact).abs().max() < 1e-5
    in_half = torch.log_softmax(logits, -1).gather(-1, actions[..., None])[..., 0]
    assert (in_half - exact).abs().max() > 1e-3  # the control: what the upcast prevents


def test_extreme_logits_stay_finite() -> None:
    huge = torch.tensor([[[1e30, -1e30, 0.0], [0.0, 0.0, 0.0], [5.0, -math.inf, 5.0]]])
    actions = torch.tensor([[0, 2, 0]])
    assert torch.allclose(log_prob(huge, actions), torch.tensor([[0.0, -math.log(3), -math.log(2)]]))
    assert torch.allclose(entropy(huge), torch.tensor([[0.0, math.log(3), math.log(2)]]), atol=1e-6)
    logits = huge.clone().requires_grad_()
    (entropy(logits) + log_prob(logits, actions)).sum().backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    single = torch.tensor([[[3.0]]])
    assert log_prob(single, torch.tensor([[0]])).item() == entropy(single).item() == 0.0


def test_masked_mean_equals_slow_mean_and_ignores_padding() -> None:
    x = torch.tensor([[1.0, 2.0, math.nan], [4.0, math.inf, 7.0]], requires_grad=True)
    m = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    mean = masked_mean(x, m)
    assert mean.item() == pytest.approx((1 + 2 + 4) / 3)
    mean.backward()
    assert torch.equal(x.grad, m / 3)
    assert masked_mean(x, m.bool()).item() == mean.item()


def test_parts_of_a_minibatch_add_up() -> None:
    """Checks id:accumulation: for every split of the rows, also into parts with no token at all."""
    torch.manual_seed(4)
    x = torch.randn(4, 5, dtype=torch.float64)
    m = (torch.arange(5) < torch.tensor([5, 1, 3, 0])[:, None]).double()
    whole = masked_mean(x, m)
    for cut in range(1, 4):
        parts = [masked_mean(x[s], m[s], N=m.sum()) for s in (slice(0, cut), slice(cut, 4))]
        assert sum(parts).item() == pytest.approx(whole.item(), abs=1e-12)
    own_counts = (masked_mean(x[:1], m[:1]) + masked_mean(x[1:], m[1:])) / 2
    assert abs(own_counts.item() - whole.item()) > 1e-3  # the control: a mean of means is another number


@pytest.mark.parametrize("shift_mean", [True, False])
def test_whiten_equals_slow_standardisation_and_ignores_padding(shift_mean: bool) -> None:
    torch.manual_seed(5)
    x = torch.randn(3, 4, dtype=torch.float64) * 5 + 2
    m = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]])
    kept = [x[b, t].item() for b in range(3) for t in range(4) if m[b, t]]
    mean = math.fsum(kept) / len(kept)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in kept) / len(kept) + 1e-8)
    got = whiten(x, m, shift_mean)
    for b in range(3):
        for t in range(4):
            scaled = (x[b, t].item() - mean) / deviation + (0 if shift_mean else mean)
            assert got[b, t].item() == pytest.approx(scaled if m[b, t] else 0.0, abs=1e-12)
    on = got[m.bool()]
    assert on.mean().item() == pytest.approx(0 if shift_mean else mean, abs=1e-9)
    assert on.var(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(whiten(x.masked_fill(m == 0, math.nan), m, shift_mean), got)
    longer = torch.cat([x, torch.full((3, 2), 1e6, dtype=torch.float64)], 1)
    padded = whiten(longer, torch.cat([m, torch.zeros(3, 2)], 1), shift_mean)
    assert torch.allclose(padded[:, :4], got, atol=1e-12) and not padded[:, 4:].any()


def test_whiten_of_equal_values_or_a_single_token_is_finite() -> None:
    ones = torch.ones(2, 3)
    assert whiten(ones * 7, ones).abs().max() == 0
    assert torch.equal(whiten(ones * 7, ones, shift_mean=False), ones * 7)
    assert whiten(torch.tensor([[4.0]]), torch.tensor([[1]])).item() == 0


def test_bad_input_is_named() -> None:
    logits = torch.zeros(2, 3, 5)
    with pytest.raises(ValueError, match=r"actions: expected shape \(2, 3\).* got \(2, 4\)"):
        log_prob(logits, torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="tau: expected a number > 0, got 0"):
        log_prob(logits, torch.zeros(2, 3, dtype=torch.long), tau=0.0)
    with pytest.raises(ValueError, match="tau"):
        entropy(logits, tau=-1.0)
    for function in (masked_mean, whiten):
        with pytest.raises(ValueError, match=r"m: expected shape \(2, 3\) like x, got \(3, 2\)"):
            function(torch.zeros(2, 3), torch.ones(3, 2))
        with pytest.raises(ValueError, match=r"m: expected at least one response .*\(2, 3\)"):
            function(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="N: expected a number > 0, got 0"):
        masked_mean(torch.zeros(2, 3), torch.ones(2, 3), N=0)
