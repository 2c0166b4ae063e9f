"""The checklist of PPO-RLHF, one row a test: what PPO computes is computed again the slow way.

Row 24, exact resume, is tested with pretraining; rows 16 to 18 come with the features that they describe.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rlhf_by_hand import (
    Run,
    advantages_alone,
    gradients,
    log_probs_alone,
    logits_alone,
    moved,
    run_rollout,
    spy,
    tokens,
)
from torch.distributions import Categorical
from torch.optim.optimizer import register_optimizer_step_pre_hook

import mmbook
from mmbook.equations import kl_regularised_optimum
from mmbook.feedback import Judgement
from mmbook.models import Adapted, Decoded, Prefix, ScalarHead, decode
from mmbook.rlhf import (
    KnownReward,
    PPOConfig,
    RewardConfig,
    RewardModel,
    fine_tune_with_rl,
    ppo,
    reward_fit,
)
from mmbook.world import parse, sample_scenes

SMALL = {"updates": 1, "batch": 8, "epochs": 1, "minibatches": 1, "rank": 2, "progress": False}


# Checks that take a rollout, so that `test_ppo_faults.py` can hand them one with a fault in it.


def check_log_probs(run: Run) -> None:
    """Sampler and reference give each token what the whole model gives it alone, at one temperature."""
    batch, reference = run.batch, run.scorer.reward_model.trunk
    for log_p, model in ((batch.log_p_old, run.policy.model), (batch.log_p_ref, reference)):
        assert log_p.dtype == torch.float32
        alone = log_probs_alone(model, run.scenes, batch.ids, batch.m, run.config.tau)
        np.testing.assert_allclose(tokens(log_p, batch.m), tokens(alone, batch.m), atol=2e-4)


def check_ratio(run: Run) -> None:
    """Before the first step the new policy is the old one."""
    log_p = run.loss()[1]
    rho = (log_p - run.batch.log_p_old).exp()
    np.testing.assert_allclose(tokens(rho, run.batch.m), 1, atol=1e-5)


def check_mask(run: Run) -> None:
    """m is 1 up to and including EOS, and 0 after it."""
    end = run.policy.model.tokenizer.eos_token_id
    for ids, m in zip(run.batch.ids.tolist(), run.batch.m.tolist(), strict=True):
        length = ids.index(end) + 1 if end in ids else len(ids)
        assert m == [1.0] * length + [0.0] * (len(ids) - length)


def check_rewards(run: Run) -> None:
    """Each token pays beta times its log-ratio, the last one earns the score, nothing lies beyond."""
    batch, (r, *_) = run.batch, run.calls["gae"][0][0]
    reference = run.scorer.reward_model.trunk
    log_p, log_p_ref = (
        log_probs_alone(model, run.scenes, batch.ids, batch.m, run.config.tau)
        for model in (run.policy.model, reference)
    )
    k1 = log_p - log_p_ref
    for i, n in enumerate(batch.m.sum(1).long().tolist()):
        assert not r[i, n:].any()
        np.testing.assert_allclose(r[i, : n - 1], -run.config.beta * k1[i, : n - 1], atol=2e-4)
        total = batch.S[i] - run.config.beta * k1[i, :n].sum()
        np.testing.assert_allclose(r[i].sum(), total, atol=2e-3)


def check_whitening(run: Run) -> None:
    """Advantages have mean 0 and variance 1 over the tokens of the whole rollout; targets are untouched."""
    (_, V, m, *_), (A, _) = run.calls["gae"][0]
    raw, white = tokens(A, m), tokens(run.batch.A, m)
    np.testing.assert_allclose([white.mean(), white.var()], [0, 1], atol=1e-4)
    np.testing.assert_allclose(white, (raw - raw.mean()) / np.sqrt(raw.var() + 1e-8), atol=1e-4)
    assert not run.batch.A[m == 0].any()
    np.testing.assert_allclose(tokens(run.batch.G, m), tokens(A + V, m), atol=1e-6)


def check_steps(model: mmbook.models.VLM, reward: RewardModel) -> None:
    """Optimizer steps are updates x epochs x minibatches, also where nothing divides."""
    counted = []
    handle = register_optimizer_step_pre_hook(lambda *_: counted.append(1))
    try:
        changes = {**SMALL, "updates": 2, "batch": 9, "epochs": 3, "minibatches": 4, "accumulate": 2}
        fine_tune_with_rl(model, reward, **changes)
    finally:
        handle.remove()
    assert len(counted) == 2 * 3 * 4


def check_clip_norm(model: mmbook.models.VLM, reward: RewardModel) -> None:
    """No step sees a gradient longer than `clip_norm`; these are so long that each is cut to just that."""
    norms = []

    def measure(optimizer, *_) -> None:
        weights = [w for group in optimizer.param_groups for w in group["params"]]
        norms.append(torch.stack([w.grad.norm() for w in weights]).norm().item())

    handle = register_optimizer_step_pre_hook(measure)
    try:
        fine_tune_with_rl(model, reward, **SMALL, clip_norm=0.01)
    finally:
        handle.remove()
    np.testing.assert_allclose(norms, 0.01, rtol=1e-3)


def check_sight(run: Run) -> None:
    """Another picture changes what the sampler says, and for equal words old, ref, new, critic, reward."""
    ids, m, ended = run.batch.ids, run.batch.m, run.calls["decode"][0][1].ended
    others = sample_scenes(len(m), 99)

    def forced(model, prefix, generator, tau, **_) -> Decoded:
        z = model.logits(model.states(prefix, ids)[:, :-1])
        return Decoded(ids, m, ppo.log_prob(z, ids, tau) * m, ended)

    said, numbers = [], []
    for scenes in (run.scenes, others):
        draw = torch.Generator().manual_seed(0)
        said.append(decode(run.policy.model, run.policy.model.prefix(scenes), draw).ids)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ppo, "decode", forced)
            batch = ppo.rollout(run.policy, run.scorer, scenes, draw, run.config)
        new = ppo.loss(run.policy.model, run.scorer, batch, m.sum(), run.config)[1]
        R = run.scorer.read(scenes, ids, m)[0][:, -1:]
        numbers.append(
            {"old": batch.log_p_old, "ref": batch.log_p_ref, "new": new, "critic": batch.V_old, "reward": R}
        )
    assert said[0].shape != said[1].shape or not torch.equal(*said), "the sampler is blind"
    for name in numbers[0]:
        change = (numbers[0][name] - numbers[1][name]).abs().amax(1)
        assert (change > 1e-4).all(), f"{name} is blind"


# The rows.


def test_row_01_log_probabilities_are_those_of_the_model_alone(short, far):
    check_log_probs(short)
    check_log_probs(far)
    assert short.config.tau != 1
    log_p = short.loss()[1]
    alone = log_probs_alone(short.policy.model, short.scenes, short.batch.ids, short.batch.m, 0.7)
    np.testing.assert_allclose(tokens(log_p, short.batch.m), tokens(alone, short.batch.m), atol=2e-4)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_row_02_ratio_is_one_on_the_first_minibatch(tiny, reward, tau):
    check_ratio(run_rollout(tiny, reward, n=24, tau=tau))


def test_row_02_the_sampler_draws_from_the_whole_distribution(tiny):
    model, tau = tiny.copy(), 1.5  # so warm that a cut of the tail would show
    model.max_words = 1
    prefix = tiny.prefix(sample_scenes(1, 0)).repeat(2000)
    drawn = decode(model, prefix, torch.Generator().manual_seed(0), tau).ids[:, 0]
    z = model.logits(model.states(prefix[:1], drawn[:0].reshape(1, 0))[0, -1])
    p, frequency = (z / tau).softmax(0), drawn.bincount(minlength=len(z)) / len(drawn)
    error = (p * (1 - p) / len(drawn)).sqrt()
    assert ((frequency - p).abs() <= 5 * error + 1e-3).all()
    rare = p < 0.005
    assert abs(frequency[rare].sum() - p[rare].sum()) < 0.02 and p[rare].sum() > 0.05


def test_row_03_left_padding_changes_nothing(tiny):
    whole, ids = (
        tiny.prefix(sample_scenes(4, 2)),
        tiny.tokens(["a cat.", "a dog and a bus.", "cat.", "a key."])[0],
    )
    gone, longest = [0, 3, 1, 5], whole.embeds.shape[1]  # rows of different lengths
    noise = torch.Generator().manual_seed(0)
    padded = Prefix(whole.embeds.clone(), whole.mask.clone(), whole.picture.clone())
    for i, k in enumerate(gone):
        padded.embeds[i, :k] = torch.randn(k, whole.embeds.shape[2], generator=noise)
        padded.mask[i, :k], padded.picture[i, :k] = 0, False
    seeing = RewardModel(tiny, looks=True, seed=0).requires_grad_(False)
    R = seeing(padded, ids, torch.ones(ids.shape))
    states, said = tiny.states(padded, ids), decode(tiny, padded, noise, greedy=True)
    for i, k in enumerate(gone):
        alone = Prefix(whole.embeds[i : i + 1, k:], whole.mask[i : i + 1, k:], whole.picture[i : i + 1, k:])
        assert alone.embeds.shape[1] == longest - k
        torch.testing.assert_close(
            states[i : i + 1], tiny.states(alone, ids[i : i + 1]), atol=2e-5, rtol=1e-4
        )
        one = decode(tiny, alone, noise, greedy=True)
        n = one.ids.shape[1]
        assert torch.equal(said.ids[i : i + 1, :n], one.ids) and said.mask[i].sum() == n
        torch.testing.assert_close(said.log_p[i : i + 1, :n], one.log_p, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(R[i : i + 1], seeing(alone, ids[i : i + 1], torch.ones(1, ids.shape[1])))


def test_row_03_the_mask_ends_with_the_caption(short, tiny, reward):
    check_mask(short)
    certain = run_rollout(tiny, reward, tau=0.05)  # many tokens have log-probability exactly 0
    assert (certain.batch.log_p_old[certain.batch.m == 1] == 0).any()
    check_mask(certain)


def test_row_04_divergence_is_k1_in_the_reward_and_estimates_the_exact_one(tiny, reward):
    model = tiny.copy()
    model.max_words = 1
    policy, prefix = moved(model, 0.25), tiny.prefix(sample_scenes(1, 3)).repeat(1500)
    out = decode(policy.model, prefix, torch.Generator().manual_seed(0))
    z = policy.model.logits(policy.model.states(prefix[:1], out.ids[:1, :0])[0, -1])
    z_ref = model.logits(model.states(prefix[:1], out.ids[:1, :0])[0, -1])
    exact = (z.softmax(0) * (z.log_softmax(0) - z_ref.log_softmax(0))).sum()
    k1 = ppo.kl_k1(out.log_p[:, 0], z_ref.log_softmax(0)[out.ids[:, 0]])
    assert exact > 0.02 and (k1 < 0).any()
    assert abs(k1.mean() - exact) < 4 * k1.std() / len(k1) ** 0.5


def test_row_04_divergence_is_zero_at_step_0_and_reported_per_caption(tiny, reward):
    with pytest.MonkeyPatch.context() as patch:
        calls = spy(patch, ppo, "rollout")
        tuned = fine_tune_with_rl(tiny, reward, **{**SMALL, "updates": 3, "batch": 16, "minibatches": 4})
    for row, (_, batch) in zip(tuned.history, calls["rollout"], strict=True):
        k1 = [
            float((a - b)[: int(m.sum())].sum())
            for a, b, m in zip(batch.log_p_old, batch.log_p_ref, batch.m, strict=True)
        ]
        assert row["kl"] == pytest.approx(np.mean(k1), abs=1e-5)
    assert abs(tuned.history[0]["kl"]) < 1e-4 < abs(tuned.history[2]["kl"])


def test_row_05_shaped_rewards_add_up_to_score_minus_divergence(short, far):
    check_rewards(short)
    check_rewards(far)
    k1 = far.batch.log_p_old - far.batch.log_p_ref
    assert k1.max() > 10 and k1.min() < 0  # nothing is clamped on either side


def test_row_06_score_is_standardised_clipped_and_less_without_an_end(short):
    scorer, batch, config = short.scorer, short.batch, short.config
    kinds = set()
    for i, n in enumerate(batch.m.sum(1).long().tolist()):
        prefix = scorer.reward_model.trunk.prefix(short.scenes[i : i + 1])
        R = scorer.reward_model(prefix, batch.ids[i : i + 1, :n], torch.ones(1, n))
        standard = float((R - scorer.mu) / scorer.sigma)
        missing = batch.ids[i, n - 1] != short.policy.model.tokenizer.eos_token_id
        kinds.add((abs(standard) > config.c, bool(missing)))
        expected = min(max(standard, -config.c), config.c) - config.p * bool(missing)
        assert batch.S[i].item() == pytest.approx(expected, abs=1e-4)
    assert {clipped for clipped, _ in kinds} == {missing for _, missing in kinds} == {False, True}


def test_row_06_reference_captions_average_zero(tiny, reward):
    draw, config, scenes = torch.Generator().manual_seed(4), PPOConfig(tau=0.8), sample_scenes(256, 5)
    scorer = ppo.Scorer(reward, tiny, scenes, config, draw)
    draw.manual_seed(4)
    ScalarHead(tiny.width, draw)
    own = decode(tiny, tiny.prefix(scenes), draw, config.tau)
    fresh = decode(tiny, tiny.prefix(sample_scenes(256, 8)), draw, config.tau)
    for out, at, atol in ((own, scenes, 1e-4), (fresh, sample_scenes(256, 8), 0.25)):
        S = (scorer.read(at, out.ids, out.mask)[0][:, -1] - scorer.mu) / scorer.sigma
        assert S.mean().item() == pytest.approx(0, abs=atol) and S.std().item() == pytest.approx(1, abs=atol)


def test_row_07_reward_whitening_keeps_the_mean(tiny, reward):
    run = run_rollout(tiny, reward, longest=11, whiten_rewards=True)
    before, after = run.calls["shaped_reward"][0][1], run.calls["gae"][0][0][0]
    r, white = tokens(before, run.batch.m), tokens(after, run.batch.m)
    np.testing.assert_allclose(white, (r - r.mean()) / np.sqrt(r.var() + 1e-8) + r.mean(), atol=1e-4)
    assert white.mean() == pytest.approx(r.mean(), abs=1e-5) and abs(r.var() - 1) > 0.1
    assert not after[run.batch.m == 0].any()


def check_advantages(run: Run) -> None:
    """Each caption's advantages and targets are those of the definition, computed on it alone."""
    r, V, m, gamma, lam = run.calls["gae"][0][0]
    A, G = run.calls["gae"][0][1]
    assert (gamma, lam) == (run.config.gamma, run.config.lam)
    for i, n in enumerate(m.sum(1).long().tolist()):
        alone = advantages_alone(r[i, :n].tolist(), V[i, :n].tolist(), gamma, lam)
        np.testing.assert_allclose(A[i, :n], alone, atol=1e-4)
        np.testing.assert_allclose(G[i, :n], np.add(alone, V[i, :n].tolist()), atol=1e-4)
        assert not A[i, n:].any() and not G[i, n:].any()


