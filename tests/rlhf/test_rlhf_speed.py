"""Every speed switch of PPO leaves gradients, weights and curves as the plain path has them."""

import dataclasses
import traceback
from collections import Counter

import pytest
import torch
from rlhf_by_hand import gradients, run_rollout
from torch.utils._python_dispatch import TorchDispatchMode

from mmbook.equations._arguments import unread
from mmbook.models import VLM, Speed
from mmbook.models.vlm import Shared
from mmbook.rlhf import KnownReward, PPOConfig, RewardModel, fine_tune_with_rl, ppo
from mmbook.rlhf.fine_tune import Run
from mmbook.world import sample_scenes

SWITCHES = {
    "drop": {"drop": True},
    "share_prefix": {"share_prefix": True},
    "features": {"features": True},
    "trim": {"trim": True},
    "chunk": {"chunk": 37},
    "chunk of what is said": {"chunk": 37, "trim": True},
    "share what is needed": {"share_prefix": True, "features": True, "trim": True},
    "one token at a time": {"chunk": 1},
    "checkpointing": {"checkpointing": True},
    "compile": {"compile": "aot_eager", "features": True},
    "compile with chunks": {"compile": "aot_eager", "features": True, "chunk": 37},
    "fused": {"fused": True},
    "fast": vars(Speed.fast()),
}


@pytest.fixture(scope="module", params=["reward", "shared", "separate"])
def run(tiny, reward, request):
    """Captions of different lengths, some without an end, to be learned by each kind of critic."""
    kinds = {"critic": request.param, "c_H": 0.01, "kl_in": "loss", "kl": "k3"}
    return run_rollout(tiny, reward, longest=11, tau=0.7, **kinds)


@pytest.mark.parametrize("name", [n for n in SWITCHES if n not in ("drop", "fused", "fast")])
@pytest.mark.filterwarnings("ignore:Dynamo detected")
def test_gradients_are_those_of_the_plain_path(run, name):
    plain = gradients(run, run.batch, speed=Speed.plain())
    quick = gradients(run, run.batch, speed=Speed.plain(**SWITCHES[name]))
    assert plain.norm() > 0.01
    assert (quick - plain).abs().max() < 1e-5 * max(1.0, plain.abs().max())


def test_the_entropy_bonus_is_felt_in_chunks_too(run):
    """The control of the test above: it would notice a chunk that forgets a term."""
    one, other = (gradients(run, run.batch, speed=Speed.plain(chunk=5), c_H=c_H) for c_H in (0.0, 0.5))
    assert (one - other).abs().max() > 1e-3


def curve(tiny, speed, **changes):
    """Scores and weights of three short updates towards short captions."""
    gold = KnownReward(tiny, lambda scene, caption: -len(caption.split()) / 10)
    how = {"updates": 3, "batch": 16, "group": 2, "minibatches": 2, "rank": 4, "per_row": True, **changes}
    tuned = fine_tune_with_rl(tiny, gold, 0, PPOConfig(speed=speed, **how), progress=False)
    return [row["score"] for row in tuned.history], tuned.module.state_dict()


@pytest.fixture(scope="module")
def plain(tiny):
    return curve(tiny, Speed.plain())


@pytest.mark.parametrize("name", [n for n in SWITCHES if "compile" not in n])
def test_curves_are_those_of_the_plain_path(tiny, plain, name):
    scores, weights = curve(tiny, Speed.plain(**SWITCHES[name]) if name != "fast" else Speed.fast())
    assert scores == pytest.approx(plain[0], abs=1e-4)
    assert max((weights[k] - plain[1][k]).abs().max() for k in weights) < 1e-4
    assert any(not torch.equal(weights[k], tiny.module.state_dict()[k]) for k in weights)


@pytest.mark.parametrize("critic", ["reward", "shared", "separate"])
def test_a_reward_model_in_single_precision_pays_a_policy_in_half(tiny, critic):
    """All that a reward model may read of the policy, and a critic of its own, cast what they get."""
    reward = RewardModel(tiny, looks=True, reads=True, seed=3).requires_grad_(False)
    reward.interval = (0.8, 0.9)
    how = {"updates": 1, "batch": 8, "group": 2, "minibatches": 2, "rank": 2, "critic": critic}
    config = PPOConfig(speed=Speed.fast(dtype="bfloat16"), **how)
    assert fine_tune_with_rl(tiny, reward, 0, config, progress=False).history[0]["score"] < 5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_learns_the_same_up_to_rounding(tiny, plain, dtype):
    scores, weights = curve(tiny, Speed(dtype=dtype))
    assert scores[0] == pytest.approx(plain[0][0], abs=0.3)  # a few tokens fall otherwise
    assert all(x.dtype == torch.float32 for x in weights.values() if x.is_floating_point())
    moved = [(weights[k].float() - tiny.module.state_dict()[k]).abs().max() for k in weights]
    assert max(moved) > 1e-3 and all(torch.isfinite(x).all() for x in weights.values())


