"""Every numbered equation of the book has its one function or its one test, and the other way round."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LABEL = re.compile(r"(eq|id):[a-z0-9]+(-[a-z0-9]+)*")
FENCE = re.compile(r"\s*(?P<mark>`{3,}|~{3,}|:{3,})\s*(?P<info>.*?)\s*$")
CODE = {"code", "code-block", "code-cell", "sourcecode", "eval-rst", "raw", "literalinclude"}
TEX_TOKEN = re.compile(r"\\(?:text|mathrm|operatorname)\{[^}]*\}|\\[A-Za-z]+|\\.|\S")
GREEK = ["alpha", "beta", "delta", "gamma", "kappa", "lambda", "mu", "nu", "pi", "rho", "sigma", "tau"]
GREEK += ["theta"]
# Arguments whose TeX does not follow from their name.
SPELLED = {
    "ell": [r"\ell"],
    "actions": ["a"],
    "eps": [r"\varepsilon"],
    "eps_v": [r"\varepsilon_v"],
    "lam": [r"\lambda"],
    "log_p": [r"\log \pi_\theta", r"\log \pi("],
    "log_p_old": [r"\log \pi_{\text{old}}"],
    "log_p_ref": [r"\log \pi_{\text{ref}}"],
    "logits": ["z"],
    "shift_mean": [r"\text{shift}"],
}


class Equation(NamedTuple):
    label: str
    tex: str
    place: str


class Definition(NamedTuple):
    labels: list[str]
    arguments: list[str]
    place: str


def equations_on(page: Path) -> Iterator[Equation]:
    """Yield what is labelled on a page, in directives and between dollars, but not what is shown as code."""
    open_fences: list[tuple[str, str]] = []  # (mark, kind), the innermost last
    prose, body, start = [], [], 0
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        mark, kind = open_fences[-1] if open_fences else ("", "text")
        shown = ""
        if fence and mark and not fence["info"] and fence["mark"].startswith(mark):
            open_fences.pop()
            if kind == "math":
                options = [option for option in body if re.match(r"\s*:\w+:", option)]
                tex = "\n".join(line for line in body if line not in options)
                if label := re.search(r":label:\s*(\S+)", "\n".join(options)):
                    yield Equation(label[1], tex, f"{page.name}:{start}")
        elif kind == "math":
            body.append(line)
        elif fence and kind == "text":
            name = re.match(r"\{([^}]*)\}", fence["info"])
            kind = "code" if fence["mark"][0] != ":" else "text"
            if name:
                kind = "math" if name[1] == "math" else "code" if name[1] in CODE else "text"
            open_fences.append((fence["mark"], kind))
            body, start = [], number
        elif kind == "text":
            shown = re.sub(r"`[^`]*`", "", line)
        prose.append(shown)
    pieces = "\n".join(prose).split("$$")
    for i in range(1, len(pieces) - 1, 2):
        if label := re.match(r"[ \t]*\(([^()\s]+)\)[ \t]*(\n|$)", pieces[i + 1]):
            yield Equation(label[1], pieces[i], f"{page.name}:{1 + ''.join(pieces[:i]).count(chr(10))}")
    for number, line in enumerate(prose, 1):
        for name in re.findall(r"\\label\{([^}]*)\}", line):
            yield Equation(name, "", f"{page.name}:{number}")


def definitions(files: list[Path], root: Path, pattern: str, prefix: str) -> Iterator[Definition]:
    """Yield each function of `files` with the labels that `pattern` finds in its docstring."""
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith(prefix):
                arguments = [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]
                labels = re.findall(pattern, ast.get_docstring(node) or "")
                yield Definition(labels, arguments, f"{file.relative_to(root)}:{node.lineno} {node.name}")


def spellings(argument: str) -> list[str]:
    """Say how an argument may be written in TeX: L_pi as L_\\pi, V_old as V_{\\text{old}."""
    if argument in SPELLED:
        return SPELLED[argument]
    base, _, sub = argument.partition("_")
    base, sub = ("\\" + x if x in GREEK else rf"\text{{{x}}}" if len(x) > 1 else x for x in (base, sub))
    return [base + ("_{" if sub.startswith(r"\text") else "_" if sub else "") + sub]


def occurs(spelling: str, tex: str) -> bool:
    """Say whether the symbol stands in the TeX as itself: not in a word, nor as another symbol's index."""
    want, have = TEX_TOKEN.findall(spelling), TEX_TOKEN.findall(tex)
    starts = (i for i in range(len(have)) if have[i : i + len(want)] == want)
    return any(have[i - 1 : i] != ["_"] and have[max(i - 2, 0) : i] != ["_", "{"] for i in starts)


def faults(root: Path) -> list[str]:
    """Walk book, functions and tests below `root`, and say where they do not match."""
    pages = sorted((root / "book").rglob("*.md"))
    equations = [e for page in pages for e in equations_on(page)]
    modules = sorted(p for p in (root / "mmbook/equations").rglob("*.py") if not p.name.startswith("_"))
    functions = [
        f
        for f in definitions(modules, root, r"Implements \{eq\}`([^`\n]*)`", "")
        if not f.place.split()[-1].startswith("_")
    ]
    checkers = sorted((root / "tests").rglob("test_*.py"))
    tests = list(definitions(checkers, root, r"Checks\s+(id:[\w-]*)", "test"))

    found = []
    book: dict[str, list[Equation]] = defaultdict(list)
    for e in equations:
        book[e.label].append(e)
        if not LABEL.fullmatch(e.label):
            found.append(f"{e.place}: label {e.label!r} is not eq: or id: with a-z, 0-9 and hyphens")
    for label, places in book.items():
        if len(places) > 1:
            found.append(f"{label} stands more than once: {', '.join(e.place for e in places)}")
    for f in functions:
        if len(f.labels) != 1:
            found.append(f"{f.place}: expected one line with Implements {{eq}}`eq:...`, got {len(f.labels)}")
    for kind, what, holders in (("eq", "function", functions), ("id", "test", tests)):
        named: dict[str, list[str]] = defaultdict(list)
        for holder in holders:
            for label in holder.labels:
                named[label].append(holder.place)
        for label, holding in named.items():
            if not (label.startswith(kind + ":") and label in book):
                found.append(f"{holding[0]}: names {label}, which no page of the book has")
            if len(holding) > 1:
                found.append(f"{label} belongs to more than one {what}: {', '.join(holding)}")
        for label in book:
            if label.startswith(kind + ":") and label not in named:
                found.append(f"{book[label][0].place}: {label} has no {what}")
    for f in functions:
        for label in f.labels[:1]:
            for argument in f.arguments:
                if label in book and not any(occurs(s, book[label][0].tex) for s in spellings(argument)):
                    found.append(f"{f.place}: argument {argument} has no symbol in {label}")
    return found


def test_book_functions_and_tests_match() -> None:
    assert not faults(ROOT), "\n".join(faults(ROOT))


def test_the_walk_sees_the_whole_ground_floor() -> None:
    """Guards against a walk that finds nothing and is content: what it sees is what the package exports."""
    init = ast.parse((ROOT / "mmbook/equations/__init__.py").read_text(encoding="utf-8"))
    (exported,) = [ast.literal_eval(n.value) for n in init.body if isinstance(n, ast.Assign)]
    modules = sorted((ROOT / "mmbook/equations").glob("[a-z]*.py"))
    seen = {d.place.split()[-1] for d in definitions(modules, ROOT, "Implements", "")}
    assert {name for name in seen if not name.startswith("_")} == set(exported)
    labels = [e.label for page in (ROOT / "book").rglob("*.md") for e in equations_on(page)]
    assert sum(label.startswith("eq:") for label in labels) == len(exported) >= 10
    assert sum(label.startswith("id:") for label in labels) >= 10


PAGE = r"""---
title: A made-up page
---
````{admonition} Nested
```{math}
:label: eq:bell-curve
y = e^{-\beta x^2} + \text{shift}
```
````
```{math}
unnumbered = 1
```
```python
text = "$$ shown $$ (eq:shown)"
```
`````md
```{math}
:label: eq:only-shown
```
`````
In a line, `$$ q $$ (eq:code)` is code.

$$
1 + 1 = 2
$$ (id:sum)
"""
FUNCTION = '''
def bell_curve(x, beta, shift):
    """Draw a bell.

    Implements {eq}`eq:bell-curve`. Returns a number.
    """

def _private(): ...
'''
CHECK = '''
def test_sum():
    """Checks id:sum: both sides."""
'''
FILES = {
    "page": ("book/part/page.md", PAGE),
    "function": ("mmbook/equations/curve.py", FUNCTION),
    "test": ("tests/part/test_sum.py", CHECK),
}


def write_tree(root: Path, **changed: tuple[str, str]) -> Path:
    """Write the made-up tree with (old, new) replaced in the files named."""
    for name, (path, text) in FILES.items():
        old, new = changed.get(name, ("", ""))
        assert old in text
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return root


def test_a_tree_without_fault_passes(tmp_path: Path) -> None:
    assert faults(write_tree(tmp_path)) == []


AGAIN = "```{math}\n:label: eq:bell-curve\ny = x + \\beta + \\text{shift}\n```\n1 + 1"
LOOSE = "\\begin{equation}\\label{eq:Loose}\n1 + 1"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"page": ("1 + 1", AGAIN)}, ["eq:bell-curve stands more than once"]),
        ({"page": ("(id:sum)", "(id:Sum_1)")}, ["'id:Sum_1' is not", "id:Sum_1 has no test", "names id:sum"]),
        ({"page": ("(id:sum)", "(sum)")}, ["page.md:23: label 'sum' is not", "names id:sum"]),
        ({"page": ("1 + 1", LOOSE)}, ["label 'eq:Loose' is not", "eq:Loose has no function"]),
        ({"page": ("1 + 1", "$$ (id:two)\n$$ 2")}, ["page.md:23: id:two has no test"]),
        (
            {"page": ("eq:bell-curve", "eq:bell")},
            ["names eq:bell-curve, which", "eq:bell has no function"],
        ),
        ({"page": ("\\beta", "b")}, ["argument beta has no symbol"]),
        ({"page": ("x^2", "z_x")}, ["argument x has no symbol"]),  # an index is not the symbol
        ({"page": ("\\text{shift}", "shift")}, ["argument shift has no symbol"]),
        (
            {"function": ("x, beta", "x, width, beta")},
            ["bell_curve: argument width has no symbol"],
        ),
        ({"function": ("def _private", "def public")}, ["public: expected one line with Implements"]),
        (
            {"function": ("Implements {eq}", "Implements\n    {eq}")},
            ["bell_curve: expected one line", "eq:bell-curve has no function"],
        ),
        (
            {"function": ("def _private(): ...", FUNCTION.replace("bell_curve", "other"))},
            ["eq:bell-curve belongs to more than one function"],
        ),
        (
            {"function": ("Returns a", "Implements {eq}`eq:b`. A")},
            ["expected one line", "names eq:b, which no page"],
        ),
        ({"test": ("Checks id:sum", "Adds")}, ["page.md:23: id:sum has no test"]),
        ({"test": ("def test_sum", "def helper")}, ["id:sum has no test"]),
        (
            {"test": (CHECK, CHECK + CHECK.replace("test_sum", "test_two"))},
            ["id:sum belongs to more than one test"],
        ),
        (
            {"test": ("both", "Checks id:gone, both")},
            ["names id:gone, which no page"],
        ),
    ],
)
def test_each_kind_of_fault_is_found(
    tmp_path: Path, changed: dict[str, tuple[str, str]], says: list[str]
) -> None:
    found = faults(write_tree(tmp_path, **changed))
    assert len(found) == len(says), found
    for words in says:
        assert sum(words in fault for fault in found) == 1, found


def test_spelling_of_arguments() -> None:
    assert spellings("R_c") == ["R_c"]
    assert spellings("L_pi") == [r"L_\pi"]
    assert spellings("eps_v") == [r"\varepsilon_v"]
    assert spellings("V_old") == [r"V_{\text{old}"]
    assert spellings("gamma") == [r"\gamma"]
    assert occurs(r"V_{\text{old}", r"V_{\text{old},t} - V_t")
    assert not occurs("m", r"\max x_m + \text{m}") and occurs("m", r"\gamma m_{t+1}")
    assert not occurs("t", r"x_{t+1}") and occurs("t", r"x_{t} t")