def test_row_08_advantages_are_those_of_the_definition(short):
    assert (short.config.gamma, short.config.lam) == (0.9, 0.8)
    assert len(set(short.batch.m.sum(1).tolist())) > 1
    check_advantages(short)


def test_row_08_limits_of_lambda(tiny, reward):
    whole = run_rollout(tiny, reward, gamma=1.0, lam=1.0)
    r, m = whole.calls["gae"][0][0][0], whole.batch.m
    ahead = r.flip(1).cumsum(1).flip(1)
    np.testing.assert_allclose(tokens(whole.batch.G, m), tokens(ahead, m), atol=1e-4)
    step = run_rollout(tiny, reward, gamma=0.9, lam=0.0)
    r, V = step.calls["gae"][0][0][:2]
    ahead = torch.cat([V[:, 1:], torch.zeros(len(V), 1)], 1)
    np.testing.assert_allclose(
        tokens(step.batch.G, step.batch.m), tokens(r + 0.9 * ahead, step.batch.m), atol=1e-5
    )


def test_row_09_advantages_are_whitened_once_over_the_rollout(short, monkeypatch):
    check_whitening(short)
    calls = spy(monkeypatch, ppo, "policy_loss")
    rows = torch.tensor([4, 1])
    short.loss(rows)
    used = calls["policy_loss"][0][0][2]  # not whitened again in a minibatch
    assert torch.equal(used, short.batch.A[rows, : used.shape[1]])


