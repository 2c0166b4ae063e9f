"""Eight faults found in published PPO-RLHF code: each is put in, and the checklist must notice."""

from dataclasses import replace

import pytest
import torch
from rlhf_by_hand import run_rollout
from test_ppo_checklist import (
    check_advantages,
    check_clip_norm,
    check_log_probs,
    check_mask,
    check_ratio,
    check_rewards,
    check_sight,
    check_steps,
    check_whitening,
)

from mmbook.equations import gae, kl_k1, log_prob, shaped_reward, whiten
from mmbook.models import VLM, Decoded, decode
from mmbook.rlhf import ppo


def noticed(check, *args) -> None:
    with pytest.raises(AssertionError):
        check(*args)


def test_fault_1_a_step_for_every_micro_batch(tiny, reward, monkeypatch):
    step = ppo.minibatch_step

    def each(policy, scorer, optimizer, part, config, beta, *_):
        for rows in torch.arange(len(part.m)).tensor_split(config.accumulate):
            step(policy, scorer, optimizer, part.part(rows), replace(config, accumulate=1))
        return part.log_p_old

    monkeypatch.setattr(ppo, "minibatch_step", each)
    noticed(check_steps, tiny, reward)


def test_fault_1_fewer_minibatches_where_the_batch_does_not_divide(tiny, reward, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "tensor_split", torch.Tensor.chunk)
    noticed(check_steps, tiny, reward)


def test_fault_2_the_score_after_the_end(tiny, reward, monkeypatch):
    def late(log_p, log_p_ref, m, S, beta):
        after = m.sum(1, keepdim=True).long().clamp(max=m.shape[1] - 1)
        return (-beta * kl_k1(log_p, log_p_ref) * m).scatter_add(1, after, S[:, None])

    monkeypatch.setattr(ppo, "shaped_reward", late)
    noticed(check_rewards, run_rollout(tiny, reward))


def test_fault_3_gradients_are_not_clipped(tiny, reward, monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.ones(()))
    noticed(check_clip_norm, tiny, reward)


@pytest.mark.parametrize("blind", ["policy", "reward model"])
def test_fault_4_training_without_looking(tiny, reward, monkeypatch, blind):
    run, look = run_rollout(tiny, reward), VLM.prefix

    def dark(model, pictures):
        prefix = look(model, pictures)
        if (model is tiny) == (blind == "reward model"):
            prefix.embeds[prefix.picture] = 0
        return prefix

    check_sight(run)
    monkeypatch.setattr(VLM, "prefix", dark)
    noticed(check_sight, run)


def test_fault_5_advantages_for_one_caption_at_a_time(tiny, reward, monkeypatch):
    def scalar(r, V, m, gamma, lam):
        A, after, ahead = torch.zeros_like(r), 0.0, 0.0
        for t in reversed(range(r.shape[1])):
            if m[:, t]:
                after = r[:, t] + gamma * ahead - V[:, t] + gamma * lam * after
                ahead, A[:, t] = V[:, t], after
        return A, A + V

    monkeypatch.setattr(ppo, "gae", scalar)
    with pytest.raises(RuntimeError, match="more than one value"):
        run_rollout(tiny, reward)


def test_fault_6_divergence_clamped_at_zero(tiny, reward, monkeypatch):
    def clamped(log_p, log_p_ref, m, S, beta):
        return shaped_reward(log_p_ref + kl_k1(log_p, log_p_ref).clamp(min=0), log_p_ref, m, S, beta)

    monkeypatch.setattr(ppo, "shaped_reward", clamped)
    noticed(check_rewards, run_rollout(tiny, reward))


def test_fault_6_the_score_on_the_last_slot_of_the_padding(tiny, reward, monkeypatch):
    def padded(log_p, log_p_ref, m, S, beta):
        r = shaped_reward(log_p, log_p_ref, m, 0 * S, beta)
        r[:, -1] += S
        return r

    monkeypatch.setattr(ppo, "shaped_reward", padded)
    noticed(check_rewards, run_rollout(tiny, reward))


def test_fault_6_statistics_over_padding(tiny, reward, monkeypatch):
    monkeypatch.setattr(ppo, "whiten", lambda x, m: whiten(x, torch.ones_like(m)) * m)
    noticed(check_whitening, run_rollout(tiny, reward))


def test_fault_6_advantages_that_reach_into_the_padding(tiny, reward, monkeypatch):
    monkeypatch.setattr(ppo, "gae", lambda r, V, m, *a: gae(r, V + 1 - m, torch.ones_like(m), *a))
    noticed(check_advantages, run_rollout(tiny, reward))


def test_fault_7_the_mask_read_off_the_log_probabilities(tiny, reward, monkeypatch):
    def certain_is_padding(*args, **how):
        out = decode(*args, **how)
        return Decoded(out.ids, (out.log_p != 0).float(), out.log_p, out.ended)

    monkeypatch.setattr(ppo, "decode", certain_is_padding)
    noticed(check_mask, run_rollout(tiny, reward, tau=0.15))


def test_fault_7_sampled_at_one_temperature_and_scored_at_another(tiny, reward, monkeypatch):
    monkeypatch.setattr(ppo, "log_prob", lambda z, ids, tau: log_prob(z, ids, 1.0))
    run = run_rollout(tiny, reward, tau=0.7)
    noticed(check_ratio, run)
    noticed(check_log_probs, run)


def test_fault_8_divergence_clamped_at_ten(tiny, reward, monkeypatch):
    def clamped(log_p, log_p_ref, m, S, beta):
        return shaped_reward(log_p_ref + kl_k1(log_p, log_p_ref).clamp(-10, 10), log_p_ref, m, S, beta)

    monkeypatch.setattr(ppo, "shaped_reward", clamped)
    noticed(check_rewards, run_rollout(tiny, reward, longest=11, by=0.3))
