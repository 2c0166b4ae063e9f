"""Figures: the same bytes every time, no warnings, right marks and numbers, colours that differ."""

from __future__ import annotations

import base64
import io
import itertools
import json
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mmbook import figures
from mmbook.figures import INK, POLICY, REFERENCE, REWARD, TRUTH
from mmbook.world import Scene, Sticker, check, describe, normalise, sample_scenes, say
from mmbook.world.gridworld import gridworld

ROOT = Path(__file__).resolve().parents[2]
SCENES = sample_scenes(4, seed=3)
BEFORE = [
    "hello, please let me show you a cat and a bus. thank you!",
    "cat.",
    "no sentence",
    "a cat is all alone.",
]
AFTER = [", ".join(scene.kinds) + "." for scene in SCENES]
SHARES = {"terse": 0.1, "plain": 0.3, "rambling": 0.5}
GRID = gridworld("cliff")
RUNS = [[{"score": 0.1 * u + s, "kl": 0.3 * u} for u in range(5)] for s in range(3)]
ROWS = {
    "base": {"full": [0.4, 0.5], "coverage": [0.8, 0.9]},
    "tuned": {"full": [0.7, 0.8], "coverage": [0.9, 1.0]},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple]:
    """Data for each figure."""
    path = tmp_path_factory.mktemp("run") / "captions.json"
    rows = [
        {"scene": s.to_json(), "before": b, "after": a} for s, b, a in zip(SCENES, BEFORE, AFTER, strict=True)
    ]
    path.write_text(json.dumps({"rows": rows}))
    return {
        "loop": (),
        "before-after": (path,),
        "scenes": (SCENES, BEFORE),
        "styles": (SHARES, {"terse": 1.0}),
        "history": tuple(RUNS),
        "scores": (ROWS, ("full", "coverage")),
        "value-map": (GRID, np.linspace(-0.5, 1, len(GRID.cells)), np.full((len(GRID.cells), 4), 0.25)),
        "curves": ({"Q-learning": ([1, 2, 3], [[0.1, 0.2, 0.4], [0.2, 0.2, 0.6]])}, "steps", "return"),
        "bars": ({"Q-learning": [0.4, 0.6], "SARSA": 0.3}, "return per episode"),
        "against-kl": ([{"n": 50, "seed": 0, "kl": i, "gold": -i, "proxy": i} for i in range(4)], "n"),
        "words": (["a", "cat", "and", "then", "a", "dog", "."], [0.1, 1.0, -0.2, -0.1, 0.0, -0.5, 0.2]),
    }


def ending(name: str) -> str:
    return "png" if name in ("before-after", "scenes", "value-map") else "svg"


def written(name: str, data: dict[str, tuple], folder: Path) -> bytes:
    return figures.save(name, folder / f"{name}.{ending(name)}", *data[name]).read_bytes()


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_drawn_without_a_warning_and_always_alike(name, data, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = written(name, data, tmp_path)
        assert written(name, data, tmp_path) == first
    assert len(figures.alt(figures.FIGURES[name](*data[name]))) > 40
    if ending(name) == "svg":
        ElementTree.fromstring(first)
    else:
        assert Image.open(io.BytesIO(first)).mode == "RGBA"


def test_another_process_draws_the_same_bytes(data, tmp_path):
    code = f"from mmbook import figures; figures.save('history', {str(tmp_path / 'b.svg')!r}, *{RUNS!r})"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)
    assert (tmp_path / "b.svg").read_bytes() == written("history", data, tmp_path)


def test_figures_load_no_torch_and_leave_no_style_behind():
    code = """
import sys, matplotlib
before = dict(matplotlib.rcParams)
from mmbook import figures
figures.styles({"terse": 1.0}, {"terse": 1.0}).data()
assert dict(matplotlib.rcParams) == before, "the style leaked"
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def pictures_apart(svg: str) -> tuple[str, list[np.ndarray]]:
    """The text of an SVG, and its pictures decoded, whatever way they were compressed."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    decoded = [np.asarray(Image.open(io.BytesIO(base64.b64decode(code)))) for code in found]
    return re.sub(r"base64,[^\"]+", "", svg), decoded


