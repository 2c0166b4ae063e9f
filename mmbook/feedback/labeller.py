"""The labeller: one anywidget in a live notebook, and a readable list where there is no kernel."""

from __future__ import annotations

import base64
import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from PIL import Image

from mmbook.feedback.log import Event
from mmbook.feedback.records import Item, Record, make_record, now, validate
from mmbook.world import Scene, render, say
from mmbook.world.writers import describe

if TYPE_CHECKING:
    from mmbook.feedback.dataset import Feedback

_HERE = Path(__file__).parent
LARGE, SMALL = 240, 96  # pixels of the picture that is judged, and of the one in the list
LISTED = 6  # items in the list, so that a page stays small
NO_KERNEL = "Labelling needs a running notebook: open this page as a notebook and run this cell."


def pictures(items: list[Item], size: int) -> list[str]:
    """The items' scenes as palette PNG data URIs, `size` pixels wide."""
    uris = []
    for pixels in render([Scene.from_json(item["scene"]) for item in items], size):
        file = io.BytesIO()
        Image.fromarray(pixels).quantize(64, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        uris.append("data:image/png;base64," + base64.b64encode(file.getvalue()).decode())
    return uris


def _alt(item: Item) -> str:
    return say(describe(Scene.from_json(item["scene"]), "detailed"))


def listing(items: list[Item]) -> str:
    """The first items as plain HTML, picture and captions, readable without a kernel or JavaScript."""
    rows = []
    for item, uri in zip(items[:LISTED], pictures(items[:LISTED], SMALL), strict=True):
        captions = "".join(f'<p dir="auto">{html.escape(text)}</p>' for text in item["responses"])
        alt = html.escape(_alt(item))
        rows.append(f'<li><img src="{uri}" width="{SMALL}" height="{SMALL}" alt="{alt}">{captions}</li>')
    rest = len(items) - LISTED
    more = f"<p>And {rest} more.</p>" if rest > 0 else ""
    return f'<div class="mmbook-pairs"><p>{NO_KERNEL}</p><ol>{"".join(rows)}</ol>{more}</div>'


class Labeller(anywidget.AnyWidget):
    """A feedback's items on the screen.

    The page sends its clicks in `outbox`, a list for each open page, and sends them again until they are
    acknowledged: `acks` has the number of each page's last click that is on the disk, `saved` counts all
    clicks that this kernel has written, `labels` is what the log now holds. So a click that comes while the
    kernel is busy is late, never lost.
    """

    _esm = _HERE / "labeller.js"
    _css = _HERE / "labeller.css"
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)
    annotator = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Unicode().tag(sync=True)  # as text: JavaScript's numbers end at 2**53
    outbox = traitlets.Dict().tag(sync=True)
    labels: traitlets.List[Any] = traitlets.List().tag(sync=True)
    acks = traitlets.Dict().tag(sync=True)
    saved = traitlets.Int(0).tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback
        self._by_id = {item["id"]: item for item in feedback.items}
        shown = [
            {
                "id": item["id"],
                "prompt": item["prompt"],
                "responses": item["responses"],
                "image": uri,
                "alt": _alt(item),
            }
            for item, uri in zip(feedback.items, pictures(feedback.items, LARGE), strict=True)
        ]
        super().__init__(
            items=shown, annotator=feedback.annotator, seed=str(feedback.seed), labels=self._live_labels()
        )

    def _live_labels(self) -> list[str]:
        """The ids of the judged items in the order of the judgements."""
        return [
            r["id"]
            for r in self._feedback.records
            if r["id"] in self._by_id and r["annotator"] == self._feedback.annotator
        ]

    @traitlets.observe("outbox")
    def _write(self, change: dict[str, Any]) -> None:
        """Append the clicks that are new, and acknowledge them when the disk has them."""
        acks, wrong = dict(self.acks), list[str]()
        events = list[Event]()
        try:
            live = self._live_labels()
            for page, clicks in change["new"].items():
                for click in clicks:
                    if click["n"] > acks.get(page, 0):
                        acks[page] = click["n"]
                        self._take(click, live, events, wrong)
            if events:
                self._feedback.append(events)
        except OSError as error:
            self.trouble = (
                f"Not saved: {self._feedback.path.name} cannot be written "
                f"({error.strerror or error}). The next click tries again."
            )
            return
        with self.hold_sync():
            self.labels, self.acks, self.saved = live, acks, self.saved + len(events)
            self.trouble = f"Not saved: {'; '.join(wrong)}" if wrong else ""

    def _take(self, click: Event, live: list[str], events: list[Event], wrong: list[str]) -> None:
        """Turn a click into an event of the log and update the live labels, or say what is wrong with it."""
        item = self._by_id.get(click.get("id", ""))
        if item is None:
            wrong.append(f"id: expected one of the {len(self._by_id)} items, got {click.get('id')!r}")
        elif click.get("op") == "undo":
            if item["id"] in live:  # another page may have taken it back already
                live.reverse()
                live.remove(item["id"])
                live.reverse()
                events.append(
                    {
                        "op": "undo",
                        "id": item["id"],
                        "annotator": self.annotator,
                        "time": click.get("time") or now(),
                    }
                )
        else:
            given = {k: click[k] for k in ("outcome", "choice", "side", "ms", "via", "time") if k in click}
            record: Record = make_record(item, annotator=self.annotator, **given)
            if problems := validate(record):
                wrong += problems
            else:
                events.append({"op": "label", "record": record})
                live.append(item["id"])

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        plain = {"text/plain": repr(self._feedback), "text/html": listing(self._feedback.items)}
        return {**data, **plain}, metadata
