"""Which pair is asked about next."""

import pytest
import torch

from mmbook.equations import tie_probabilities
from mmbook.feedback import Feedback, SimulatedAnnotator, collect_human_feedback, make_record
from mmbook.feedback.items import make_items
from mmbook.feedback.ordering import Ordering, order, scorer_of, taste_ensemble, tie_rate, worth_asking
from mmbook.world import Scene

# Four models; pair 0 is equally good for all, pair 1 divides them, pair 2 is clear to all.
R = torch.tensor([[[0.0, 0.0], [s * 3.0, 0.0], [4.0, 0.0]] for s in (1, -1, 1, -1)])


def test_uncertainty_seeks_what_is_equally_good_and_disagreement_does_not() -> None:
    uncertain, divided = (worth_asking(R, way) for way in ("uncertainty", "disagreement"))
    assert uncertain[0] == pytest.approx(uncertain[1].item(), abs=1e-6) and uncertain[2] < uncertain[0]
    assert divided.argmax() == 1 and divided[0] == pytest.approx(0, abs=1e-6)


def test_ties_are_an_answer_that_can_be_foreseen() -> None:
    wide = R.clone()
    wide[:, 0] = torch.tensor([[0.3, 0.0], [-0.3, 0.0], [0.3, 0.0], [-0.3, 0.0]])
    plain, with_ties = worth_asking(wide, "disagreement"), worth_asking(wide, "disagreement", nu=20.0)
    assert with_ties[0] / with_ties[1] < plain[0] / plain[1]


def test_order_is_a_seeded_permutation_with_a_random_share() -> None:
    worth = torch.arange(200.0)
    assert order(worth, share=0) == list(range(199, -1, -1))
    mixed = order(worth, share=0.25, seed=3)
    assert sorted(mixed) == list(range(200)) and mixed == order(worth, share=0.25, seed=3)
    first = [i for i in mixed[:60] if i >= 140]
    assert 35 <= len(first) < 60  # three quarters from the top, and a quarter of the rest by chance
    assert order(worth, share=1, seed=1) != order(worth, share=1, seed=2)
    assert order(torch.zeros(50), share=0, seed=1) != list(range(50))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="random, uncertainty, disagreement"):
        worth_asking(R, "bald")
    with pytest.raises(ValueError, match="two models"):
        worth_asking(R[:1], "disagreement")
    with pytest.raises(ValueError, match="2 responses"):
        worth_asking(R[..., 0], "uncertainty")
    with pytest.raises(ValueError, match="0 to 1"):
        order(torch.zeros(3), share=2)


def test_a_scorer_of_reward_models_asks_each_for_both_responses(items):
    def short(scenes, captions):
        return [-len(caption) for caption in captions]

    model = type("Model", (), {"score": staticmethod(lambda scenes, captions: torch.arange(len(captions)))})()
    R = scorer_of(short, model)(items)
    assert R.shape == (2, 6, 2) and R[0, 3].tolist() == [-len(text) for text in items[3]["responses"]]
    assert R[1, :, 0].tolist() == list(range(6))
    with pytest.raises(ValueError, match="a reward model or more"):
        scorer_of()


def test_the_ensemble_learns_the_taste_and_its_members_differ(speaker):
    feedback = collect_human_feedback(speaker, 40, SimulatedAnnotator("terse"), seed=1)
    score, fresh = taste_ensemble(feedback), make_items(speaker, 100, seed=2)
    R = score(fresh)
    assert R.shape == (8, 100, 2) and torch.equal(R, taste_ensemble(feedback)(fresh))
    assert R.std(0).mean() > 0.01 and score([]).shape == (8, 0, 2)
    answers = [SimulatedAnnotator("terse")(Scene.from_json(i["scene"]), i["responses"]) for i in fresh]
    right = [p == a for p, a in zip(R.mean(0).argmax(-1).tolist(), answers, strict=True) if a != "tie"]
    assert sum(right) > 0.9 * len(right)
    empty = Feedback(feedback.items, feedback.path.with_name("none.jsonl"))
    assert taste_ensemble(empty)(fresh).eq(0).all()  # and so the order is random


def test_the_rate_of_ties_is_that_of_the_labels():
    R = torch.randn(3, 200, 2, generator=torch.Generator().manual_seed(0))
    for ties in (5, 60, 190):
        assert tie_probabilities(R[..., 0], R[..., 1], tie_rate(R, ties))[..., 2].mean(0).sum() == (
            pytest.approx(ties, abs=0.01)
        )
    assert tie_rate(R, 0) is None and tie_rate(R, 200) is None


def judge(feedback, *ids, outcome="label"):
    items = {item["id"]: item for item in feedback.items}
    for id in ids:
        choice = {"choice": 0} if outcome == "label" else {}
        record = make_record(items[id], annotator=feedback.annotator, outcome=outcome, **choice)
        feedback.append([{"op": "label", "record": record}])


@pytest.fixture
def feedback(speaker, tmp_path):
    return Feedback(make_items(speaker, 30, seed=0), tmp_path / "log", "ann")


def longest(items):
    """Two models that differ the more, the longer an item's captions are."""
    long = torch.tensor([float(len("".join(item["responses"]))) for item in items])
    return torch.stack([torch.stack([s * long / 100, 0 * long], -1) for s in (1, -1)])


