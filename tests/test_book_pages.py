"""The pages around the chapters: complete lists, links that lead somewhere, names that exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from mmbook.figures import alt, loop

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
PAGES = ("index.md", "appendix/sources.md", "appendix/glossary.md")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def read(page: str) -> str:
    return (BOOK / page).read_text(encoding="utf-8")


def sections(text: str, level: str = "##") -> dict[str, str]:
    """The text under each heading of a level."""
    parts = re.split(rf"^{level} (.+)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_files(page):
    text, folder = read(page), (BOOK / page).parent
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"^`{3,}\{(?:image|figure)\} (\S+)", text, re.M)
    targets += [f"{name}.md" for name in re.findall(r"\{button-ref\} (\S+)", text)]
    assert targets
    assert [t for t in targets if not (folder / t).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_in_the_table_of_contents_and_name_no_others(page):
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert re.search(rf"book/{page.removesuffix('.md')}$", toc, re.M)
    for target in re.findall(r"\]\(([^)]+)\.md\)", read(page)):
        name = (BOOK / page).parent.joinpath(target).resolve().relative_to(ROOT)
        assert re.search(rf"{name}$", toc, re.M), f"{page} links to {name}, which is not in _toc.yml"


@pytest.mark.parametrize("page", PAGES)
def test_names_of_the_package_exist(page):
    names = set(re.findall(r"`(mmbook(?:\.\w+)+)`", read(page)))
    assert names or page != "appendix/sources.md"
    for name in names:
        parts, found = name.split(".")[1:], import_module("mmbook")
        for part in parts:
            found = getattr(found, part, None) or import_module(f"{found.__name__}.{part}")


@pytest.mark.parametrize("page", PAGES)
def test_equations_that_are_cited_have_a_label(page):
    labels = {
        label
        for path in BOOK.rglob("*.md")
        for label in re.findall(r"^:label: (\S+)", path.read_text(), re.M)
    }
    assert set(re.findall(r"\{eq\}`([^`]+)`", read(page))) <= labels


def test_the_loop_is_described_for_those_who_cannot_see_it():
    assert f':alt: "{alt(loop())}"' in read("index.md")


def test_the_landing_page_has_what_a_newcomer_looks_for():
    text = read("index.md")
    assert (
        text.index("static/figures/loop.svg")
        < text.index("static/before-after.png")
        < text.index("make book")
    )
    ways = sections(text)["Three ways to read"]
    cards = re.findall(r"\{grid-item-card\} (.+)", ways)
    assert cards == ["RLHF in an evening", "The documents in order", "Everything"]
    assert len(re.findall(r"\d+ minutes", ways)) >= 20
    everything = ways.split("{grid-item-card}")[-1]
    for chapter in BOOK.glob("*/*.ipynb"):
        name = str(chapter.relative_to(BOOK).with_suffix(".md"))
        assert f"]({name})" in everything, f"{name} is not in the list of everything"
    assert len(re.findall(r"\{number\}`(?:quickstart|faithful)\.\w+", text)) >= 5
    prose = re.sub(r"\{number\}`[^`]+`|^:.*$", "", sections(text)["What a few clicks change"], flags=re.M)
    given = {"50", "200"}  # how many labels the readers gave
    assert set(re.findall(r"\d+(?:\.\d+)?", prose)) <= given, "a result must be read from a run"


# From the documents to the book


def rows() -> list[list[str]]:
    table = sections(read("appendix/sources.md"))["Where each subject is"]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in re.findall(r"^\| \d.*\|$", table, re.M)
    ]


def test_every_subject_of_the_documents_is_listed_with_its_state():
    assert [int(row[0].strip("| ")) for row in rows()] == list(range(1, 27))
    for row in rows():
        assert len(row) == 3
        assert re.search(r"\(00[0-4].*\)$", row[1]), f"row {row[0]} names no document"
        where = row[2].strip("| ")
        assert re.match(r"\*Built\*|\*In part\*|Not yet written\.$", where), f"row {row[0]}: {where}"
        if where.startswith("*Built*"):
            assert "](" in where and "`mmbook." in where, f"row {row[0]} is built but leads nowhere"
    assert all(any(f"00{d}" in row[1] or "000 to 004" in row[1] for row in rows()) for d in range(5))


# One telling word from each known error, by document.
ERRORS = {
    "Document 000": ["accumulat", "converge", "4.3"],
    "Document 001": ["CLIPProcessor", "breaks off"],
    "Document 002": ["input multimodal", "never connected", "GRU", "sigmoid"],
    "Document 003": [
        "minimise", "adds Q", "bandit", "agent's action", "one minus the mean loss", "ten actions",
        "expectation over i", "random observations", "64*8*8", "action 0", "env.reset()", "reward_fn",
        "optimiser step", "`nn`", "np.mean", "torchar", "old `gym`",
        "NumPy array", "Episode Reward", "Coursera", "GPT-3",
    ],
    "Document 004": ["prompt"],
    "References": ["could not be confirmed"],
}  # fmt: skip


@pytest.mark.parametrize("document", ERRORS)
def test_every_known_error_has_its_own_correction(document):
    corrections = sections(sections(read("appendix/sources.md"))["Corrections"], "###")
    assert list(corrections) == list(ERRORS)
    lines = re.findall(r"^- (.+)$", corrections[document], re.M)
    assert len(lines) == len(ERRORS[document])
    for line, word in zip(lines, ERRORS[document], strict=True):
        assert word.lower() in line.lower()
        assert len(line) > 60, f"says what is wrong, not what is right: {line}"


def test_pages_say_nothing_of_where_they_were_written():
    for page in PAGES:
        assert not re.search(r"/work|shared/|\.txt\b", read(page))


# The glossary


def entries() -> list[tuple[str, str, str]]:
    body = re.search(r"```\{glossary\}\n(.*)\n```", read("appendix/glossary.md"), re.S)
    assert body
    blocks = [block.split("\n") for block in body[1].split("\n\n")]
    assert all(len(block) == 3 and block[2].startswith("  ") for block in blocks)
    return [(en, zh, says.strip()) for en, zh, says in blocks]


def test_terms_are_unique_sorted_and_have_chinese():
    english, chinese, said = zip(*entries(), strict=True)
    assert len(english) >= 60
    assert len(set(map(str.lower, english))) == len(english) and len(set(chinese)) == len(chinese)
    assert list(english) == sorted(english, key=lambda term: re.sub(r"[^a-z]+", " ", term.lower()))
    assert all(CHINESE.search(zh) for zh in chinese) and not any(CHINESE.search(en) for en in english)
    assert all(text.endswith(".") and 20 < len(text) < 260 for text in said)


def test_terms_that_are_referred_to_exist():
    english = {en for en, _, _ in entries()}
    for path in BOOK.rglob("*.md"):
        for term in re.findall(r"\{term\}`([^`]+)`", path.read_text(encoding="utf-8")):
            assert (re.search(r"<(.+)>", term) or [0, term])[1] in english, f"{path.name}: {term}"


def test_each_picture_of_the_labellers_is_in_the_site_once(built_book):
    pages = [p for p in built_book.rglob("*.html") if "mmb-static" in p.read_text(encoding="utf-8")]
    seen = set()
    for page in pages:
        tags = re.findall(r"<img data-key=[^>]*>", page.read_text(encoding="utf-8"))
        files = [re.search(r'src="([^"]+)"', tag)[1] for tag in tags if "data-inline" not in tag]
        seen |= {page.stem} if files else set()  # a choice of mistakes has words alone
        assert not any(name.startswith("data:") for name in files)
        assert all((page.parent / name).is_file() for name in files)
        assert all(
            (built_book / "_static" / "mmbook" / name).is_file() for name in ("loader.js", "labeller.css")
        )
    assert {"quickstart", "feedback"} <= seen
    pictures = [p.read_bytes() for p in (built_book / "_images" / "labeller").iterdir()]
    assert len(set(pictures)) == len(pictures) > 50
