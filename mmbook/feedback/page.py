"""Labelling without a kernel: items as HTML that reads well by itself and that loader.js makes a labeller."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmbook.feedback.items import items_hash
from mmbook.feedback.records import SCHEMA
from mmbook.feedback.views import View, Views

if TYPE_CHECKING:
    from mmbook.feedback.dataset import Feedback

_HERE = Path(__file__).parent
MOST = 60  # items in a page
SHOWN = 144  # pixels of a picture in the list
NOTE = "To label these, open the page with JavaScript, or run this cell in a notebook."
PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline' blob:;
 style-src 'unsafe-inline'; img-src data:; media-src data:"><title>{title}</title>
<style>:root {{ color-scheme: light dark }} body {{ margin: 1rem auto; max-width: 48rem; padding: 0 8px;
 font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere }}
{css}</style></head>
<body><main><h1>{title}</h1>{fragment}</main>
<script>{source}</script><script>{loader}</script></body></html>
"""


def fragment(feedback: Feedback, most: int = MOST) -> str:
    """The first items as HTML: a list to read or print, and the state from which loader.js labels.

    Every picture and sound stands there once; those marked data-inline belong to the records themselves.
    """
    items = feedback.items[:most]
    views = Views(items, feedback.model)
    uris = views.uris({key for view in views.items for key in views.keys(view)})
    seen = set[str]()
    rows = "".join(_row(view, views, uris, seen) for view in views.items)
    rest = len(feedback.items) - len(items)
    more = f"<p>And {rest} more.</p>" if rest > 0 else ""
    state = {
        "items": views.items,
        "records": {
            item["id"]: {**item, **_by_key(item, view)} for item, view in zip(items, views.items, strict=True)
        },
        "header": {
            "op": "items",
            "schema": SCHEMA,
            "hash": items_hash(feedback.items),
            "n": len(feedback.items),
        },
        "seed": str(feedback.seed),
        "lang": feedback.lang,
        "aspects": list(feedback.aspects),
    }
    data = json.dumps(state).replace("<", "\\u003c")
    return (
        f'<div class="mmb-static"><div class="mmb-list"><p>{NOTE}</p><ol>{rows}</ol>{more}</div>'
        f'<script type="application/json">{data}</script></div>'
    )


def _by_key(item: dict[str, Any], view: View) -> dict[str, Any]:
    """Where a record has a picture or sound of its own, its key instead."""
    found: dict[str, Any] = {}
    if item.get("image"):
        found["image"] = {"key": view["image"]}
    if not isinstance(item["responses"][0], str):
        found["responses"] = [
            {form: {"key": key} for form, key in response.items()} for response in view["responses"]
        ]
    return found


def _row(view: View, views: Views, uris: dict[str, str], seen: set[str]) -> str:
    def medium(key: str, form: str, alt: str) -> str:
        inline = " data-inline" if views.recorded(key) else ""
        if key in seen:
            return "<em>as above</em>"
        seen.add(key)
        named = f'data-key="{key}"{inline} src="{html.escape(uris[key])}"'
        if form == "sound":
            return f"<audio controls {named}></audio>"
        return f'<img {named} width="{SHOWN}" loading="lazy" alt="{html.escape(alt)}">'

    said = [
        f'<p dir="auto">{html.escape(r)}</p>'
        if isinstance(r, str)
        else f"<p>{medium(next(iter(r.values())), next(iter(r)), f'response {i}')}</p>"
        for i, r in enumerate(view["responses"], 1)
    ]
    image = medium(view["image"], "picture", view["alt"]) if view["image"] else ""
    return f'<li>{image}<p dir="auto">{html.escape(view["prompt"])}</p>{"".join(said)}</li>'


def script() -> str:
    """labeller.js as a classic script that holds its text, for loader.js."""
    source = (_HERE / "labeller.js").read_text(encoding="utf-8")
    return "window.mmbookLabeller = " + json.dumps(source).replace("<", "\\u003c") + ";\n"


def assets() -> Iterable[tuple[str, str]]:
    """Names and texts of the files that a page with `fragment` needs: a style sheet, then two scripts."""
    yield "labeller.css", (_HERE / "labeller.css").read_text(encoding="utf-8")
    yield "labeller.page.js", script()
    yield "loader.js", (_HERE / "loader.js").read_text(encoding="utf-8")


def save_page(
    feedback: Feedback, path: str | Path, title: str = "Which is better?", most: int = MOST
) -> Path:
    """Write one HTML file that labels by itself, on a phone or without a network.

    `Feedback.from_log` reads the labels that its reader downloads. Raises OSError.
    """
    (_, css), (_, source), (_, loader) = assets()
    path = Path(path)
    text = PAGE.format(
        lang="zh-Hans" if feedback.lang == "zh" else "en",
        title=html.escape(title),
        css=css,
        fragment=fragment(feedback, most),
        source=source,
        loader=loader,
    )
    path.write_text(text, encoding="utf-8", errors="backslashreplace")
    return path
