"""A language model that is a table: one row of logits for each prefix of a caption tree, nothing to sample.

It has the face of `VLM`, so everything that trains a vision-language model trains it too, and because all its
captions can be listed, what training did is known exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.equations import log_prob
from mmbook.models.decoding import Decoded, decode, pick
from mmbook.models.vlm import Prefix
from mmbook.world import SceneBatch
from mmbook.world.caption_tree import CaptionTree


class TableLM:
    """A caption of `tree.scene`, word by word, from softmax(table[prefix]); the logits (S, A) start at 0.

    Raises ValueError for logits of another shape.
    """

    def __init__(self, tree: CaptionTree, logits: Tensor | None = None) -> None:
        S, A = tree.mdp.r.shape
        if logits is not None and logits.shape != (S, A):
            raise ValueError(f"logits: expected shape {(S, A)}, got {tuple(logits.shape)}")
        self.tree, self.width, self.max_words = tree, S, tree.length
        self.module = nn.Linear(S, A, bias=False, device="meta")  # draws nothing from the global generator
        self.module.weight = nn.Parameter(torch.zeros(A, S) if logits is None else logits.T.clone())
        self.module.requires_grad_(False)
        self.tokenizer = SimpleNamespace(
            eos_token_id=A - 1, pad_token_id=A - 1, get_vocab=lambda: {w: a for a, w in enumerate(tree.words)}
        )
        self.after = torch.as_tensor(tree.mdp.P.argmax(-1))  # (S, A): the next prefix
        self.ways = {tree.text(way): [tree.words.index(w) for w in way] for way in tree.responses}
        self.prompt, self.history = "", list[dict[str, float]]()

    @property
    def device(self) -> torch.device:
        return self.module.weight.device

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change with any weight."""
        return hashlib.sha256(self.module.weight.detach().numpy().tobytes()).hexdigest()[:16]

    def copy(self) -> TableLM:
        """The same model with weights of its own."""
        return TableLM(self.tree, self.module.weight.detach().T)

    def scenes(self, n: int, rng: Any = None) -> SceneBatch:
        """The tree's scene, `n` times."""
        return SceneBatch.of([self.tree.scene] * n)

    def prefix(self, scenes: Sequence[Any]) -> Prefix:
        """One empty row for each scene: the tree knows only one picture."""
        B = len(scenes)
        return Prefix(torch.zeros(B, 1, 0), torch.ones(B, 1, dtype=torch.long), torch.zeros(B, 1).bool())

    def states(self, prefix: Prefix, ids: Tensor) -> Tensor:
        """Which prefix of the tree has been said, as unit vectors (B, T + 1, S)."""
        nodes = [torch.zeros(len(ids), dtype=torch.long)]
        for t in range(ids.shape[1]):
            nodes.append(self.after[nodes[-1], ids[:, t]])
        return nn.functional.one_hot(torch.stack(nodes, 1), self.width).to(self.module.weight.dtype)

    @property
    def head(self) -> Tensor:
        """The table (A, S)."""
        return self.module.weight

    def logits(self, states: Tensor) -> Tensor:
        """Next-word logits (..., A) of states (..., S)."""
        return self.module(states)

    def log_pi(self) -> Tensor:
        """Log-probabilities (K,) of the tree's responses, exactly, in float64."""
        return self.tree.log_prob(self.module.weight.T.double().log_softmax(-1))

    @torch.no_grad()
    def decode(
        self, prefix: Prefix, draws: torch.Generator | Tensor, tau: float = 1.0, greedy: bool = False
    ) -> Decoded:
        """As `mmbook.models.decode`; captions that reach the tree's last word have ended too."""
        B, end = len(prefix), self.width - 1
        node, ids, mask, log_p = torch.zeros(B, dtype=torch.long), [], [], []
        for t in range(self.max_words):
            z, alive = self.module.weight.T[node], node != end
            said = pick(z, tau, draws if isinstance(draws, torch.Generator) else draws[:, t], greedy)
            action = torch.where(alive, said, self.tokenizer.pad_token_id)
            ids.append(action)
            mask.append(alive.float())
            log_p.append(log_prob(z[:, None], action[:, None], tau)[:, 0] * alive)
            node = self.after[node, action]
        m = torch.stack(mask, 1)
        T = int(m.sum(1).max())
        return Decoded(torch.stack(ids, 1)[:, :T], m[:, :T], torch.stack(log_p, 1)[:, :T], torch.ones(B) > 0)

    def tokens(self, captions: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Captions of the tree as ids (B, T), padded on the right, and their mask. Raises KeyError."""
        rows = [self.ways[caption] for caption in captions]
        ids = torch.full((len(rows), max(map(len, rows))), self.tokenizer.pad_token_id)
        mask = torch.zeros(ids.shape)
        for i, row in enumerate(rows):
            ids[i, : len(row)], mask[i, : len(row)] = torch.tensor(row), 1
        return ids, mask

    def text(self, ids: Tensor, mask: Tensor) -> list[str]:
        """Ids (B, T) back to captions."""
        words = self.tree.words
        return [
            self.tree.text([words[a] for a, keep in zip(row, m, strict=True) if keep])
            for row, m in zip(ids.tolist(), mask.tolist(), strict=True)
        ]

    def sample(
        self,
        scenes: Sequence[Any],
        temperature: float = 1.0,
        seed: int | torch.Generator = 0,
        greedy: bool = False,
        samples: int = 1,
    ) -> list[str]:
        """As `VLM.sample`."""
        draw = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(int(seed))
        out = decode(self, self.prefix(scenes).repeat(samples), draw, temperature, greedy)
        return self.text(out.ids, out.mask)

    def adapted(self, rank: int, seed: int, dtype: str = "") -> AdaptedTable:
        """The same table, ready to be trained beside its reference; all of it learns, whatever the rank."""
        return AdaptedTable(self)


class AdaptedTable:
    """A table that moves, and the table that it was; the face of `Adapted`."""

    def __init__(self, model: TableLM) -> None:
        self.model, self._reference = model.copy(), model
        self.model.module.requires_grad_(True)

    def parameters(self) -> list[nn.Parameter]:
        """The logits."""
        return list(self.model.module.parameters())

    @contextmanager
    def reference(self) -> Iterator[TableLM]:
        """The table as it was."""
        yield self._reference

    def merged(self) -> TableLM:
        """The table as it is now; this object is used up."""
        self.model.module.requires_grad_(False)
        return self.model
