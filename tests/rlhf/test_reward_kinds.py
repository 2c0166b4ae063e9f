"""Rewards from ties, ratings, edits and rankings; ensembles, pooling, tuned trunks, saving and loading."""

import json
import math

import pytest
import torch

from mmbook import collect_human_feedback, train_reward_model
from mmbook.equations import tie_probabilities
from mmbook.feedback import Feedback, Judgement, SimulatedAnnotator
from mmbook.models import TableLM
from mmbook.rlhf import KnownReward, RewardConfig, RewardModel
from mmbook.rlhf.reward_fit import Features, Judge, comparisons, fit
from mmbook.rlhf.reward_model import Heads, Read
from mmbook.world import check, sample_scenes
from mmbook.world.caption_tree import CaptionTree

BOTH = RewardConfig(looks=True, reads=True, folds=2, most=3000)


@pytest.fixture(scope="module")
def fresh(tiny):
    """Pairs of the model's captions with different utilities, the better one first."""
    scenes = sample_scenes(600, 4321)
    captions = tiny.sample(scenes, seed=5, samples=2)
    pairs = []
    for scene, a, b in zip(scenes, captions[::2], captions[1::2], strict=True):
        ahead = check(a, scene).utility - check(b, scene).utility
        if ahead:
            pairs.append((scene, a, b) if ahead > 0 else (scene, b, a))
    return list(zip(*pairs, strict=True))


def share_right(model, fresh):
    scenes, better, worse = fresh
    return (model.score(scenes, better) > model.score(scenes, worse)).double().mean().item()


def asked(tiny, kind, n, seed=0, bt=math.inf):
    reader = SimulatedAnnotator("utility", seed=seed, bt=bt)
    return collect_human_feedback(tiny, n, annotator=reader, seed=seed, kind=kind)


def of(kinds, ratings=()):
    """Features with nothing but the kinds of judgements and their sizes."""
    features = Features.__new__(Features)
    features.kind = torch.tensor([("pair", "tie", "rating", "ranking").index(k) for k in kinds])
    features.size = torch.tensor([{"rating": 1, "ranking": 3}.get(k, 2) for k in kinds])
    features.rating = torch.tensor(ratings or [0] * len(kinds))
    return features


def test_the_loss_is_least_where_the_likelihood_of_each_kind_is_greatest():
    """Davidson's R = log(n_a / n_b) and nu = n_t / sqrt(n_a n_b); thresholds at the logits of the shares."""
    counts = [("pair", 8), ("pair", 2), ("tie", 4)]
    features = of([kind for kind, n in counts for _ in range(n)])
    ahead = torch.tensor(math.log(8 / 2), dtype=torch.float64, requires_grad=True)
    R = torch.stack([ahead * s for s in (0.5, -0.5)]).repeat(14, 1)
    R = torch.where(torch.tensor([False] * 8 + [True] * 2 + [False] * 4)[:, None], R.flip(1), R)
    judge = Judge(ties=True).double()
    judge.log_nu.data.fill_(math.log(4 / math.sqrt(8 * 2)))
    loss = judge.loss(R, features, torch.arange(14))
    for gradient in torch.autograd.grad(loss, (ahead, judge.log_nu)):
        assert gradient.abs() < 1e-12
    p = tie_probabilities(R[0, 0], R[0, 1], judge.log_nu.exp()).detach()
    torch.testing.assert_close(p, torch.tensor([8, 2, 4]).double() / 14)
    levels = [0, 0, 0, 1, 1, 2, 3, 3, 3, 4]
    features, judge = of(["rating"] * 10, levels), Judge(ties=False).double()
    kappa = torch.logit(torch.tensor([0.3, 0.5, 0.6, 0.9], dtype=torch.float64))
    judge.lowest.data, judge.log_gaps.data = kappa[0], kappa.diff().log()
    loss = judge.loss(torch.zeros(10, 1).double(), features, torch.arange(10))
    for gradient in torch.autograd.grad(loss, (judge.lowest, judge.log_gaps)):
        assert gradient.abs().max() < 1e-12


