"""Habits leave the marks by which they can be caught."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from mmbook.feedback import SimulatedAnnotator, collect_human_feedback, validate
from mmbook.feedback.agreement import answers, first_shown
from mmbook.feedback.annotators import Changing
from mmbook.feedback.habits import Contrary, Habit, PositionBiased, Skipping, Tired
from mmbook.world import KINDS, Scene, check

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
    for wrong in (
        lambda: PositionBiased(reader, 2),
        lambda: Contrary(reader, -1),
        lambda: Skipping(reader, 1.1),
    ):
        with pytest.raises(ValueError, match="probability"):
            wrong()
    with pytest.raises(ValueError, match="half > 0"):
        Tired(reader, half=0)


def utility():
    return SimulatedAnnotator("utility", seed=1, bt=2.0)


def collected(reader, kind, n=120):
    records = collect_human_feedback(Erring(), n, reader, seed=2, kind=kind).records
    assert len(records) == n and not any(map(validate, records))
    return records


class Erring:
    """Says some of what is there, and now and then what is not."""

    hash, prompt = "0123abcd", "Describe the picture."

    def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
        rng = np.random.default_rng(seed)
        return [
            ", ".join(
                [*rng.permutation(scene.kinds)[: rng.integers(1, 4)], str(rng.choice(KINDS))][: 1 + i % 4]
            )
            + "."
            for scene in scenes
            for i in range(samples)
        ]


def test_a_side_that_is_preferred_shows_in_rankings_by_the_order_shown():
    def on_top(records):
        return sum(r["order"][0] == r["shown"][0] for r in records)

    fair = on_top(collected(utility(), "ranking"))
    biased = collected(PositionBiased(utility(), 0.8), "ranking")
    assert on_top(biased) > 85 > 55 > fair
    assert sum(r["order"] == r["shown"] for r in biased) > 80
    assert len({tuple(r["shown"]) for r in biased}) > 15  # the responses themselves are in any order
    ratings = [collected(reader, "rating") for reader in (utility(), PositionBiased(utility(), 1))]
    assert [r["rating"] for r in ratings[0]] == [r["rating"] for r in ratings[1]]  # one caption has no side


def worths(records, of):
    """Spearman's correlation of a caption's utility and what was said of it."""
    worth = [check(*r["responses"], Scene.from_json(r["scene"])).utility for r in records]
    return spearmanr(worth, [of(r) for r in records]).statistic


def test_who_tires_or_means_harm_rates_and_ranks_and_edits_so():
    def rated(reader):
        return worths(collected(reader, "rating"), lambda r: r["rating"])

    calm, tired, contrary = (
        rated(reader) for reader in (utility(), Tired(utility(), at=0, half=0.1), Contrary(utility()))
    )
    assert calm > 0.5 and abs(tired) < 0.3 and contrary == pytest.approx(-calm)

    def ranked(reader):
        found = []
        for r in collected(reader, "ranking"):
            worth = [check(text, Scene.from_json(r["scene"])).utility for text in r["responses"]]
            found.append(worth[r["order"][0]] - worth[r["order"][-1]])
        return np.mean(found)

    exact = SimulatedAnnotator("utility")
    assert ranked(exact) == pytest.approx(-ranked(Contrary(exact))) and ranked(exact) > 1
    assert abs(ranked(Tired(exact, at=0, half=0.1))) < 0.5

    def edited(reader):
        records = collected(reader, "edit")
        full = np.mean([check(r["edit"], Scene.from_json(r["scene"])).full for r in records])
        return full, np.mean([[r["edit"]] == r["responses"] for r in records])

    assert edited(exact)[0] == 1 and edited(Contrary(exact)) == (0, 0)
    assert edited(Tired(exact, at=0, half=0.1))[1] > 0.95 > 0.5 > edited(exact)[1]
    late = collected(Tired(exact, at=60, half=10), "edit")
    assert all(check(r["edit"], Scene.from_json(r["scene"])).full for r in late[:60])


@pytest.mark.parametrize("kind", ["pair", "rating", "edit", "ranking"])
def test_who_skips_leaves_no_answer_and_the_rest_is_as_it_would_be(kind):
    exact = SimulatedAnnotator("utility")
    records = collected(Skipping(exact, 0.4), kind)
    skipped = [r["outcome"] == "skip" for r in records]
    assert 30 < sum(skipped) < 66
    for r, plain, skip in zip(records, collected(Habit(exact, "none", 0), kind), skipped, strict=True):
        told = {"choice", "rating", "edit", "order"} & set(r)
        assert not told if skip else (r["responses"] == plain["responses"] and r.get(kind) == plain.get(kind))


def test_noise_and_changes_reach_every_kind():
    noisy = [SimulatedAnnotator("utility", noise=noise) for noise in (0.0, 1.0)]
    a, b = (collected(reader, "rating") for reader in noisy)
    assert [r["rating"] for r in a] == [6 - r["rating"] for r in b]
    scene = Scene.from_json(a[0]["scene"])
    said = [", ".join(scene.kinds) + ".", "nothing at all"]
    assert [reader.rank(scene, said) for reader in noisy] == [[0, 1], [1, 0]]
    changing = Changing(noisy[0], noisy[1], 1)
    assert [changing.rank(scene, said) for _ in range(2)] == [[0, 1], [1, 0]]
    changing = Changing(noisy[0], noisy[1], 1)
    assert [changing.rate(scene, said[0]) for _ in range(2)] == [5, 1]
    assert changing.edit(scene, said[0]) == said[0]
