"""The figure of cases: as many rows as were asked for, and what it says in words."""

from __future__ import annotations

from mmbook.figures.triage import cases
from mmbook.world.triage import sample_cases


def test_cases_are_shown_with_their_words_and_what_is_missing() -> None:
    data = sample_cases(60, 3)
    rows = [int(row) for j in range(3) for row in (data.present[:, j] == 0).nonzero()[0][:1]]
    figure = cases(data, [0, *rows])
    assert figure.kind == "png" and figure.data()[:4] == b"\x89PNG"
    assert len(figure.axes) == 2 * (1 + len(rows)) and data.sentence(0) in figure.alt
    said = [t.get_text() for t in figure.texts] + [t.get_text() for a in figure.axes for t in a.texts]
    assert said.count("missing") >= 3
