"""Players, sliders and clicks: every choice has its picture, every click is on the disk before it is used."""

from __future__ import annotations

import base64
import io
import json
import re

import gymnasium
import numpy as np
import pytest
from PIL import Image

import mmbook.world.environments  # noqa: F401
from mmbook import figures
from mmbook.feedback import read_log, validate
from mmbook.figures.clicks import ClickRewards, _Widget
from mmbook.figures.live import Explorer, Frames
from mmbook.world.classifier import StickerClassifierBatch
from mmbook.world.gridworld import gridworld


def flat(value: int) -> np.ndarray:
    return np.full((8, 8, 3), value, np.uint8)


def shown(player: Frames) -> tuple[dict, list[np.ndarray]]:
    """What a player carries: its data, and the picture of each choice, decoded."""
    data = json.loads(re.search(r'application/json">(.*?)</script>', player.html, re.S)[1])
    first = re.search(r'<img src="([^"]+)"', player.html)[1]
    uris = [data["pictures"][i] or first for i in data["order"]]
    files = [io.BytesIO(base64.b64decode(uri.partition(",")[2])) for uri in uris]
    return data, [np.asarray(Image.open(file).convert("RGBA").convert("RGB")) for file in files]


def test_each_choice_has_its_picture_and_no_picture_is_stored_twice():
    levels = [10, 20, 10, 40, 50, 10]
    player = figures.frames([flat(v) for v in levels], list("abcdef"), gamma=[0.5, 1.0], slip=[0, 1, 2])
    data, pictures = shown(player)
    assert [int(p[0, 0, 0]) for p in pictures] == levels
    assert data["values"] == [["0.5", "1"], ["0", "1", "2"]] and data["captions"] == list("abcdef")
    assert player.html.count("data:image/png") == 4
    assert player.html.count('type="range"') == 2 and "<button" not in player.html
    assert "<button" in figures.frames([flat(1), flat(2)]).html


def test_a_player_is_always_the_same_and_knows_itself_from_others():
    one, same = (figures.frames([flat(1), flat(2)]).html for _ in range(2))
    other = figures.frames([flat(1), flat(3)]).html
    names = [re.search(r'data-frames="(\w+)"', text)[1] for text in (one, same, other)]
    assert one == same and names[0] != names[2] and names[0] in one.partition("<script>")[2]


def test_captions_cannot_break_out_of_the_page():
    player = figures.frames([flat(1), flat(2)], ["</script><b>", "'\"&"])
    assert "<b>" not in player.html and shown(player)[0]["captions"] == ["</script><b>", "'\"&"]


def test_a_player_asks_for_nothing_from_outside():
    page = figures.frames([flat(1), flat(2)]).html
    assert not re.search(r'https?:|import |src="(?!data:)|url\(', page)


def test_twenty_drawings_are_small_and_keep_their_look():
    grid = gridworld("rooms")
    pi = np.random.default_rng(0).dirichlet([0.3] * 4, len(grid.cells))

    def draw(low: float) -> figures.Drawing:
        return figures.value_map(grid, np.linspace(low, 1, len(grid.cells)), pi, f"low {low}")

    player = figures.explore(draw, low=[-i / 4 for i in range(4)])
    assert isinstance(player, Frames) and len(player.html) < 4 * 30_000
    data, pictures = shown(player)
    assert "low -0.75" in data["alts"][-1] and "row 0 column 0 -0.75" in data["alts"][-1]
    full = Image.open(io.BytesIO(draw(-0.75).data("png", 128))).convert("RGB")
    assert full.size == pictures[-1].shape[1::-1]
    assert np.abs(np.asarray(full).astype(int) - pictures[-1]).mean() < 8


def test_sliders_call_the_function_again_and_show_its_error():
    calls = []

    def draw(gamma: float, kind: str) -> figures.Drawing:
        calls.append((gamma, kind))
        if gamma > 1:
            raise ValueError("gamma: <expected> at most 1")
        return figures.bars({kind: gamma}, "discount")

    explorer = Explorer(draw, gamma=[0.5, 0.9, 2.0], kind=["a", "b"])
    explorer.sliders["gamma"].value = 0.9
    explorer.sliders["kind"].value = "b"
    assert calls == [(0.5, "a"), (0.9, "a"), (0.9, "b")] and "b 0.9" in explorer.picture.value
    assert not any(slider.continuous_update for slider in explorer.sliders.values())
    explorer.sliders["gamma"].value = 2.0
    assert "ValueError: gamma: &lt;expected&gt;" in explorer.picture.value
    bundle = explorer._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.box.model_id
    assert "notebook" in bundle["text/html"]