def test_row_10_the_first_gradient_is_the_policy_gradient(short):
    weights, batch = short.policy.parameters(), short.batch
    total, log_p = short.loss(c_v=0.0)
    by_hand = -(batch.A * log_p * batch.m).sum() / batch.m.sum()
    for g, expected in zip(
        torch.autograd.grad(total, weights, retain_graph=True),
        torch.autograd.grad(by_hand, weights),
        strict=True,
    ):
        torch.testing.assert_close(g, expected, atol=1e-6, rtol=1e-4)
        assert g.any()


def test_row_10_no_gradient_beyond_the_clip(short):
    log_p, A, eps = short.batch.log_p_old, short.batch.A, short.config.eps

    def norm(rho: torch.Tensor) -> float:
        run = replace(short, batch=replace(short.batch, log_p_old=log_p - rho.log()))
        return gradients(run, run.batch, c_v=0.0).norm().item()

    beyond = torch.where(A > 0, 1 + 2 * eps, 1 - 2 * eps)  # moved too far in the wanted direction
    assert norm(beyond) == 0
    assert norm(2 - beyond) > 0.1  # as far in the other direction: it may come back


def test_row_11_the_value_loss_is_clipped_around_the_old_values(short):
    batch, eps_v = short.batch, short.config.eps_v
    V_old = batch.V_old + torch.randn(batch.V_old.shape, generator=torch.Generator().manual_seed(0)) / 2
    run = replace(short, batch=replace(batch, V_old=V_old))
    L_v = run.loss(c_v=1.0)[0] - run.loss(c_v=0.0)[0]
    total, clipped = 0.0, 0
    for i, n in enumerate(batch.m.sum(1).long().tolist()):
        for t in range(n):
            V, old, G = batch.V_old[i, t].item(), V_old[i, t].item(), batch.G[i, t].item()
            near = old + min(max(V - old, -eps_v), eps_v)
            clipped += (near - G) ** 2 > (V - G) ** 2
            total += max((V - G) ** 2, (near - G) ** 2)
    assert L_v.item() == pytest.approx(total / (2 * batch.m.sum().item()), rel=1e-4)
    assert 0 < clipped < batch.m.sum()


