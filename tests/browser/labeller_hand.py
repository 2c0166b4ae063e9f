"""Items of every kind, and a hand that labels them in a page and remembers what it meant."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from mmbook.feedback.media import picture_uri, sound_uri
from mmbook.world import sample_scenes

ASPECTS = ("true", "clear")
GUARD = 300  # milliseconds, past the guard against double clicks
NOISE = re.compile(r"reading 'schema'|favicon")  # Notebook 7 says these with or without a labeller
SEEN = """nodes => nodes.map((node) => ({ IMG: { picture: node.getAttribute("src") },
  AUDIO: { sound: node.getAttribute("src") } })[node.tagName] ?? node.textContent)"""


def picture(seed: int) -> dict[str, str]:
    """A response: a picture of a few squares."""
    squares = np.random.default_rng(seed).integers(0, 256, (6, 6, 3))
    return {"picture": picture_uri(np.kron(squares, np.ones((8, 8, 1))).astype(np.uint8))}


def sound(pitch: int) -> dict[str, str]:
    """A response: a tone of a third of a second."""
    return {"sound": sound_uri(0.3 * np.sin(2 * np.pi * pitch * np.arange(2700) / 8000), 8000)}


def every_kind() -> list[dict[str, Any]]:
    """One item of each kind and form of response, in a fixed order, and one about a picture of its own."""
    said = [f"the {animal} sits under a big red umbrella" for animal in ("cat", "owl", "猫", "fox")]
    drawn, heard = [picture(n) for n in range(4)], [sound(220 * (n + 2)) for n in range(3)]
    asked: list[tuple[str, str, list[Any]]] = [
        ("pair", "text", said[:2]),
        ("pair", "other-text", said[2:]),
        ("pair", "picture", drawn[:2]),
        ("pair", "sound", heard[:2]),
        ("pair", "about-image", said[1:3]),
        ("rating", "text", said[:1]),
        ("rating", "picture", drawn[2:3]),
        ("rating", "sound", heard[2:]),
        ("edit", "text", said[1:2]),
        ("edit", "picture", drawn[3:]),
        ("ranking", "text", said),
        ("ranking", "picture", drawn[:3]),
        ("ranking", "sound", heard),
    ]
    shared = {"prompt": "What is here?", "model": "m", "temperature": 1.0, "seed": 0, "round": 0}
    items = []
    for n, (kind, name, responses) in enumerate(asked):
        item = {"id": f"{kind}-{name}", "kind": kind, **shared, "responses": responses}
        if name == "about-image":
            item["image"] = picture(9)["picture"]
        elif isinstance(responses[0], str):
            item["scene"] = sample_scenes(1, n)[0].to_json()
        else:
            item["image"] = None
        items.append(item)
    return items


# What is done with each of them: by click or key, and the answer.
PLAN: list[tuple[str, str, Any]] = [
    ("pair-text", "click", 0),
    ("pair-other-text", "key", 1),
    ("pair-picture", "key", "tie"),
    ("pair-sound", "click", 1),
    ("pair-about-image", "click", "both_bad"),
    ("rating-text", "key", [4, 2, 5]),
    ("rating-picture", "click", [1, 5, 3]),
    ("rating-sound", "key", [3, 3, 2]),
    ("edit-text", "key", "  the owl sits under a <b>big</b> blue umbrella\nb b x 1 2 u s"),
    ("edit-picture", "click", {"brightness": 1.5, "contrast": 1, "saturation": 0.5}),
    ("ranking-text", "key", [2, 0]),  # places, best first; two of four are not placed
    ("ranking-picture", "click", [1, 2, 0]),
    ("ranking-sound", "key", [2, 1, 0]),
]


def facts(record: dict[str, Any]) -> dict[str, Any]:
    """What a record says, in responses and not in indices; the form in which a hand remembers."""
    said, outcome = record["responses"], record["outcome"]
    found = {"id": record["id"], "outcome": outcome, "via": record["via"]}
    if record["kind"] == "pair":
        found["first"] = said[record["side"]]
    if "choice" in record:
        found["chosen"] = said[record["choice"]]
    if "order" in record:
        found["ranked"] = [said[i] for i in record["order"]]
    if "shown" in record:
        found["shown"] = [said[i] for i in record["shown"]]
    return found | {name: record[name] for name in ("rating", "aspects", "edit") if name in record}


class Hand:
    """A reader's hand on one labeller of a page, and what the reader saw and meant.

    `saved` is the pattern of the text that says how many labels are kept.
    """

    def __init__(self, page: Page, root: Locator | None = None, aspects: Sequence[str] = ASPECTS) -> None:
        self.page, self.root, self.aspects = page, root or page.locator(".mmb"), aspects
        self.meant: list[dict[str, Any]] = []

    def button(self, act: str, value: int | None = None, row: str | None = None) -> Locator:
        where = f"button[data-act={act}]" + (f'[data-value="{value}"]' if value is not None else "")
        return self.root.locator(where + (f'[data-row="{row}"]' if row is not None else "")).first

    def press(self, act: str, key: str | None, **button: Any) -> None:
        """Press a key, or click its button; where a card holds a player, beside it."""
        if key:
            self.page.keyboard.press(key)
            return
        target = self.button(act, **button)
        label = target.locator(".mmb-which")
        (label if label.count() else target).click()

    def item(self) -> str:
        return self.root.get_attribute("data-item") or ""

    def seen(self) -> list[Any]:
        """The responses on the screen, in the order in which they are shown."""
        return self.root.locator(".mmb-body .mmb-caption").evaluate_all(SEEN)

    def saved(self) -> None:
        """Wait until the page says that all that was meant is saved."""
        expect(self.root.locator(".mmb-saved")).to_have_text(f"{len(self.meant)} saved", timeout=15_000)

    def judge(self, via: str, answer: Any) -> None:
        """Judge the item on the screen and wait until it is saved.

        By "click", by "key", or, in a pair, by "enter": Enter on the button that has the focus from before.
        """
        kind, seen = self.root.get_attribute("data-kind"), self.seen()
        meant: dict[str, Any] = {
            "id": self.item(),
            "outcome": "label",
            "via": "click" if via == "click" else "key",
        }
        if kind == "pair":
            meant["first"] = seen[0]
        if kind == "ranking":
            meant["shown"] = seen
        self.page.wait_for_timeout(GUARD)
        by_key = via == "key"
        if answer in ("tie", "both_bad", "skip") and (kind == "pair" or answer == "skip"):
            meant["outcome"] = answer
            self.press(answer, {"tie": "3", "both_bad": "4", "skip": "s"}[answer] if by_key else None)
        elif kind == "pair":
            meant["chosen"] = seen[answer]
            key = "Enter" if via == "enter" else str(answer + 1) if by_key else None
            self.press(("first", "second")[answer], key)
        elif kind == "rating":
            *aspects, meant["rating"] = answer
            if self.aspects:
                meant["aspects"] = dict(zip(self.aspects, aspects, strict=True))
            for row, value in zip([*self.aspects, ""], answer, strict=True):
                self.press("rate", str(value) if by_key else None, value=value, row=row)
        elif kind == "ranking":
            meant["ranked"] = [seen[place] for place in answer]
            for place in answer[:-1] if len(answer) == len(seen) else answer:  # the last place fills itself
                self.press("rank", str(place + 1) if by_key else None, value=place + 1)
            if len(answer) < len(seen):
                self.press("done", "d" if by_key else None)
        else:
            meant["edit"] = answer
            if isinstance(answer, str):
                self.root.locator("textarea").fill(answer)
            else:
                for name, value in answer.items():
                    self.root.locator(f"[data-style={name}]").fill(str(value))
            self.press("save", "Control+Enter" if by_key else None)
        self.meant.append(meant)
        self.saved()

    def undo(self, via: str = "key") -> None:
        """Take the last judgement back."""
        self.press("undo", "u" if via == "key" else None)
        self.meant.pop()
        self.saved()

    def work(self, plan: Sequence[tuple[str, str, Any]] = tuple(PLAN)) -> None:
        """Judge all items of a plan, each of which must be on the screen when its turn comes."""
        for name, via, answer in plan:
            expect(self.root).to_have_attribute("data-item", name)
            self.judge(via, answer)

    def focused(self) -> bool:
        """Whether the focus is in the labeller."""
        return self.root.evaluate("root => root.contains(document.activeElement)")

    def check(self, records: list[dict[str, Any]]) -> None:
        """Compare records with what was meant."""
        assert [facts(record) for record in records] == self.meant
        assert all(200 <= record["ms"] < 120_000 for record in records), [r["ms"] for r in records]


def complaints(page: Page, where: str = ".mmb") -> list[str]:
    """What axe-core finds wrong in a part of a page: the rule and the element."""
    found = Axe().run(page, context=where)["violations"]
    return [f"{rule['id']}: {node['html'][:120]}" for rule in found for node in rule["nodes"]]


def fits(hand: Hand, phone: bool) -> None:
    """Check that nothing in the labeller is too wide, and what a thumb has to hit is 44 pixels large."""
    root = hand.root
    wide = """root => [...root.querySelectorAll("*")].filter((node) => node.scrollWidth > node.clientWidth + 1
      && node.clientWidth).map((node) => [node.outerHTML.slice(0, 80), node.scrollWidth, node.clientWidth])"""
    assert (hand.item(), root.evaluate(wide)) == (hand.item(), [])
    small = """nodes => nodes.map((node) => [node.getBoundingClientRect(), node.outerHTML.slice(0, 100)])
      .filter(([box]) => box.width < 44 || box.height < 44)"""
    assert root.locator("button:visible, summary:visible, input:visible").evaluate_all(small) == []
    which = root.locator(".mmb-pair .mmb-which")
    if root.get_attribute("data-kind") == "pair":
        words = [text.split(" · ")[1] for text in which.all_inner_texts()]
        assert words == (["First", "Second"] if phone else ["Left", "Right"])


def write_items(folder: Path) -> None:
    """Write the items where a notebook's cell can read them."""
    (folder / "items.json").write_text(json.dumps(every_kind()), encoding="utf-8")
