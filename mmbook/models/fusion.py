"""Nine ways to join modalities, behind one call, and the model around them.

Each takes what the encoders say of M modalities and which of them are there, (B, M), at least one in each
row, and returns logits (B, C). All end in one linear layer, so that what they can tell apart is the fusion's
own doing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbook.equations import attention, bilinear_fusion, gated_fusion, gated_residual, weighted_average
from mmbook.equations._arguments import check_present, keep
from mmbook.models.encoders import Encoded, PictureEncoder, SoundEncoder, TextEncoder, pool
from mmbook.world import triage
from mmbook.world.sentiment import LABELS, MODALITIES, WORDS
from mmbook.world.voice import BANDS


class Fusion(nn.Module):
    """What the nine have in common: a linear head on one vector of the common width."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        """One vector (B, D) for what was seen."""
        raise NotImplementedError

    def forward(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        check_present(present, (len(seen[0].pooled), len(seen)))
        return self.head(self.fuse(seen, present))

    def loss(self, seen: Sequence[Encoded], present: Tensor, label: Tensor) -> Tensor:
        """Mean cross-entropy, in nats, of labels (B,)."""
        return F.cross_entropy(self(seen, present), label)


def stacked(seen: Sequence[Encoded]) -> Tensor:
    """The pooled vectors of all modalities, (B, M, D)."""
    return torch.stack([one.pooled for one in seen], 1)


class Late(Fusion):
    """A classifier for each modality, trained for itself; their log-probabilities are averaged."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.head = nn.ModuleList(nn.Linear(width, classes) for _ in range(count))

    def each(self, seen: Sequence[Encoded]) -> Tensor:
        """Log-probabilities (B, M, C) of each modality's own classifier."""
        return torch.stack(
            [head(one.pooled) for head, one in zip(self.head, seen, strict=True)], 1
        ).log_softmax(-1)

    def forward(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        return weighted_average(self.each(seen), present.new_zeros(len(seen)), present)

    def loss(self, seen: Sequence[Encoded], present: Tensor, label: Tensor) -> Tensor:
        check_present(present, (len(seen[0].pooled), len(seen)))
        picked = self.each(seen).gather(-1, label[:, None, None].expand(-1, len(seen), 1))[..., 0]
        return -keep(picked, present).sum() / present.sum()


class Weighted(Fusion):
    """One learned weight for each modality, the same for all inputs."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.a = nn.Parameter(torch.zeros(count))

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        return weighted_average(stacked(seen), self.a, present)


class Early(Fusion):
    """All vectors side by side, a learned one for what is missing, and one hidden layer over them."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.missing = nn.Parameter(torch.zeros(count, width))
        self.mix = nn.Linear(count * width, width)

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        h = torch.where(present[..., None] == 0, self.missing, stacked(seen))
        return F.gelu(self.mix(h.flatten(1)))


class Gated(Fusion):
    """Every number of every modality has a gate that looks at all modalities."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.gate = nn.Linear(count * width, count * width)

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        h = keep(stacked(seen), present[..., None])
        return gated_fusion(h, self.gate(h.flatten(1)).view_as(h), present)


class Bilinear(Fusion):
    """A product of one factor for each modality: low-rank fusion with every interaction."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.factor = nn.ModuleList(nn.Linear(width, width) for _ in range(count))

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        h = torch.stack([f(one.pooled) for f, one in zip(self.factor, seen, strict=True)], 1)
        return bilinear_fusion(h, present)


class OneQuery(Fusion):
    """One learned query reads from the modalities: attention pooling."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.q = nn.Parameter(torch.randn(1, width))
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        h = stacked(seen)
        return attention(self.q, self.key(h), self.value(h), present)[:, 0]


class Heads(nn.Module):
    """Attention in several heads from x (B, T, D) to y (B, S, D), of which m (B, S) is there."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        for layer in (self.q, self.k):  # inner products near 1, or every query reads the plain mean for long
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, x: Tensor, y: Tensor, m: Tensor) -> Tensor:
        q, k, v = (
            layer(z).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, z in ((self.q, x), (self.k, y), (self.v, y))
        )
        read = attention(q, k, v, m[:, None].expand(-1, self.heads, -1))
        return self.out(read.transpose(1, 2).flatten(2))


class Attention(Fusion):
    """Each modality queries all: what it reads depends on itself and on what it finds."""

    def __init__(self, width: int, count: int = 3, classes: int = 2) -> None:
        super().__init__(width, count, classes)
        self.attend = Heads(width)

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        h = keep(stacked(seen), present[..., None])
        return pool(h + self.attend(h, h, present), present).pooled


