"""Rated texts: reading them, refusing broken lines, and pairs made of single ratings."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from mmbook.world.fetch import fetched
from mmbook.world.vader import KINDS, Rated, rating_pairs, read_ratings

TEXTS = "1\t1.5\tA fine film.\n2\t-2\tTom &amp; Jerry bore me.\n3\t0.5\tA fine film.\n4\t3\tContradicted.\n"
RATINGS = "\ufeff2\t-2\t1.0\t[-3, -1]\n1\t1.5\t0.5\t[1, 2]\n3\t0.5\t0.5\t[0, 1]\n4\t0\t0.0\t[0, 0]\n"
real = pytest.mark.skipif(
    not fetched("vader").is_dir(), reason="real ratings were not fetched: python -m mmbook fetch vader"
)


@pytest.fixture
def folder(tmp_path):
    def write(texts: str = TEXTS, ratings: str = RATINGS):
        (tmp_path / "movieReviewSnippets_GroundTruth.txt").write_bytes(texts.replace("\n", "\r\n").encode())
        (tmp_path / "movieReviewSnippets_anonDataRatings.txt").write_bytes(ratings.encode())
        return tmp_path

    return write


def test_texts_are_joined_by_id_kept_once_and_only_where_both_files_agree(folder):
    read = read_ratings("movies", folder())
    assert read == [Rated("A fine film.", (1, 2)), Rated("Tom & Jerry bore me.", (-3, -1))]
    assert [text.mean for text in read] == [1.5, -2.0]


@pytest.mark.parametrize(
    ("part", "old", "new", "says"),
    [
        ("ratings", "1.0\t[-3, -1]", "1.0", r"anonDataRatings.txt:1: expected 4 fields between tabs, got 3"),
        ("ratings", "[1, 2]", "[1, 5]", r"anonDataRatings.txt:2: ratings: expected whole.*got '\[1, 5\]'"),
        ("ratings", "[1, 2]", "[1, 2", r"anonDataRatings.txt:2: ratings: expected whole numbers"),
        ("ratings", "[1, 2]", "[]", r"anonDataRatings.txt:2: ratings: expected whole numbers"),
        ("ratings", "3\t0.5\t0.5\t[0, 1]\n", "", r"GroundTruth.txt:3: expected ratings of text 3"),
        ("texts", "-2\tTom", "bad\tTom", r"GroundTruth.txt:2: mean: expected a number, got 'bad'"),
    ],
)
def test_a_broken_line_is_named_by_file_and_line(folder, part, old, new, says):
    files = {"texts": TEXTS, "ratings": RATINGS}
    assert old in files[part]
    files[part] = files[part].replace(old, new)
    with pytest.raises(ValueError, match=says):
        read_ratings("movies", folder(**files))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m mmbook fetch vader"):
        read_ratings("movies", tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected one of movies, tweets, editorials, products, got 'songs'"):
        read_ratings("songs", tmp_path)


def test_pairs_follow_the_shares_of_single_ratings():
    texts = [Rated("a", (0, 2)), Rated("b", (1, 1)), Rated("c", (1, 0))]
    pairs = Counter(map(tuple, rating_pairs(texts, 30_000, 0).tolist()))
    # of two texts, each first rating beats each second one: count the untied combinations by hand
    ways = {
        (a, b): np.mean([x > y for x in texts[a].ratings for y in texts[b].ratings])
        for a in range(3)
        for b in range(3)
        if a != b
    }
    total = sum(ways.values())
    for pair, share in ways.items():
        assert pairs[pair] / 30_000 == pytest.approx(share / total, abs=0.01), pair


def test_a_group_compares_all_its_texts_by_one_rating_each():
    texts = [Rated(str(i), (i - 4,)) for i in range(9)]
    pairs = rating_pairs(texts, 72, 3, group=9)
    assert set(map(tuple, pairs[:36].tolist())) == {(a, b) for a in range(9) for b in range(a)}
    assert set(map(tuple, pairs[36:].tolist())) == set(map(tuple, pairs[:36].tolist()))
    assert (rating_pairs(texts, 72, 3, group=9) == pairs).all()
    assert not (rating_pairs(texts, 72, 4, group=9) == pairs).all()


def test_pairs_that_cannot_be_made_are_refused():
    with pytest.raises(ValueError, match="group: expected 2 to 1 texts, got 2"):
        rating_pairs([Rated("a", (1, 2))], 5, 0)
    with pytest.raises(ValueError, match="expected ratings that differ"):
        rating_pairs([Rated("a", (1,)), Rated("b", (1, 1))], 5, 0)


@real
@pytest.mark.parametrize("kind", KINDS)
def test_the_real_files_are_read_whole(kind):
    texts = read_ratings(kind)
    expected = {"movies": 10_603, "tweets": 4_004, "editorials": 5_119, "products": 3_697}
    assert len(texts) == expected[kind] and all(15 <= len(text.ratings) <= 99 for text in texts)


@real
def test_real_people_mostly_agree_on_a_pair():
    texts = read_ratings("movies")
    means = np.array([text.mean for text in texts])
    pairs = rating_pairs(texts, 5000, 0)
    agree = (means[pairs[:, 0]] > means[pairs[:, 1]]).mean()
    assert 0.8 < agree < 0.95  # two raters' single numbers, not one's choice