def test_watching_shows_every_step_until_the_end():
    env = gymnasium.make("mmbook/StickerGrid-v0", render_mode="rgb_array", slip=0.0)
    player = figures.watch(env, lambda obs: np.array([1]))  # right: off the cliff at once
    data, pictures = shown(player)
    assert data["captions"] == [
        "The first state.",
        "Action right: reward -1, return -1. The episode has ended.",
    ]
    grid = gridworld("cliff", slip=0.0)
    for picture, s in zip(pictures, (grid.d_0.argmax(), grid.d_0.argmax() + 1), strict=True):
        assert np.abs(picture.astype(int) - grid.draw(int(s))).mean() < 4
    looping = figures.watch(env, lambda obs: np.array([3]), steps=5)
    assert len(shown(looping)[0]["captions"]) == 6
    gaze = gymnasium.make("mmbook/StickerGaze-v0", render_mode="rgb_array", max_episode_steps=3)
    said = shown(figures.watch(gaze, lambda obs: np.array([0]), actions=("up",)))[0]["captions"]
    assert said[-1] == "Action up: reward -0.05, return -0.15. The time is up."


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: figures.frames([]), "expected 0, one for each choice of step, got 0 pictures"),
        (lambda: figures.frames([flat(1)], gamma=[1, 2]), "expected 2, .* got 1 pictures"),
        (lambda: figures.frames([flat(1)], ["a", "b"]), "1 pictures and 2 captions"),
        (lambda: figures.frames([np.zeros((8, 8, 3))]), "expected a Drawing or an array uint8"),
        (lambda: figures.watch(gymnasium.make("mmbook/StickerGrid-v0"), len), "expected render_mode="),
        (lambda: figures.click_rewards(StickerClassifierBatch(2), len, len), "expected one environment.* 2"),
    ],
)
def test_errors_say_what_was_expected_of_a_player(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()


@pytest.fixture
def clicks(tmp_path):
    """Click rewards whose learner notes what it is told and how many records the disk has by then."""
    used = []

    def update(obs, actions, rewards):
        used.append((obs, actions, rewards, len(read_log(tmp_path / "log" / "clicks.jsonl")[0])))

    clicks = figures.click_rewards(
        StickerClassifierBatch(1),
        lambda obs: obs.sum((1, 2, 3)) % 8,
        update,
        tmp_path / "log" / "clicks.jsonl",
    )
    clicks.used = used
    return clicks


def test_each_click_is_on_the_disk_before_the_learner_sees_it(clicks):
    asked = []
    for right in (True, False, True):
        asked.append((clicks.obs.copy(), int(clicks.actions[0]), clicks.item))
        clicks.give(right)
    assert [n for *_, n in clicks.used] == [1, 2, 3] and clicks.clicks == 3
    assert [float(r[0]) for _, _, r, _ in clicks.used] == [1, 0, 1]
    records, problems = read_log(clicks.path)
    assert problems == [] and records == clicks.records
    assert [r["rating"] for r in records] == [5, 1, 5] and len({r["id"] for r in records}) == 3
    for (obs, action, item), record, (told, actions, _, _) in zip(asked, records, clicks.used, strict=True):
        assert validate(record) == [] and (told == obs).all() and actions[0] == action
        assert record["responses"] == [clicks.envs.kinds[action]] and record["scene"] == item["scene"]


def test_simulated_clicks_are_true_and_take_the_same_way(clicks):
    truth = []
    act, clicks.act = clicks.act, lambda obs: (truth.append(clicks.envs.answer[0]), act(obs))[1]
    truth.append(clicks.envs.answer[0])
    clicks.simulate(20)
    right = [int(actions[0]) == kind for (_, actions, _, _), kind in zip(clicks.used, truth, strict=False)]
    assert [bool(r[0]) for _, _, r, _ in clicks.used] == right and 0 < sum(right) < 20
    assert {r["annotator"] for r in clicks.records} == {"simulated"}


def test_a_full_disk_delays_a_click_and_loses_none(clicks, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("mmbook.feedback.log.append", full)
        with pytest.raises(OSError, match="No space"):
            clicks.give(True)
    assert clicks.used == [] and clicks.clicks == 0
    clicks.give(False)
    assert [float(r[0]) for _, _, r, _ in clicks.used] == [1, 0] and clicks.clicks == 2
    assert [r["rating"] for r in clicks.records] == [5, 1]


def test_a_learner_that_fails_loses_no_click_and_the_page_says_so(clicks):
    widget = _Widget(item=clicks._shown())
    learn, clicks.update = clicks.update, lambda *_: 1 / 0
    click = {"id": clicks.item["id"], "right": True, "via": "key", "ms": 400}
    clicks._receive(widget, click, None)
    assert widget.trouble == "The click is saved, but: ZeroDivisionError: division by zero"
    assert [r["via"] for r in clicks.records] == ["key"] and widget.item["id"] != click["id"]
    clicks.update = learn
    clicks._receive(widget, click, None)  # the same click once more: the page had not heard yet
    assert len(clicks.records) == 1
    clicks._receive(widget, {**click, "id": clicks.item["id"]}, None)
    assert (widget.trouble, widget.saved, len(clicks.records)) == ("", 2, 2)


def test_another_run_goes_on_in_the_log_with_other_pictures(clicks):
    first = clicks.obs.copy()
    clicks.give(True)
    again = ClickRewards(clicks.envs, clicks.act, clicks.update, clicks.path, clicks.seed)
    assert len(again.records) == 1 and again.clicks == 0 and (again.obs != first).any()


def test_without_a_kernel_the_page_shows_picture_and_answer(clicks):
    bundle = clicks._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    assert f"The classifier says: {clicks.answer}." in bundle["text/html"]
