"""A labeller of buttons alone, for a host where the other does not show: each click waits for the kernel."""

from __future__ import annotations

import html
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from mmbook.feedback.items import shown_first
from mmbook.feedback.page import fragment
from mmbook.feedback.records import make_record, now
from mmbook.feedback.views import LARGE, Views

if TYPE_CHECKING:
    from mmbook.feedback.dataset import Feedback

ACTS = {"first": "First", "second": "Second", "tie": "Tie", "both_bad": "Both bad", "skip": "Skip"}


class BasicLabeller(widgets.VBox):
    """The next pair of a feedback, a button for each answer, and undo. Raises ValueError for another kind."""

    def __init__(self, feedback: Feedback) -> None:
        if other := sorted({item["kind"] for item in feedback.items} - {"pair"}):
            raise ValueError(f"labeller: 'basic' asks about pairs, got {other[0]}; use labeller='widget'")
        self.feedback, self.views = feedback, Views(feedback.items, feedback.model)
        self.items = {item["id"]: item for item in feedback.items}
        self.pages = [widgets.HTML() for _ in range(4)]  # picture, first response, second, progress
        self.buttons = {act: widgets.Button(description=text) for act, text in ACTS.items()}
        for act, button in self.buttons.items():
            button.on_click(lambda _, act=act: self.judge(act))
        self.buttons["undo"] = widgets.Button(description="Undo")
        self.buttons["undo"].on_click(lambda _: self.undo())
        super().__init__([*self.pages[:3], widgets.HBox(list(self.buttons.values())), self.pages[3]])
        self.show()

    def judged(self) -> list[str]:
        """The ids that the annotator has judged, by what is on the disk."""
        return [r["id"] for r in self.feedback.own if r["id"] in self.items]

    def show(self) -> None:
        """Show what is to be judged next."""
        done = self.judged()
        self.next = next((id for id in self.feedback.order() if id not in done), None)
        values = ["", "", ""]
        if self.next is not None:
            view = next(view for view in self.views.items if view["id"] == self.next)
            self.side = shown_first(self.feedback.seed, self.feedback.annotator, self.next)
            said = [view["responses"][i] for i in (self.side, 1 - self.side)]
            values = [self.html({"picture": view["image"]}, view["alt"]), *map(self.html, said)]
        for page, value in zip(
            self.pages, [*values, f"{len(done)} of {len(self.items)} judged"], strict=True
        ):
            page.value = value
        self.start = time.monotonic()

    def judge(self, act: str) -> None:
        """Write what a button says to the log, then show the next pair."""
        if self.next is not None:
            choice = {"first": self.side, "second": 1 - self.side}.get(act)
            record = make_record(
                self.items[self.next],
                annotator=self.feedback.annotator,
                outcome=act if choice is None else "label",
                choice=choice,
                side=self.side,
                ms=round(1000 * (time.monotonic() - self.start)),
                via="click",
            )
            self.feedback.append([{"op": "label", "record": record}])
        self.show()

    def undo(self) -> None:
        """Take back the last judgement."""
        for id in self.judged()[-1:]:
            event = {"op": "undo", "id": id, "annotator": self.feedback.annotator, "time": now()}
            self.feedback.append([event])
        self.show()

    def html(self, response: Any, alt: str = "") -> str:
        """A text, a picture or a sound as HTML; every text is escaped."""
        if isinstance(response, str):
            return f'<p dir="auto" style="white-space: pre-wrap">{html.escape(response)}</p>'
        ((form, key),) = response.items()
        uri = html.escape(self.views.uris([key])[key]) if key else ""
        if form == "sound":
            return f'<audio controls src="{uri}"></audio>'
        return f'<img src="{uri}" width="{LARGE // 2}" alt="{html.escape(alt)}">' if uri else ""

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        plain = {"text/plain": repr(self.feedback), "text/html": fragment(self.feedback)}
        return {**plain, "application/vnd.jupyter.widget-view+json": view}
