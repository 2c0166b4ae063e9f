"""What a built page need not load: icons that are there twice, the search's index, rules of styles unused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

# The theme draws its icons with a font; the script of the same icons, 1.5 MB, would draw them once more.
ICONS = re.compile(r"\s*<script[^>]*/fontawesome\.js[^>]*></script>")
# Every page would load the index of the whole book; only the page of the search reads it.
SEARCH = re.compile(r"\s*<script src=\"[^\"]*(?:searchtools|language_data|searchindex)\.js[^\"]*\"></script>")
STYLES = (
    "pydata-sphinx-theme.css",
    "sphinx-design.min.css",
    "mystnb.*.css",
    "sphinx-book-theme.css",
    "basic.css",
    "pygments.css",
    "proof.css",
)
TABS = re.compile(r"\s*<script[^>]*/design-tabs\.js[^>]*></script>")
# Names, punctuation and blanks of code have the colour of its block: they need no elements of their own.
PLAIN = re.compile(r'<span class="(?:n|p|w)">([^<]*)</span>')
WORD = re.compile(r"[A-Za-z_][\w-]*")
NAME = re.compile(r"[.#]([A-Za-z_-][\w-]*)(?![\w\\-])")
CODE = re.compile(r'"\\(f[0-9a-f]{2,3})"')  # an icon's place in the font
SOLID = re.compile(
    r'src:url\(([^)]*/)fa-solid-900\.woff2\) format\("woff2"\)(?:,url\([^)]*\) format\("truetype"\))?'
)
# What stands in :not() or :is() need not be there for a rule to match; nor is a value a class.
ASIDE = re.compile(r":(?:not|is|where|has)\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\]")


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """Yield what stands before each block, and the block without its braces, or None for a statement."""
    start = place = depth = 0
    head, quote = "", ""
    while place < len(css):
        letter = css[place]
        if quote:
            if letter == "\\":
                place += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif css.startswith("/*", place):
            end = css.index("*/", place) + 2
            css = css[:place] + css[end:]
            continue
        elif letter == "{":
            depth += 1
            if depth == 1:
                head, start = css[start:place], place + 1
        elif letter == "}":
            depth -= 1
            if depth == 0:
                yield head.strip(), css[start:place]
                start = place + 1
        elif letter == ";" and depth == 0:
            yield css[start:place].strip(), None
            start = place + 1
        place += 1


def selectors(head: str) -> list[str]:
    """Return the selectors of a rule: cut at commas outside parentheses and brackets."""
    parts, depth = [""], 0
    for letter in head:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def named(selector: str) -> set[str]:
    """Return the classes and ids that a selector needs; those with escapes are left out."""
    return set(NAME.findall(ASIDE.sub("", selector)))


def purge(css: str, known: set[str]) -> str:
    """Return the style without the rules for classes and ids that are not among the `known` words."""
    kept = []
    for head, block in rules(css):
        if block is None:
            kept.append(f"{head};")
        elif head.startswith(("@media", "@supports", "@layer")):
            if inside := purge(block, known):
                kept.append(f"{head}{{{inside}}}")
        elif head.startswith("@"):
            kept.append(f"{head}{{{block}}}")
        else:
            used = [part for part in selectors(head) if named(part) <= known]
            if used:
                kept.append(f"{','.join(used)}{{{block}}}")
    return "".join(kept)


def words_of(path: Path) -> set[str]:
    """Return every word of a page or script that could be a class or an id."""
    return set(WORD.findall(path.read_text(encoding="utf-8")))


def cut_icons(static: Path) -> None:
    """Cut the font of the theme's icons to those that its style, already purged, still names."""
    from fontTools import subset

    style = static / "styles" / "pydata-sphinx-theme.css"
    fonts = static / "vendor" / "fontawesome" / "webfonts"
    if not (style.is_file() and (fonts / "fa-solid-900.ttf").is_file()):
        return
    css = style.read_text(encoding="utf-8")
    options = subset.Options(flavor="woff", drop_tables=["FFTM"])
    font = subset.load_font(str(fonts / "fa-solid-900.ttf"), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[int(code, 16) for code in CODE.findall(css)])
    cutter.subset(font)
    subset.save_font(font, str(fonts / "fa-solid-900.woff"), options)
    better = SOLID.sub(r'src:url(\1fa-solid-900.woff) format("woff")', css)
    style.write_text(better, encoding="utf-8")


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Take off the built pages what they do not need."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    known: set[str] = set()
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        lighter = PLAIN.sub(r"\1", ICONS.sub("", text))
        if "sd-tab-set" not in lighter:
            lighter = TABS.sub("", lighter)
        if path.name != "search.html":
            lighter = SEARCH.sub("", lighter)
        if lighter != text:
            path.write_text(lighter, encoding="utf-8")
        known |= set(WORD.findall(lighter))
    for path in (out / "_static").rglob("*.js"):
        if path.name != "fontawesome.js" and "mathjax" not in path.parts:
            known |= words_of(path)
    for pattern in STYLES:
        for path in (out / "_static").rglob(pattern):
            path.write_text(purge(path.read_text(encoding="utf-8"), known), encoding="utf-8")
    cut_icons(out / "_static")


def setup(app: Sphinx) -> None:
    """Register with Sphinx."""
    app.connect("build-finished", lighten, priority=900)  # after the theme has written its styles
