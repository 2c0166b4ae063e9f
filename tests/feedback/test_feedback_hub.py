"""Preferences from the hub: sets in the form that the real ones have, streamed from files, become a log."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmbook import load_pretrained_model, train_reward_model
from mmbook.feedback import Feedback, validate
from mmbook.feedback.hub import SETS, hub_feedback
from mmbook.rlhf import RewardConfig
from mmbook.world import describe, render, sample_scenes, say
from mmbook.world.photos import PictureBatch

datasets = pytest.importorskip("datasets")
HUMAN, AI = SETS
ROWS = 80
SCENES = sample_scenes(ROWS, 81)
PICTURES = render(SCENES)
SAID = [say(describe(scene, "plain")) for scene in SCENES]
PAIRS = list(zip(SAID, SAID[::-1], strict=True))  # of the picture, and of another one


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def rows(name: str, **changes: Any) -> list[dict[str, Any]]:
    """Rows with the columns of the real sets; in RLHF-V the three texts are JSON in one of them."""
    made = []
    for n, (picture, (chosen, rejected)) in enumerate(zip(PICTURES, PAIRS, strict=True)):
        texts = {"question": f"What is in picture {n}?", "chosen": chosen, "rejected": rejected}
        made.append(
            {"ds_name": name, "image": {"bytes": png(picture), "path": None}}
            | ({"text": json.dumps(texts)} if name == HUMAN else texts)
            | {"origin_dataset": "stickers", "origin_split": "{}", "image_path": f"{n}.png"}
            | {"idx": n if name == HUMAN else str(n)}
        )
        made[-1] |= {k: v for k, v in changes.items() if n == 3}
    return made


def write(folder: Path, made: list[dict[str, Any]], typed: bool = True) -> Path:
    """A folder with one parquet file; the hub's cards say that `image` is one, a bare file does not."""
    folder.mkdir(parents=True)
    table = datasets.Dataset.from_list(made)
    table = table.cast_column("image", datasets.Image()) if typed else table
    table.to_parquet(folder / "set.parquet")
    return folder


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("typed", [True, False])
def test_rows_become_pairs_exactly(name: str, typed: bool, tmp_path: Path) -> None:
    source = write(tmp_path / "set", rows(name), typed)
    feedback = hub_feedback(name, rows=12, folder=tmp_path, source=source)
    records = feedback.records
    assert len(records) == 12 and not feedback.problems and not any(map(validate, records))
    for n, record in enumerate(records):
        assert (record["kind"], record["outcome"], record["choice"]) == ("pair", "label", 0)
        assert record["responses"] == list(PAIRS[n]) and record["prompt"] == f"What is in picture {n}?"
        assert base64.b64decode(record["image"].partition(",")[2]) == png(PICTURES[n])  # byte for byte
        assert np.array_equal(feedback.picture(record), PICTURES[n])
        assert record["annotator"] == f"{name} ({'human' if name == HUMAN else 'AI'})" and record["imported"]
        assert record["source"] == {"dataset": name, "split": "train", "row": n, "licence": "CC BY-NC 4.0"}
        assert (record["via"], record["time"]) == ("call", SETS[name].time)


def test_the_second_call_reads_the_log_and_two_folders_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "set", rows(HUMAN))
    first, second = (hub_feedback(rows=8, folder=tmp_path / x, source=source) for x in "ab")
    assert first.path.read_bytes() == second.path.read_bytes()
    first.path.with_name(first.path.name + ".part").write_text("broken off")
    monkeypatch.setattr(datasets, "load_dataset", None)
    assert hub_feedback(rows=8, folder=tmp_path / "a").records == second.records
    assert len(Feedback.merge([first, second]).records) == 8  # copies count once
    with pytest.raises(OSError, match="expected a preference set"):
        hub_feedback(rows=9, folder=tmp_path / "a")  # another slice is not there yet
    assert {p.name for p in (tmp_path / "b").iterdir()} == {second.path.name}


def test_the_hub_is_asked_for_a_stream_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, asked, real = write(tmp_path / "set", rows(AI)), [], datasets.load_dataset

    def fetch(name: str, **how: Any) -> Any:
        asked.append((name, how))
        return real(str(source), **how)

    monkeypatch.setattr(datasets, "load_dataset", fetch)
    monkeypatch.setenv("MMBOOK_DATA", str(tmp_path / "data"))
    feedback = hub_feedback(AI, rows=3)
    assert asked == [(AI, {"split": "train", "streaming": True})]
    assert feedback.path.parent == tmp_path / "data" / "feedback" and len(feedback.records) == 3


