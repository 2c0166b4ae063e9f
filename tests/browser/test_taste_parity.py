"""What clicks favour: the page and Python compute the same numbers, whatever the words."""

import sys
import unicodedata
from importlib.resources import files

import numpy as np
import pytest

from mmbook.feedback.taste import WORD, favours

HOSTILE = (
    "constructor", "__proto__", "toString", "İstanbul", "ΣΑΣ", "Straße", "ǅ", "ﬁ", "don't", "l’été", "O'", "'n'",
    "猫", "ひらがな", "x²", "½", "Ⅷ", "٣", "नमस्ते", "e\u0301", "a\u200db", "🐈", "𝔘", "\U00010400", "\uff5a", "ﬆ",
    "a_b", "\u202eevil", "\x00", "<b>", "style:", "(length)", "K", "Å",
)  # fmt: skip
MARKS = ("terse", "polite", "__proto__", "big")


@pytest.fixture(scope="module")
def module(browser):
    """A page that has loaded labeller.js as a module."""
    page = browser.new_page()
    source = files("mmbook.feedback").joinpath("labeller.js").read_text(encoding="utf-8")
    page.evaluate(
        "async (source) => { window.labeller = await import("
        "URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))); }",
        source,
    )
    yield page
    page.close()


def label_set(seed):
    """Items of every kind with labels that follow a hidden taste, some of them broken off or unknown."""
    rng = np.random.default_rng(seed)
    words = [*map(str, rng.choice(HOSTILE, 12, replace=False)), *"abcdefgh"]
    items, labels = [], []
    for i in range(int(rng.integers(5, 120))):
        k = int(rng.choice([1, 2, 2, 2, 4]))
        texts = [" ".join(map(str, rng.choice(words, rng.integers(0, 9)))) for _ in range(k)]
        marks = [[str(m) for m in MARKS if rng.random() < 0.3] for _ in range(k)]
        said = [{"picture": t} for t in texts] if seed % 5 == 4 else texts
        items.append({"id": str(i), "responses": said, "marks": marks})
        worth = (
            [("polite" in m) - ("big" in m) + words[0] in t for m, t in zip(marks, texts, strict=True)]
            if (False)
            else [("polite" in m) - ("big" in m) + (words[0] in t) for m, t in zip(marks, texts, strict=True)]
        )
        order = np.argsort(-np.array(worth) + rng.gumbel(size=k) / 2).tolist()
        answer = (
            {"edit": texts[0] + " polite a"}
            if k == 1
            else {"choice": order[0]}
            if k == 2
            else {"order": order}
        )
        if k == 4 and rng.random() < 0.5:
            answer["order"] = order[: int(rng.integers(1, 4))]
        outcome = str(rng.choice(["label"] * 8 + ["tie", "skip"]))
        labels.append({"id": str(i), "outcome": outcome, **(answer if outcome == "label" else {})})
    labels = [labels[i] for i in rng.permutation(len(labels))]
    return items, [*labels, {"id": "gone", "outcome": "label", "choice": 0}]
