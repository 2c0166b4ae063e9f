"""Load a vision-language model: the tiny one of the package, or a checkpoint of the hub or of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

import mmbook.models.tower  # noqa: F401  (registers the tiny model's tower with transformers)
from mmbook.models.build import PROMPT
from mmbook.models.vlm import ASKED, VLM

TINY = Path(__file__).parent / "tiny"
FULL = "HuggingFaceTB/SmolVLM-256M-Instruct"
QUESTION = "Describe the picture in one sentence."


def load_pretrained_model(preset: str | Path | None = None, device: str | torch.device | None = None) -> VLM:
    """A captioner that is ready to use: "tiny" on a CPU, "full" on a GPU, or the checkpoint that is named.

    A checkpoint is a folder written by `VLM.save` or `save_pretrained`, or a name on the Hugging Face hub of
    a model that `AutoModelForImageTextToText` can load; weights are read from safetensors only. Raises
    FileNotFoundError that says what to do when it cannot be found.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    preset = preset or ("full" if where.type == "cuda" else "tiny")
    source = str({"tiny": TINY, "full": FULL}.get(str(preset), preset))
    if "/" not in source and not Path(source).exists():  # else a slip of the pen waits for the network
        raise FileNotFoundError(
            f'no model {source!r}: expected "tiny", "full", a folder, or a hub name as "owner/name"'
        )
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        processor = AutoProcessor.from_pretrained(source)
        module = AutoModelForImageTextToText.from_pretrained(source, use_safetensors=True)
        asked = Path(source) / ASKED
        asks = json.loads(asked.read_text(encoding="utf-8")) if asked.exists() else None
    except (OSError, ValueError, SafetensorError) as error:
        raise FileNotFoundError(
            f"no model at {source!r}: expected a folder with config.json and model.safetensors, or the "
            f"name of a hub checkpoint and a network to fetch it from ({str(error).splitlines()[0]}). "
            'preset="tiny" needs neither.'
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()
    module = module.to(where)
    if asks is not None:
        return VLM(module, processor, **asks)
    if getattr(processor, "chat_template", None) is None:
        return VLM(module, processor, PROMPT)
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    prompt = processor.apply_chat_template(message, add_generation_prompt=True)
    return VLM(module, processor, prompt, picture_size=240, max_words=64)
