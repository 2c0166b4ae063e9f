"""Decoding with fixed shapes says what plain decoding says, and its step can be captured in a CUDA graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_classes import CLASSES, SIZES, unseen
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmbook.equations import log_prob
from mmbook.models import VLM, Prefix, decode, static
from mmbook.models.decoding import Decoded, pick
from mmbook.models.speed import Speed
from mmbook.models.static import decode_static
from mmbook.world import render, sample_scenes

SCENES = sample_scenes(8, 61)
PICTURES = [
    np.ascontiguousarray(picture[:height, :width])
    for picture, (width, height) in zip(render(SCENES[:4], 48), SIZES, strict=True)
]


@pytest.fixture(scope="module", params=["tiny", *CLASSES])
def model(request: pytest.FixtureRequest, tiny: VLM, tmp_path_factory: pytest.TempPathFactory) -> VLM:
    if request.param == "tiny":
        model = tiny.copy()
        model.max_words = 18
        return model
    return unseen(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def prefix(model: VLM) -> Prefix:
    """Padded on the left, where the class gives pictures of other sizes other numbers of parts."""
    return model.prefix(PICTURES if model.max_words == 14 else SCENES[:4])


def uniform(rows: int, model: VLM, seed: int = 0) -> Tensor:
    return torch.rand(rows, model.max_words, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def oracle(model: VLM, prefix: Prefix, u: Tensor, tau: float = 1.0) -> Decoded:
    """Every token from a whole forward pass over all that was said: no cache, all rows to the end."""
    ids = torch.zeros(len(prefix), 0, dtype=torch.long)
    mask, log_p, alive = torch.zeros(len(prefix), 0), torch.zeros(len(prefix), 0), torch.ones(len(prefix))
    while ids.shape[1] < model.max_words and alive.any():
        z = model.logits(model.states(prefix, ids)[:, -1])
        action = pick(z, tau, u[:, ids.shape[1]])
        log_p = torch.cat([log_p, log_prob(z[:, None], action[:, None], tau) * alive[:, None]], 1)
        mask = torch.cat([mask, alive[:, None]], 1)
        said = torch.where(alive.bool(), action, model.tokenizer.pad_token_id)
        ids, alive = torch.cat([ids, said[:, None]], 1), alive * (action != model.tokenizer.eos_token_id)
    return Decoded(ids, mask, log_p, ~alive.bool())


def assert_same(a: Decoded, b: Decoded) -> None:
    for name in ("ids", "mask", "ended"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    torch.testing.assert_close(a.log_p, b.log_p, rtol=1e-5, atol=1e-5)  # CPUs round apart


def test_it_says_what_whole_forward_passes_and_plain_decoding_say(model: VLM, prefix: Prefix) -> None:
    many, u, tau = prefix.repeat(4), uniform(16, model), 0.8
    ours = decode_static(model, many, u, tau)
    assert_same(ours, oracle(model, many, u, tau))
    assert_same(ours, decode(model, many, u, tau, speed=Speed.plain()))
    assert_same(decode_static(model, prefix, u, tau, group=4), ours)
    assert_same(decode(model, prefix, u, tau, speed=Speed.plain(graph=True, trim=True), group=4), ours)
    whole = decode(model, prefix, u, tau, speed=Speed.plain(graph=True), group=4)  # one shape, never cut
    assert whole.mask.shape == u.shape and torch.equal(whole.mask, ours.padded(model.max_words).mask)
    assert len(set(map(tuple, ours.ids.tolist()))) > 4 and len(set(ours.mask.sum(1).tolist())) > 1
    other = decode_static(model, many, uniform(16, model, 1), tau)
    assert not torch.equal(other.ids[:, :3], ours.ids[:, :3])


def test_a_shorter_prefix_in_the_same_memory_sees_nothing_of_the_last_one(model: VLM, prefix: Prefix) -> None:
    u = uniform(4, model)
    alone = decode(model, prefix, u, speed=Speed.plain())
    short = prefix[[1, 2]]
    real = short.mask.bool().any(0)
    short = Prefix(
        *(
            x if not isinstance(x, torch.Tensor) else x[..., real] if i == 3 else x[:, real]
            for i, x in enumerate(vars(short).values())
        )
    )
    cut = decode(model, short, u[:2], speed=Speed.plain())
    model.__dict__.pop("_steps", None)
    for _ in range(2):
        assert_same(decode_static(model, prefix, u), alone)
        assert_same(decode_static(model, short, u[:2]), cut)
    kept = model.__dict__["_steps"][1]
    assert len(kept) == 2  # batches of 4 and of 2, made once
    steps = list(kept.values())
    decode_static(model, prefix, u)
    assert {id(x) for x in model.__dict__["_steps"][1].values()} == {id(x) for x in steps}


def test_greedy_is_that_of_sample(model: VLM) -> None:
    out = decode_static(model, model.prefix(SCENES), torch.Generator(), greedy=True)
    assert model.text(out.ids, out.mask) == model.sample(SCENES, greedy=True)


def test_a_generator_gives_the_table_of_uniform_numbers(model: VLM, prefix: Prefix) -> None:
    ours = decode_static(model, prefix, torch.Generator().manual_seed(3), group=2)
    assert_same(ours, decode_static(model, prefix, uniform(8, model, 3), group=2))


@pytest.fixture()
def ends(tiny: VLM) -> Iterator[Callable[[int], None]]:
    """Makes the tiny model end all captions at a token, by a bias that the logits get."""
    model, seen = tiny, []

    def at(token: int) -> None:
        def logits(states: Tensor) -> Tensor:
            z = VLM.logits(model, states).clone()
            seen.append(len(z))
            z[..., model.tokenizer.eos_token_id] = 1e4 if len(seen) > token else -1e4
            return z

        seen.clear()
        model.logits = logits  # type: ignore[method-assign]
        at.calls = seen  # type: ignore[attr-defined]

    yield at
    del model.logits


@pytest.mark.parametrize("last", [0, 5, 15, 16, 33])
def test_it_stops_soon_after_all_have_ended(tiny: VLM, ends: Any, last: int) -> None:
    ends(last)
    out = decode_static(tiny, tiny.prefix(SCENES), uniform(8, tiny))
    assert out.ids.shape == (8, last + 1) and out.ended.all() and out.mask.all()
    assert (out.ids == tiny.tokenizer.eos_token_id).sum() == 8
    assert len(ends.calls) == min(34, 16 * (last // 16 + 1))  # and asked only so often whether it may
    ends(34)
    out = decode_static(tiny, tiny.prefix(SCENES), uniform(8, tiny))
    assert out.ids.shape == (8, 34) and not out.ended.any()


@torch.no_grad()
def moved(model: VLM, seed: int = 1) -> Any:
    policy = model.adapted(4, 0)
    draw = torch.Generator().manual_seed(seed)
    for name, weight in policy.model.module.named_parameters():
        if "lora_B" in name:
            weight.copy_(0.05 * torch.randn(weight.shape, generator=draw))
    return policy


def test_adapters_weights_that_learn_and_weights_that_move(model: VLM, prefix: Prefix) -> None:
    policy, u, plain = moved(model), uniform(16, model), Speed.plain()
    on = decode_static(policy.model, prefix, u, group=4)
    with policy.reference() as reference:
        off = decode_static(reference, prefix, u, group=4)
        assert_same(off, decode(reference, prefix, u, speed=plain, group=4))
        assert_same(off, decode_static(model, prefix, u, group=4))
    assert_same(on, decode(policy.model, prefix, u, speed=plain, group=4))
    assert not torch.equal(on.padded(34).ids, off.padded(34).ids)
    where, kept = vars(policy.model)["_steps"]
    assert len(kept) == 2  # neither may use the other's graph
    for p in policy.parameters()[::2]:  # a step in place: the same memory, hence the same graph
        p.data.mul_(-1)
    other = decode_static(policy.model, prefix, u, group=4)
    assert_same(other, decode(policy.model, prefix, u, speed=plain, group=4))
    assert not torch.equal(other.padded(34).ids, on.padded(34).ids)
    assert vars(policy.model)["_steps"][0] == where and set(vars(policy.model)["_steps"][1]) == set(kept)
    tuned = policy.merged()  # weights of its own, elsewhere
    assert_same(decode_static(tuned, prefix, u, group=4), decode(tuned, prefix, u, speed=plain, group=4))
    assert vars(tuned)["_steps"][0] != where and len(vars(tuned)["_steps"][1]) == 1


def test_a_model_keeps_few_graphs(tiny: VLM) -> None:
    model = tiny.copy()
    model.max_words = 3
    prefix = model.prefix(SCENES)
    for n in range(1, 7):
        decode_static(model, prefix[:n], uniform(n, model))
    assert [key[0] for key in vars(model)["_steps"][1]] == [3, 4, 5, 6]


def test_half_precision_draws_from_logits_in_float32(tiny: VLM) -> None:
    model = VLM(copy.deepcopy(tiny.module).bfloat16(), tiny.processor, tiny.prompt)
    prefix, u = model.prefix(SCENES), uniform(8, model)
    out = decode_static(model, prefix, u)
    assert out.log_p.dtype == torch.float32
    scored = log_prob(model.logits(model.states(prefix, out.ids)[:, :-1]), out.ids) * out.mask
    assert (out.log_p - scored).abs().mean() < 0.02
    assert out.log_p[out.mask.bool()].unique().numel() > 50


def test_a_window_is_refused(tiny: VLM) -> None:
    model = tiny.copy()
    prefix = model.prefix(SCENES)
    model.decoder.config.sliding_window = 40
    with pytest.raises(
        NotImplementedError, match=r"LlamaModel: expected .* got a window of 40; switch speed"
    ):
        decode_static(model, prefix, uniform(8, model))


class Watch(TorchDispatchMode):
    """Notes every operation and the shapes it works on; refuses what a CUDA graph cannot hold.

    Tensors are on the device "meta", where they have no values; what is made on the host is still on "cpu".
    """

    ASKS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique2", "bincount")

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().removeprefix("aten::")
        assert name.split(".")[0] not in self.ASKS, f"{name} asks for a value"
        masks = [x for x in tree_leaves(args[1:]) if isinstance(x, Tensor) and x.dtype == torch.bool]
        assert not (masks and name.startswith("index")), f"{name} has as many rows as are true"
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        out = func(*args, **(kwargs or {}))
        tensors = [*inputs, *(x for x in tree_leaves(out) if isinstance(x, Tensor))]
        assert {x.device.type for x in tensors} <= {"meta"}, f"{name} copies from the host"
        self.seen.append((name, *(tuple(x.shape) for x in tensors)))
        return out


def on_meta(model: VLM, prefix: Prefix) -> tuple[VLM, static.Steps]:
    """A copy of a model, and its steps, that have shapes and no values."""
    decode_static(model, prefix, uniform(len(prefix), model))
    steps = copy.deepcopy(list(vars(model)["_steps"][1].values())[-1])
    vars(steps).update({name: x.to("meta") for name, x in vars(steps).items() if isinstance(x, Tensor)})
    steps.slots.layers = [tuple(x.to("meta") for x in layer) for layer in steps.slots.layers]
    model = model.copy()
    model.module.to("meta")
    return model, steps


@pytest.mark.parametrize("adapted", [False, True])
@torch.no_grad()
def test_a_step_can_be_captured(model: VLM, prefix: Prefix, adapted: bool) -> None:
    """Its operations are the same each time, on tensors in the same places, and ask nothing of the host."""
    copied, steps = on_meta(moved(model).model if adapted else model, prefix)
    before, seen = {name: id(x) for name, x in vars(steps).items()}, []
    for _ in range(3):
        with Watch() as watch:
            steps.step(copied, 0.8, False)
        seen.append(watch.seen)
    assert seen[0] == seen[1] == seen[2] and len(seen[0]) > 60
    assert {name: id(x) for name, x in vars(steps).items()} == before
    assert any("lora" in name for name, _ in copied.module.named_modules()) == adapted


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (lambda x: x.sum().item(), "asks for a value"),
        (lambda x: bool((x > 0).all()), "asks for a value"),
        (lambda x: x[x > 0], "as many rows as are true"),
        (lambda x: x * torch.tensor(2.0).to(x.device), "copies from the host"),
        (lambda x: x + torch.tensor(1.0), "copies from the host"),
    ],
)
def test_what_cannot_be_captured_is_noticed(task: Any, says: str) -> None:
    x = torch.ones(3, device="meta")
    with pytest.raises(AssertionError, match=says), Watch():
        task(x)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_graph_says_what_its_step_says(tiny: VLM, dtype: str) -> None:
    model = VLM(copy.deepcopy(tiny.module).to("cuda", getattr(torch, dtype)), tiny.processor, tiny.prompt)
    prefix, u = model.prefix(SCENES), uniform(32, model).cuda()
    captured = [decode_static(model, prefix, u, group=4) for _ in range(2)]
    (steps,) = vars(model)["_steps"][1].values()
    assert steps.graph is not None
    steps.graph = None
    for out in captured:
        assert_same(out, decode_static(model, prefix, u, group=4))