def test_large_pictures_are_shrunk_and_keep_their_shape(tmp_path: Path) -> None:
    made = rows(HUMAN, image={"bytes": png(render(SCENES[:1], 960)[0][:480]), "path": None})
    feedback = hub_feedback(rows=5, folder=tmp_path, source=write(tmp_path / "set", made), longest=96)
    shapes = [feedback.picture(r).shape for r in feedback.records]
    assert shapes == [(48, 48, 3)] * 3 + [(48, 96, 3)] + [(48, 48, 3)]


@pytest.mark.parametrize(
    "broken",
    [
        {"text": "no JSON"},
        {"text": '{"question": "?", "chosen": "a"}'},
        {"image": {"bytes": b"x", "path": None}},
    ],
)
def test_a_broken_row_is_left_out_and_told(broken: dict[str, Any], tmp_path: Path) -> None:
    source = write(tmp_path / "set", rows(HUMAN, **broken), typed=False)
    with pytest.warns(UserWarning, match="1 faults, rows left out; first row 3: expected an image"):
        feedback = hub_feedback(rows=6, folder=tmp_path, source=source)
    assert [r["source"]["row"] for r in feedback.records] == [0, 1, 2, 4, 5]


def test_what_is_missing_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"name: expected one of openbmb/RLHF-V.*got 'me/mine'; give the rows"
    ):
        hub_feedback("me/mine")
    with pytest.raises(ValueError, match="rows: expected 1 or more, got 0"):
        hub_feedback(rows=0)
    other = write(tmp_path / "other", rows(AI))
    with pytest.raises(
        ValueError, match=r"none of 2 rows can be used. The first: row 0: expected an image, and"
    ):
        hub_feedback(HUMAN, rows=2, folder=tmp_path, source=other)
    offline = datasets.exceptions.DatasetNotFoundError, ConnectionError
    for error, says in zip(
        offline, ("check its spelling, or run `hf auth", "connect to the netw"), strict=True
    ):

        def fetch(*_: Any, error: type = error, **__: Any) -> None:
            raise error("nothing came")

        monkeypatch.setattr(datasets, "load_dataset", fetch)
        with pytest.raises(OSError, match=rf"nothing came\). The hub.*{says}"):
            hub_feedback(folder=tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="pip install datasets"):
        hub_feedback(folder=tmp_path)
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_reward_model_learns_from_such_a_set(tmp_path: Path) -> None:
    model = load_pretrained_model("tiny", device="cpu")
    source = write(tmp_path / "set", rows(HUMAN))
    feedback = hub_feedback(rows=ROWS, model=model, folder=tmp_path, source=source)
    config = RewardConfig(folds=2)
    reward, blind = (train_reward_model(feedback, 0, config, shuffle_pictures=x) for x in (False, True))
    assert reward.pairs == ROWS and reward.looks
    fresh = sample_scenes(60, 82)
    right = [say(describe(scene, "plain")) for scene in fresh]
    ranked = [(r.score(fresh, right) > r.score(fresh, right[::-1])).float().mean() for r in (reward, blind)]
    assert ranked[0] > 0.75 and ranked[1] < 0.65 and reward.accuracy > 0.7


def test_a_policy_learns_on_the_pictures_of_such_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher: labels of the set, reward model, PPO on its pictures and no others."""
    from mmbook.models import VLM
    from mmbook.runs import launch

    source, seen, look = write(tmp_path / "set", rows(HUMAN)), [], VLM.prefix
    monkeypatch.setattr(
        launch, "hub_feedback", lambda *told: hub_feedback(*told, folder=tmp_path, source=source)
    )
    monkeypatch.setattr(VLM, "prefix", lambda self, x: seen.append(x) or look(self, x))
    short = [
        "ppo.updates=2",
        "ppo.batch=8",
        "ppo.group=2",
        "ppo.minibatches=2",
        "run.scenes=4",
        "reward.epochs=5",
    ]
    told = [f"labels.hub={HUMAN}", "labels.pairs=40", "model.device=cpu", f"run.folder={tmp_path / 'run'}"]
    assert launch.main([*short, *told]) == 0
    known = {picture.tobytes() for picture in PICTURES}
    batches = [x for x in seen if isinstance(x, PictureBatch)]
    assert [len(x) for x in batches] == [16, 16, 4, 4]  # reference (twice), updates
    assert all(picture.tobytes() in known for x in batches for picture in x)
    assert (
        load_pretrained_model(tmp_path / "run" / "model", "cpu").hash
        != load_pretrained_model("tiny", "cpu").hash
    )


def test_a_batch_of_pictures_is_used_like_one_of_scenes() -> None:
    batch = PictureBatch([np.full((i + 1, 2, 3), i, np.uint8) for i in range(4)])
    assert [x[0, 0, 0] for x in batch[np.array([3, 1])].repeat(2)] == [3, 3, 1, 1]
    assert [len(x) for x in batch[1:3]] == [2, 3] and len(batch[[0]]) == 1 and batch[2].shape == (3, 2, 3)
