"""CLIP as published: `CLIPModel` with its `CLIPProcessor`, loaded from a checkpoint or tiny and random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoTokenizer, CLIPConfig, CLIPModel, CLIPProcessor, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils import logging

START, END, PAD = "<|startoftext|>", "<|endoftext|>", "<pad>"


@contextmanager
def without_bars() -> Iterator[None]:
    """No progress bars: they are for checkpoints that take long, and spoil a page."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def save_clip(model: CLIPModel, processor: CLIPProcessor, folder: str | Path) -> None:
    """Write weights (safetensors), configuration, tokenizer and how pictures are prepared into a folder."""
    with without_bars():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)


def load_clip(checkpoint: str | Path) -> tuple[CLIPModel, CLIPProcessor]:
    """A CLIP and its processor from a local folder or a name on the hub, like openai/clip-vit-base-patch32.

    Raises ValueError for a folder with the checkpoint of another kind of model, OSError for none.
    """
    kind = CLIPConfig.get_config_dict(checkpoint)[0].get("model_type")
    if kind != "clip":
        raise ValueError(f"{checkpoint}: expected a checkpoint of model_type 'clip', got {kind!r}")
    images = CLIPImageProcessorPil.from_pretrained(checkpoint)  # the one that needs no torchvision
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with without_bars():
        model = CLIPModel.from_pretrained(checkpoint).eval()
    return model, CLIPProcessor(image_processor=images, tokenizer=tokenizer)


def tiny_clip(texts: Sequence[str], seed: int, size: int = 48) -> tuple[CLIPModel, CLIPProcessor]:
    """A random CLIP of CLIP's own architecture, a tokenizer made from texts, nothing learned."""
    table = Tokenizer(models.BPE())
    table.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    table.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=[PAD, START, END], initial_alphabet=alphabet, show_progress=False
    )
    table.train_from_iterator(texts, trainer)
    ends = [(token, table.token_to_id(token)) for token in (START, END)]
    table.post_processor = processors.TemplateProcessing(single=f"{START} $A {END}", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=table, bos_token=START, eos_token=END, pad_token=PAD, model_max_length=32
    )
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": PAD}
    ids = {
        name: table.token_to_id(token) for name, token in special.items()
    }  # a text's vector is read at eos
    config = CLIPConfig(
        text_config={**shape, "vocab_size": table.get_vocab_size(), "max_position_embeddings": 32, **ids},
        vision_config={**shape, "image_size": size, "patch_size": 12},
        projection_dim=32,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
    return model.eval(), CLIPProcessor(image_processor=images, tokenizer=tokenizer)


@torch.no_grad()
def clip_vectors(
    model: CLIPModel, processor: CLIPProcessor, pictures: np.ndarray, texts: Sequence[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors (B, D) of pictures, uint8 (B, H, W, 3), and (K, D) of texts, and the model's own scores (B, K).

    The processor takes pictures and texts; the tokenizer alone takes texts only. Raises ValueError for other
    pictures, and for one text that is no list.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or isinstance(texts, str):
        got = f"{pictures.dtype} {pictures.shape} and {texts!r:.60}"
        raise ValueError(f"pictures, texts: expected uint8 (B, H, W, 3) and a list of texts, got {got}")
    images = [Image.fromarray(picture) for picture in pictures]
    inputs = processor(text=list(texts), images=images, return_tensors="pt", padding=True, truncation=True)
    out = model(**inputs.to(model.device))
    return out.image_embeds, out.text_embeds, out.logits_per_image