def test_row_12_entropy_is_that_of_the_sampled_distribution(short):
    H = short.loss(c_H=0.0)[0] - short.loss(c_H=1.0)[0]
    total = 0.0
    for i, n in enumerate(short.batch.m.sum(1).long().tolist()):
        z = logits_alone(short.policy.model, short.scenes, i, short.batch.ids[i, :n])
        total += Categorical(logits=z.double() / short.config.tau).entropy().sum().item()
    assert H.item() == pytest.approx(total / short.batch.m.sum().item(), rel=1e-4)


def test_row_13_the_total_and_its_gradient_are_the_sums_of_the_parts(short):
    def both(c_v: float, c_H: float) -> torch.Tensor:
        total = short.loss(c_v=c_v, c_H=c_H)[0].detach().reshape(1)
        return torch.cat([total, gradients(short, short.batch, c_v=c_v, c_H=c_H)])

    L_pi = both(0.0, 0.0)
    L_v, minus_H = both(1.0, 0.0) - L_pi, both(0.0, 1.0) - L_pi
    torch.testing.assert_close(both(0.7, 0.3), L_pi + 0.7 * L_v + 0.3 * minus_H, atol=2e-5, rtol=1e-4)
    assert L_v[1:].any() and minus_H[1:].any()


def test_row_14_any_split_and_any_order_has_the_same_gradient(short):
    n, changes = len(short.batch.m), {"c_H": 0.1}
    whole = gradients(short, short.batch, **changes)
    orders = [torch.arange(n), torch.arange(n).flip(0), torch.randperm(n, generator=torch.Generator())]
    for order in orders:
        for accumulate in (1, 2, 5, n):
            split = gradients(short, short.batch.part(order), accumulate=accumulate, **changes)
            torch.testing.assert_close(split, whole, atol=2e-6, rtol=1e-3)
    lengths = short.batch.m.sum(1)
    unequal = sum(
        gradients(short, short.batch.part(rows), **changes) / 2 for rows in lengths.argsort().chunk(2)
    )
    assert (unequal - whole).abs().max() > 1e-3  # a mean of means is another number: the test can tell


