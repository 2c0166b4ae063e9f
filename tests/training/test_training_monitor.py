"""What the monitor writes is read back with TensorBoard's own reader and compared with the run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmbook.models import VLM, load_pretrained_model
from mmbook.rlhf import KnownReward, fine_tune_with_rl
from mmbook.training import monitor
from mmbook.training.monitor import Monitor
from mmbook.world import render, sample_scenes

SHORT = {"updates": 5, "batch": 8, "minibatches": 2, "epochs": 1, "rank": 2, "lr": 0.03, "progress": False}


@pytest.fixture(scope="module")
def tiny() -> VLM:
    return load_pretrained_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def short(tiny: VLM, tmp_path_factory):
    """A run that was watched, its folder, and the same run that nobody watched."""
    folder = tmp_path_factory.mktemp("watched")
    watched = fine_tune_with_rl(
        tiny, KnownReward(tiny), callback=Monitor(folder, every=2, captions=3), **SHORT
    )
    return watched, folder, fine_tune_with_rl(tiny, KnownReward(tiny), **SHORT)


def events(folder: Path) -> EventAccumulator:
    """All that TensorBoard shows of a folder."""
    reader = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return reader.Reload()


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]


def test_curves_are_the_history(short) -> None:
    watched, folder, _ = short
    reader = events(folder)
    assert reader.Tags()["scalars"] == [f"ppo/{name}" for name in watched.history[0]]
    for name in watched.history[0]:
        curve = reader.Scalars(f"ppo/{name}")
        assert [event.step for event in curve] == [1, 2, 3, 4, 5]
        expected = np.float32([row[name] for row in watched.history])
        assert np.array_equal(np.float32([event.value for event in curve]), expected), name


def test_being_watched_changes_nothing(short) -> None:
    watched, _, alone = short
    assert watched.hash == alone.hash and watched.history == alone.history


def test_captions_are_of_the_same_scenes_at_every_look(short, tiny) -> None:
    _, folder, _ = short
    said = rows(folder)
    assert [row["update"] for row in said] == [0] * 6 + [2] * 6 + [4] * 6
    first, scenes = said[:6], sample_scenes(3, seed=7)
    assert [row["scene"] for row in first] == 2 * [scene.to_json() for scene in scenes]
    assert [row["scene"] for row in said[6:12]] == [row["scene"] for row in first]
    assert [row["caption"] for row in first[:3]] == tiny.sample(scenes, greedy=True)
    assert [row["caption"] for row in first[3:]] == tiny.sample(scenes, seed=0)
    assert [row["greedy"] for row in first] == [True] * 3 + [False] * 3
    assert [row["caption"] for row in said[12:]] != [row["caption"] for row in first]  # it has learned


def test_pictures_carry_their_captions(short) -> None:
    _, folder, _ = short
    reader, scenes = events(folder), sample_scenes(3, seed=7)
    assert reader.Tags()["images"] == ["captions/0", "captions/1", "captions/2"]
    for i, scene in enumerate(scenes):
        shown = reader.Images(f"captions/{i}")
        assert [event.step for event in shown] == [0, 2, 4]
        for event in shown:
            picture = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
            assert np.array_equal(picture[:240], render([scene], 240)[0])
            said = [row for row in rows(folder) if row["update"] == event.step][i::3]
            text = {"greedy": said[0]["caption"], "at 1": said[1]["caption"]}
            assert np.array_equal(picture, monitor.captioned(scene, text))
            assert (picture[240:] < 100).any()  # something is written there
    blank, words = (monitor.captioned(scenes[0], {"greedy": x}) for x in ("a cat.", "a dog."))
    assert not np.array_equal(blank, words)


def test_a_run_that_goes_on_leaves_no_event_twice(short, tiny, tmp_path: Path) -> None:
    """Broken off after update 3 was written but not kept, in the middle of a line."""
    watched, folder, _ = short
    watch = Monitor(tmp_path, every=1, captions=3)

    def broken(update: int, model) -> None:
        watch(update, model)
        if update == 3:
            with (tmp_path / "captions.jsonl").open("a") as file:
                file.write('{"update": 3, "gre')
            raise KeyboardInterrupt

    run = {**SHORT, "folder": tmp_path / "checkpoint"}
    with pytest.raises(KeyboardInterrupt):
        fine_tune_with_rl(tiny, KnownReward(tiny), callback=broken, **run)
    assert [event.step for event in events(tmp_path).Scalars("ppo/kl")] == [1, 2, 3]
    fine_tune_with_rl(tiny, KnownReward(tiny), callback=Monitor(tmp_path, every=1, captions=3), **run)
    reader = events(tmp_path)
    for name in watched.history[0]:
        ours, theirs = (x.Scalars(f"ppo/{name}") for x in (reader, events(folder)))
        assert [(event.step, event.value) for event in ours] == [(e.step, e.value) for e in theirs], name
    assert [event.step for event in reader.Images("captions/0")] == [0, 1, 2, 3, 4, 5]
    said = rows(tmp_path)
    assert [row["update"] for row in said] == [update for update in range(6) for _ in range(6)]
    assert [row for row in said if row["update"] in (0, 2, 4)] == rows(folder)


def test_a_run_that_begins_again_replaces_the_old_one(short, tiny, tmp_path: Path) -> None:
    for seed in (1, 2):
        watch = Monitor(tmp_path, every=2, captions=1)
        tuned = fine_tune_with_rl(tiny, KnownReward(tiny), seed, callback=watch, **{**SHORT, "updates": 2})
    values = [event.value for event in events(tmp_path).Scalars("ppo/score")]
    assert values == pytest.approx([row["score"] for row in tuned.history])
    assert [row["update"] for row in rows(tmp_path)] == [0, 0, 2, 2]


def test_only_the_main_process_writes(tiny, tmp_path: Path, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(monitor.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(monitor.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(tiny, "sample", lambda *a, **k: asked.append(a), raising=False)
    Monitor(tmp_path / "run", captions=2)(0, tiny)
    assert not (tmp_path / "run").exists() and not asked


ALONE = """
import sys

for name in ("tensorflow", "torchvision", "torchaudio", "moviepy"):
    sys.modules[name] = None  # as where they are not installed

from types import SimpleNamespace
from mmbook.training.monitor import Monitor

sample = lambda scenes, *a, **k: ["a cat."] * len(scenes)
Monitor(sys.argv[1], captions=1)(0, SimpleNamespace(sample=sample, history=[]))
"""


def test_neither_tensorflow_nor_torchvision_is_needed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", ALONE, tmp_path], check=True)
    assert len(events(tmp_path).Images("captions/0")) == 1
