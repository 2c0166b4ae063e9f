"""The model that ships with the package, loaded once, and one thread for all tests of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mmbook.models import VLM, load_pretrained_model


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> VLM:
    return load_pretrained_model("tiny", device="cpu")