def test_row_14_steps_are_updates_times_epochs_times_minibatches(tiny, reward):
    check_steps(tiny, reward)


def test_row_15_clip_norm_adam_eps_and_linear_decay(tiny, reward):
    check_clip_norm(tiny, reward)
    seen = []
    handle = register_optimizer_step_pre_hook(lambda o, *_: seen.append([dict(g) for g in o.param_groups]))
    try:
        fine_tune_with_rl(tiny, reward, **{**SMALL, "updates": 4}, lr=1e-4, value_lr=1e-3)
    finally:
        handle.remove()
    rates = [[group["lr"] for group in groups] for groups in seen]
    np.testing.assert_allclose(rates, np.outer([1, 0.75, 0.5, 0.25], [1e-4, 1e-3]), rtol=1e-6)
    assert {(g["eps"], g["weight_decay"]) for groups in seen for g in groups} == {(1e-5, 0.0)}


def test_row_19_heads_start_small_and_the_critic_starts_from_the_reward_model(tiny, reward, short):
    draw = torch.Generator().manual_seed(0)
    wide = ScalarHead(8191, draw)
    assert wide.weight.std().item() == pytest.approx(1 / 8192**0.5, rel=0.03) and wide.bias == 0
    heads = [RewardModel(tiny, False, seed).language.weight for seed in range(40)]
    assert torch.cat(heads).std().item() == pytest.approx(1 / (tiny.width + 1) ** 0.5, rel=0.03)
    scorer = ppo.Scorer(reward, tiny, sample_scenes(8, 0), PPOConfig(), draw)
    assert isinstance(scorer.value_head, ScalarHead) and scorer.value_head.bias == 0
    scenes = sample_scenes(4, 1)
    batch = ppo.rollout(Adapted(tiny, 2, 0), scorer, scenes, draw, PPOConfig())
    for i, n in enumerate(batch.m.sum(1).long().tolist()):
        prefix = tiny.prefix(scenes[i : i + 1])
        for t in range(n):  # the reward of stopping before token t, and the head on what was read until then
            said = batch.ids[i : i + 1, :t]
            R = reward(prefix, said, torch.ones(1, t)) if t else 0.0
            V = (R - scorer.mu) / scorer.sigma + scorer.value_head(tiny.states(prefix, said)[:, -1])
            assert batch.V_old[i, t].item() == pytest.approx(V.item(), abs=1e-4)