def test_all_kinds_add_up_to_the_mean_of_their_likelihoods():
    kinds = ["pair", "ranking", "rating", "tie", "pair"]
    features, judge = of(kinds, [0, 0, 3, 0, 0]), Judge(ties=True).double()
    R = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).double()
    e, nu, edges = R.exp(), judge.log_nu.exp(), torch.cat([judge.kappa, torch.tensor([math.inf])])
    by_hand = []
    for i, kind in enumerate(kinds):
        a, b, last = e[i]
        tie = nu * (a * b).sqrt()
        by_hand.append(
            {
                "pair": a / (a + b + tie),
                "tie": tie / (a + b + tie),
                "ranking": a / (a + b + last) * b / (b + last),
                "rating": torch.sigmoid(edges[3] - R[i, 0]) - torch.sigmoid(edges[2] - R[i, 0]),
            }[kind].log()
        )
    rows = torch.arange(5)
    torch.testing.assert_close(judge.loss(R, features, rows), -torch.stack(by_hand).mean())
    centred = judge.loss(R, features, rows, c=0.1) - judge.loss(R, features, rows)
    torch.testing.assert_close(centred, 0.1 * R[[0, 1, 3, 4]].sum(1).square().sum() / 5)
    apart = torch.tensor([1.0, 0, 0, 0, 1])[:, None] * torch.tensor([0.7, 0, 0])  # a lead that is asked for
    torch.testing.assert_close(
        judge.loss(R, features, rows, margin=0.7), judge.loss(R - apart, features, rows)
    )


def test_comparisons_are_counted_by_kind():
    features = of(["pair", "ranking", "tie", "rating", "rating", "rating", "rating"], [0, 0, 0, 4, 0, 2, 0])
    R = torch.tensor([[1, 0, 0], [3, 1, 2], [0, 9, 0], [7, 0, 0], [1, 0, 0], [5, 0, 0], [6.0, 0, 0]])
    # the pair right; of the ranking one of two; the tie not counted; ratings 1, 1 below 3, 5 as 1 < 5, 6 < 7
    assert comparisons(R, features, torch.arange(7)) == (4, 5)
    assert comparisons(-R, features, torch.arange(7)) == (1, 5)


@pytest.mark.parametrize("kind, n", [("rating", 200), ("edit", 150), ("ranking", 80)])
def test_a_reader_is_learned_from_each_kind_of_judgement(tiny, fresh, kind, n):
    feedback = asked(tiny, kind, n)
    model = train_reward_model(feedback, config=BOTH)
    assert share_right(model, fresh) > 0.7 and model.interval[0] > 0.5
    if kind == "rating":
        assert model.kappa == sorted(model.kappa) and len(model.kappa) == 4


def test_ties_and_every_other_kind_are_learned_from_together(tiny, fresh):
    """On average of three readers: one alone gives .83 to .89."""
    right = []
    for seed in (0, 100, 200):
        parts = [asked(tiny, k, 80, seed + i, bt=2.0) for i, k in enumerate(("pair", "rating", "ranking"))]
        feedback = Feedback.merge([*parts, asked(tiny, "edit", 80, seed + 9)], tiny)
        assert {j.kind for j in feedback.judgements()} == {"pair", "tie", "rating", "ranking"}
        model = train_reward_model(feedback, config=BOTH)
        assert model.nu > 0 and len(model.kappa) == 4
        right.append(share_right(model, fresh))
    assert sum(right) / 3 > 0.85


def test_what_is_common_among_labels_and_ties_is_found_exactly_on_a_table():
    """One number for each caption of a tree: labels 6 to 2 with 4 ties fix the lead and nu."""
    tree = CaptionTree()
    lm, captions = TableLM(tree), [tree.text(way) for way in tree.responses[:2]]
    judged = [Judgement("pair", tree.scene, tuple(captions), {})] * 6
    judged += [Judgement("pair", tree.scene, tuple(captions[::-1]), {})] * 2
    judged += [Judgement("tie", tree.scene, tuple(captions), {})] * 4
    features = Features(lm, judged, [tree.scene] * 12)
    model = RewardModel(lm, looks=False, seed=0, pool="mean")
    config = RewardConfig(pool="mean", epochs=800, batch=12, centre=0.0, weight_decay=0.0)
    fit(model, features, torch.arange(12), config, 0)
    ahead = model.score([tree.scene] * 2, captions).diff().item()
    assert -ahead == pytest.approx(math.log(6 / 2), abs=0.02)
    assert model.nu == pytest.approx(4 / math.sqrt(6 * 2), abs=0.02)