def test_the_committed_loop_is_what_the_code_draws():
    committed = (ROOT / "book/static/figures/loop.svg").read_text(encoding="utf-8")
    (text, pictures), (drawn, again) = pictures_apart(committed), pictures_apart(figures.loop())
    assert text == drawn
    assert len(pictures) == 1 and np.array_equal(pictures[0], again[0])


def test_the_committed_before_and_after_is_what_the_run_said():
    run = ROOT / "benchmarks/results/captions.json"
    committed = np.asarray(Image.open(ROOT / "book/static/before-after.png").convert("RGBA")).astype(int)
    drawn = Image.open(io.BytesIO(figures.before_after(run).data())).convert("RGBA")
    assert committed.shape == (drawn.height, drawn.width, 4)
    assert np.abs(committed - np.asarray(drawn)).mean() < 1  # letters may be smoothed differently elsewhere


def test_a_figure_shows_itself_in_a_notebook():
    content, details = figures.styles(SHARES, SHARES)._repr_mimebundle_()
    assert content["image/svg+xml"].lstrip().startswith("<?xml") and "terse 10%" in content["text/plain"]
    content, details = figures.scenes(SCENES[:1], BEFORE[:1])._repr_mimebundle_()
    width = Image.open(io.BytesIO(content["image/png"])).width
    assert details["image/png"]["width"] == pytest.approx(width * 96 / 200, abs=1)


# What the marks mark


@pytest.mark.parametrize(
    ("caption", "wrong"),
    [
        ("{0}, {1}.", []),
        ("{0}, {2}.", ["{2}"]),
        ("{0}, {0}.", ["{0}"]),
        ("a {0} is right of a {1}.", ["right", "of"]),
        ("a {0} is above a {1}.", []),
        ("a {0} is all alone.", ["alone"]),
        ("a big {0} at the top left.", []),
        ("a small {0} at the bottom left.", ["small", "bottom", "left"]),
        ("a big {2} at the top left.", ["big", "{2}", "top", "left"]),
        ("no such sentence", []),
    ],
)
def test_the_words_of_a_wrong_claim_are_marked(caption, wrong):
    scene = Scene((Sticker("cat", 0, True), Sticker("tiger", 3, False)))
    kinds = ("cat", "tiger", "bus")
    caption = caption.format(*kinds)
    words = normalise(caption).split()
    marked = [words[i] for i in sorted(figures.wrong_words(caption, scene))]
    assert marked == [word.format(*kinds) for word in wrong]


@given(st.integers(0, 200), st.sampled_from(["terse", "plain", "detailed", "polite", "relation", "rambling"]))
def test_a_caption_is_marked_exactly_when_the_checker_finds_it_wrong(seed, style):
    here, elsewhere = sample_scenes(2, seed)
    for about in (here, elsewhere):
        caption = say(describe(about, style))
        assert bool(figures.wrong_words(caption, here)) == (not check(caption, here).true)


def written_texts(figure: figures.Drawing) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_marks_and_notes_are_drawn():
    scene = Scene((Sticker("cat", 0, True), Sticker("tiger", 3, False)))
    figure = figures.scenes([scene], ["a cat and a bus."], ["cat, tiger."])
    assert written_texts(figure) == [
        "before", "a", "cat", "and", "a", "× bus.", "(leaves", "out:", "tiger)", "after", "cat,", "tiger.",
    ]  # fmt: skip
    assert [text.get_weight() for text in figure.axes[0].texts].count("bold") == 3  # both names and the bus
    assert "(not" in written_texts(figures.scenes([scene], ["cat tiger"]))
    assert not any("×" in text for text in written_texts(figures.scenes([scene], ["cat, tiger."])))


def test_no_word_leaves_its_column():
    long = "hello, please let me show you a sunflower, an airplane, a hamburger and a mushroom. thank you!"
    figure = figures.scenes(SCENES, [long] * 4, [long] * 4)
    edge = figure.bbox.width
    assert all(t.get_window_extent().x1 <= edge for t in figure.axes[0].texts)
    assert all(t.get_window_extent().y0 >= 0 for t in figure.axes[0].texts)


