"""The training loop: the rate it takes, and that an interruption leaves no trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmbook.training import Schedule, checkpoint, train

SCHEDULE = Schedule(steps=20, lr=0.01, warmup=4, weight_decay=0.1)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 1))


def loss_of(module: nn.Module, seed: int = 0):
    def loss_at(step: int) -> Tensor:
        x = torch.randn(16, 5, generator=torch.Generator().manual_seed(1000 * seed + step))
        return (module(x) - x.sum(1, keepdim=True)).square().mean()

    return loss_at


def run(folder: Path | None, schedule: Schedule = SCHEDULE, **more) -> tuple[nn.Module, list[float]]:
    module = network()
    return module, train(module, loss_of(module), schedule, folder=folder, every=5, progress=False, **more)


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [SCHEDULE.rate(step) for step in range(20)]
    assert rates[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert rates[4:] == pytest.approx([0.01 * (16 - i) / 16 for i in range(16)])
    assert Schedule(steps=3, lr=1.0).rate(0) == 1.0
    assert [Schedule(steps=2, lr=1.0, warmup=2).rate(i) for i in range(2)] == [0.5, 1.0]


def test_each_step_is_taken_at_its_rate() -> None:
    """With a constant gradient and no decay AdamW moves every weight by exactly the rate."""
    module = nn.Linear(1, 1, bias=False)
    seen: list[float] = []

    def loss_at(step: int) -> Tensor:
        seen.append(module.weight.item())
        return module.weight.sum()

    schedule = Schedule(steps=6, lr=0.1, warmup=3, weight_decay=0.0)
    losses = train(module, loss_at, schedule, progress=False)
    moves = [a - b for a, b in zip(seen, [*seen[1:], module.weight.item()], strict=True)]
    assert moves == pytest.approx([schedule.rate(step) for step in range(6)], rel=1e-4)
    assert losses == pytest.approx(seen)


def test_only_what_requires_a_gradient_is_trained_and_it_learns() -> None:
    module = network()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    losses = train(module, loss_of(module), Schedule(steps=150, lr=0.05), progress=False)
    assert torch.equal(module[0].weight, before)
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


@pytest.mark.parametrize("stop_at", [3, 5, 7, 19])
def test_a_resumed_run_equals_one_that_was_never_interrupted(tmp_path: Path, stop_at: int) -> None:
    whole, losses = run(None)
    _, first = run(tmp_path, stop_at=stop_at)
    assert first == losses[:stop_at]
    resumed, all_losses = run(tmp_path)
    assert all_losses == losses and equal(resumed, whole)
    other = network()  # control: other data give other weights
    train(other, loss_of(other, seed=1), SCHEDULE, progress=False)
    assert not equal(other, whole)


def test_a_run_interrupted_again_and_again_still_ends_the_same(tmp_path: Path) -> None:
    whole, losses = run(None)
    for stop_at in (6, 11, 12, 18):
        run(tmp_path, stop_at=stop_at)
    resumed, all_losses = run(tmp_path)
    assert all_losses == losses and equal(resumed, whole)


def test_a_finished_run_is_only_loaded(tmp_path: Path) -> None:
    whole, losses = run(tmp_path)

    def never(step: int) -> Tensor:
        raise AssertionError("a step was taken")

    module = network()
    assert train(module, never, SCHEDULE, folder=tmp_path, progress=False) == losses
    assert equal(module, whole)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["train-20.safetensors", "train.pt"]


@pytest.mark.parametrize("place", ["save_file", "torch.save", "replace"])
def test_a_crash_while_saving_leaves_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    whole, losses = run(None)
    run(tmp_path, stop_at=5)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def half(_: object, path: Path) -> None:
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if place == "save_file":
            patch.setattr(checkpoint, "save_file", half)
        elif place == "torch.save":
            patch.setattr(torch, "save", half)
        else:
            patch.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path)
    assert len(list(tmp_path.iterdir())) > 2  # something half done lies there
    resumed, all_losses = run(tmp_path)
    assert all_losses == losses and equal(resumed, whole)


@pytest.mark.parametrize("change", [{"steps": 30}, {"lr": 0.02}, {"warmup": 0}, {"weight_decay": 0.0}])
def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path, change: dict) -> None:
    run(tmp_path, stop_at=10)
    with pytest.raises(
        ValueError, match=r"train.pt: expected a checkpoint of .* got one of .*; choose another"
    ):
        run(tmp_path, Schedule(**{**vars(SCHEDULE), **change}))


def test_two_names_share_a_folder(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path, name=name, stop_at=10)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "a-10.safetensors",
        "a.pt",
        "b-10.safetensors",
        "b.pt",
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_it_does_harm(bad: float) -> None:
    module = network()
    good = loss_of(module)
    states: list[dict] = []

    def loss_at(step: int) -> Tensor:
        states.append({k: v.clone() for k, v in module.state_dict().items()})
        return good(step) * bad if step == 3 else good(step)

    with pytest.raises(
        ValueError, match=r"train: the loss of step 3 is (nan|inf); lower the learning rate 0.01"
    ):
        train(module, loss_at, SCHEDULE, progress=False)
    for name in ("0.weight", "3.weight"):
        assert torch.equal(module.state_dict()[name], states[-1][name])
