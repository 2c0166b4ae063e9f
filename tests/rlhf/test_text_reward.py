"""A reward for texts: the exact answer where there is one, the encoder against its own library, controls."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast

from mmbook.equations import preference_loss
from mmbook.rlhf.text_reward import (
    Encoder,
    TextRewardConfig,
    batches,
    learn_from_people,
    pair_accuracy,
    train_text_reward,
)
from mmbook.world.fetch import fetched

WORDS = ["good", "bad", "film", "plot", "actor", "music", "it", "was", "a", "and", "the", "end"]
real = pytest.mark.skipif(
    not fetched("vader").is_dir(), reason="real ratings were not fetched: python -m mmbook fetch vader"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A random encoder of BERT's kind with a vocabulary of its own, saved as a fetched one is."""
    where = tmp_path_factory.mktemp("encoder")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(where)
    shape = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(vocabulary), **shape)).save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def opinions() -> tuple[list[str], np.ndarray]:
    """Texts with one of two opinions in them, and pairs in which the good one is preferred."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.permutation([*rng.choice(WORDS[2:], 5), WORDS[i % 2]])) for i in range(80)]
    return texts, np.stack([rng.integers(0, 40, 400) * 2, rng.integers(0, 40, 400) * 2 + 1], 1)


def test_words_reach_the_log_odds_of_the_choices():
    texts = ["good film", "good plot", "bad film", "bad plot"]
    pairs = np.array([[0, 2]] * 75 + [[2, 0]] * 25 + [[1, 3]] * 75 + [[3, 1]] * 25)
    model = train_text_reward(texts, pairs, epochs=400, word_lr=0.05, weight_decay=0.0)
    R = model.score(texts)
    # "good", "film" and "good film" are three numbers, of which the last stands in one text only
    assert (R[0] - R[2]).item() == pytest.approx(math.log(3), abs=0.01)
    assert (R[1] - R[3]).item() == pytest.approx(math.log(3), abs=0.01)
    assert model.score(["unheard of"]).item() == 0.0


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_the_encoder_is_the_library_s_own_whatever_is_padded_beside_it(folder, layers):
    body = Encoder(folder, TextRewardConfig(layers=layers), torch.Generator().manual_seed(1))
    texts = ["good film", "it was a bad plot and the actor was good", "the end", "strange words"] * 5
    library = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        ours = body(texts)
        for text, reward in zip(texts, ours, strict=True):
            states = library(**body.tokenizer([text], return_tensors="pt")).last_hidden_state
            assert reward.item() == pytest.approx(body.head(states.mean(1)).item(), abs=1e-5)
    learning = {name for name, p in body.named_parameters() if p.requires_grad}
    expected = {f"model.encoder.layer.{i}" for i in range(3 - layers, 3)}
    assert {name.rsplit(".", 3)[0][:21] for name in learning if name.startswith("model")} == expected


def test_a_text_read_once_gives_the_gradient_of_all_its_pairs(folder, opinions):
    texts, pairs = opinions
    body = Encoder(folder, TextRewardConfig(), torch.Generator().manual_seed(1))
    rows, place = np.unique(pairs[:50], return_inverse=True)
    R = body([texts[row] for row in rows])[torch.from_numpy(place.reshape(-1, 2))]
    preference_loss(R[:, 0], R[:, 1]).backward()
    once = body.head.weight.grad.clone()
    body.zero_grad()
    for c, r in pairs[:50]:
        (preference_loss(body([texts[c]]), body([texts[r]])) / 50).backward()
    assert torch.allclose(once, body.head.weight.grad, atol=1e-6)


def test_batches_keep_all_pairs_in_order_and_count_texts():
    pairs = np.random.default_rng(0).integers(0, 50, (300, 2))
    cut = list(batches(pairs, 10))
    assert (np.concatenate(cut) == pairs).all()
    assert all(len(np.unique(part)) <= 10 for part in cut)
    for part, following in pairwise(cut):  # none could have taken one pair more
        assert len(np.unique([*part.ravel(), *following[0]])) > 10
    assert len(list(batches(np.array([[0, 1], [1, 2]] * 9), 3))) == 1


@pytest.mark.parametrize("encoder", [False, True])
def test_it_learns_what_was_preferred_and_nothing_from_a_coin(folder, opinions, encoder):
    texts, pairs = opinions
    settings = {
        "encoder": folder if encoder else None,
        "lr": 3e-3,
        "batch": 16,
        "epochs": 8 if encoder else 20,
    }
    rank = np.array([1.0, 0.0] * 20)
    model = train_text_reward(texts[:40], pairs[(pairs < 40).all(1)], **settings)
    assert pair_accuracy(model.score(texts[40:]).numpy(), rank) > 0.95
    coin = np.random.default_rng(1).random(len(pairs)) < 0.5
    mixed = np.where(coin[:, None], pairs[:, ::-1], pairs)
    control = train_text_reward(texts[:40], mixed[(mixed < 40).all(1)], **settings)
    spread = [m.score(["good film"]) - m.score(["bad film"]) for m in (model, control)]
    assert spread[0].item() > 4 * abs(spread[1].item())


def test_it_repeats_bit_for_bit_and_leaves_global_randomness_alone(folder, opinions):
    texts, pairs = opinions
    before = torch.get_rng_state()
    scores = [train_text_reward(texts, pairs[:60], folder, seed=s).score(texts) for s in (2, 2, 3)]
    assert torch.equal(scores[0], scores[1]) and not torch.equal(scores[0], scores[2])
    assert torch.equal(before, torch.get_rng_state())


def test_pair_accuracy_counts_each_untied_pair_once():
    rng = np.random.default_rng(0)
    R, mean = rng.integers(0, 4, 30).astype(float), rng.integers(0, 5, 30).astype(float)
    right = [
        1.0 if R[i] > R[j] else 0.5 if R[i] == R[j] else 0.0
        for i in range(30)
        for j in range(30)
        if mean[i] > mean[j]
    ]
    assert pair_accuracy(R, mean) == pytest.approx(np.mean(right))


def test_what_cannot_be_learned_from_is_refused(folder):
    with pytest.raises(ValueError, match=r"pairs: expected shape \(n, 2\) with n >= 1, got \(0, 2\)"):
        train_text_reward(["a", "b"], np.zeros((0, 2), int))
    with pytest.raises(ValueError, match="pairs: expected rows 0 to 1, got 0 to 2"):
        train_text_reward(["a", "b"], np.array([[0, 2]]))
    with pytest.raises(ValueError, match="layers: expected 0 to 3, got 6"):
        train_text_reward(["a", "b"], np.array([[0, 1]]), folder, layers=6)


@real
def test_words_alone_learn_from_people_and_a_coin_teaches_nothing():
    learned, control = (learn_from_people(60_000, shuffled=mixed) for mixed in (False, True))
    assert learned.accuracy > 0.6
    assert abs(control.accuracy - 0.5) < 0.05
