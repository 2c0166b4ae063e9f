"""A small book with one of everything that a chapter may contain."""

import json
from pathlib import Path

HEADER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  name: python3
---
"""

CONFIG = """title: Sample
only_build_toc_files: true
exclude_patterns: ["book/**.ipynb"]
execute: {execute_notebooks: cache, timeout: 60, stderr_output: remove-warn}
parse:
  myst_enable_extensions: [amsmath, colon_fence, deflist, dollarmath]
bibtex_bibfiles: [book/references.bib]
sphinx:
  recursive_update: true
  extra_extensions: [sphinx_proof, sphinx_exercise, mmbook.publishing.sphinx_ext]
  config:
    project: sample
    bibtex_reference_style: author_year
    nb_ipywidgets_js: {}
    nb_mime_priority_overrides: [["html", "text/html", 5]]
"""

TOC = """format: jb-book
root: book/index
parts:
  - caption: One
    numbered: true
    chapters: [{file: book/first}, {file: book/chapter}]
  - caption: Back
    chapters: [{file: book/words}]
"""

FIRST = """# First

```{math}
:label: eq:first
a = 1
```
"""

WORDS = """# Words

```{glossary}
policy
  What acts.
```

```{bibliography}
```
"""

BIB = """@article{one2020, author = {One, Ann}, title = {A title}, journal = {J}, year = {2020}}
"""

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><rect width="2" height="2"/></svg>'

CHAPTER = (
    HEADER
    + r"""# The chapter

References: {eq}`eq:first`, {eq}`eq:here`, {ref}`the-part`, {numref}`fig-square`, {numref}`tab-two`,
{prf:ref}`thm-bound`, {ref}`ex-one`, {term}`policy`, {cite}`one2020`, {doc}`first`,
{number}`runs.after`, and a cost of \$5 for 2 * 3 *words*.

```{math}
:label: eq:here
x &= y \\
  &= z
```

:::{admonition} Mind the gap
A [link](https://example.org/a), `code` and $x_1$.

- first
- second
:::

```{figure} square.svg
:name: fig-square
:alt: a square
The square.
```

```{prf:theorem} Bound
:label: thm-bound
It holds that $x < y$.
```

(the-part)=
## The part

```{code-cell} ipython3
:tags: [remove-cell]
hidden = 41
```

```{code-cell} ipython3
:tags: [book-only]
print("only on the page")
```

```{code-cell} ipython3
:tags: [hide-input]
print(hidden + 1)
```

```{exercise-start} Try
:label: ex-one
```
Do this.
```{exercise-end}
```

```{solution-start} ex-one
```
Like so:
```{code-cell} ipython3
print("solved")
```
Done.
```{solution-end}
```

```{list-table} Two values
:name: tab-two
:header-rows: 1
* - name
  - value
* - `a`
  - $b$
```
"""
)


def write_book(root: Path, chapter: str = CHAPTER) -> Path:
    """Write the sample book below `root` and return `root`."""
    value = {"value": 0.5, "tolerance": 0.1, "seed": 0, "unit": "share", "says": "half"}
    files = {
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "book/index.md": "# Sample\n\nWelcome.\n",
        "book/first.md": FIRST,
        "book/chapter.md": chapter,
        "book/words.md": WORDS,
        "book/references.bib": BIB,
        "book/square.svg": SVG,
        "benchmarks/results/runs.json": json.dumps(
            {"device": "test", "commit": "0", "values": {"after": value}}
        ),
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