class CrossTransformer(Fusion):
    """All tokens of all modalities in one row, each marked with its modality, through transformer layers."""

    def __init__(self, width: int, count: int = 3, classes: int = 2, layers: int = 1) -> None:
        super().__init__(width, count, classes)
        self.kind, self.start = (
            nn.Parameter(0.02 * torch.randn(count, width)),
            nn.Parameter(torch.zeros(width)),
        )
        layer = nn.TransformerEncoderLayer(
            width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        masks = [one.mask * present[:, i : i + 1] for i, one in enumerate(seen)]
        rows = [
            keep(one.tokens, m[..., None]) + kind for one, m, kind in zip(seen, masks, self.kind, strict=True)
        ]
        start = self.start.expand(len(present), 1, -1)
        hidden = torch.cat([present.new_zeros(len(present), 1), *(1 - m for m in masks)], 1).bool()
        return self.layers(torch.cat([start, *rows], 1), src_key_padding_mask=hidden)[:, 0]


class Flamingo(Fusion):
    """The last modality, the words, reads from the others through gates that are shut at first."""

    def __init__(self, width: int, count: int = 3, classes: int = 2, layers: int = 1) -> None:
        super().__init__(width, count, classes)
        self.nothing = nn.Parameter(torch.zeros(width))  # in place of words that are missing
        self.look = nn.ModuleList(Heads(width) for _ in range(layers))
        self.think = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )
            for _ in range(layers)
        )
        self.norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.alpha = nn.Parameter(torch.zeros(layers, 2))

    def fuse(self, seen: Sequence[Encoded], present: Tensor) -> Tensor:
        *others, words = seen
        x = torch.where(present[:, -1:, None] == 0, self.nothing, words.tokens)
        y = torch.cat([one.tokens for one in others], 1)
        m = torch.cat([one.mask * present[:, i : i + 1] for i, one in enumerate(others)], 1)
        for look, think, norm, (a, b) in zip(self.look, self.think, self.norm, self.alpha, strict=True):
            x = gated_residual(x, a, look(norm(x), keep(y, m[..., None]), m))
            x = gated_residual(x, b, think(x))
        return pool(x, torch.where(present[:, -1:] == 0, 1.0, words.mask)).pooled


FUSIONS: dict[str, type[Fusion]] = {
    "late average": Late, "weighted average": Weighted, "one query": OneQuery, "early": Early, "gated": Gated,
    "bilinear": Bilinear, "attention": Attention, "transformer": CrossTransformer, "flamingo": Flamingo,
}  # fmt: skip
ADDITIVE = ("late average", "weighted average", "one query")  # their sign is that of a sum of scores


class FusionModel(nn.Module):
    """Encoders, one for each modality by name, and a fusion of what they say.

    Takes inputs by name and `present` (B, M), 1 where a modality is there (by default all are). What is not
    there may be NaN once the model is trained; while it trains, fill it with something finite, since the
    encoders standardise over the batch.
    """

    def __init__(self, encoders: Mapping[str, nn.Module], fusion: Fusion) -> None:
        super().__init__()
        self.encoders, self.fusion = nn.ModuleDict(encoders), fusion

    def encode(self, inputs: Mapping[str, Tensor]) -> list[Encoded]:
        """What each encoder says, in the order of the encoders. Raises ValueError when one has no input."""
        if lacking := [name for name in self.encoders if name not in inputs]:
            raise ValueError(
                f"inputs: expected {', '.join(self.encoders)}, got no {', '.join(lacking)}; "
                "a modality that is missing in some rows needs a stand-in there, and 0 in `present`"
            )
        return [encoder(inputs[name]) for name, encoder in self.encoders.items()]

    def forward(self, inputs: Mapping[str, Tensor], present: Tensor | None = None) -> Tensor:
        seen = self.encode(inputs)
        return self.fusion(seen, everything(seen) if present is None else present)

    def loss(self, inputs: Mapping[str, Tensor], label: Tensor, present: Tensor | None = None) -> Tensor:
        """The fusion's own loss, a scalar in nats."""
        seen = self.encode(inputs)
        return self.fusion.loss(seen, everything(seen) if present is None else present, label)


def everything(seen: Sequence[Encoded]) -> Tensor:
    """The mask (B, M) of inputs that lack nothing."""
    return seen[0].pooled.new_ones(len(seen[0].pooled), len(seen))


def build_sentiment(fusion: str, seed: int, width: int = 32) -> FusionModel:
    """The tiny sentiment classifier: small encoders and the fusion of that name, with weights from the seed.

    Raises ValueError for an unknown name.
    """
    return _build(fusion, seed, width, MODALITIES, BANDS, len(WORDS), len(LABELS))


def build_triage(fusion: str, seed: int, width: int = 32) -> FusionModel:
    """The tiny triage classifier of scan, pulse and note, as `build_sentiment`."""
    return _build(
        fusion, seed, width, triage.MODALITIES, triage.BANDS, len(triage.WORDS), len(triage.URGENCY)
    )


def _build(
    fusion: str, seed: int, width: int, names: Sequence[str], bands: int, words: int, classes: int
) -> FusionModel:
    """Encoders of a picture, a sound and a text by those names, in this order, and a fusion over them."""
    if fusion not in FUSIONS:
        raise ValueError(f"fusion: expected one of {', '.join(FUSIONS)}, got {fusion!r}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoders = (PictureEncoder(width), SoundEncoder(width, bands), TextEncoder(width, words))
        model = FusionModel(dict(zip(names, encoders, strict=True)), FUSIONS[fusion](width, 3, classes))
    return model
