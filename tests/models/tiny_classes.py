"""Vision-language models that the training code was never written for, small and random.

Each has its real architecture, its real image processor (the one that needs no torchvision) and a byte-level
tokenizer of its own; `unseen(name)` builds one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm import processing_smolvlm
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from mmbook.models import VLM, load_pretrained_model
from mmbook.models.load import Videos, pictures_only
from mmbook.world import STYLES, describe, sample_scenes, say

CLASSES = ("idefics3", "smolvlm", "qwen2_vl", "qwen2_5_vl", "qwen3_vl")
SIZES = ((48, 48), (48, 16), (16, 48), (48, 32))  # of pictures with different numbers of parts


def tokenizer(special: dict[str, str], end: str) -> hf.PreTrainedTokenizerFast:
    """A byte-level BPE of the caption language."""
    table = Tokenizer(models.BPE())
    table.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    table.decoder = decoders.ByteLevel()
    names = ["<pad>", end, *special.values()]
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(dict.fromkeys(names)),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    table.train_from_iterator([say(describe(s, k)) for s in sample_scenes(60, 0) for k in STYLES], trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=table,
        pad_token="<pad>",
        eos_token=end,
        extra_special_tokens=special,
        clean_up_tokenization_spaces=False,
    )


def chat(picture: str, end: str) -> str:
    """A chat template: who speaks, the picture, the text, the end."""
    return (
        "{% for m in messages %}{{ m['role'] }}: {% for c in m['content'] %}{% if c['type'] == 'image' %}"
        f"{picture}{{% else %}}{{{{ c['text'] }}}}{{% endif %}}{{% endfor %}}{end}\n{{% endfor %}}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )


def text_shape(words: hf.PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return dict(
        vocab_size=len(words),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
        eos_token_id=words.eos_token_id,
        tie_word_embeddings=False,
        **more,
    )


def tiles(name: str) -> tuple[hf.PreTrainedModel, Any]:
    """Idefics3 and SmolVLM: a picture is cut into tiles of 32 pixels, four tokens each, and shown whole."""
    special = {
        "image_token": "<image>",
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    words = tokenizer(special, "<end_of_utterance>")
    cls, pictures = {
        "idefics3": ("Idefics3", Idefics3ImageProcessorPil),
        "smolvlm": ("SmolVLM", SmolVLMImageProcessorPil),
    }[name]
    shape = dict(
        image_processor=pictures(size={"longest_edge": 64}, max_image_size={"longest_edge": 32}),
        tokenizer=words,
        image_seq_len=4,
        chat_template=chat("<image>", "<end_of_utterance>"),
    )
    kind = getattr(hf, f"{cls}Processor")
    if name == "smolvlm":
        shape["video_processor"], kind = Videos(), pictures_only(kind)
    with patch.object(processing_smolvlm, "num2words", str):  # it spells the number of frames
        processor = kind(**shape)
    vision = dict(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        initializer_range=0.2,
    )
    config = getattr(hf, f"{cls}Config")(
        vision_config=vision,
        text_config=text_shape(words, model_type="llama"),
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=words.pad_token_id,
        tie_word_embeddings=False,
    )
    return getattr(hf, f"{cls}ForConditionalGeneration")(config), processor


def grid(name: str) -> tuple[hf.PreTrainedModel, Any]:
    """The Qwen-VL classes: a token for each 16 x 16 pixels, positions on three axes."""
    cls = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[name]
    special = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    }
    words = tokenizer(special, "<|im_end|>")
    pictures = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, min_pixels=16 * 16, max_pixels=64 * 64
    )
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    processor = pictures_only(getattr(hf, f"{cls}Processor"))(
        image_processor=pictures,
        tokenizer=words,
        video_processor=Videos(),
        chat_template=chat(picture, "<|im_end|>"),
    )
    vision: dict[str, Any] = dict(
        depth=2, num_heads=2, patch_size=8, spatial_merge_size=2, temporal_patch_size=2, initializer_range=0.2
    )
    rope: dict[str, Any] = dict(rope_type="default", mrope_section=[2, 2, 2], rope_theta=10000.0)
    if name == "qwen2_vl":
        vision |= dict(embed_dim=32, hidden_size=48, mlp_ratio=2)
    else:
        vision |= dict(hidden_size=32, intermediate_size=64, out_hidden_size=48)
    if name == "qwen2_5_vl":
        vision |= dict(window_size=32, fullatt_block_indexes=[1])
    if name == "qwen3_vl":
        vision |= dict(num_position_embeddings=64, deepstack_visual_indexes=[0, 1])
        rope["mrope_interleaved"] = True
    text = text_shape(words, rope_parameters=rope) | (dict(head_dim=12) if name == "qwen3_vl" else {})
    config = getattr(hf, f"{cls}Config")(
        vision_config=vision,
        text_config=text,
        tie_word_embeddings=False,
        **{
            f"{k}_token_id": words.convert_tokens_to_ids(f"<|{v}|>")
            for k, v in (
                ("image", "image_pad"),
                ("video", "video_pad"),
                ("vision_start", "vision_start"),
                ("vision_end", "vision_end"),
            )
        },
    )
    return getattr(hf, f"{cls}ForConditionalGeneration")(config), processor


@torch.no_grad()
def unseen(name: str, folder: Path, seed: int = 0) -> VLM:
    """One of `CLASSES`, random, written to a folder and read as any checkpoint is, that ends now and then."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, processor = (tiles if name in ("idefics3", "smolvlm") else grid)(name)
        words = processor.tokenizer
        module.generation_config.pad_token_id = words.pad_token_id
        module.generation_config.eos_token_id = words.eos_token_id
        module.save_pretrained(folder)
        processor.save_pretrained(folder)
        model = load_pretrained_model(folder, device="cpu")
        for part, weight in model.decoder.named_parameters():
            if "q_proj" in part or "q_norm" in part:  # attention that picks, so that the picture matters
                weight *= 4 if "q_norm" in part else 2
        for part, weight in model.module.named_parameters():
            if "deepstack" in part and "fc2" in part:
                weight *= 0.3  # else these features, much alike in all pictures, drown the rest
        head = model.module.get_output_embeddings()
        head.weight *= 1.5  # words are far from equally likely
        states = model.states(model.prefix(sample_scenes(16, 1)), torch.randint(len(words), (16, 14)))
        log_z = model.logits(states).logsumexp(-1)  # EOS comes about one time in ten, whatever was said
        head.weight[words.eos_token_id] = torch.linalg.lstsq(
            states.flatten(0, 1), log_z.flatten()[:, None] - 2.3
        ).solution[:, 0]
    model.picture_size, model.max_words = 48, 14
    return model
