"""The invented cases: their table, what is drawn from it, and that findings can be read and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from mmbook.world.triage import CAUSES, MARK, MISSING, PHRASES, joint_table, posterior, sample_cases


def test_the_table_is_the_story_of_the_causes_counted() -> None:
    rng, n = np.random.default_rng(0), 200_000
    table, counted = joint_table(), np.zeros((3, 3, 3, 3))
    which = rng.choice(len(CAUSES), n, p=[row[0] for row in CAUSES.values()])
    for c, (_, *factors) in enumerate(CAUSES.values()):
        k = int((which == c).sum())
        np.add.at(counted, tuple(rng.choice(3, k, p=np.array(f)) for f in factors), 1)
    np.testing.assert_allclose(counted / n, table, atol=0.003)
    assert table.sum() == pytest.approx(1)


def test_other_rates_leave_each_urgency_looking_the_same() -> None:
    table, other = joint_table(), joint_table((0.5, 0.3, 0.2))
    np.testing.assert_allclose(other.sum((1, 2, 3)), (0.5, 0.3, 0.2))
    np.testing.assert_allclose(other[2] / 0.2, table[2] / table[2].sum())
    for rates in ((1, 1, 1), (0.5, 0.5), (1.2, -0.1, -0.1)):
        with pytest.raises(ValueError, match="rates: expected three shares"):
            joint_table(rates)


def test_the_posterior_sums_over_what_is_missing() -> None:
    table = joint_table()
    findings, present = (
        np.array([[0, 1, 1], [0, 1, 1], [2, 0, 2]]),
        np.array([[1, 1, 1], [0, 1, 0], [1, 0, 0]]),
    )
    p = posterior(table, findings, present)
    np.testing.assert_allclose(p[0], table[:, 0, 1, 1] / table[:, 0, 1, 1].sum())
    np.testing.assert_allclose(p[1], table[:, :, 1].sum((1, 2)) / table[:, :, 1].sum())
    np.testing.assert_allclose(p[2], table[:, 2].sum((1, 2)) / table[:, 2].sum())


def test_cases_are_drawn_from_the_table_and_repeat_with_their_seed() -> None:
    data, again = sample_cases(3000, 5), sample_cases(3000, 5)
    for name in ("label", "findings", "present", "scan", "pulse", "note", "wave"):
        np.testing.assert_array_equal(getattr(data, name), getattr(again, name))
    assert data.scan.shape == (3000, 32, 32, 3) and data.scan.dtype == np.uint8
    table = joint_table()
    counted = np.bincount(np.ravel_multi_index((data.label, *data.findings.T), (3,) * 4), minlength=81) / 3000
    assert np.abs(counted - table.ravel()).max() < 0.03
    assert abs(1 - data.present.mean() - MISSING) < 0.02 and data.present.max(1).min() == 1
    assert (data.note[:, 0] > 0).all()


def test_scans_pulses_and_notes_show_their_findings() -> None:
    data = sample_cases(1500, 1)
    scan, pulse, note = data.findings.T
    bright = np.sort(data.scan[..., 0].reshape(1500, -1).astype(float), 1)[:, -8:].mean(1)
    assert bright[scan == 0].mean() < bright[scan == 1].mean() < bright[scan == 2].mean()
    top = data.pulse.mean(1).argmax(1)  # the commonest frequency
    assert np.median(top[pulse == 1]) > np.median(top[pulse == 0])
    peak = data.pulse.mean(1).max(1)
    assert peak[pulse == 2].mean() < peak[pulse == 0].mean()  # no frequency stands out
    for row in range(100):
        assert any(phrase in data.sentence(row) for phrase in PHRASES[note[row]])


def test_one_word_does_not_tell_what_a_note_shows() -> None:
    said = [{word for phrase in phrases for word in phrase.split()} for phrases in PHRASES]
    assert {"climb", "faint", "climbed", "fainted", "not"} <= said[0] | said[1]
    assert said[0] & {"climbed", "fainted"} and said[1] & {"faint"} and said[2] & {"climbed", "not"}


def test_shuffling_keeps_findings_with_what_shows_them() -> None:
    data = sample_cases(300, 2)
    other = data.shuffled("scan", 0)
    np.testing.assert_array_equal(other.note, data.note)
    np.testing.assert_array_equal(other.label, data.label)
    assert (other.findings[:, 0] != data.findings[:, 0]).any()
    there = data.present[:, 0] > 0
    np.testing.assert_array_equal(other.scan[~there], data.scan[~there])
    key = {scan.tobytes(): f for scan, f in zip(data.scan, data.findings[:, 0], strict=True)}
    assert all(key[s.tobytes()] == f for s, f in zip(other.scan, other.findings[:, 0], strict=True))
    with pytest.raises(ValueError, match="modality: expected one of scan"):
        data.shuffled("smell", 0)


def test_a_marker_stands_in_the_corner_of_the_rows_that_are_named() -> None:
    data = sample_cases(20, 3)
    rows = np.arange(20) % 2 == 0
    marked = data.marked(rows)
    assert (marked.scan[rows][(slice(None), *MARK)] == 235).all()
    np.testing.assert_array_equal(marked.scan[~rows], data.scan[~rows])
    outside = np.ones((32, 32), bool)
    outside[MARK] = False
    np.testing.assert_array_equal(marked.scan[:, outside], data.scan[:, outside])
    assert (data.scan[(slice(None), *MARK)] < 235).all()  # the given cases stay
