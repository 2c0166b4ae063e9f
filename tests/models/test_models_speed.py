"""Decoding: what its switches leave as it is, and captions that depend on no other row."""

import pytest
import torch

from mmbook.models import VLM, Speed, decode
from mmbook.models.decoding import pick
from mmbook.models.speed import recomputed
from mmbook.world import sample_scenes


def uniform(rows: int, model: VLM, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, model.max_words, generator=torch.Generator().manual_seed(seed))


def test_a_uniform_number_picks_the_token_whose_share_it_falls_into() -> None:
    p = torch.tensor([0.0, 0.2, 0.5, 0.0, 0.3, 0.0])
    u = torch.linspace(0, 1, 10_001)[:-1]
    tokens = pick((p.log() * 0.7).expand(len(u), -1), 0.7, u)
    assert (tokens.bincount(minlength=6) / len(u) - p).abs().max() < 1e-3
    assert tokens.diff().ge(0).all() and set(tokens.tolist()) == {1, 2, 4}  # never one that is ruled out
    assert pick(p.log()[None], 1.0, torch.tensor([1 - 2**-24])) == 4


@pytest.mark.parametrize("tau", [0.7, 1.0])
def test_a_caption_depends_on_no_other_row(tiny: VLM, tau: float) -> None:
    prefix, u = tiny.prefix(sample_scenes(40, 1)), uniform(40, tiny)
    whole = decode(tiny, prefix, u, tau).padded(tiny.max_words)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    for rows in (order, order[:7], order[7:8]):
        alone = decode(tiny, prefix[rows], u[rows], tau).padded(tiny.max_words)
        assert torch.equal(alone.ids * alone.mask.long(), (whole.ids * whole.mask.long())[rows])
        assert torch.equal(alone.mask, whole.mask[rows])
        torch.testing.assert_close(alone.log_p, whole.log_p[rows], rtol=0, atol=1e-4)


@pytest.mark.parametrize("speed", [Speed.plain(drop=True), Speed.plain(share_prefix=True), Speed.fast()])
def test_switches_of_decoding_change_nothing(tiny: VLM, speed: Speed) -> None:
    prefix, u = tiny.prefix(sample_scenes(12, 1)), uniform(48, tiny)
    plain = decode(tiny, prefix, u, speed=Speed.plain(), group=4)
    quick = decode(tiny, prefix, u, speed=speed, group=4)
    for name in ("ids", "mask", "ended"):
        assert torch.equal(getattr(quick, name), getattr(plain, name))
    torch.testing.assert_close(quick.log_p, plain.log_p, rtol=0, atol=1e-5)
    one = decode(tiny, prefix[3:4].repeat(4), u[12:16], speed=Speed.plain()).padded(plain.ids.shape[1])
    assert torch.equal(one.mask, plain.mask[12:16])


def test_the_uniform_table_draws_from_the_whole_distribution(tiny: VLM) -> None:
    prefix = tiny.prefix(sample_scenes(1, 5)).repeat(4000)
    said = decode(tiny, prefix, uniform(4000, tiny, 9)).ids[:, 0].bincount(minlength=len(tiny.tokenizer))
    state = tiny.states(prefix[:1], torch.zeros(1, 0, dtype=torch.long))[:, -1]
    p = tiny.logits(state)[0].softmax(-1)
    assert ((said / 4000 - p).abs() < 4 * (p * (1 - p) / 4000).sqrt() + 1e-3).all()


def test_recomputed_layers_keep_less_and_give_the_same_gradient(tiny: VLM) -> None:
    policy = tiny.adapted(4, 0)
    prefix, (ids, _) = tiny.prefix(sample_scenes(8, 1)), tiny.tokens(["a cat and a bus"] * 8)
    kept, found = [], []
    flags = [part.training for part in policy.model.module.modules()]
    for on in (False, True):
        count = []
        with (
            torch.autograd.graph.saved_tensors_hooks(lambda x, n=count: n.append(x.nbytes) or x, lambda x: x),
            recomputed(policy.model.module, on),
        ):
            states = policy.model.states(prefix, ids)
        kept.append(sum(count))
        found.append(torch.autograd.grad(states.square().sum(), policy.parameters()))
    assert kept[1] < 0.35 * kept[0]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert [part.training for part in policy.model.module.modules()] == flags
    u = uniform(8, tiny)  # and decoding still fills its cache
    assert torch.equal(decode(policy.model, prefix, u).ids, decode(tiny, prefix, u).ids)


def test_speed_says_what_it_expects() -> None:
    with pytest.raises(ValueError, match="dtype: expected one of float32, bfloat16, float16, got 'int8'"):
        Speed(dtype="int8")
    with pytest.raises(ValueError, match="chunk: expected a number of tokens, 0 for all, got -1"):
        Speed(chunk=-1)
    on = {name for name, value in vars(Speed.plain()).items() if value}
    assert on == set()
    assert Speed.fast("cuda").graph and Speed.fast("cuda", graph=False).graph is False