# Numbers in the plots are the numbers that were given


def test_bars_and_dots_stand_where_the_numbers_are():
    figure = figures.styles(SHARES, {"terse": 1.0})
    bars = {round(bar.get_width(), 6) for bar in figure.axes[0].patches}
    assert bars == {0.1, 0.3, 0.5, 1.0, 0.0}  # 0.1 twice: terse, and what no style has
    assert "(none)" in [label.get_text() for label in figure.axes[0].get_yticklabels()]
    figure = figures.scores(ROWS, ("full", "coverage"))
    assert [t.get_text() for t in figure.axes[0].texts] == ["0.45", "0.75"]
    colours = {line.get_color() for line in figure.axes[0].lines}
    assert colours == {REFERENCE, POLICY}
    assert "full: base 0.45, tuned 0.75" in figure.alt


def test_history_has_a_line_for_each_seed_and_their_mean():
    figure = figures.history(*RUNS)
    assert [len(axes.lines) for axes in figure.axes] == [4, 4]
    assert list(figure.axes[0].lines[-1].get_ydata()) == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    assert [len(axes.lines) for axes in figures.history(RUNS[0]).axes] == [1, 1]


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: figures.history(), "at least one run"),
        (lambda: figures.history([]), "at least one update"),
        (lambda: figures.words(["a"], [1.0, 2.0]), "one for each of 1 words"),
        (lambda: figures.scenes(SCENES, ["cat."]), "as many captions as scenes, got 4, \\[1\\]"),
        (lambda: figures.scores({"base": {"full": 0.5}}), "row 'base': .*coverage"),
        (
            lambda: figures.scores(ROWS, ("full",), tuned=["nobody"]),
            "expected some of base, tuned, got nobody",
        ),
        (lambda: figures.save("loops", "x.svg"), "one of loop, before-after"),
        (lambda: figures.save("loop", "x.png"), "written as .svg, got 'x.png'"),
        (lambda: figures.save("styles", "x.svg"), "drawn from data"),
    ],
)
def test_errors_say_what_was_expected(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()


def test_a_broken_or_missing_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.json: expected the captions of a run"):
        figures.before_after(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"rows": [{"scene": {"stickers": []}, "before": "a", "after": "b"}]}')
    with pytest.raises(ValueError, match=r"bad.json: expected .*stickers: expected one to three"):
        figures.before_after(tmp_path / "bad.json")


# Colours

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "no red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "no green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "no blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def linear(colour: str) -> np.ndarray:
    v = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    m = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    f = np.cbrt(m @ rgb / [0.9505, 1, 1.089])
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_the_four_colours_differ_for_everyone(eyes):
    seen = [lab(np.clip(EYES[eyes] @ linear(c), 0, 1)) for c in (POLICY, REFERENCE, REWARD, TRUTH)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 12


def test_colours_are_readable_on_light_and_dark_pages_and_under_white_text():
    for colour in (POLICY, REFERENCE, REWARD, TRUTH):
        assert contrast(colour, "#ffffff") >= 4.5 and contrast(colour, "#14181e") >= 3
    assert min(contrast(INK, "#ffffff"), contrast(INK, "#14181e")) >= 4.2


def test_the_pages_use_the_same_colours():
    css = (ROOT / "book/static/book.css").read_text(encoding="utf-8").split("}")[0]
    named = dict(re.findall(r"--mm-(\w+): (#\w{6})", css))
    assert named == {"policy": POLICY, "reference": REFERENCE, "reward": REWARD, "truth": TRUTH}


def test_a_question_stands_before_its_answer_and_what_the_answer_is_behind_it() -> None:
    stickers = (Sticker("cat", 0, big=True), Sticker("bus", 3, big=False))
    drawn = figures.scenes([Scene(stickers, question="where is it?")], ["at the top left."])
    words = [text.get_text() for text in drawn.axes[0].texts]
    assert words[:3] == ["where", "is", "it?"] and "(a" in words and "50%)" in words