def test_order_is_seen_by_some_ways_of_pooling_and_by_others_not(tiny):
    """States that are the words' own embeddings know no order; only the pooling can."""
    generator = torch.Generator().manual_seed(1)
    words = torch.randn(1, 6, tiny.width, generator=generator)
    turned = words[:, [5, 1, 2, 3, 4, 0]]
    R = {}
    for pool in ("mean", "sum", "order", "last"):
        heads = Heads(tiny, False, True, pool, seed=0)
        states = [torch.cat([words[:, :1], x], 1) for x in (words, turned)]
        R[pool] = [heads(Read(torch.zeros(1, 6).long(), torch.ones(1, 6), x))[0] for x in states]
        changed = (R[pool][0][-1] - R[pool][1][-1]).abs()
        assert changed > 1e-2 if pool in ("order", "last") else changed < 1e-5
    heads = Heads(tiny, False, True, "order", seed=0)
    first, slope = heads.language(words)[0], heads.order(words)[0]
    for n in range(1, 7):  # each beginning as the formula has it
        t = torch.arange(1, n + 1)
        weights = 1 - 2 * (t - 0.5) / n
        torch.testing.assert_close(R["order"][0][n - 1], (first[:n] + weights * slope[:n]).mean())


@pytest.mark.parametrize("pool", ["sum", "order", "last"])
@pytest.mark.parametrize("looks", [False, True])
def test_beginnings_are_rewarded_as_if_they_were_whole_and_padding_counts_for_nothing(tiny, pool, looks):
    model = RewardModel(tiny, looks, seed=0, reads=True, pool=pool).requires_grad_(False)
    if looks:
        model.members[0].likely.copy_(torch.tensor([0.2, 0.3]))
    scenes, (ids, m) = sample_scenes(2, 0), tiny.tokens(["a cat and a bus.", "cat."])
    prefix = tiny.prefix(scenes)
    so_far = model.so_far(prefix, ids, m, tiny.states(prefix, ids))
    for i, n in enumerate(m.sum(1).long().tolist()):
        for t in range(1, ids.shape[1] + 1):
            said = ids[i : i + 1, : min(t, n)]
            R = model(prefix[i : i + 1], said, torch.ones(said.shape))[0]
            torch.testing.assert_close(so_far[i, t], R, atol=1e-5, rtol=1e-4)


def test_an_ensemble_is_the_mean_of_its_members_less_its_caution(tiny):
    feedback = asked(tiny, "pair", 60)
    config = RewardConfig(looks=True, reads=True, folds=2, epochs=5, members=3)
    bold, careful = (train_reward_model(feedback, config=config, caution=k) for k in (0.0, 1.5))
    scenes, captions = zip(*((j.scene, j.captions[0]) for j in feedback.judgements()), strict=True)
    each = []
    for heads in bold.members:
        single = RewardModel(tiny, True, 0, True).requires_grad_(False)
        single.members[0].load_state_dict(heads.state_dict())
        each.append(single.score(scenes, captions))
    each = torch.stack(each)
    assert each.std(0).min() > 1e-4  # every member was fitted to a draw of its own
    torch.testing.assert_close(bold.score(scenes, captions), each.mean(0))
    torch.testing.assert_close(careful.score(scenes, captions), each.mean(0) - 1.5 * each.std(0))


@pytest.mark.parametrize("tune", ["lora", "full"])
def test_a_trunk_that_learns_fits_what_a_head_cannot_and_the_model_is_left_alone(tiny, tmp_path, tune):
    scenes, before = sample_scenes(24, 8), tiny.hash
    said = tiny.sample(scenes, seed=2, samples=2)
    coin = torch.randperm(24, generator=torch.Generator().manual_seed(0)).tolist()
    captions = [said[2 * i : 2 * i + 2][:: 1 if coin[i] % 2 else -1] for i in range(24)]  # arbitrary labels
    judged = [Judgement("pair", s, tuple(c), {}) for s, c in zip(scenes, captions, strict=True)]
    features, rows, losses = Features(tiny, judged, scenes), torch.arange(24), {}
    for how in ("head", tune):
        config = RewardConfig(tune=how, epochs=15, batch=12, rank=4, trunk_lr=3e-3)
        model = RewardModel(tiny, looks=False, seed=0)
        fit(model, features, rows, config, 0)
        R = features.rewards(model, rows)
        losses[how] = torch.nn.functional.softplus(R[:, 1] - R[:, 0]).mean().item()
    assert losses[tune] < 0.5 * losses["head"]
    assert tiny.hash == before != model.trunk.hash
    assert not any(p.requires_grad for p in model.trunk.module.parameters())
    model.base = before
    model.save(tmp_path / "r")
    loaded, first = RewardModel.load(tmp_path / "r", tiny), [c[0] for c in captions]
    assert torch.equal(loaded.score(scenes, first), model.score(scenes, first))


