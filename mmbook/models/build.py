"""Build a model from nothing, tiny or medium: tower, projector, language model, tokenizer and processor."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordLevel
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from mmbook.models.tower import QuarterHead, StickerTowerConfig
from mmbook.world import KINDS, QUARTERS, SIDE, STYLES, describe, normalise, sample_scenes, say
from mmbook.world.captions import RELATIONS

if TYPE_CHECKING:
    from mmbook.models.vlm import VLM

PROMPT = "<image>describe:"
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
MAX_WORDS = 34  # the longest caption of the language and its end


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the caption language; what it decodes reads as English."""
    captions = [say(describe(scene, style)) for scene in sample_scenes(1000, 0) for style in STYLES]
    words = {
        word
        for text in (*captions, *RELATIONS, *QUARTERS, *KINDS, PROMPT)
        for word in normalise(text).split()
    }
    words -= {"<", ">", "image"}
    table = Tokenizer(WordLevel({w: i for i, w in enumerate([*SPECIAL, *sorted(words)])}, unk_token="<unk>"))
    table.normalizer = normalizers.Lowercase()
    table.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\w-]+|[^\w\s]"), behavior="removed", invert=True)
    table.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    table.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=table,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def with_words(model: VLM, words: Sequence[str]) -> VLM:
    """A copy of one of our models that knows some words more, their vectors random; the old ids stay."""
    wider, generator = model.copy(), torch.Generator().manual_seed(0)
    wider.processor = copy.deepcopy(model.processor)
    table = json.loads(model.tokenizer.backend_tokenizer.to_str())
    known = table["model"]["vocab"]
    new_words = [word for word in dict.fromkeys(words) if word not in known]
    known |= {word: len(known) + i for i, word in enumerate(new_words)}
    wider.processor.tokenizer._tokenizer = Tokenizer.from_str(json.dumps(table))
    old = wider.module.get_input_embeddings().weight
    wider.module.resize_token_embeddings(len(known), mean_resizing=False)
    new = wider.module.get_input_embeddings().weight
    new.data[len(old) :] = old.std() * torch.randn(len(known) - len(old), old.shape[1], generator=generator)
    wider.module.requires_grad_(False)
    return wider


@dataclass(frozen=True)
class Stack:
    """The shape of a transformer, as `transformers` names it."""

    hidden_size: int = 128
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int = 256


@dataclass(frozen=True)
class Shape:
    """The shape of a model: pixels a side of its picture, its tower and its language model."""

    picture: int = SIDE
    tower: Stack = Stack()
    text: Stack = Stack()


TINY = Shape()
MEDIUM = Shape(96, tower=Stack(512, 6, 8, 2048), text=Stack(768, 8, 12, 2048))


def build_tiny(
    seed: int = 0, tower: str = "stem", layers: int = 3
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """An untrained Llava of about a million parameters and its processor; `tower` is "stem" or "vit"."""
    return build(replace(TINY, text=replace(TINY.text, num_hidden_layers=layers)), seed, tower)


def build_medium(seed: int = 0) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """An untrained Llava of 78 million parameters, which sees pictures of 96 pixels in 64 parts."""
    return build(MEDIUM, seed)


def build(
    shape: Shape, seed: int, tower: str = "stem"
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """An untrained Llava and its processor. Raises ValueError for a picture that has no whole parts."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    patch = 12
    if shape.picture % (2 * patch):
        raise ValueError(f"picture: expected a multiple of {2 * patch} pixels, got {shape.picture}")
    if tower not in ("stem", "vit"):
        raise ValueError(f'tower: expected "stem" or "vit", got {tower!r}')
    seen = vars(shape.tower) | dict(image_size=shape.picture, patch_size=patch)
    vision = StickerTowerConfig(**seen) if tower == "stem" else CLIPVisionConfig(**seen, projection_dim=128)
    text = LlamaConfig(
        **vars(shape.text),
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
    )
    strategy = "full" if tower == "stem" else "default"
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=(shape.picture // patch) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy=strategy,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    if tower == "vit":  # the stock tower has no head for the first stage
        model.model.vision_tower.quarter_head = QuarterHead(vision.hidden_size, len(KINDS))
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, 2
    pictures = CLIPImageProcessorPil(
        size={"height": shape.picture, "width": shape.picture},
        do_center_crop=False,
        do_resize=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    processor = LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=patch,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=0 if tower == "stem" else 1,
    )
    return model.eval(), processor
