"""The one face of every model: tokens, prefixes, logits and captions are those of the model behind it."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from mmbook.equations import log_prob
from mmbook.models import VLM, Prefix, decode
from mmbook.models.build import MAX_WORDS
from mmbook.models.vlm import padding
from mmbook.training.pretrain import pixels
from mmbook.world import (
    KINDS,
    STYLES,
    Statement,
    careless_captions,
    describe,
    normalise,
    render,
    sample_scenes,
    say,
)

N = 16


@pytest.fixture(scope="module")
def scenes():
    return sample_scenes(N, 41)


@pytest.fixture(scope="module")
def prefix(tiny: VLM, scenes) -> Prefix:
    return tiny.prefix(scenes)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_caption_goes_through_the_tokenizer_unchanged(tiny: VLM) -> None:
    scenes = sample_scenes(600, 1)
    captions = [say(describe(scene, style)) for scene in scenes for style in STYLES]
    captions += careless_captions(scenes, 2)
    captions += [say(Statement("plain", (kind,))) for kind in KINDS]
    ids, mask = tiny.tokens(captions)
    assert not (ids[mask.bool()] == tiny.tokenizer.unk_token_id).any()
    assert tiny.text(ids, mask) == captions
    assert [int(row.sum()) for row in mask] == [len(normalise(c).split()) + 1 for c in captions]
    assert (ids.gather(1, mask.sum(1, keepdim=True).long() - 1) == tiny.tokenizer.eos_token_id).all()
    assert (ids[~mask.bool()] == tiny.tokenizer.pad_token_id).all()


def test_the_longest_caption_fits(tiny: VLM) -> None:
    longest = [
        Statement(
            style,
            KINDS[:4],
            (True,) * 4 if style == "detailed" else (),
            (0, 1, 2, 3) if style == "detailed" else (),
            ("left of",) * 3 if style == "relation" else (),
        )
        for style in STYLES
    ]
    ids, _ = tiny.tokens([say(statement) for statement in longest])
    assert ids.shape[1] <= MAX_WORDS == tiny.max_words


def test_a_word_outside_the_language_is_unknown(tiny: VLM) -> None:
    ids, _ = tiny.tokens(["a dragon."])
    assert ids[0].tolist().count(tiny.tokenizer.unk_token_id) == 1


def test_the_recipe_and_the_processor_see_the_same_pixels(tiny: VLM, scenes) -> None:
    inputs = tiny.processor(images=list(render(scenes)), text=[tiny.prompt] * N, return_tensors="pt")
    torch.testing.assert_close(inputs["pixel_values"], pixels(scenes), rtol=0, atol=1e-6)
    assert pixels(scenes).min() >= -1 and pixels(scenes).max() <= 1


@pytest.mark.parametrize("style", STYLES)
def test_logits_are_those_of_the_whole_model(tiny: VLM, scenes, prefix: Prefix, style: str) -> None:
    for i in range(4):
        caption = say(describe(scenes[i], style))
        inputs = tiny.processor(
            images=list(render([scenes[i]])), text=[f"{tiny.prompt} {caption}"], return_tensors="pt"
        )
        ids, _ = tiny.tokens([caption])
        assert inputs["input_ids"][0, -ids.shape[1] + 1 :].tolist() == ids[0, :-1].tolist()
        whole = tiny.module(**inputs).logits[0, -ids.shape[1] :]
        ours = tiny.logits(tiny.states(prefix[i : i + 1], ids[:, :-1]))[0]
        torch.testing.assert_close(ours, whole, rtol=0, atol=1e-5)


def test_the_picture_changes_the_logits(tiny: VLM, scenes, prefix: Prefix) -> None:
    ids, _ = tiny.tokens(["a cat."] * N)
    z = tiny.logits(tiny.states(prefix, ids))
    assert (z[:-1] - z[1:]).abs().amax((1, 2)).min() > 0.1
    assert prefix.picture.sum(1).tolist() == [16] * N
    apart = prefix.embeds[:-1] != prefix.embeds[1:]
    assert torch.equal(apart.any(-1), prefix.picture[:-1])  # pictures differ, the prompt does not


def hidden(prefix: Prefix, left: list[int]) -> Prefix:
    """Prefixes of different lengths: of row i the first `left[i]` places are rubbish that the mask hides."""
    embeds, mask, picture = (x.clone() for x in (prefix.embeds, prefix.mask, prefix.picture))
    for i, n in enumerate(left):
        embeds[i, :n] = torch.randn(n, embeds.shape[-1], generator=seeded(i)) * 3
        mask[i, :n], picture[i, :n] = 0, False
    return Prefix(embeds, mask, picture)


def alone(prefix: Prefix, i: int) -> Prefix:
    """Row i without its padding."""
    there = prefix.mask[i].bool()
    return Prefix(
        prefix.embeds[i : i + 1, there], prefix.mask[i : i + 1, there], prefix.picture[i : i + 1, there]
    )


def test_padding_on_the_left_changes_nothing(tiny: VLM, scenes, prefix: Prefix) -> None:
    ids, mask = tiny.tokens([say(describe(scene, "detailed")) for scene in scenes])
    wide = hidden(prefix, [i % 5 for i in range(N)])
    together = tiny.logits(tiny.states(wide, ids))
    greedy = decode(tiny, wide, seeded(0), greedy=True)
    for i in range(N):
        kept = int(mask[i].sum())
        by_itself = tiny.logits(tiny.states(alone(wide, i), ids[i : i + 1]))[0, :kept]
        torch.testing.assert_close(together[i, :kept], by_itself, rtol=0, atol=1e-5)
        out = decode(tiny, alone(wide, i), seeded(0), greedy=True)
        length = out.ids.shape[1]
        assert greedy.ids[i, :length].tolist() == out.ids[0].tolist() and greedy.mask[i].sum() == length
        torch.testing.assert_close(greedy.log_p[i, :length], out.log_p[0], rtol=0, atol=1e-5)
    # Control: with the mask forgotten the rubbish is read.
    unmasked = Prefix(wide.embeds, torch.ones_like(wide.mask), wide.picture)
    assert (tiny.logits(tiny.states(unmasked, ids)) - together)[1].abs().max() > 1e-2


def test_positions_count_what_is_there() -> None:
    mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    extra = padding(mask, 2)
    assert extra["position_ids"].tolist() == [[0, 0, 0, 1, 2, 3], [0, 1, 2, 3, 4, 5]]
    assert extra["attention_mask"].tolist() == [[0, 0, 1, 1, 1, 1], [1] * 6]
    assert padding(mask[1:], 2) == {}


def test_prefixes_are_sliced_and_repeated_together(prefix: Prefix) -> None:
    twice = prefix[2:5].repeat(2)
    assert len(twice) == 6
    for name in ("embeds", "mask", "picture"):
        assert torch.equal(getattr(twice, name)[1::2], getattr(prefix, name)[2:5])
        assert torch.equal(getattr(twice, name)[::2], getattr(prefix, name)[2:5])


@pytest.mark.parametrize("tau", [1.0, 0.7])
@pytest.mark.parametrize("left", [0, 4])
def test_the_sampler_reports_the_log_probabilities_that_scoring_finds(
    tiny: VLM, prefix: Prefix, tau: float, left: int
) -> None:
    many = prefix.repeat(4)
    if left:
        many = hidden(many, [i % left for i in range(len(many))])
    out = decode(tiny, many, seeded(3), tau)
    assert out.ended.all() and len(set(out.mask.sum(1).tolist())) > 5  # rows leave the batch on the way
    scored = log_prob(tiny.logits(tiny.states(many, out.ids)[:, :-1]), out.ids, tau) * out.mask
    torch.testing.assert_close(out.log_p, scored, rtol=0, atol=1e-5)
    other = log_prob(tiny.logits(tiny.states(many, out.ids)[:, :-1]), out.ids, tau + 0.3) * out.mask
    assert (out.log_p - other).abs().max() > 0.01


def test_greedy_captions_are_those_of_generate(tiny: VLM, scenes, prefix: Prefix) -> None:
    out = decode(tiny, prefix, seeded(0), greedy=True)
    inputs = tiny.processor(images=list(render(scenes)), text=[tiny.prompt] * N, return_tensors="pt")
    theirs = tiny.module.generate(**inputs, do_sample=False, max_new_tokens=tiny.max_words)
    theirs = theirs[:, inputs["input_ids"].shape[1] :]
    assert torch.equal(theirs, out.ids)
    assert tiny.sample(scenes, greedy=True) == tiny.text(out.ids, out.mask)


@pytest.mark.parametrize("tau", [1.0, 0.6])
def test_words_are_drawn_from_the_whole_distribution(tiny: VLM, prefix: Prefix, tau: float) -> None:
    """Two words of one picture, many times, against the exact joint distribution (chi-square)."""
    short = VLM(tiny.module, tiny.processor, tiny.prompt, max_words=2)
    times, one = 1500, prefix[:1]
    vocabulary = len(tiny.tokenizer)
    first = (tiny.logits(one_state(tiny, one)).double() / tau).softmax(-1)[0]
    states = tiny.states(one.repeat(vocabulary), torch.arange(vocabulary)[:, None])
    second = (tiny.logits(states[:, -1]).double() / tau).softmax(-1)
    joint = (first[:, None] * second).flatten()
    out = decode(short, one.repeat(times), seeded(5), tau)
    counts = torch.bincount(out.ids[:, 0] * vocabulary + out.ids[:, 1], minlength=vocabulary**2).double()
    common = joint * times >= 5
    observed = torch.cat([counts[common], counts[~common].sum()[None]])
    expected = torch.cat([joint[common], joint[~common].sum()[None]]) * times
    assert common.sum() >= 5
    assert chisquare(observed.numpy(), expected.numpy()).pvalue > 1e-3
    wrong = joint.sqrt() / joint.sqrt().sum()  # control: another temperature is noticed
    expected = torch.cat([wrong[common], wrong[~common].sum()[None]]) * times
    assert chisquare(observed.numpy(), expected.numpy()).pvalue < 1e-6


def one_state(model: VLM, prefix: Prefix) -> torch.Tensor:
    return model.states(prefix, torch.zeros(1, 0, dtype=torch.long))[:, -1]


def test_mask_and_ended_say_where_captions_end(tiny: VLM, prefix: Prefix) -> None:
    out = decode(tiny, prefix.repeat(3), seeded(7))
    end, pad = tiny.tokenizer.eos_token_id, tiny.tokenizer.pad_token_id
    assert out.ended.all() and out.ids.shape == out.mask.shape == out.log_p.shape
    for ids, mask, log_p in zip(out.ids, out.mask, out.log_p, strict=True):
        length = int(mask.sum())
        assert mask.tolist() == [1.0] * length + [0.0] * (len(mask) - length)
        assert ids[length - 1] == end and end not in ids[: length - 1]
        assert (ids[length:] == pad).all() and (log_p[length:] == 0).all() and (log_p[:length] < 0).all()
    assert int(out.mask.sum(1).max()) == out.ids.shape[1]


def test_a_caption_that_is_cut_off_has_not_ended(tiny: VLM, prefix: Prefix) -> None:
    short = VLM(tiny.module, tiny.processor, tiny.prompt, max_words=3)
    out, whole = (decode(model, prefix.repeat(4), seeded(9)) for model in (short, tiny))
    assert out.ids.shape[1] == 3 and not out.ended.all() and whole.ended.all()
    for ids, mask, ended in zip(out.ids, out.mask, out.ended, strict=True):
        assert bool(ended) == (tiny.tokenizer.eos_token_id in ids)
        assert ended or mask.all()
    assert torch.equal(out.ids[~out.ended], whole.ids[~out.ended, :3])


def test_sampling_is_scene_major_and_repeatable(tiny: VLM, scenes) -> None:
    captions = tiny.sample(scenes[:3], greedy=True, samples=2)
    assert captions[0] == captions[1] and captions[::2] == tiny.sample(scenes[:3], greedy=True)
    assert tiny.sample(scenes, seed=1) == tiny.sample(scenes, seed=1) == tiny.sample(list(scenes), seed=1)
    assert tiny.sample(scenes, seed=1) != tiny.sample(scenes, seed=2)
    assert tiny.sample(scenes, seed=seeded(1)) == tiny.sample(scenes, seed=1)
    assert tiny.sample(render(scenes), seed=1) == tiny.sample(scenes, seed=1)
    assert tiny.sample(scenes[:0]) == []
    cold = tiny.sample(scenes, temperature=1e-4)
    assert cold == tiny.sample(scenes, greedy=True)
    for tau in (0.0, -1.0):
        with pytest.raises(ValueError, match="temperature: expected a positive number"):
            tiny.sample(scenes, temperature=tau)


def test_many_scenes_are_captioned_in_parts(tiny: VLM) -> None:
    scenes = sample_scenes(300, 3)
    captions = tiny.sample(scenes, greedy=True)
    assert len(captions) == 300
    assert captions[250:] == tiny.sample(scenes[250:], greedy=True)