def test_row_20_the_reward_model_overfits_eight_pairs(tiny):
    scenes = sample_scenes(8, 3)
    captions = tiny.sample(scenes, seed=1, samples=2)
    said = zip(scenes, captions[::2], captions[1::2], strict=True)
    judged = [Judgement("pair", scene, pair, {}) for scene, *pair in said]  # arbitrary labels
    features = reward_fit.Features(tiny, judged, scenes)
    for looks, reads in ((False, True), (True, False), (True, True)):
        config = RewardConfig(epochs=200, weight_decay=0.0, centre=0.01)
        fitted = RewardModel(tiny, looks, 0, reads)
        reward_fit.fit(fitted, features, torch.arange(8), config, 0)
        R_c, R_r = features.rewards(fitted, torch.arange(8)).T
        assert (R_c > R_r).all() and torch.nn.functional.softplus(R_r - R_c).mean() < 0.3


@pytest.mark.parametrize("looks", [False, True])
def test_row_20_the_reward_does_not_depend_on_padding(tiny, looks):
    model = RewardModel(tiny, looks, 0).requires_grad_(False)
    scenes, captions = (
        sample_scenes(3, 0),
        ["a cat.", "a small dog at the top left and a big bus at the top right.", ""],
    )
    together = model.score(scenes, captions)
    for i, caption in enumerate(captions):
        ids, m = tiny.tokens([caption])
        torch.testing.assert_close(
            model.score(scenes[i : i + 1], [caption])[0], together[i], atol=1e-5, rtol=1e-4
        )
        for padding in (0, 5):  # whatever stands in the padding
            longer = torch.cat([ids, torch.full((1, 7), padding)], 1)
            R = model(tiny.prefix(scenes[i : i + 1]), longer, torch.cat([m, torch.zeros(1, 7)], 1))
            torch.testing.assert_close(R[0], together[i], atol=1e-5, rtol=1e-4)
    assert together.unique().numel() == 3