def test_in_half_precision_ratios_start_at_one(tiny, reward):
    """Row 2 where sampler and learner round apart: the old log-probabilities are the learner's."""
    config = PPOConfig(batch=12, minibatches=1, tau=0.7, speed=Speed(dtype="bfloat16"))
    policy, draw = tiny.adapted(4, 0, "bfloat16"), torch.Generator().manual_seed(1)
    scorer = ppo.Scorer(reward, tiny, sample_scenes(24, 5), config, draw)
    batch = ppo.rollout(policy, scorer, sample_scenes(12, 6), draw, config)
    _, log_p = ppo.loss(policy.model, scorer, batch, batch.m.sum(), config)
    assert ((log_p - batch.log_p_old) * batch.m).abs().max() < 1e-5


def test_small_steps_in_half_precision_survive_the_merge(tiny):
    """A step below half a unit of bfloat16 is there in the merged model, which says what the policy said."""
    policy = tiny.adapted(4, 0, "bfloat16")
    for name, p in policy.model.module.named_parameters():
        if "lora_B" in name:
            p.data.normal_(std=1e-4, generator=torch.Generator().manual_seed(len(name)))
    base = {n: p.detach().clone() for n, p in tiny.module.named_parameters()}
    deltas = {
        n: 2.0 * part.lora_B["default"].weight.float() @ part.lora_A["default"].weight.float()
        for n, part in policy.model.module.named_modules()
        if hasattr(part, "lora_B")
    }
    weights = dict(policy.merged().module.named_parameters())
    assert len(deltas) > 10
    for n, delta in deltas.items():
        learned = weights[f"{n}.weight"] - base[f"{n}.weight"].bfloat16().float()
        assert delta.abs().max() > 0 and (learned - delta).norm() < 1e-2 * delta.norm()


def test_a_run_goes_on_with_other_switches(tiny, tmp_path):
    """Fused or not, scaled or not: the optimizer is this run's, its moments the last run's."""
    how = {"batch": 8, "minibatches": 2, "rank": 2, "per_row": True, "updates": 2}
    gold = KnownReward(tiny, lambda scene, caption: -len(caption.split()) / 10)

    def stop(update, _):
        if update == 1:
            raise KeyboardInterrupt

    first, then = (PPOConfig(speed=Speed(dtype="float16", fused=x), **how) for x in (False, True))
    with pytest.raises(KeyboardInterrupt):
        fine_tune_with_rl(tiny, gold, 0, first, False, folder=tmp_path, callback=stop)
    seen = fine_tune_with_rl(tiny, gold, 0, then, False, folder=tmp_path).history
    alone = fine_tune_with_rl(tiny, gold, 0, first, False).history
    assert len(seen) == 2 and seen[0] == alone[0]
    assert seen[1]["score"] == pytest.approx(alone[1]["score"], abs=0.3)


def test_the_scaled_loss_has_the_same_gradient_and_skips_what_is_not_finite(run):
    class Recorder(torch.optim.SGD):
        def step(self, *_):
            seen.append(torch.cat([p.grad.flatten().clone() for p in weights if p.grad is not None]))

    weights, seen = [*run.policy.parameters(), *run.scorer.parameters()], []
    config = dataclasses.replace(run.config, clip_norm=1e9)
    for scaler in (None, torch.amp.GradScaler("cpu", 2.0**10)):
        optimizer = Recorder([p for p in weights if p.requires_grad], lr=0.0)
        ppo.minibatch_step(
            run.policy, run.scorer, optimizer, run.batch, config, None, ppo.Engine(scaler=scaler)
        )
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-6)
    bad = dataclasses.replace(run.batch, A=run.batch.A * float("nan"))
    ppo.minibatch_step(run.policy, run.scorer, optimizer, bad, config, None, ppo.Engine(scaler=scaler))
    assert len(seen) == 2 and scaler.get_scale() == 2.0**9  # no step, and a smaller scale


def test_a_scaled_run_that_diverges_is_stopped(tiny, reward, monkeypatch):
    monkeypatch.setattr(ppo, "policy_loss", lambda log_p, *_: log_p.sum() * float("nan"))
    monkeypatch.setattr(ppo, "loss_scaler", lambda *_: torch.amp.GradScaler("cpu", 1.0))
    config = PPOConfig(updates=1, batch=4, minibatches=1, epochs=1)
    with pytest.raises(ValueError, match=r"diverged: lower lr = 0\.001"):
        fine_tune_with_rl(tiny, reward, 0, config, progress=False)