def test_the_order_is_made_anew_after_every_few_labels_and_what_is_next_stays_next(feedback):
    seen = []

    def learn(early):
        seen.append(len(early.records))
        return longest

    feedback.ordering = Ordering("disagreement", learn=learn, share=0, every=3, seed=1)
    start = feedback.order()
    assert sorted(start) == sorted(item["id"] for item in feedback.items) and seen == []
    judge(feedback, *start[:2])
    assert feedback.order() == start and seen == []
    judge(feedback, start[2])
    after = feedback.order()
    assert after[:4] == start[:4] and seen == [3] and after != start
    size = {item["id"]: len("".join(item["responses"])) for item in feedback.items}
    assert [size[id] for id in after[4:]] == sorted((size[id] for id in after[4:]), reverse=True)
    judge(feedback, after[3], outcome="tie")
    feedback.append([{"op": "undo", "id": after[3], "annotator": "ann"}])
    assert feedback.order() == after  # what is taken back is asked again at once
    feedback.append([{"op": "undo", "id": after[2], "annotator": "ann"}])
    assert feedback.order() == start


def test_the_order_follows_from_the_seed_and_the_labels_alone(feedback):
    def orders(ordering):
        feedback.ordering = ordering
        return feedback.order()

    judge(feedback, *[item["id"] for item in feedback.items[10:23]])
    for way in ("uncertainty", "disagreement"):
        one = orders(Ordering(way, seed=1))
        assert one == orders(Ordering(way, seed=1)) != orders(Ordering(way, seed=2))
        assert one[:10] == [item["id"] for item in feedback.items[10:20]]  # judged ones first
        assert sorted(one) == sorted(item["id"] for item in feedback.items)
    before = Ordering("disagreement", seed=3)
    orders(before)
    other = make_record(feedback.items[0], annotator="bob", outcome="label", choice=1)
    feedback.append([{"op": "label", "record": other}])
    judge(feedback, feedback.items[23]["id"])
    assert orders(before) == orders(Ordering("disagreement", seed=3))  # whether it was asked before or not


def test_a_random_share_is_kept(feedback):
    judge(feedback, *[item["id"] for item in feedback.items[:5]])
    ids = {}
    for share in (0, 0.5, 1):
        feedback.ordering = Ordering("disagreement", scorer=longest, share=share)
        ids[share] = feedback.order()
    best = set(ids[0][6:16])
    assert len(best & set(ids[0.5][6:16])) < 10 and len(best & set(ids[1][6:16])) < 8


def test_a_function_may_order(feedback):
    feedback.ordering = Ordering(lambda feedback: [item["id"] for item in feedback.items[::-1]])
    assert feedback.order() == [item["id"] for item in feedback.items[::-1]]
    feedback.ordering = Ordering(lambda feedback: ["nowhere"])
    with pytest.raises(ValueError, match="ordering: expected ids of items, got 'nowhere'"):
        feedback.order()


def test_wrong_orderings_are_refused():
    for wrong, message in (
        ({"way": "bald"}, "expected one of random, uncertainty, disagreement or a function, got 'bald'"),
        ({"share": 2}, "share: expected 0 to 1"),
        ({"every": 0}, "every: expected a whole number, 1 or more, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Ordering(**wrong)


def test_a_simulated_reader_is_asked_in_the_order_that_arises(speaker, tmp_path):
    asked = []

    class Reader(SimulatedAnnotator):
        def __call__(self, scene, captions):
            asked.append(scene.to_json())
            if len(asked) == 18:
                raise KeyboardInterrupt
            return super().__call__(scene, captions)

    def collect(path, **more):
        return collect_human_feedback(
            speaker, 40, Reader("terse"), tmp_path / path, ordering="disagreement", **more
        )

    with pytest.raises(KeyboardInterrupt):
        collect("a")
    assert len(Feedback.from_log(tmp_path / "a").records) == 17  # nothing judged is lost
    whole = collect("a")
    assert len(whole.records) == 40 and [r["scene"] for r in whole.records] == asked[:17] + asked[18:]
    straight = collect("b")
    assert [r["id"] for r in straight.records] == [r["id"] for r in whole.records]  # as if never stopped
    assert [r["id"] for r in straight.records] != [item["id"] for item in straight.items]
    assert [r["id"] for r in straight.records] == straight.order()[:40]
    by_id = collect("c", scorer=longest)
    assert [r["id"] for r in by_id.records] != [r["id"] for r in straight.records]
    with pytest.raises(ValueError, match="ordering: expected 'random' for kind='edit'"):
        collect("d", kind="edit")


def test_the_labeller_of_a_person_is_reordered_as_clicks_arrive(feedback):
    """The item that is next when the order changes stays next."""
    feedback.ordering = Ordering("disagreement", every=4, seed=2)
    widget = feedback.show()
    start = list(widget.order)
    for n, id in enumerate(start[:4], 1):
        assert widget.order == start
        click = {"n": n, "op": "label", "id": id, "outcome": "label", "choice": 0, "side": 0, "ms": 900}
        click |= {"via": "key", "time": f"2026-01-01T00:00:0{n}.000Z"}
        widget.set_state({"outbox": {"page": [click]}})
    assert widget.order == feedback.order() != start
    assert widget.order[:5] == start[:5] and sorted(widget.order) == sorted(start)