def test_row_21_the_reference_is_the_model_with_the_adapters_off(tiny, reward):
    start = run_rollout(tiny, reward, by=0.0)
    assert torch.equal(start.loss()[1], start.batch.log_p_ref)  # the divergence is exactly 0
    policy, scenes, ids = moved(tiny, 0.2), sample_scenes(4, 0), tiny.tokens(["a cat and a dog."] * 4)[0]
    prefix = tiny.prefix(scenes)
    with policy.reference() as reference:
        off = reference.states(prefix, ids)
    assert torch.equal(off, tiny.states(prefix, ids))
    assert not torch.allclose(policy.model.states(prefix, ids), off, atol=1e-2)
    before, untouched = tiny.hash, {k: v.clone() for k, v in tiny.module.state_dict().items()}
    with pytest.MonkeyPatch.context() as patch:
        calls = spy(patch, ppo, "rollout")
        tuned = fine_tune_with_rl(tiny, reward, **{**SMALL, "updates": 2}, lr=1e-2)
    last, at = calls["rollout"][-1][1], calls["rollout"][-1][0][2]
    frozen = log_probs_alone(tiny, at, last.ids, last.m, 1.0)
    np.testing.assert_allclose(tokens(last.log_p_ref, last.m), tokens(frozen, last.m), atol=2e-4)
    assert tiny.hash == before != tuned.hash
    assert all(torch.equal(v, untouched[k]) for k, v in tiny.module.state_dict().items())


