"""Reward a classifier by click: every click is on the disk before the learner sees it."""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from mmbook.feedback import log
from mmbook.feedback.items import digest
from mmbook.feedback.records import Record, make_record
from mmbook.figures.live import STYLE, bundle, encode, img, is_live

_HERE = Path(__file__).parent
NO_KERNEL = "Clicking needs a running notebook: open this page as a notebook and run this cell."


class _Widget(anywidget.AnyWidget):
    _esm, _css = _HERE / "clicks.js", _HERE / "live.css"
    item = traitlets.Dict().tag(sync=True)
    saved = traitlets.Int(0).tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)


class ClickRewards:
    """One picture after another with what `act` answers; a person or a program says whether it is right.

    `clicks` counts the rewards that were given, `path` is their log, and `trouble` says what went wrong last.
    """

    def __init__(self, envs: Any, act: Callable[..., Any], update: Callable[..., Any], path: Path, seed: int):
        if envs.num_envs != 1:
            raise ValueError(f"envs: expected one environment, as one picture is shown, got {envs.num_envs}")
        self.envs, self.act, self.update, self.path, self.seed = envs, act, update, path, seed
        self.item, self.clicks, self._unsaved = dict[str, Any](), 0, list[Any]()
        self._widget: _Widget | None = None
        self.obs, _ = envs.reset(seed=seed + len(self.records))  # other pictures than before
        self._ask()

    def _ask(self) -> None:
        self.actions = np.asarray(self.act(self.obs))
        self.answer, scene = self.envs.kinds[int(self.actions[0])], self.envs.scenes[0].to_json()
        self.item = {"kind": "rating", "prompt": "What is in the picture?", "responses": [self.answer]}
        self.item |= {"scene": scene, "model": "", "temperature": None, "seed": self.seed, "round": 0}
        self.item["id"] = digest([self.item, self.clicks + len(self._unsaved)])

    @property
    def records(self) -> list[Record]:
        """The clicks on the disk, those of earlier runs included."""
        return log.replay(self.path).records if self.path.exists() else []

    def give(self, right: bool, annotator: str = "", via: str = "call", ms: int = 0) -> None:
        """Reward the answer on show: write it down, then call `update`, then go on to the next picture.

        Raises OSError when the log cannot be written; the click is kept and written before the next one.
        """
        who, rating = annotator or os.environ.get("MMBOOK_ANNOTATOR") or "reader", 5 if right else 1
        record = make_record(self.item, annotator=who, outcome="label", rating=rating, via=via, ms=ms)
        self._unsaved.append((record, self.obs, self.actions, float(right)))
        try:
            log.append(self.path, [{"op": "label", "record": record} for record, *_ in self._unsaved])
            saved, self._unsaved = self._unsaved, []
            self.clicks += len(saved)
            for _, obs, actions, reward in saved:
                self.update(obs, actions, np.array([reward]))
        finally:
            self.obs, _ = self.envs.reset()
            self._ask()

    def simulate(self, n: int) -> None:
        """Let a program that knows the right kinds give `n` rewards, through the same code."""
        for _ in range(n):
            self.give(self.actions[0] == self.envs.answer[0], "simulated")

    def _shown(self) -> dict[str, str]:
        uri, _, _ = encode(self.envs.pictures()[0])
        kind = self.envs.kinds[self.envs.answer[0]]
        return {
            "id": self.item["id"],
            "image": uri,
            "alt": kind,
            "text": f"The classifier says: {self.answer}. Right or wrong?",
        }

    def _receive(self, widget: _Widget, click: dict[str, Any], _: Any) -> None:
        if click.get("id") != self.item["id"]:
            return  # sent twice
        trouble = ""
        try:
            self.give(bool(click["right"]), via=click["via"], ms=click["ms"])
        except Exception as error:
            kept = "The click is kept" if self._unsaved else "The click is saved"
            trouble = f"{kept}, but: {type(error).__name__}: {error}"
        with widget.hold_sync():
            widget.trouble, widget.saved, widget.item = trouble, self.clicks, self._shown()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        shown, text = self._shown(), f"{self.clicks} clicks in {self.path.name}"
        picture, question = img(shown["image"], 240, shown["alt"]), html.escape(shown["text"])
        page = f'{STYLE}<div class="mml mml-clicks">{picture}'
        page += f'<p class="mml-question">{question}</p><p>{NO_KERNEL}</p></div>'
        if not is_live():
            return {"text/html": page, "text/plain": text}
        if self._widget is None:
            self._widget = _Widget(item=shown, saved=self.clicks)
            self._widget.on_msg(self._receive)
        return bundle(self._widget, page, text)


def click_rewards(
    envs: Any,
    act: Callable[[np.ndarray], Any],
    update: Callable[[np.ndarray, np.ndarray, np.ndarray], Any],
    path: str | Path | None = None,
    seed: int = 0,
) -> ClickRewards:
    """Be the reward of a StickerClassifierBatch with one environment: in a notebook, click right or wrong.

    Each click calls `update(observations (1, 24, 24, 3), actions (1,), rewards (1,))` once the log at `path`
    has it, as a rating of 5 or 1. The log is `labels/classifier.jsonl` in a notebook, else a new temporary
    file. Raises ValueError for more than one environment.
    """
    if path is None:
        path = "labels/classifier.jsonl" if is_live() else Path(tempfile.mkdtemp("-mmbook")) / "clicks.jsonl"
    return ClickRewards(envs, act, update, Path(path).absolute(), seed)
