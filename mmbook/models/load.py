"""Load a vision-language model: one of the package's sizes, or a checkpoint of the hub or of a folder."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors import SafetensorError
from transformers.utils import import_utils, logging

if find_spec("torchvision"):
    try:
        import_module("torchvision")
    except Exception:  # it was built for another torch; transformers would import it all the same and fail
        with patch.dict(sys.modules, {"torchvision": None}):
            import_utils.is_torchvision_available.cache_clear()
            import_utils.is_torchvision_available()  # no, from now on

from transformers import (
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
)
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

import mmbook.models.tower  # noqa: F401  (registers the tiny model's tower with transformers)
from mmbook.models.build import PROMPT
from mmbook.models.vlm import ASKED, VLM
from mmbook.world.fetch import data_folder

TINY = Path(__file__).parent / "tiny"
FULL = "HuggingFaceTB/SmolVLM-256M-Instruct"
QUESTION = "Describe the picture in one sentence."
DTYPES = ("float32", "bfloat16", "float16")
ROOM = 'end what else runs there, choose a smaller checkpoint, dtype="bfloat16" or device="cpu"'
ADVICE = {  # by the errors of the hub's clients
    (
        "GatedRepoError",
    ): "Accept the terms on its page on the hub, then run `hf auth login` or set HF_TOKEN. ",
    (
        "RepositoryNotFoundError",
        "DatasetNotFoundError",
    ): "The hub knows no such name, or it is private: check "
    "its spelling, or run `hf auth login` or set HF_TOKEN. ",
    (
        "LocalEntryNotFoundError",
        "OfflineModeIsEnabled",
        "ConnectionError",
        "TransportError",
    ): "The hub cannot "
    "be reached: connect to the network, or run `hf download NAME --local-dir FOLDER` where there is one "
    "and give that folder. ",
}


def load_pretrained_model(
    preset: str | Path | None = None, device: str | torch.device | None = None, dtype: str | None = None
) -> VLM:
    """A captioner that is ready to use: "tiny" on a CPU, "full" on a GPU, or the checkpoint that is named.

    "medium" is what `python -m mmbook pretrain --preset medium` made; "full" is SmolVLM-256M. A checkpoint is
    a folder written by `VLM.save` or `save_pretrained`, or a name on the Hugging Face hub of a model that
    `AutoModelForImageTextToText` can load, as "Qwen/Qwen3-VL-2B-Instruct"; weights are read from safetensors
    only. They become one of `DTYPES`, by default what `VLM.save` wrote or else `native_dtype(device)`.
    Raises FileNotFoundError where a checkpoint cannot be had, ValueError for one of another kind,
    MemoryError where a GPU lacks room; each says what to do.
    """
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    preset = preset or ("full" if where.type == "cuda" else "tiny")
    if dtype not in (None, *DTYPES):
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    medium = data_folder() / "medium"
    if preset == "medium" and not (medium / "config.json").exists():
        raise FileNotFoundError(
            f"no medium model in {medium}: train it once with `python -m mmbook pretrain --preset medium`, "
            "which needs a GPU (by estimate ten minutes on an H100, two hours on a T4, days without one)"
        )
    source = str({"tiny": TINY, "medium": medium, "full": FULL}.get(str(preset), preset))
    if "/" not in source and not Path(source).exists():  # else a slip of the pen waits for the network
        raise FileNotFoundError(
            f'no model {source!r}: expected "tiny", "full", a folder, or a hub name as "owner/name" '
            '(or "medium", once it was trained)'
        )
    asked = Path(source) / ASKED
    with _explained(source, where):
        asks = json.loads(asked.read_text(encoding="utf-8")) if asked.exists() else None
        config = AutoConfig.from_pretrained(source)
    if type(config) not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        raise ValueError(
            f"{source}: expected a model that reads pictures and writes text, as {FULL}, got one of the kind "
            f"{config.model_type!r}; choose another checkpoint"
        )
    kept = config.dtype if asks or source == str(TINY) else native_dtype(where)
    kind = getattr(torch, dtype) if dtype else kept or torch.float32
    if where.type == "cuda":
        _refuse_too_large(source, config, kind, where)
    with _explained(source, where):
        processor = load_processor(source, config)
        module = AutoModelForImageTextToText.from_pretrained(source, use_safetensors=True, dtype=kind)
        module = module.to(where)
    if asks is not None:
        return VLM(module, processor, **asks)
    if getattr(processor, "chat_template", None) is None:
        return VLM(module, processor, PROMPT)
    if source == FULL:
        processor.image_processor.do_image_splitting = False  # 64 tokens a picture, not 17 times as many
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]
    prompt = processor.apply_chat_template(message, add_generation_prompt=True)
    return VLM(module, processor, prompt, picture_size=240, max_words=64, request=QUESTION)


def native_dtype(device: torch.device) -> torch.dtype:
    """What a device multiplies fastest: bfloat16, float16 on cards without it (a T4), float32 on a CPU."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@contextmanager