def test_training_with_adapters_holds_out_a_part_and_says_so(tiny):
    feedback = asked(tiny, "pair", 40)
    model = train_reward_model(feedback, looks=False, tune="lora", rank=2, epochs=1)
    assert 0 < model.pairs < 15 and model.trunk.hash != tiny.hash == model.base


def test_a_reward_model_that_is_loaded_is_the_one_that_was_saved(tiny, tmp_path):
    feedback = asked(tiny, "rating", 60)
    config = RewardConfig(looks=True, reads=True, pool="order", epochs=3, folds=2, members=2, caution=0.5)
    model = train_reward_model(feedback, config=config)
    model.save(tmp_path)
    loaded = RewardModel.load(tmp_path, tiny)
    scenes, captions = zip(*((j.scene, j.captions[0]) for j in feedback.judgements()), strict=True)
    assert torch.equal(loaded.score(scenes, captions), model.score(scenes, captions))
    for name in ("accuracy", "interval", "pairs", "looks", "reads", "kappa", "pool", "caution"):
        assert getattr(loaded, name) == getattr(model, name), name
    assert sorted(f.name for f in tmp_path.iterdir()) == ["reward.safetensors"]
    other = tiny.adapted(2, 0).merged()
    next(iter(other.module.parameters())).data.add_(1e-3)
    with pytest.raises(ValueError, match=f"expected the model {tiny.hash}.*got {other.hash}"):
        RewardModel.load(tmp_path, other)
    with pytest.raises(FileNotFoundError, match=r"expected what RewardModel\.save wrote"):
        RewardModel.load(tmp_path / "elsewhere", tiny)


def rewritten(feedback, path, change):
    """The same log with every record changed."""
    new = Feedback([], path, model=feedback.model)
    new.append([{"op": "label", "record": {**r, **change(r)}} for r in feedback.records])
    return new


def test_logs_that_say_nothing_are_refused_before_any_fit(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("mmbook.rlhf.reward_model.Features", None)  # nothing is read, nothing fitted
    ratings, pairs = asked(tiny, "rating", 12), asked(tiny, "pair", 12)
    cases = {
        "all 12 ratings are 3; expected two different ones": rewritten(
            ratings, tmp_path / "a.jsonl", lambda r: {"rating": 3}
        ),
        "expected captions with words, got an empty response in record": rewritten(
            pairs, tmp_path / "b.jsonl", lambda r: {"responses": [r["responses"][0], " "]}
        ),
        "0 usable pairs .*at least 10 are needed": rewritten(
            pairs, tmp_path / "c.jsonl", lambda r: {"responses": [r["responses"][0]] * 2}
        ),
        "7 usable judgements": rewritten(asked(tiny, "ranking", 7), tmp_path / "d.jsonl", lambda r: {}),
    }
    for message, feedback in cases.items():
        with pytest.raises(ValueError, match=message):
            train_reward_model(feedback)


def test_states_that_are_no_numbers_and_impossible_settings_are_named(tiny):
    broken = tiny.copy()
    broken.module.get_input_embeddings().weight.data.fill_(float("nan"))
    feedback = asked(tiny, "pair", 12)
    feedback.model = broken
    with pytest.raises(ValueError, match="states are not finite numbers"):
        train_reward_model(feedback, minimum=2)
    for name, value, expected in (
        ("pool", "max", "expected one of mean, sum, order, last, got 'max'"),
        ("tune", "all", "expected one of head, lora, full"),
        ("caution", math.nan, "expected a number, 0 or more, got nan"),
        ("members", 0, "expected a whole number, 1 or more, got 0"),
    ):
        with pytest.raises(ValueError, match=f"{name}: {expected}"):
            RewardConfig(**{name: value})
    with pytest.raises(ValueError, match="members: expected 1 with tune='lora'"):
        RewardConfig(tune="lora", members=2)
    with pytest.raises(ValueError, match=r"members: expected 2 or more with caution=0\.5"):
        RewardConfig(caution=0.5)
    tree = CaptionTree()
    said = [tree.text(way) for way in tree.responses[:2]]
    judged = [Judgement("pair", tree.scene, tuple(said), {})]
    assert not Features(TableLM(tree), judged, [tree.scene]).prefix.picture.any()
    assert json.loads(json.dumps(RewardModel(TableLM(tree), False, 0).kappa)) == []


@pytest.mark.parametrize("captions", [[], ["cat."]])
def test_a_caption_is_scored_for_each_scene(captions):
    tree = CaptionTree()
    with pytest.raises(ValueError, match=f"got 2 scenes, {len(captions)} captions"):
        KnownReward(TableLM(tree)).score([tree.scene] * 2, captions)
