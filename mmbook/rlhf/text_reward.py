"""A reward for texts, learned from pairs: a score for each word, or a pretrained encoder that learns on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from mmbook.equations import preference_loss
from mmbook.models import ScalarHead
from mmbook.models.threads import one_thread
from mmbook.world.vader import Rated, rating_pairs, read_ratings


@dataclass(frozen=True)
class TextRewardConfig:
    """How a reward for texts is fitted."""

    batch: int = 64  # different texts a step; a text is read once however many pairs it is in
    epochs: int = 1
    layers: int | None = None  # of the encoder that learn, from the top, by default all; 0 for the head alone
    lr: float = 1e-4  # of these layers
    head_lr: float = 1e-3  # of the head on them
    word_lr: float = 1e-2  # of the words, without an encoder
    weight_decay: float = 0.01
    longest: int = 64  # tokens read of a text
    bf16: bool = False  # compute the encoder in bfloat16


class Words(nn.Module):
    """A number for each word and each two neighbours that two training texts have; added up."""

    def __init__(self, texts: Sequence[str], config: TextRewardConfig) -> None:
        super().__init__()
        counts = Counter(word for text in texts for word in dict.fromkeys(self.split(text)))
        self.number = {word: i for i, word in enumerate(w for w, n in counts.items() if n > 1)}
        zeros, end = torch.zeros(len(self.number) + 1, 1), len(self.number)
        self.value = nn.EmbeddingBag.from_pretrained(zeros, freeze=False, mode="sum", padding_idx=end)

    @staticmethod
    def split(text: str) -> list[str]:
        """The words and the pairs of neighbours."""
        words = re.findall(r"[a-z']+|[^\sa-z]", text.lower())
        return words + [f"{a} {b}" for a, b in pairwise(words)]

    def groups(self, config: TextRewardConfig) -> list[dict[str, Any]]:
        return [{"params": self.parameters(), "lr": config.word_lr}]

    def forward(self, texts: Sequence[str]) -> Tensor:
        rows = [[self.number[w] for w in self.split(text) if w in self.number] for text in texts]
        width, end = max(1, *map(len, rows)), len(self.number)
        return self.value(torch.tensor([row + [end] * (width - len(row)) for row in rows]))[:, 0]


class Encoder(nn.Module):
    """A pretrained text encoder of BERT's kind: the mean over its last states, and a linear head on it."""

    def __init__(self, folder: Path, config: TextRewardConfig, generator: torch.Generator) -> None:
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        shape = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.random.fork_rng(devices=[]):  # its random start, soon overwritten, is drawn globally
            self.model = AutoModel.from_config(shape)
        weights = load_file(folder / "model.safetensors")
        weights.pop("embeddings.position_ids", None)  # 0, 1, 2, ...: older checkpoints store it
        self.model.load_state_dict(weights)
        self.model.requires_grad_(False).eval()  # no dropout: it would draw from torch's global generator
        count = len(self.model.encoder.layer)
        below = 0 if config.layers is None else count - config.layers
        if not 0 <= below <= count:
            raise ValueError(f"layers: expected 0 to {count}, got {config.layers}")
        self.frozen, self.learning = self.model.encoder.layer[:below], self.model.encoder.layer[below:]
        self.learning.requires_grad_(True)
        self.head = ScalarHead(self.model.config.hidden_size, generator)
        self.config, self.kept = config, dict[str, Tensor]()

    def groups(self, config: TextRewardConfig) -> list[dict[str, Any]]:
        learning = {"params": self.learning.parameters(), "lr": config.lr}
        return [learning, {"params": self.head.parameters(), "lr": config.head_lr}]

    @torch.no_grad()
    def below(self, text: str) -> Tensor:
        """What the frozen layers say of a text (T, D), computed once while it is trained."""
        if text in self.kept:
            return self.kept[text]
        cut = {"truncation": True, "max_length": self.config.longest}
        h = self.model.embeddings(self.tokenizer([text], return_tensors="pt", **cut)["input_ids"])
        for layer in self.frozen:
            h = layer(h)
        if self.training:
            self.kept[text] = h[0]
        return h[0]

    def forward(self, texts: Sequence[str]) -> Tensor:
        states = [self.below(text) for text in texts]
        R: list[Tensor] = [torch.empty(0)] * len(texts)
        order = sorted(range(len(texts)), key=lambda i: len(states[i]))
        for i in range(0, len(order), 16):  # texts of like length together: less padding
            rows = order[i : i + 16]
            h = nn.utils.rnn.pad_sequence([states[row] for row in rows], batch_first=True)
            lengths = torch.tensor([len(states[row]) for row in rows])
            mask = torch.arange(h.shape[1]) < lengths[:, None]
            with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
                for layer in self.learning:
                    h = layer(h, mask[:, None, None])
            pooled = (h.float() * mask[..., None]).sum(1) / lengths[:, None]
            for row, reward in zip(rows, self.head(pooled), strict=True):
                R[row] = reward
        return torch.stack(R)


