"""Agreement beyond chance: published worked examples, and statements that hold exactly."""

import math

import krippendorff
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from mmbook.equations import cohen_kappa, fleiss_kappa, krippendorff_alpha

# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", sections B and C; 0 is a missing answer.
TWO = torch.tensor([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]])
FOUR = torch.tensor(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
# Ten items, fourteen people, five categories: the table that Fleiss's kappa is usually explained with.
FLEISS = torch.tensor(
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)


def answers(table: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    cells = [(j, k) for j, row in enumerate(table) for k, n in enumerate(row) for _ in range(n)]
    a, b = torch.tensor(cells).T
    return a, b


def test_cohen_by_hand() -> None:
    """35 of 50 agree; habits give .5 * .6 + .5 * .4 = .5; so (.7 - .5) / (1 - .5)."""
    assert cohen_kappa(*answers([[20, 5], [10, 15]])).item() == pytest.approx(0.4, abs=1e-12)


def test_cohen_weights_are_a_price_of_each_disagreement() -> None:
    table = [[9, 3, 0], [2, 8, 4], [1, 2, 11]]
    w = torch.tensor([[0.0, 1, 4], [1, 0, 1], [4, 1, 0]])
    n = torch.tensor(table, dtype=torch.float64)
    e = torch.outer(n.sum(1), n.sum(0)) / n.sum()
    assert cohen_kappa(*answers(table), w).item() == pytest.approx((1 - (w * n).sum() / (w * e).sum()).item())


def test_fleiss_worked_example() -> None:
    assert fleiss_kappa(FLEISS).item() == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorff_worked_example(level: str, alpha: float) -> None:
    assert krippendorff_alpha(FOUR, FOUR > 0, level).item() == pytest.approx(alpha, abs=5e-4)


def test_krippendorff_with_two_people() -> None:
    assert krippendorff_alpha(TWO, torch.ones_like(TWO)).item() == pytest.approx(0.095, abs=5e-4)


def test_of_two_categories_every_distance_is_the_same() -> None:
    ones = torch.ones_like(TWO)
    found = [krippendorff_alpha(TWO, ones, level).item() for level in ("nominal", "ordinal", "interval")]
    assert found == pytest.approx([found[0]] * 3, abs=1e-12)


def test_full_agreement_is_one_and_coins_are_near_zero() -> None:
    coins = torch.randint(0, 4, (3, 4000), generator=torch.Generator().manual_seed(0))
    same = coins[:1].repeat(3, 1)
    ones = torch.ones_like(coins)
    counts = torch.nn.functional.one_hot(coins, 4).sum(0)
    for level in ("nominal", "ordinal", "interval"):
        assert krippendorff_alpha(same, ones, level).item() == pytest.approx(1, abs=1e-12)
        assert abs(krippendorff_alpha(coins, ones, level).item()) < 0.04
    assert cohen_kappa(same[0], same[1]).item() == 1 and abs(cohen_kappa(coins[0], coins[1]).item()) < 0.04
    assert abs(fleiss_kappa(counts).item()) < 0.04


def test_alpha_is_kappa_for_many_items() -> None:
    """Checks id:alpha-is-kappa: nominal alpha is 1 - (1 - kappa) (1 - 1/n) of Fleiss, n answers in all."""
    n = FLEISS.sum().item()
    x = torch.stack([torch.repeat_interleave(torch.arange(5), row) for row in FLEISS], 1)
    alpha = krippendorff_alpha(x, torch.ones_like(x)).item()
    assert alpha == pytest.approx(1 - (1 - fleiss_kappa(FLEISS).item()) * (n - 1) / n, abs=1e-12)


def test_a_third_person_who_never_answers_changes_nothing() -> None:
    x, m = torch.cat([TWO, TWO[:1] * 0 + 7]), torch.ones(3, 10)
    m[2] = 0
    assert krippendorff_alpha(x, m) == krippendorff_alpha(TWO, m[:2])


def test_one_answer_for_everything_is_no_measure() -> None:
    one = torch.ones(2, 5, dtype=torch.long)
    assert math.isnan(cohen_kappa(one[0], one[1]).item()) and math.isnan(krippendorff_alpha(one, one).item())
    assert math.isnan(fleiss_kappa(torch.tensor([[3, 0], [3, 0]])).item())


def test_libraries_agree() -> None:
    a, b = torch.randint(0, 5, (2, 200), generator=torch.Generator().manual_seed(1))
    square = (torch.arange(5)[:, None] - torch.arange(5)[None]).square()
    for weights, w in ((None, None), ("linear", square.sqrt()), ("quadratic", square)):
        assert cohen_kappa(a, b, w).item() == pytest.approx(cohen_kappa_score(a, b, weights=weights))


def test_the_other_library_agrees() -> None:
    g = torch.Generator().manual_seed(2)
    x, m = torch.randint(1, 6, (4, 60), generator=g), torch.rand(4, 60, generator=g) < 0.7
    for level in ("nominal", "ordinal", "interval"):
        theirs = krippendorff.alpha(x.where(m, torch.nan).numpy(), level_of_measurement=level)
        assert krippendorff_alpha(x, m, level).item() == pytest.approx(theirs)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="whole categories"):
        cohen_kappa(torch.tensor([0.5]), torch.tensor([0.5]))
    with pytest.raises(ValueError, match="0 to 2"):
        cohen_kappa(torch.tensor([0, 2]), torch.tensor([1, 1]), torch.zeros(2, 2))
    with pytest.raises(ValueError, match="same number of people"):
        fleiss_kappa(torch.tensor([[2, 1], [1, 1]]))
    with pytest.raises(ValueError, match="two answers or more"):
        krippendorff_alpha(torch.zeros(1, 3), torch.ones(1, 3))
    with pytest.raises(ValueError, match="nominal, ordinal, interval"):
        krippendorff_alpha(TWO, TWO, "ratio")