def test_row_22_nothing_is_random_but_the_sampler(short, tiny, reward):
    policy, scorer, batch = short.policy, short.scorer, short.batch
    for module in (tiny.module, policy.model.module, reward):
        assert not [m for m in module.modules() if "Dropout" in type(m).__name__ and m.training and m.p > 0]
    with policy.reference() as reference:
        assert torch.equal(*(reference.states(batch.prefix, batch.ids) for _ in range(2)))
    for forward in (
        lambda: short.loss()[0],
        lambda: scorer.read(short.scenes, batch.ids, batch.m)[0],
        lambda: scorer.value(batch.seen, batch.so_far, batch.m),
        lambda: policy.model.prefix(short.scenes).embeds,
    ):
        assert torch.equal(forward(), forward())
    assert not fine_tune_with_rl(tiny, reward, **SMALL).module.training


def test_row_23_every_part_sees_the_picture(short):
    check_sight(short)


def test_row_23_pictures_carry_no_loss_and_their_features_stay(short, monkeypatch):
    calls = spy(monkeypatch, ppo, "log_prob")
    short.loss()
    (z, ids, _), _ = calls["log_prob"][0]
    assert z.shape[:2] == ids.shape == short.batch.m.shape
    said = [
        len(short.policy.model.tokenizer(c, add_special_tokens=False)["input_ids"])
        for c in captions_of(short)
    ]
    ended = short.calls["decode"][0][1].ended
    assert short.batch.m.sum() == sum(said) + ended.sum()  # words and ends, no picture and no prompt
    assert torch.equal(short.batch.prefix.embeds, short.policy.model.prefix(short.scenes).embeds)


def captions_of(run: Run) -> list[str]:
    return run.policy.model.text(run.batch.ids, run.batch.m)


def test_row_25_a_known_reward_is_reached(tiny):
    def terse(caption: str) -> float:
        statement = parse(caption)
        return float(statement is not None and statement.style == "terse")

    before = np.mean([terse(c) for c in tiny.sample(sample_scenes(256, 9), seed=0)])
    changes = {"updates": 8, "batch": 64, "lr": 2e-3, "minibatches": 2, "progress": False}
    tuned = fine_tune_with_rl(tiny, KnownReward(tiny, lambda _, caption: terse(caption)), **changes)
    after = np.mean([terse(c) for c in tiny.sample(sample_scenes(256, 9), seed=0)])
    reached = np.mean([terse(c) for c in tuned.sample(sample_scenes(256, 9), seed=0)])
    assert before == after < 0.3 and reached > 0.9


def test_row_25_the_best_policy_of_a_kl_penalty_is_approached(tiny, monkeypatch):
    """Captions of one word have a closed-form optimum: the reference tilted by exp(S / beta)."""
    model, beta = tiny.copy(), 1.0
    model.max_words = 1
    words = [model.tokenizer.decode([i]) for i in range(len(model.tokenizer))]
    reward = KnownReward(model, lambda _, caption: {"a": 1.0, "well": 0.0, "hello": -1.0}.get(caption, 0.5))
    scorers = []
    monkeypatch.setattr(ppo, "Scorer", lambda *a, make=ppo.Scorer: scorers.append(make(*a)) or scorers[-1])
    changes = {"updates": 12, "batch": 96, "lr": 3e-3, "rank": 8, "progress": False}
    tuned = fine_tune_with_rl(model, reward, beta=beta, p=0.0, **changes)
    prefix = model.prefix(sample_scenes(128, 77))
    nothing = torch.zeros(128, 0, dtype=torch.long)
    log_p_ref, log_p = (m.logits(m.states(prefix, nothing)[:, -1]).log_softmax(-1) for m in (model, tuned))
    S = torch.stack([(reward.of(None, word) - scorers[0].mu) / scorers[0].sigma for word in words]).expand(
        128, -1
    )

    def distance(p: torch.Tensor, beta: float) -> float:
        """Mean total variation from the optimum for beta."""
        best = kl_regularised_optimum(log_p_ref, S, beta)
        return (p.exp() - best.exp()).abs().sum(1).mean().item() / 2

    assert distance(log_p_ref, beta) > 0.25
    assert distance(log_p, beta) < 0.08
    assert min(distance(log_p, beta / 2), distance(log_p, 2 * beta)) > 2 * distance(log_p, beta)
