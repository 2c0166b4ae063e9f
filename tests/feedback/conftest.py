"""A captioner without weights, and the items, records and logs that the feedback tests share."""

import numpy as np
import pytest

from mmbook.feedback import make_record
from mmbook.feedback.items import make_items
from mmbook.world import STYLES, say
from mmbook.world.writers import describe


class Speaker:
    """Says the truth about a scene in a style drawn at random; with one style it is deterministic."""

    hash, prompt = "0123abcd", "Describe the picture."

    def __init__(self, styles=STYLES):
        self.styles = styles

    def sample(self, scenes, temperature=1.0, seed=0, greedy=False, samples=1):
        rng = np.random.default_rng(seed)
        return [
            say(describe(scene, str(rng.choice(self.styles)))) for scene in scenes for _ in range(samples)
        ]


@pytest.fixture
def speaker():
    return Speaker()


@pytest.fixture
def items(speaker):
    return make_items(speaker, 6, seed=3)


@pytest.fixture
def records(items):
    """A label for each item, the first response always the better one."""
    return [make_record(item, annotator="ann", outcome="label", choice=0) for item in items]
