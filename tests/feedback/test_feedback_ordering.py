"""Which pair is asked about next."""

import pytest
import torch

from mmbook.feedback.ordering import order, worth_asking

# Four models; pair 0 is equally good for all, pair 1 divides them, pair 2 is clear to all.
R = torch.tensor([[[0.0, 0.0], [s * 3.0, 0.0], [4.0, 0.0]] for s in (1, -1, 1, -1)])


def test_uncertainty_seeks_what_is_equally_good_and_disagreement_does_not() -> None:
    uncertain, divided = (worth_asking(R, way) for way in ("uncertainty", "disagreement"))
    assert uncertain[0] == pytest.approx(uncertain[1].item(), abs=1e-6) and uncertain[2] < uncertain[0]
    assert divided.argmax() == 1 and divided[0] == pytest.approx(0, abs=1e-6)


def test_ties_are_an_answer_that_can_be_foreseen() -> None:
    wide = R.clone()
    wide[:, 0] = torch.tensor([[0.3, 0.0], [-0.3, 0.0], [0.3, 0.0], [-0.3, 0.0]])
    plain, with_ties = worth_asking(wide, "disagreement"), worth_asking(wide, "disagreement", nu=20.0)
    assert with_ties[0] / with_ties[1] < plain[0] / plain[1]


def test_order_is_a_seeded_permutation_with_a_random_share() -> None:
    worth = torch.arange(200.0)
    assert order(worth, share=0) == list(range(199, -1, -1))
    mixed = order(worth, share=0.25, seed=3)
    assert sorted(mixed) == list(range(200)) and mixed == order(worth, share=0.25, seed=3)
    first = [i for i in mixed[:60] if i >= 140]
    assert 35 <= len(first) < 60  # three quarters from the top, and a quarter of the rest by chance
    assert order(worth, share=1, seed=1) != order(worth, share=1, seed=2)
    assert order(torch.zeros(50), share=0, seed=1) != list(range(50))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="random, uncertainty, disagreement"):
        worth_asking(R, "bald")
    with pytest.raises(ValueError, match="two models"):
        worth_asking(R[:1], "disagreement")
    with pytest.raises(ValueError, match="2 responses"):
        worth_asking(R[..., 0], "uncertainty")
    with pytest.raises(ValueError, match="0 to 1"):
        order(torch.zeros(3), share=2)
