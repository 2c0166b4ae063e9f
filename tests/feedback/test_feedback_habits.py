"""Habits leave the marks by which they can be caught."""

import pytest

from mmbook.feedback import SimulatedAnnotator, collect_human_feedback
from mmbook.feedback.agreement import answers, first_shown
from mmbook.feedback.habits import Contrary, PositionBiased, Tired

N = 300


def judged(speaker, annotator):
    return collect_human_feedback(speaker, N, annotator, seed=1).records


@pytest.fixture
def calm(speaker):
    return judged(speaker, SimulatedAnnotator("terse"))


def test_a_preferred_side_shows_in_the_share_of_first_choices(speaker, calm):
    """Bias b, and a share c of choices: the first wins (b + (1 - b) c / 2) / (b + (1 - b) c) of them."""
    right, n = first_shown(calm)["simulated-terse"]
    assert abs(right / n - 0.5) < 0.1
    expected = (0.6 + 0.4 * n / N / 2) / (0.6 + 0.4 * n / N)
    biased = judged(speaker, PositionBiased(SimulatedAnnotator("terse"), 0.6))
    right, n = first_shown(biased)["simulated-terse-first"]
    assert abs(right / n - expected) < 0.07
    everything = judged(speaker, PositionBiased(SimulatedAnnotator("terse"), 1.0))
    assert first_shown(everything)["simulated-terse-first"] == (N, N)


def test_a_tired_reader_agrees_less_in_the_end(speaker, calm):
    tired = judged(speaker, Tired(SimulatedAnnotator("terse"), at=100, half=40))
    early, late = (answers([*calm[a:b], *tired[a:b]]).alpha() for a, b in ((0, 100), (200, 300)))
    assert early == pytest.approx(1) and late < 0.5


def test_a_contrary_reader_agrees_less_than_chance(speaker, calm):
    names = ("simulated-terse", "simulated-terse-contrary")
    turned = judged(speaker, Contrary(SimulatedAnnotator("terse")))
    assert answers([*calm, *turned]).kappa()[names] < -0.1
    ties = [r["outcome"] for r in calm]
    assert [r["outcome"] for r in turned] == ties  # a tie has no opposite
    half = judged(speaker, Contrary(SimulatedAnnotator("terse"), 0.5))
    assert answers([*calm, *turned]).alpha() < answers([*calm, *half]).alpha() < 1


def test_refusals():
    reader = SimulatedAnnotator("terse")
    for wrong in (lambda: PositionBiased(reader, 2), lambda: Contrary(reader, -1)):
        with pytest.raises(ValueError, match="probability"):
            wrong()
    with pytest.raises(ValueError, match="half > 0"):
        Tired(reader, half=0)
