"""The labeller: one anywidget in a live notebook, and a page that labels where there is no kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from mmbook.feedback.log import Event
from mmbook.feedback.page import fragment
from mmbook.feedback.records import ANSWERS, Record, make_record, now, shorten, validate
from mmbook.feedback.views import Views

if TYPE_CHECKING:
    from mmbook.feedback.dataset import Feedback

_HERE = Path(__file__).parent
AHEAD = 20  # items whose pictures are sent before they are asked for
ANSWER = ("outcome", *ANSWERS, "side")
GIVEN = (*ANSWER, "shown", "ms", "via", "time")


class Labeller(anywidget.AnyWidget):
    """A feedback's items on the screen.

    The page sends its clicks in `outbox`, a list for each open page, and sends them again until they are
    acknowledged: `acks` has the number of each page's last click that is on the disk, `saved` counts all
    clicks that this kernel has written, `labels` is what the log now holds. So a click that comes while the
    kernel is busy is late, never lost. `items` are texts and keys; `pictures` has what the next items show.
    `order` is the order of asking, which labels may change; the items in `review` are looked at again.
    """

    _esm = _HERE / "labeller.js"
    _css = _HERE / "labeller.css"
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)
    pictures = traitlets.Dict().tag(sync=True)
    order: traitlets.List[Any] = traitlets.List().tag(sync=True)
    annotator = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Unicode().tag(sync=True)  # as text: JavaScript's numbers end at 2**53
    lang = traitlets.Unicode("en").tag(sync=True)
    aspects: traitlets.List[Any] = traitlets.List().tag(sync=True)
    review: traitlets.List[Any] = traitlets.List().tag(sync=True)
    opinion = traitlets.Dict().tag(sync=True)
    outbox = traitlets.Dict().tag(sync=True)
    labels: traitlets.List[Any] = traitlets.List().tag(sync=True)
    acks = traitlets.Dict().tag(sync=True)
    saved = traitlets.Int(0).tag(sync=True)
    trouble = traitlets.Unicode("").tag(sync=True)

    def __init__(self, feedback: Feedback, review: Sequence[tuple[str, float]] = ()) -> None:
        """Show all items, or only those in `review`: ids, and how likely a model finds their labels.

        Raises ValueError for ids of no item.
        """
        self._feedback = feedback
        self._by_id = {item["id"]: item for item in feedback.items}
        self._views = Views(feedback.items, feedback.model)
        self._view = {view["id"]: view for view in self._views.items}
        labels, order = self._live_labels(), feedback.order()
        review_ids = list(dict.fromkeys(id for id, _ in review))
        if unknown := set(review_ids) - set(self._by_id):
            raise ValueError(
                f"review: expected labels of the {len(self._by_id)} items, got one of {min(unknown)!r}"
            )
        super().__init__(
            items=self._views.items,
            order=order,
            labels=labels,
            pictures=self._ahead(order, labels, review_ids),
            annotator=feedback.annotator,
            seed=str(feedback.seed),
            lang=feedback.lang,
            aspects=list(feedback.aspects),
            review=review_ids,
            opinion=dict(review),
        )

    def _live_labels(self) -> list[dict[str, Any]]:
        """What the page needs of the live labels, in the order of the judgements."""
        return [
            {"id": r["id"], **{name: r[name] for name in ANSWER if name in r}}
            for r in self._feedback.own
            if r["id"] in self._by_id
        ]

    def _ahead(
        self, order: list[str], labels: list[dict[str, Any]], review: Sequence[str] = ()
    ) -> dict[str, str]:
        """The pictures and sounds of the next items; those sent before, as long as they reach far enough."""
        done = {label["id"] for label in labels}
        ids = [*review, *(id for id in order if id not in done)][: max(AHEAD, len(review))]
        wanted = {id: self._views.keys(self._view[id]) for id in ids}
        sent = self.pictures
        near = [key for id in ids[: AHEAD // 2] for key in wanted[id]]
        if sent and all(key in sent for key in near):
            return sent
        keys = dict.fromkeys(key for keys in wanted.values() for key in keys)
        return {key: sent[key] for key in keys if key in sent} | self._views.uris(
            k for k in keys if k not in sent
        )

    @traitlets.observe("outbox")
    def _write(self, change: dict[str, Any]) -> None:
        """Append the clicks that are new, and acknowledge them when the disk has them."""
        acks, wrong = dict(self.acks), list[str]()
        events = list[Event]()
        try:
            live = {label["id"] for label in self._live_labels()}
            for page, clicks in change["new"].items():
                for click in clicks if isinstance(clicks, list) else []:
                    n = click.get("n") if isinstance(click, dict) else None
                    if not isinstance(n, int):
                        wrong.append(f"click: expected an object with its number n, got {shorten(click)}")
                    elif n > acks.get(page, 0):
                        acks[page] = n
                        self._take(click, live, events, wrong)
            if events:
                self._feedback.append(events)
            labels = self._live_labels()
        except OSError as error:
            self.trouble = (
                f"Not saved: {self._feedback.path.name} cannot be written "
                f"({error.strerror or error}). The next click tries again."
            )
            return
        with self.hold_sync():
            self.labels, self.acks, self.saved = labels, acks, self.saved + len(events)
            self.trouble = f"Not saved: {'; '.join(wrong)}" if wrong else ""
        try:
            self.order = self._feedback.order()
        except Exception as error:  # of an ordering that a reader wrote: the labels are safe
            self.trouble = f"The order of asking stays as it was: {error}"
        # What was taken back is shown next, wherever it stands.
        undone = [event["id"] for event in events if event["op"] == "undo"]
        self.pictures = self._ahead(self.order, labels, [*self.review, *undone])

    def _take(self, click: Event, live: set[str], events: list[Event], wrong: list[str]) -> None:
        """Turn a click into events of the log and update the live labels, or say what is wrong with it."""
        id, time = click.get("id"), click.get("time")
        item = self._by_id.get(id) if isinstance(id, str) else None
        if item is None:
            wrong.append(f"id: expected one of the {len(self._by_id)} items, got {shorten(id)}")
            return
        time = time if isinstance(time, str) else now()
        event = {"id": item["id"], "annotator": self.annotator, "time": time}
        again = item["id"] in live  # another page may have taken it back already, or judged it
        if click.get("op") in ("undo", "keep"):
            if again:
                events.append({"op": click["op"], **event})
                live -= {item["id"]} if click["op"] == "undo" else set()
            return
        given = {name: click[name] for name in GIVEN if name in click}
        record: Record = make_record(item, annotator=self.annotator, **given)
        if problems := validate(record):
            wrong += problems
        else:
            events += [*([{"op": "undo", **event}] if again else []), {"op": "label", "record": record}]
            live.add(item["id"])

    @cached_property
    def _page(self) -> str:
        return fragment(self._feedback)

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        plain = {"text/plain": repr(self._feedback), "text/html": self._page}
        return {**data, **plain}, metadata
