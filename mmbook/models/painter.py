"""A language model whose words are pieces of pictures: a caption goes in, 36 codes come out.

It has the face of `VLM`, so sampling, feedback, reward models and PPO run on pictures unchanged.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mmbook.models.vlm import VLM, Prefix
from mmbook.models.vq import CODES, LENGTH, SceneVQ
from mmbook.world import KINDS, SIDE, Scene, SceneBatch, describe, say
from mmbook.world.stickers import BACKGROUND

WEIGHTS = Path(__file__).parent / "tiny_painter" / "painter.safetensors"
WORDS = ("a", "an", "and", ",", ".", *KINDS)  # of plain captions
ASKED = 10  # words of the longest plain caption, and one


def asks(scene: Scene) -> str:
    """What the painter is asked for: the plain caption of a scene, which names its kinds and no more."""
    return say(describe(scene, "plain"))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One vocabulary for both: the words of plain captions, and the codes p0, p1, ... of pictures."""
    table = {w: i for i, w in enumerate(["<pad>", "</s>", "<unk>", *(f"p{k}" for k in range(CODES)), *WORDS])}
    words = Tokenizer(WordLevel(table, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\w-]+|[^\w\s]"), behavior="removed", invert=True)
    words.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


class Painter(VLM):
    """A causal language model of caption and codes, and the `SceneVQ` that turns codes into pixels."""

    def __init__(self, module: nn.Module, vq: SceneVQ, tokenizer: Any = None) -> None:
        speaks = SimpleNamespace(tokenizer=tokenizer or build_tokenizer())
        super().__init__(module, speaks, "paint:", SIDE, LENGTH + 1)
        self.vq = vq.eval().requires_grad_(False)

    @classmethod
    def new(cls, seed: int = 0, vq: SceneVQ | None = None) -> Painter:
        """An untrained painter."""
        tokenizer = build_tokenizer()
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=64,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=True,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(LlamaForCausalLM(config), vq or SceneVQ(seed), tokenizer)

    def copy(self) -> Painter:
        """The same painter with weights of its own; the codebook, which nothing trains, is shared."""
        return Painter(copy.deepcopy(self.module), self.vq, self.tokenizer)

    def prefix(self, asked: SceneBatch | Sequence[Scene] | Sequence[str]) -> Prefix:
        """Captions, or what `asks` says of scenes, as embeddings (B, 10, D); short captions are filled up."""
        if isinstance(asked, str):
            raise ValueError(f"captions: expected a list of captions or scenes, got the text {asked!r}")
        captions = [x if isinstance(x, str) else asks(x) for x in asked]
        rows = self.tokenizer(captions, add_special_tokens=False)["input_ids"]
        if (longest := max(map(len, rows))) > ASKED:
            raise ValueError(f"captions: expected at most {ASKED} words, got {longest}")
        for caption, row in zip(captions, rows, strict=True):
            if self.tokenizer.unk_token_id in row:
                raise ValueError(f"captions: expected words of the stickers' language, got {caption!r}")
        ids = torch.full((len(rows), ASKED), self.tokenizer.pad_token_id)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
        embeds = self.module.get_input_embeddings()(ids.to(self.device))
        mask = torch.ones(len(rows), ASKED, dtype=torch.long, device=self.device)
        return Prefix(embeds, mask, torch.zeros_like(mask, dtype=torch.bool))

    def words(self, pictures: np.ndarray) -> list[str]:
        """Pictures uint8 (N, 48, 48, 3) as the codes that draw them, "p17 p3 ..."."""
        return [" ".join(f"p{k}" for k in row) for row in self.vq.encode(pictures).tolist()]

    def pictures(self, words: Sequence[str]) -> np.ndarray:
        """Codes as pictures uint8 (N, 48, 48, 3); what is no code, or missing, stays background."""
        blank = np.broadcast_to(np.array(BACKGROUND, np.uint8), (1, SIDE, SIDE, 3)).copy()
        codes = self.vq.encode(blank).repeat(len(words), 1)
        for i, text in enumerate(words):
            for j, word in enumerate(text.split()[:LENGTH]):
                if re.fullmatch(r"p\d+", word) and int(word[1:]) < CODES:
                    codes[i, j] = int(word[1:])
        return self.vq.decode(codes)

    def save(self, path: Any) -> None:
        """Write painter and codebook as one safetensors file; a tied matrix is written once."""
        state = {f"vq.{name}": x for name, x in self.vq.state_dict().items()}
        state |= {n: x for n, x in self.module.state_dict().items() if n != "lm_head.weight"}
        save_file({name: x.contiguous() for name, x in state.items()}, path)


def load_painter(path: str | Path = WEIGHTS) -> Painter:
    """The painter of the package, or one that `Painter.save` wrote. Raises FileNotFoundError."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected what Painter.save wrote, found no such file")
    state, painter = load_file(path), Painter.new()
    painter.vq.load_state_dict({n[3:]: state.pop(n) for n in list(state) if n.startswith("vq.")})
    painter.module.load_state_dict({**state, "lm_head.weight": state["model.embed_tokens.weight"]})
    return painter
