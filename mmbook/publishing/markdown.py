"""A chapter as Sphinx understood it, written back as plain Markdown cells and code cells."""

from __future__ import annotations

import base64
import mimetypes
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.environment import BuildEnvironment

from mmbook.publishing.quiz import LETTERS, guess, quiz, quiz_option

Cell = tuple[str, int | str]  # ("markdown", text) or ("code", index of the cell in the source)

_INLINE = {nodes.emphasis: "*", nodes.strong: "**"}
_SILENT: tuple[type, ...] = (
    nodes.target,
    nodes.comment,
    nodes.substitution_definition,
    nodes.system_message,
    nodes.label,
)
_SILENT += (nodes.colspec, addnodes.index, addnodes.toctree, addnodes.highlightlang, guess)


def escape(text: str) -> str:
    """Keep literal text literal in Markdown with dollar mathematics."""
    text = re.sub(r"([\\`*\[\]<$])", r"\\\1", " ".join(text.split("\n")))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def fence(text: str, language: str = "") -> str:
    """Return a fenced block whose fence is longer than any inside it."""
    ticks = "`" * max(3, 1 + max((len(m) for m in re.findall(r"`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


class Writer:
    """Turn one resolved doctree into cells; a heading starts a new Markdown cell."""

    def __init__(self, env: BuildEnvironment, docname: str, depth: int = 0) -> None:
        self.env, self.docname, self.depth = env, docname, depth
        self.numbers = env.toc_fignumbers.get(docname, {})
        self.cells: list[Cell] = []
        self.lines: list[str] = []
        self.quote = ""

    def number(self, kind: str, node: nodes.Element) -> str:
        """Return the number that the page shows for `node`, such as "2.1", or ""."""
        found = (self.numbers.get(kind, {}).get(i) for i in node.get("ids", []))
        return next((".".join(map(str, n)) for n in found if n), "")

    def emit(self, text: str) -> None:
        self.lines += [(self.quote + line).rstrip() for line in text.split("\n")] + [self.quote.rstrip()]

    def flush(self) -> None:
        text = "\n".join(self.lines).strip("\n> ")
        if text:
            self.cells.append(("markdown", "\n".join(self.lines).rstrip("\n> ").lstrip("\n")))
        self.lines = []

    def document(self, tree: nodes.document) -> list[Cell]:
        """Return the cells of a whole page."""
        self.blocks(tree)
        self.flush()
        return self.cells

    def nested(self, node: nodes.Element) -> str:
        """Return the text of blocks inside a list item or a table cell."""
        inner = Writer(self.env, self.docname, self.depth)
        inner.blocks(node)
        inner.flush()
        return "\n\n".join(str(text) for kind, text in inner.cells if kind == "markdown")

    def blocks(self, node: nodes.Element) -> None:
        run: list[nodes.Node] = []
        for child in [*node.children, None]:
            if child is not None and isinstance(child, nodes.Text | nodes.Inline | nodes.image):
                run.append(child)
                continue
            if text := self.inlines(run).strip():
                self.emit(text)
            run = []
            if child is not None:
                self.block(child)

    def block(self, node: nodes.Node) -> None:
        if isinstance(node, _SILENT):
            return
        if not isinstance(node, nodes.Element):
            self.emit(escape(node.astext()))
        elif isinstance(node, nodes.section) and node.next_node(nodes.title, descend=True) in node.children:
            self.flush()
            self.depth += 1
            self.blocks(node)
            self.depth -= 1
        elif isinstance(node, nodes.title):
            self.emit(f"{'#' * min(self.depth, 6)} {self.inline(node)}")
        elif isinstance(node, nodes.paragraph):
            self.emit(re.sub(r"^([-+#>]|\d+\.)(?=\s)", r"\\\1", self.inline(node)))
        elif isinstance(node, nodes.caption) and isinstance(node.parent, nodes.figure):
            number = self.number("figure", node.parent)
            label = f"*{self.env.config.numfig_format['figure'] % number}:* " if number else ""
            self.emit(label + self.inline(node))
        elif isinstance(node, nodes.rubric | nodes.caption | nodes.term):
            self.emit(f"**{self.inline(node)}**")
        elif isinstance(node, nodes.literal_block | nodes.doctest_block):
            language = node.get("language", "")
            self.emit(fence(node.astext().rstrip("\n"), "" if language in ("default", "none") else language))
        elif isinstance(node, nodes.math_block):
            self.math(node)
        elif isinstance(node, nodes.bullet_list | nodes.enumerated_list):
            self.items(node)
        elif isinstance(node, nodes.table):
            self.table(node)
        elif isinstance(node, nodes.block_quote):
            self.quoted(node)
        elif isinstance(node, nodes.transition):
            self.emit("---")
        elif isinstance(node, nodes.footnote):
            self.emit(f"<sup>{node.children[0].astext()}</sup> {self.nested(node)}")
        elif isinstance(node, nodes.Admonition):
            self.admonition(node)
        elif isinstance(node, quiz):
            self.ask(node)
        elif node.get("nb_element") == "cell_code":
            self.flush()
            self.cells.append(("code", node["cell_index"]))
            if "book-only" not in node["cell_metadata"].get("tags", []):
                for caption in node.findall(nodes.caption):
                    self.block(caption)
        else:
            self.blocks(node)

    def quoted(self, node: nodes.Element, heading: str = "") -> None:
        outer, self.quote = self.quote, self.quote + "> "
        if heading:
            self.emit(f"**{heading}**")
        self.blocks(node)
        self.quote = outer
        if self.lines:
            self.lines[-1] = outer.rstrip()

    def admonition(self, node: nodes.Element) -> None:
        """Write notes, theorems, exercises and solutions as a quotation with a bold heading."""
        kind = node.get("realtype") or node.get("type") or node.tagname
        name = re.sub(r"_(start|end|enumerable|node)", "", kind).replace("_", " ").title()
        number = self.number(node.get("countertype") or "exercise", node)
        heading = " ".join(filter(None, ["" if kind == "admonition" else name, number]))
        body = node.deepcopy()
        title = next((c for c in body.children if isinstance(c, nodes.title)), None)
        if title is not None:
            body.remove(title)
            text = self.inline(title).strip().replace("%s", number)
            if text.startswith(heading) or not heading:
                heading = text
            elif text.strip("() "):
                heading = f"{heading} {text}"
        self.quoted(body, heading)

    def ask(self, node: quiz) -> None:
        """Write the question and its options, and the reasons where they can be folded away."""
        question, *options = node.children
        assert isinstance(question, nodes.Element)
        self.emit(f"> **Question.** {self.inline(question)}\n>")
        self.lines.pop()
        reasons = []
        for letter, option in zip(LETTERS, options, strict=False):
            assert isinstance(option, quiz_option)
            answer, reason = (self.inline(part).strip() for part in option.children)
            self.emit(f"> - ({letter}) {answer}")
            self.lines.pop()
            reasons.append(f"- ({letter}) **{'Right.' if option['right'] else 'No.'}** {reason}")
        folded = "\n".join(reasons)
        self.emit(f"\n<details><summary>Check</summary>\n\n{folded}\n\n</details>")

    def math(self, node: nodes.Element) -> None:
        text = node.astext().strip()
        if "\\\\" in text and "\\begin" not in text:
            text = f"\\begin{{aligned}}\n{text}\n\\end{{aligned}}"
        number = self.number("displaymath", node) if node.get("label") else ""
        self.emit(f"$$\n{text}" + (f"\n\\tag{{{number}}}" if number else "") + "\n$$")

    def items(self, node: nodes.Element) -> None:
        start = node.get("start", 1)
        lines = []
        for index, item in enumerate(node.children):
            mark = "- " if isinstance(node, nodes.bullet_list) else f"{start + index}. "
            assert isinstance(item, nodes.Element)
            text = self.nested(item)
            lines.append(mark + text.replace("\n", "\n" + " " * len(mark)).replace("\n\n\n", "\n\n"))
        self.emit("\n".join(line.rstrip() for line in "\n".join(lines).split("\n")))

    def table(self, node: nodes.Element) -> None:
        title = next(iter(node.findall(nodes.title)), None)
        if title is not None:
            self.emit(f"**Table {self.number('table', node)}: {self.inline(title)}**")
        rows = []
        for row in node.findall(nodes.row):
            cells = [self.nested(entry) for entry in row.children if isinstance(entry, nodes.Element)]
            rows.append(
                "| " + " | ".join(re.sub(r"\n+", "<br>", c).replace("|", "\\|") for c in cells) + " |"
            )
        if rows:
            width = len(next(iter(node.findall(nodes.row))).children)
            head = [] if list(node.findall(nodes.thead)) else ["|" + "   |" * width]
            rows = head + rows
            rows.insert(1, "|" + " --- |" * width)
            self.emit("\n".join(rows))

    def inline(self, node: nodes.Element) -> str:
        return self.inlines(node.children)

    def inlines(self, children: list[nodes.Node]) -> str:
        return "".join(map(self.inline_one, children))

    def inline_one(self, node: nodes.Node) -> str:
        if isinstance(node, nodes.Text):
            return escape(node.astext())
        if isinstance(node, _SILENT) or not isinstance(node, nodes.Element):
            return ""
        if isinstance(node, nodes.literal):
            ticks = "``" if "`" in node.astext() else "`"
            pad = " " if len(ticks) == 2 else ""
            return f"{ticks}{pad}{node.astext()}{pad}{ticks}"
        if isinstance(node, nodes.math):
            return f"${node.astext()}$"
        if isinstance(node, nodes.image):
            return self.image(node)
        if isinstance(node, nodes.raw):
            return node.astext() if "html" in node.get("format", "") else ""
        if isinstance(node, nodes.footnote_reference):
            return f"<sup>{node.astext()}</sup>"
        text = self.inline(node)
        if isinstance(node, nodes.reference) and re.match(r"https?:|mailto:", node.get("refuri", "")):
            return f"[{text}]({node['refuri']})"
        mark = next((m for kind, m in _INLINE.items() if isinstance(node, kind)), "")
        return f"{mark}{text}{mark}" if text else ""

    def image(self, node: nodes.Element) -> str:
        """Put the picture itself into the notebook, so that the notebook can travel alone."""
        uri, alt = node["uri"], escape(node.get("alt", "")).replace("\n", " ")
        if re.match(r"https?:|data:", uri):
            return f"![{alt}]({uri})"
        path = Path(self.env.srcdir) / uri
        kind = mimetypes.guess_type(path.name)[0] or "image/png"
        return f"![{alt}](data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()})"