def _explained(source: str, where: torch.device) -> Iterator[None]:
    """Hide progress bars, and turn what goes wrong into an error that says what to do."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise MemoryError(f"{source}: {where} ran out of memory; {ROOM}") from error
    except (OSError, ValueError, SafetensorError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise FileNotFoundError(
            f"no model at {source!r}: expected a folder with config.json and model.safetensors, or the "
            f"name of a hub checkpoint and a network to fetch it from ({said}). "
            f'{hub_advice(error)}preset="tiny" needs neither.'
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()


def hub_advice(error: BaseException | None) -> str:
    """What to do when the hub gave nothing: one sentence and a space, or nothing where it is not to blame."""
    names = set[str]()
    while error is not None:
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    return next((says for kinds, says in ADVICE.items() if names & {*kinds}), "")


def _refuse_too_large(source: str, config: Any, dtype: torch.dtype, where: torch.device) -> None:
    """Raise MemoryError when the weights alone are more than the card has left."""
    with torch.device("meta"):
        n = AutoModelForImageTextToText.from_config(config).num_parameters()
    need, free = n * dtype.itemsize, torch.cuda.mem_get_info(where)[0]
    if need > free:
        raise MemoryError(
            f"{source}: {n / 1e6:,.0f} million weights are {need / 2**30:.1f} GiB in {dtype}, but {where} "
            f"has {free / 2**30:.1f} GiB free; {ROOM}"
        )


class Videos(dict):
    """What a checkpoint says of videos, kept for saving; a processor of videos would need torchvision."""

    num_frames = fps = 1
    _auto_class = None


@cache
def pictures_only(cls: type) -> type:
    """A class of processors as one that takes `Videos` in the place of a processor of videos."""

    def check(self: Any, name: str, part: Any) -> Any:
        return None if isinstance(part, Videos) else cls.check_argument_for_proper_class(self, name, part)  # type: ignore[attr-defined]

    return type(
        cls.__name__, (cls,), {"check_argument_for_proper_class": check, "__module__": cls.__module__}
    )


def load_processor(source: str, config: Any) -> Any:
    """The processor of a checkpoint, its pictures read by Pillow, whether torchvision is there or not."""
    cls = PROCESSOR_MAPPING.get(type(config), None)
    if cls is None or "video_processor" not in cls.get_attributes():
        return AutoProcessor.from_pretrained(source, backend="pil")
    told = cls.get_processor_dict(source)[0]
    parts = {
        "image_processor": AutoImageProcessor.from_pretrained(source, backend="pil"),
        "tokenizer": AutoTokenizer.from_pretrained(source),
        "video_processor": Videos(told.get("video_processor", {})),
    }
    takes = inspect.signature(cls.__init__).parameters
    with patch.dict(vars(sys.modules[cls.__module__]), num2words=str):  # it spells the number of frames
        return pictures_only(cls)(**{name: told[name] for name in told if name in takes} | parts)
