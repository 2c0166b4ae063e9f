"""Pictures as codes, and the painter: round trips, the face of a captioner, and what feedback needs of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmbook import collect_human_feedback, fine_tune_with_rl, train_reward_model
from mmbook.equations import log_prob
from mmbook.models import decode
from mmbook.models.painter import ASKED, Painter, asks, build_tokenizer, load_painter
from mmbook.models.vq import CODES, LENGTH, SceneVQ, from_quarters, to_quarters
from mmbook.rlhf import KnownReward
from mmbook.training import Schedule
from mmbook.training.paint import train_codes, train_painter
from mmbook.world import KINDS, Scene, Sticker, render, sample_scenes

SCENES = sample_scenes(6, 0)


@pytest.fixture(scope="module")
def painter():
    return Painter.new(0)


def test_quarters_are_cut_and_put_together_again():
    pictures = render(SCENES)
    x = to_quarters(pictures)
    assert x.shape == (24, 3, 24, 24)
    assert np.array_equal(from_quarters(x), pictures)
    corner = torch.from_numpy(pictures[1, 24:, :24]).permute(2, 0, 1).float().div(127.5).sub(1)
    with pytest.raises(ValueError, match=r"expected shape \(N, 48, 48, 3\), got \(48, 48, 3\)"):
        to_quarters(pictures[0])
    assert torch.equal(x[6], corner)  # the third quarter of the second picture: bottom left


def test_a_codes_quarter_depends_on_its_own_nine_codes_only():
    vq, codes = SceneVQ(0), torch.arange(LENGTH)[None]
    other = codes.clone()
    other[0, 9:18] += 100
    a, b = vq.decode(codes)[0], vq.decode(other)[0]
    assert np.array_equal(a[:, :24], b[:, :24]) and np.array_equal(a[24:], b[24:])
    assert not np.array_equal(a[:24, 24:], b[:24, 24:])


def test_a_little_training_draws_better_than_none():
    fresh, vq = SceneVQ(0), SceneVQ(0)
    train_codes(vq, 0, Schedule(40, 3e-3, 10, 0.0), progress=False)
    pictures = render(sample_scenes(40, 5, "noto"))

    def error(x):
        return float(np.square(x.rebuilt(pictures).astype(float) - pictures).mean())

    assert error(vq) < 0.5 * error(fresh)


def test_training_of_codes_goes_on_where_it_stopped(tmp_path):
    schedule = Schedule(4, 3e-3, 1, 0.0)
    whole, parts = SceneVQ(0), SceneVQ(0)
    losses = train_codes(whole, 0, schedule, progress=False)
    train_codes(parts, 0, schedule, tmp_path, progress=False)
    again = SceneVQ(0)
    assert train_codes(again, 0, schedule, tmp_path, progress=False) == losses
    assert torch.equal(again.codebook, whole.codebook)


def test_the_vocabulary_holds_every_plain_caption_and_every_code():
    vocabulary = build_tokenizer().get_vocab()
    assert {f"p{k}" for k in range(CODES)} | set(KINDS) <= vocabulary.keys()
    unknown = build_tokenizer()([asks(s) for s in sample_scenes(200, 1)], add_special_tokens=False)[
        "input_ids"
    ]
    assert vocabulary["<unk>"] not in {i for row in unknown for i in row}
    assert max(map(len, unknown)) <= ASKED


def test_codes_become_words_and_come_back(painter):
    words = painter.words(render(SCENES))
    ids, mask = painter.tokens(words)
    assert ids.shape == (6, LENGTH + 1) and mask.all()
    assert painter.text(ids, mask) == words
    codes = torch.tensor([[int(w[1:]) for w in row.split()] for row in words])
    assert np.array_equal(painter.pictures(words), painter.vq.decode(codes))


def test_what_is_no_code_stays_background(painter):
    blank = painter.pictures([""])
    assert np.array_equal(painter.pictures(["cat p3"])[0, :, 24:], blank[0, :, 24:])
    assert np.array_equal(painter.pictures([f"p{CODES}"]), blank)


def test_it_sees_the_caption_and_nothing_else_of_the_scene(painter):
    big, small = (Scene((Sticker("cat", q, q == 0),)) for q in (0, 3))
    dog = Scene((Sticker("dog", 0, True),))
    a, b, c = (painter.prefix([s]).embeds for s in (big, small, dog))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(a, painter.prefix(["a cat."]).embeds)
    with pytest.raises(ValueError, match=r"expected a list of captions or scenes, got the text 'a cat\.'"):
        painter.prefix("a cat.")
    with pytest.raises(ValueError, match="at most 10 words, got 14"):
        painter.prefix(["a cat, a cat, a cat, a cat and a."])
    with pytest.raises(ValueError, match="a unicorn"):
        painter.prefix(["a cat.", "a unicorn."])


def test_the_samplers_log_probabilities_are_the_models(painter):
    prefix = painter.prefix(SCENES)
    out = decode(painter, prefix, torch.Generator().manual_seed(0), tau=0.9)
    with torch.no_grad():
        z = painter.logits(painter.states(prefix, out.ids)[:, :-1])
    assert torch.allclose(out.log_p, log_prob(z, out.ids, 0.9) * out.mask, atol=1e-4)


def test_it_is_saved_and_comes_back(painter, tmp_path):
    painter.save(tmp_path / "painter.safetensors")
    again = load_painter(tmp_path / "painter.safetensors")
    assert again.hash == painter.hash and torch.equal(again.vq.codebook, painter.vq.codebook)
    with pytest.raises(FileNotFoundError, match=r"expected what Painter\.save wrote"):
        load_painter(tmp_path / "nothing")


def test_a_few_steps_of_training_lower_the_loss():
    painter = Painter.new(1)
    losses = train_painter(painter, 0, Schedule(8, 3e-3, 2), progress=False)
    assert np.mean(losses[-2:]) < 0.8 * np.mean(losses[:2])
    assert not any(p.requires_grad for p in painter.module.parameters())


@pytest.mark.filterwarnings("ignore:these labels carry no measurable preference")
def test_the_four_lines_run_on_codes_and_leave_the_painter_as_it_was(painter):
    def likes_variety(scene, answers):
        return int(len(set(answers[1].split())) > len(set(answers[0].split())))

    before = painter.hash
    feedback = collect_human_feedback(painter, pairs=12, annotator=likes_variety)
    reward_model = train_reward_model(feedback, minimum=2, folds=2)
    tuned = fine_tune_with_rl(painter, reward_model, updates=2, batch=8, progress=False)
    assert isinstance(tuned, Painter) and tuned.hash != before == painter.hash
    assert not reward_model.looks and len(tuned.history) == 2
    assert tuned.pictures(tuned.sample(SCENES)).shape == (6, 48, 48, 3)


@pytest.mark.parametrize("rank", [0, 4])
def test_a_painter_that_learns_is_still_a_painter(painter, rank):
    policy = painter.adapted(rank, 0)
    assert type(policy.model) is type(painter)
    with policy.reference() as reference:
        assert type(reference) is type(painter)
    gold = KnownReward(painter, lambda scene, words: float(words.split().count("p0")))
    how = {"updates": 1, "batch": 4, "minibatches": 1, "epochs": 1, "lr": 1e-4, "progress": False}
    tuned = fine_tune_with_rl(painter, gold, 0, rank=rank, **how)
    assert tuned.pictures(tuned.sample(SCENES[:2], seed=0)).shape == (2, 48, 48, 3)
