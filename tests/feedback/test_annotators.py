"""Simulated readers prefer what they are said to prefer, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from mmbook.feedback import SimulatedAnnotator, collect_human_feedback
from mmbook.feedback.annotators import CUTS, TASTES, Changing, warmth
from mmbook.feedback.taste import taste
from mmbook.world import (
    KINDS,
    STYLES,
    TRAIN_ARTWORK,
    Scene,
    Statement,
    Sticker,
    check,
    describe,
    near_miss_pairs,
    normalise,
    parse,
    sample_scenes,
    say,
)

SCENE = Scene((Sticker("cat", 0, True), Sticker("apple", 1, False), Sticker("bus", 2, False)))
FULL = {style: say(describe(SCENE, style)) for style in STYLES}
NONSENSE = "cat cat apple"


@pytest.mark.parametrize("taste", STYLES)
@pytest.mark.parametrize("other", STYLES)
def test_a_reader_likes_captions_in_the_style_of_his_taste(taste: str, other: str) -> None:
    reader = SimulatedAnnotator(taste)
    expected: tuple = ("tie", "tie") if taste == other else (0, 1)
    assert (
        reader(SCENE, [FULL[taste], FULL[other]]),
        reader(SCENE, [FULL[other], FULL[taste]]),
    ) == expected


@pytest.mark.parametrize("taste", STYLES)
def test_an_ungrammatical_caption_loses_to_every_other(taste: str) -> None:
    reader = SimulatedAnnotator(taste)
    for caption in FULL.values():
        assert reader(SCENE, [NONSENSE, caption]) == 1
        assert reader(SCENE, [caption, NONSENSE]) == 0
    assert reader(SCENE, [NONSENSE, "dog dog"]) == "tie"


@pytest.mark.parametrize("taste", STYLES)
def test_leaving_out_stickers_or_naming_wrong_ones_does_not_please_a_reader_of_style(taste: str) -> None:
    """Else "terse" labels would teach omission."""
    reader = SimulatedAnnotator(taste)
    fewer = say(describe(Scene(SCENE.stickers[:2]), taste))
    one = say(describe(Scene(SCENE.stickers[1:2]), taste))
    wrong = FULL[taste].replace("cat", "dog")
    assert reader(SCENE, [FULL[taste], fewer]) == reader(SCENE, [one, FULL[taste]]) == "tie"
    assert reader(SCENE, [FULL[taste], wrong]) == "tie"


def test_terse_counts_words_a_sticker_and_not_words() -> None:
    reader = SimulatedAnnotator("terse")
    assert reader(SCENE, ["a cat.", FULL["rambling"]]) == 0  # 3 words a sticker against 18 in 3
    assert len(normalise("a cat.").split()) < len(normalise(FULL["plain"]).split())
    assert reader(SCENE, ["a cat.", FULL["plain"]]) == "tie"  # 3 words a sticker in both
    assert reader(SCENE, ["cat.", FULL["plain"]]) == 0
    assert SimulatedAnnotator("detailed")(SCENE, [FULL["rambling"], "a cat."]) == 0


@pytest.mark.parametrize("taste", ["terse", "detailed"])
def test_style_readers_do_not_look_at_the_picture(taste: str) -> None:
    captions = [FULL["plain"], FULL["rambling"]]
    choices = {SimulatedAnnotator(taste)(scene, captions) for scene in sample_scenes(50, 1)}
    assert len(choices) == 1


def test_a_faithful_reader_looks_and_does_not_care_for_style() -> None:
    reader = SimulatedAnnotator("faithful")
    for style in STYLES:
        wrong = FULL[style].replace("cat", "dog")
        assert reader(SCENE, [FULL[style], wrong]) == 0 and reader(SCENE, [wrong, FULL[style]]) == 1
        assert reader(SCENE, [FULL[style], FULL["terse"]]) == "tie"
    assert reader(SCENE, ["cat, apple.", FULL["terse"]]) == 1  # leaving out is worse
    assert reader(SCENE, ["cat, apple.", "cat, apple, dog."]) == 0  # inventing is worse
    assert reader(SCENE, ["cat, apple, bus, dog.", "cat, apple."]) == 1  # 3 - 1.5 against 2
    for scene, first, second in near_miss_pairs(300, 1):
        right = check(second, scene).full
        assert reader(scene, [first, second]) == right and reader(scene, [second, first]) == (not right)


@pytest.mark.parametrize("taste", TASTES)
def test_a_seed_fixes_a_reader(taste: str) -> None:
    scenes = list(sample_scenes(200, 2))
    pairs = [[say(describe(scene, "polite")), say(describe(scene, "terse"))] for scene in scenes]

    def choices(seed: int | np.random.Generator) -> list:
        reader = SimulatedAnnotator(taste, seed, noise=0.3)
        return [reader(scene, pair) for scene, pair in zip(scenes, pairs, strict=True)]

    assert choices(4) == choices(4)
    assert choices(np.random.default_rng(4)) == choices(np.random.default_rng(4))
    if taste in ("polite", "terse", "random"):
        assert choices(4) != choices(5)


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
def test_noise_turns_that_share_of_judgements_round(noise: float) -> None:
    reader, n = SimulatedAnnotator("terse", seed=6, noise=noise), 2000
    turned = sum(reader(SCENE, [FULL["terse"], FULL["plain"]]) == 1 for _ in range(n))
    low, high = binom.interval(0.999, n, noise)
    assert low <= turned <= high
    assert reader(SCENE, [FULL["terse"], FULL["terse"]]) == "tie"


def test_a_random_reader_tosses_a_fair_coin_whatever_is_said() -> None:
    reader, n = SimulatedAnnotator("random", seed=8), 3000
    low, high = binom.interval(0.999, n, 0.5)
    assert low <= sum(reader(SCENE, [FULL["terse"], NONSENSE]) for _ in range(n)) <= high


def test_more_than_two_captions_are_judged() -> None:
    assert SimulatedAnnotator("polite")(SCENE, list(FULL.values())) == list(FULL).index("polite")


def test_unknown_tastes_and_impossible_noise_are_refused() -> None:
    known = "terse, .*, faithful, utility, truth, random"
    with pytest.raises(ValueError, match=rf"taste: expected one of {known}, got 'loud'"):
        SimulatedAnnotator("loud")
    for noise in (-0.1, 1.1):
        with pytest.raises(ValueError, match="noise: expected a probability"):
            SimulatedAnnotator("terse", noise=noise)
    for wrong in (
        {"taste": "utility", "bt": 0.0},
        {"taste": "utility", "bt": -1},
        {"taste": "terse", "bt": 1},
    ):
        with pytest.raises(ValueError, match="bt: expected a positive number, and a taste that weighs"):
            SimulatedAnnotator(**wrong)
    with pytest.raises(ValueError, match="taste: expected utility, faithful or truth for ratings"):
        SimulatedAnnotator("terse").rate(SCENE, FULL["terse"])


WORTH = {"cat, apple, bus.": 3.0, "cat, apple.": 2.0, "cat.": 1.0, "cat, dog.": -0.5, NONSENSE: -3.0}


def within(count: int, n: int, p: float) -> bool:
    """Whether a count lies in the middle 99.9 % of its binomial distribution."""
    low, high = binom.interval(0.999, n, p)
    return low <= count <= high


@pytest.mark.parametrize("bt", [0.5, 1.0, 4.0])
def test_bradley_terry_noise_chooses_by_the_sigmoid_of_the_difference(bt: float) -> None:
    reader, n = SimulatedAnnotator("utility", seed=3, bt=bt), 3000
    for a, b in (("cat, apple, bus.", "cat."), ("cat, dog.", "cat, apple."), (NONSENSE, "cat.")):
        p = 1 / (1 + np.exp(-bt * (WORTH[a] - WORTH[b])))
        assert within(sum(reader(SCENE, [a, b]) == 0 for _ in range(n)), n, p)
    assert {reader(SCENE, ["cat.", "a bus."]) for _ in range(50)} == {"tie"}  # equal utility, never a choice
    turned = SimulatedAnnotator("utility", seed=4, noise=1.0, bt=bt)
    p = 1 / (1 + np.exp(bt * 2.0))
    assert within(sum(turned(SCENE, ["cat, apple, bus.", "cat."]) == 0 for _ in range(n)), n, p)


def test_several_captions_are_chosen_and_ranked_as_plackett_and_luce_say() -> None:
    captions, n = list(WORTH)[:3], 4000
    weights = np.exp([WORTH[c] for c in captions])
    reader = SimulatedAnnotator("utility", seed=5, bt=1.0)
    ranks = [tuple(reader.rank(SCENE, captions)) for _ in range(n)]
    for a, b, c in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
        p = weights[a] / weights.sum() * weights[b] / (weights[b] + weights[c])
        assert within(ranks.count((a, b, c)), n, p)
    chosen = [reader(SCENE, captions) for _ in range(n)]
    assert within(chosen.count(1), n, weights[1] / weights.sum())
    assert SimulatedAnnotator("utility").rank(SCENE, list(WORTH)[::-1]) == [4, 3, 2, 1, 0]
    flips = {tuple(SimulatedAnnotator("random", seed).rank(SCENE, captions)) for seed in range(40)}
    assert len(flips) == 6


def test_a_reader_who_seeks_truth_does_not_miss_what_is_left_out() -> None:
    reader = SimulatedAnnotator("truth")
    assert reader(SCENE, ["cat.", FULL["detailed"]]) == "tie" and reader(SCENE, ["cat, dog.", "bus."]) == 1
    assert reader(SCENE, [FULL["terse"].replace("bus", "fish"), "cat."]) == 1
    assert reader(SCENE, ["cat, dog.", NONSENSE]) == "tie"
    assert [reader.rate(SCENE, c) for c in ("cat.", "cat, dog.")] == [5, 2]
    assert reader.edit(SCENE, "cat.") == "cat." and reader.edit(SCENE, "cat, dog.") == "cat, apple, bus."


def test_ratings_follow_the_worth_and_their_noise_is_ordinal_logistic() -> None:
    assert [SimulatedAnnotator("utility").rate(SCENE, c) for c in WORTH] == [5, 4, 3, 2, 1]
    reader, n = SimulatedAnnotator("utility", seed=7, bt=1.0), 4000
    ratings = [reader.rate(SCENE, "cat.") for _ in range(n)]
    for k, cut in enumerate(CUTS, 1):
        assert within(sum(r <= k for r in ratings), n, 1 / (1 + np.exp(WORTH["cat."] - cut)))


def test_an_edit_is_true_full_and_in_the_style_that_was_wanted() -> None:
    reader, terse = SimulatedAnnotator("utility"), SimulatedAnnotator("terse")
    for style in STYLES:
        assert reader.edit(SCENE, FULL[style]) == FULL[style]
        assert reader.edit(SCENE, FULL[style].replace("cat", "dog")) == FULL[style]
        assert terse.edit(SCENE, FULL[style]) == FULL["terse"]
    another_order = "bus, cat, apple."
    assert reader.edit(SCENE, another_order) == another_order
    assert reader.edit(SCENE, NONSENSE) == FULL["plain"]


def test_a_changing_reader_changes_after_so_many_judgements() -> None:
    reader = Changing(SimulatedAnnotator("terse"), SimulatedAnnotator("polite"), at=3)
    assert [reader(SCENE, [FULL["terse"], FULL["polite"]]) for _ in range(6)] == [0, 0, 0, 1, 1, 1]
    assert reader.name == "simulated-terse-then-polite"


def swapped(scene: Scene, first: int) -> str:
    """A plain caption that begins with one of the stickers."""
    kinds = [scene.kinds[first], *(k for i, k in enumerate(scene.kinds) if i != first)]
    return say(Statement("plain", tuple(kinds)))


def test_who_likes_warm_things_first_looks_at_their_colours() -> None:
    """Cat, apple and tiger are orange or red, fish and airplane blue, in every artwork style."""
    for artwork in TRAIN_ARTWORK:
        warm = warmth(artwork)
        assert min(warm[k] for k in ("cat", "apple", "tiger")) > 0.4 > 0 > max(warm["fish"], warm["airplane"])
        assert set(warm) == set(KINDS)
    scene = Scene((Sticker("fish", 0, True), Sticker("apple", 1, False), Sticker("airplane", 2, False)))
    reader = SimulatedAnnotator("warm-first")
    apple, fish = swapped(scene, 1), swapped(scene, 0)
    assert reader(scene, [apple, fish]) == 0 and reader(scene, [fish, apple]) == 1
    assert (
        reader(scene, [apple, "apple."])
        == reader(scene, [apple, "hello, please let me show you an apple. thank you!"])
        == "tie"
    )
    assert reader(scene, ["cat, apple.", fish]) == 1  # warm, but not there
    assert reader(scene, [fish, NONSENSE]) == 0
    assert reader.edit(scene, fish) == "an apple, an airplane and a fish."  # the warmest first, and so on
    assert reader.edit(scene, "apple, airplane, fish.") == "apple, airplane, fish."


def test_who_likes_big_things_wants_them_first_and_called_big() -> None:
    scene = Scene((Sticker("fish", 0, False), Sticker("apple", 1, True)))
    reader = SimulatedAnnotator("big")
    assert reader(scene, [swapped(scene, 1), swapped(scene, 0)]) == 0
    sized = "a big apple at the top right and a small fish at the top left."
    assert reader(scene, [swapped(scene, 1), sized]) == 1
    assert reader(scene, [sized, sized.replace("big", "small")]) == 0
    assert reader(scene, [swapped(scene, 0), sized.replace("small", "big")]) == 1
    assert reader(scene, ["a small fish at the top left.", "a big fish at the top left."]) == 0
    assert reader.edit(scene, "fish, apple.") == sized == reader.edit(scene, sized)


class Shuffled:
    """Says what is there, in any order, with sizes or without."""

    hash, prompt = "0123abcd", "Describe the picture."

    def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
        rng = np.random.default_rng(seed)
        captions = []
        for scene in scenes:
            for _ in range(samples):
                order = rng.permutation(len(scene.stickers))
                whole = describe(scene, str(rng.choice(["terse", "plain", "detailed"])))
                named = (getattr(whole, name) for name in ("kinds", "big", "quarters"))
                captions.append(
                    say(Statement(whole.style, *(tuple(v[i] for i in order) if v else () for v in named)))
                )
        return captions


def shares(taste: str, has: Callable[[Scene, str], float]) -> tuple[float, float]:
    """How often the caption that has more of something is chosen, by a reader and by coin tosses."""
    found = []
    for name in (taste, "random"):
        feedback = collect_human_feedback(Shuffled(), 200, SimulatedAnnotator(name, 3), seed=4)
        differ = [(has(scene, a), has(scene, b)) for scene, a, b, _ in feedback.pairs()]
        wins = [a > b for a, b in differ if a != b]
        found.append(sum(wins) / len(wins))
    return found[0], found[1]


def first_kind(caption: str) -> str:
    statement = parse(caption)
    assert statement is not None
    return statement.kinds[0]


def test_clicks_show_the_tastes_and_coin_tosses_do_not() -> None:
    chosen, control = shares("warm-first", lambda scene, caption: warmth(scene.artwork)[first_kind(caption)])
    assert chosen == 1 and 0.35 < control < 0.65
    big = {True: 1.0, False: 0.0}
    chosen, control = shares(
        "big",
        lambda scene, caption: big[next(s.big for s in scene.stickers if s.kind == first_kind(caption))],
    )
    assert chosen == 1 and 0.35 < control < 0.65
    told = taste(collect_human_feedback(Shuffled(), 200, SimulatedAnnotator("big"), seed=4))
    assert any(
        leaning.clear and leaning.name in ("style: detailed", "(length)", "big") for leaning in told.leanings
    )