class TextReward(nn.Module):
    """r(y): a text to one number; only differences mean something. `pairs` is how many it learned from."""

    def __init__(self, body: Words | Encoder, pairs: int) -> None:
        super().__init__()
        self.body, self.pairs = body, pairs
        if isinstance(body, Encoder):
            body.kept.clear()
        self.eval()

    @torch.no_grad()
    def score(self, texts: Sequence[str]) -> Tensor:
        """The reward (N,) of each text."""
        with one_thread():
            return torch.cat([self.body(texts[i : i + 256]) for i in range(0, len(texts), 256)])


def batches(pairs: np.ndarray, texts: int) -> Iterator[np.ndarray]:
    """Cut pairs (n, 2) in order into runs with at most `texts` different texts."""
    start, seen = 0, set[int]()
    for i, pair in enumerate(pairs.tolist()):
        if not seen.issuperset(pair) and len(seen.union(pair)) > texts:
            yield pairs[start:i]
            start, seen = i, set()
        seen.update(pair)
    yield pairs[start:]


def train_text_reward(
    texts: Sequence[str],
    pairs: np.ndarray,
    encoder: Path | None = None,
    seed: int = 0,
    config: TextRewardConfig | None = None,
    **changes: Any,
) -> TextReward:
    """Fit a reward to pairs (n, 2), rows in `texts` of the preferred and of the other text of each.

    `encoder` is the folder of a pretrained one, which learns on; without it each word gets a number.
    `changes` override fields of `config`. Raises ValueError without a pair or for rows that are not there.
    """
    config = replace(config or TextRewardConfig(), **changes)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise ValueError(f"pairs: expected shape (n, 2) with n >= 1, got {pairs.shape}")
    if pairs.min() < 0 or pairs.max() >= len(texts):
        raise ValueError(f"pairs: expected rows 0 to {len(texts) - 1}, got {pairs.min()} to {pairs.max()}")
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    with one_thread():
        body: Words | Encoder
        if encoder is None:
            body = Words([texts[row] for row in np.unique(pairs)], config)
        else:
            body = Encoder(encoder, config, generator)
        steps = list(batches(pairs, config.batch))
        total = len(steps) * config.epochs
        optimizer = torch.optim.AdamW(body.groups(config), weight_decay=config.weight_decay)
        warm = max(1, total // 10)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warm, (total - step) / max(1, total - warm))
        )
        for _ in range(config.epochs):
            for step in rng.permutation(len(steps)):
                rows, place = np.unique(steps[step], return_inverse=True)
                R = body([texts[row] for row in rows])[torch.from_numpy(place.reshape(-1, 2))]
                optimizer.zero_grad()
                preference_loss(R[:, 0], R[:, 1]).backward()
                nn.utils.clip_grad_norm_(body.parameters(), 1.0)
                optimizer.step()
                schedule.step()
    return TextReward(body.requires_grad_(False), len(pairs))


@dataclass(frozen=True)
class People:
    """What was learned from people: held-out texts, their rewards (N,), the share of pairs ranked right."""

    model: TextReward
    texts: list[Rated]
    rewards: np.ndarray
    accuracy: float


def pair_accuracy(rewards: np.ndarray, means: np.ndarray, among: np.ndarray | None = None) -> float:
    """Share of all pairs of texts that rewards (N,) rank as mean ratings (N,) do, equal means left out.

    `among` (N, N) says which pairs count; an equal reward is half right.
    """
    ahead = np.sign(means[:, None] - means)
    counts = (ahead > 0) if among is None else (ahead > 0) & among
    return float((1 + np.sign(rewards[:, None] - rewards)[counts]).mean() / 2)


def movie_split(seed: int, texts: int = 3000) -> tuple[list[Rated], list[Rated]]:
    """Movie snippets to learn from and 1,000 others, held out, both drawn by `seed`."""
    rated = read_ratings("movies")
    order = np.random.default_rng(seed).permutation(len(rated))
    return [rated[i] for i in order[1000 : 1000 + texts]], [rated[i] for i in order[:1000]]


def learn_from_people(
    n: int = 160_000,
    seed: int = 0,
    encoder: Path | None = None,
    group: int = 64,
    shuffled: bool = False,
    **changes: Any,
) -> People:
    """Learn from n pairs of single ratings of 3,000 movie snippets; measure on the means of 1,000 others.

    `encoder` is the folder of a pretrained one (`fetch("minilm")`), None for words alone; `group` as in
    `rating_pairs`; `shuffled` turns each pair by the toss of a coin, the control. `changes` go to the
    configuration. Raises FileNotFoundError when the ratings were not fetched.
    """
    seen, held_out = movie_split(seed)
    pairs = rating_pairs(seen, n, seed, group)
    if shuffled:
        coin = np.random.default_rng(seed).random(n) < 0.5
        pairs[coin] = pairs[coin, ::-1]
    model = train_text_reward([text.text for text in seen], pairs, encoder, seed, **changes)
    rewards = model.score([text.text for text in held_out]).numpy()
    return People(model, held_out, rewards, pair_accuracy(rewards, np.array([t.mean for t in held_out])))
