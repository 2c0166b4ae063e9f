"""The tiny model that answers questions: the captioner's tower, and a language model that learned to answer.

Its weights were made by `benchmarks/answerer.py` and stand in `answerer.safetensors`, in half precision.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mmbook.models.build import with_words
from mmbook.models.load import load_pretrained_model
from mmbook.models.vlm import VLM
from mmbook.world.questions import WORDS, sample_questions

WEIGHTS = Path(__file__).parent / "tiny_answerer" / "answerer.safetensors"


def learned(model: VLM) -> torch.nn.ModuleDict:
    """What learns to answer: the projector and the language model; the tower sees as it did."""
    inner = model.module.model
    return torch.nn.ModuleDict({"projector": inner.multi_modal_projector, "text": inner.language_model})


def new_answerer(model: VLM) -> VLM:
    """A copy of a captioner that knows the words of questions and is meant for them, and has yet to learn."""
    answerer = with_words(model, WORDS)
    answerer.scenes = sample_questions
    return answerer


def load_answerer(path: str | Path = WEIGHTS) -> VLM:
    """The answerer of the package, or one that `save_answerer` wrote. Raises FileNotFoundError."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: expected what save_answerer wrote, found no such file")
    answerer = new_answerer(load_pretrained_model("tiny", device="cpu"))
    learned(answerer).load_state_dict(load_file(path))  # into float32
    return answerer


def save_answerer(model: VLM, path: str | Path) -> None:
    """Write what has learned to answer, in half precision, as one safetensors file."""
    state = {name: x.half().contiguous() for name, x in learned(model).state_dict().items()}
    save_file(state, path)
