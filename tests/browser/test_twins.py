"""What the page and Python both compute, they compute alike; and the changes that an edit shows."""

import re
import sys
import unicodedata
from importlib.resources import files

import numpy as np
import pytest

from mmbook.feedback import shown_first
from mmbook.feedback.intervals import wilson
from mmbook.feedback.items import shown_order
from mmbook.feedback.taste import WORD, favours

HOSTILE = (
    "constructor", "__proto__", "toString", "İstanbul", "ΣΑΣ", "Straße", "ǅ", "ﬁ", "don't", "l’été", "O'",
    "'n'", "猫", "ひらがな", "x²", "½", "Ⅷ", "٣", "नमस्ते", "e\u0301", "a\u200db", "🐈", "𝔘", "\U00010400",
    "\uff5a", "ﬆ", "a_b", "\u202eevil", "\x00", "<b>", "style:", "(length)", "K", "Å",
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
        worth = [("polite" in m) - ("big" in m) + (words[0] in t) for m, t in zip(marks, texts, strict=True)]
        order = np.argsort(-np.array(worth) + rng.gumbel(size=k) / 2).tolist()
        answer = {"choice": order[0]} if k == 2 else {"order": order}
        if k == 1:
            answer = {"edit": {"brightness": 2} if said is not texts else texts[0] + " polite a"}
        if k == 4 and rng.random() < 0.5:
            answer["order"] = order[: int(rng.integers(1, 4))]
        outcome = str(rng.choice(["label"] * 8 + ["tie", "skip"]))
        labels.append({"id": str(i), "outcome": outcome, **(answer if outcome == "label" else {})})
    labels = [labels[i] for i in rng.permutation(len(labels))]
    return items, [*labels, {"id": "gone", "outcome": "label", "choice": 0}]


def test_thirty_label_sets_give_the_same_numbers(module):
    """Equal to 1e-8, in the same order, and most of them say something."""
    named = 0
    for seed in range(30):
        items, labels = label_set(seed)
        here = favours(items, labels)
        there = module.evaluate("([items, labels]) => labeller.favours(items, labels)", [items, labels])
        assert there["n"] == here["n"] > 0
        assert [f["name"] for f in there["features"]] == [f["name"] for f in here["features"]], seed
        for mine, theirs in zip(here["features"], there["features"], strict=True):
            assert (theirs["with"], theirs["won"]) == (mine["with"], mine["won"])
            assert theirs["weight"] == pytest.approx(mine["weight"], abs=1e-8)
            assert theirs["error"] == pytest.approx(mine["error"], abs=1e-8)
        named += bool(here["features"])
    assert named > 20


def test_every_character_is_part_of_a_word_or_not_in_both(module):
    """Lower case and the ends of words, for each character that this Python's Unicode knows."""
    source = files("mmbook.feedback").joinpath("labeller.js").read_text(encoding="utf-8")
    pattern = re.search(r"const WORD = (/.*/gu);", source)[1]
    points = [c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
    theirs = module.evaluate(
        f"(points) => points.map((c) => `x${{String.fromCodePoint(c)}}’y`.toLowerCase().match({pattern}))",
        points,
    )
    wrong = [
        c for c, said in zip(points, theirs, strict=True) if WORD.findall(f"x{chr(c)}’y".lower()) != said
    ]
    assert wrong == [] and len(points) > 130_000


def test_no_labels_tell_nothing(module):
    assert module.evaluate("() => labeller.favours([], [])") == favours([], []) == {"n": 0, "features": []}


def over(module, expression, cases):
    """What an expression in `c` gives for each case."""
    return module.evaluate(f"(cases) => cases.map((c) => {expression})", cases)


def test_responses_are_shown_in_the_same_order(module):
    cases = [
        [seed, name, f"é{i}"]
        for seed in (0, 7, 2**63 + 1)
        for name in ("ann", "猫\ud800")
        for i in range(100)
    ]
    told = over(
        module,
        "[labeller.shownFirst(...c), labeller.shownOrder(...c, 4)]",
        [[str(c[0]), *c[1:]] for c in cases],
    )
    sides = [shown_first(*case) for case in cases]
    orders = [shown_order(*case, 4) for case in cases]
    assert told == [list(pair) for pair in zip(sides, orders, strict=True)]
    assert 240 < sum(sides) < 360 and all(110 < sum(o[0] == i for o in orders) < 190 for i in range(4))


def test_intervals_are_the_same(module):
    cases = [[k, n] for n in (1, 2, 7, 24, 1000) for k in {0, 1, n // 2, n}]
    assert np.allclose(
        over(module, "labeller.wilson(...c)", cases), [wilson(*case) for case in cases], atol=1e-12
    )


def test_the_changes_of_an_edit_rebuild_both_texts_and_are_as_few_as_can_be(module):
    rng = np.random.default_rng(0)

    def text():
        return "".join(
            rng.choice(["a", "b", "c", " ", "  ", "\n", "猫", "<b>"]) for _ in range(rng.integers(12))
        )

    cases = [[text(), text()] for _ in range(300)]
    for (before, after), parts in zip(cases, over(module, "labeller.diff(...c)", cases), strict=True):
        assert "".join(t for sign, t in parts if sign <= 0) == before
        assert "".join(t for sign, t in parts if sign >= 0) == after
        words = [re.findall(r"\s+|\S+", t) for t in (before, after)]
        kept = sum(len(re.findall(r"\s+|\S+", t)) for sign, t in parts if sign == 0)
        longest = np.zeros((len(words[0]) + 1, len(words[1]) + 1), int)
        for i, x in enumerate(words[0], 1):
            for j, y in enumerate(words[1], 1):
                longest[i, j] = (
                    longest[i - 1, j - 1] + 1 if x == y else max(longest[i - 1, j], longest[i, j - 1])
                )
        assert kept == longest[-1, -1]
    assert over(module, "labeller.diff(...c)", [["", ""], ["x", ""]]) == [[], [[-1, "x"]]]
    assert over(module, "labeller.diff('a '.repeat(c), 'b '.repeat(c))", [400_000]) == [None]