def test_all_of_the_language_model_can_learn(tiny, reward):
    """Rank 0: nothing but the language model moves, the reference stays, and KL is 0 at step 0."""
    policy = tiny.adapted(0, 0)
    names = {n for n, p in policy.model.module.named_parameters() if p.requires_grad}
    assert names and all("language_model" in n and "embed" not in n for n in names)
    tuned = fine_tune_with_rl(
        tiny, reward, 0, rank=0, lr=1e-4, updates=2, batch=8, minibatches=1, progress=False
    )
    assert abs(tuned.history[0]["kl"]) < 1e-4 < abs(tuned.history[1]["kl"])
    before, after = tiny.module.state_dict(), tuned.module.state_dict()
    assert {k for k in before if not torch.equal(before[k], after[k])} == names


def test_frozen_weights_are_shared_while_a_policy_learns_and_not_after(tiny: VLM):
    policy = tiny.adapted(4, 0)
    own = {p.data_ptr() for p in tiny.module.parameters()}
    assert sum(p.data_ptr() in own for p in policy.model.module.parameters()) == len(own)
    assert not own & {p.data_ptr() for p in policy.merged().module.parameters()}


class Asked(TorchDispatchMode):
    """Counts what would make the host wait for a GPU: what it decides by the numbers in a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Counter[str]()

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        name = f._schema.name.split("::")[1]
        index = args[1] if name in ("index", "index_put", "index_put_") else []
        masks = [x for x in index if x is not None and x.dtype == torch.bool]
        if masks or name in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal"):
            frames = [x for x in traceback.extract_stack() if "mmbook" in x.filename]
            self.places[f"{name} in {frames[-1].name}"] += 1
        return f(*args, **(kwargs or {}))


def test_a_gpu_is_asked_little(tiny, reward):
    """As its reads show on a CPU: what asks is listed, and no step of learning does."""
    speed = Speed.plain(share_prefix=True, features=True, fused=True, graph=True, chunk=64)
    config = PPOConfig(batch=16, group=2, epochs=3, rank=2, per_row=True, stop_kl=float("inf"), speed=speed)
    run = Run(tiny, reward, 0, config, sample_scenes, None)
    scaler = torch.amp.GradScaler("cpu", 1.0, growth_interval=9**9)  # as on a GPU, see loss_scaler
    run.engine = dataclasses.replace(run.engine, scaler=scaler)
    run.update()
    with Asked() as checked:
        run.update()
    with Asked() as asked, unread():
        run.update()
    assert sum(asked.places.values()) <= 10 < 20 < sum(checked.places.values())
    assert set(asked.places) <= {
        "_local_scalar_dense in prefix",  # is there padding (on the host), do pictures and places agree
        "_local_scalar_dense in decode_static",  # have all ended, once in 16 tokens
        "_local_scalar_dense in rollout",  # is anything said
        "_local_scalar_dense in read",  # is the reward finite
        "_local_scalar_dense in learn",  # was a step left out
        "_local_scalar_dense in get_scale",
    }


@pytest.mark.parametrize("rows", [[0, 0, 2], [0, 1, 1, 2, 2, 0]])
def test_shared_prefixes_of_one_shape_are_read_as_others(tiny, rows):
    scenes = sample_scenes(4, 3)
    ids, _ = tiny.tokens(["a cat and a dog."] * len(rows))
    free, fixed = (Shared(tiny.prefix(scenes), torch.tensor(rows), how) for how in (False, True))
    expected = tiny.states(free.each(), ids)
    torch.testing.assert_close(tiny.states(free, ids), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tiny.states(fixed, ids), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(tiny.states(free[[2, 1, 0]], ids[:3]), expected[:3], atol=1e-2)


def test_shards_are_shuffled_apart_and_shared_out_equally(tiny, reward):
    config = PPOConfig(batch=24, minibatches=3, shards=4, updates=1)
    rows = Run(tiny, reward, 0, config, sample_scenes, None).minibatches()
    assert sorted(torch.cat(rows).tolist()) == list(range(24))
    assert all((part // 6).bincount(minlength=4).tolist() == [2, 2, 2, 2] for part in rows)
    with pytest.raises(ValueError, match="batch: expected a multiple of shards = 5, got 24"):
        PPOConfig(batch=24, shards=5)
    with pytest.raises(ValueError, match="minibatches: expected at most batch / shards = 2, got 4"):
        PPOConfig(batch=16, shards=8, minibatches=4)
