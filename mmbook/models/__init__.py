"""Vision-language models: build, load, sample, adapt."""

from mmbook.models.decoding import Decoded, decode
from mmbook.models.heads import MatchHead, ScalarHead
from mmbook.models.load import load_pretrained_model
from mmbook.models.lora import Adapted
from mmbook.models.speed import Speed
from mmbook.models.table import TableLM
from mmbook.models.vlm import VLM, Prefix

__all__ = [
    "VLM",
    "Adapted",
    "Decoded",
    "MatchHead",
    "Prefix",
    "ScalarHead",
    "Speed",
    "TableLM",
    "decode",
    "load_pretrained_model",
]
