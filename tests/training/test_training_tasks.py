"""Several losses: who gets a gradient from which, what attacks do, when training stops, what search keeps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmbook.training import Schedule, train
from mmbook.training.sentiment import RECIPE, accuracy, fit, tensors
from mmbook.training.tasks import Tasks, attack, attacked, halving, task_loss, train_until
from mmbook.world.sentiment import SETTINGS, sample_utterances

U = sample_utterances(64, SETTINGS["redundant"], 0)
X, Y = tensors(U), torch.from_numpy(U.label)


def gradients(tasks: Tasks, loss: torch.Tensor) -> dict[str, float]:
    tasks.zero_grad()
    loss.backward()
    return {
        name: sum(p.grad.abs().sum().item() for p in encoder.parameters() if p.grad is not None)
        for name, encoder in tasks.model.encoders.items()
    }


def test_each_loss_reaches_its_own_encoder_and_the_whole_reaches_all() -> None:
    tasks = Tasks("gated", 0, (1, 1, 1, 1)).train()
    targets = torch.from_numpy(U.symbols)
    for i, own in enumerate(tasks.model.encoders):
        got = gradients(tasks, tasks.losses(X, Y, targets)[0][i + 1])
        assert got.pop(own) > 0 and not any(got.values())
    assert all(gradients(tasks, tasks.losses(X, Y, targets)[0][0]).values())
    more = tasks.losses(X, Y, targets, contrast=0.5)[1]
    got = gradients(tasks, more)
    assert got["voice"] > 0 and got["words"] > 0 and not got["face"]
    assert more.item() == pytest.approx(tasks.losses(X, Y, targets, contrast=1.0)[1].item() / 2)


def test_the_whole_alone_is_plain_training_and_learned_weights_move() -> None:
    tasks, short = Tasks("gated", 0), Schedule(4, 1e-3)
    ours = train(tasks.train(), task_loss(tasks, U, 0), short, progress=False)
    assert ours == pytest.approx(fit(Tasks("gated", 0).model, U, 0, short))
    learned = Tasks("gated", 0, None).train()
    train(learned, task_loss(learned, U, 0, symbols=True), short, progress=False)
    assert learned.s.abs().min() > 0 and tasks.s.abs().max() == 0


def test_an_attack_stays_in_its_box_and_raises_the_loss() -> None:
    tasks = Tasks("gated", 0).eval()
    worse = attack(tasks, X, Y, 0.1)
    assert (worse["voice"] - X["voice"]).abs().max().item() == pytest.approx(0.1, abs=1e-5)
    assert torch.equal(worse["face"], X["face"])
    assert tasks.model.loss(worse, Y) > tasks.model.loss(X, Y)
    assert attacked(tasks, U, 0.0) == pytest.approx(accuracy(tasks.model, U))


def test_training_stops_after_its_patience_and_keeps_the_best() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    script, seen = iter([0.1, 0.5, 0.3, 0.4, 0.2, 0.9]), []

    def watch() -> float:
        seen.append(module.weight.item())
        return next(script)

    answers = train_until(module, lambda _: -module.weight.sum(), Schedule(60, 0.1), watch, 10, 2)
    assert answers == [0.1, 0.5, 0.3, 0.4] and module.weight.item() == seen[1] < seen[-1]
    whole = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(whole.weight)
    train(whole, lambda _: -whole.weight.sum(), Schedule(60, 0.1), progress=False, stop_at=20)
    assert whole.weight.item() == seen[1]  # in pieces or at once, the same steps


def test_the_last_steps_are_taken_too_and_nonsense_is_refused() -> None:
    module, steps = nn.Linear(1, 1, bias=False), []

    def loss_at(step: int) -> torch.Tensor:
        steps.append(step)
        return module.weight.sum()

    assert len(train_until(module, loss_at, Schedule(25, 0.1), lambda: float(len(steps)), 10, 5)) == 3
    assert steps == list(range(25))
    assert train_until(module, loss_at, Schedule(5, 0.1), lambda: 1.0, 10, 5) == [1.0]  # shorter than a look
    with pytest.raises(ValueError, match=r"watch: expected a number, got nan after 10 steps"):
        train_until(module, loss_at, Schedule(25, 0.1), lambda: float("nan"), 10, 5)
    with pytest.raises(ValueError, match=r"weights: expected 4, the whole and each, got \(1,\)"):
        Tasks("gated", 0, (1,))


def test_halving_drops_the_worse_half_and_doubles_the_steps() -> None:
    log = halving([3, 1, 4, 2], lambda setting, steps: setting / 10 + steps, 5, 3)
    assert [(steps, s) for steps, s, _ in log] == [(5, 1), (5, 2), (5, 3), (5, 4), (10, 3), (10, 4), (20, 4)]


@pytest.mark.slow
def test_in_few_steps_symbols_as_tasks_teach_synergy_and_labels_for_each_do_not() -> None:
    setting = SETTINGS["synergistic"]
    data, test = sample_utterances(4000, setting, 0), sample_utterances(1000, setting, 1000)
    right = {}
    for symbols in (False, True):
        tasks = Tasks("gated", 0, (1, 0.5, 0.5, 0.5)).train()
        loss_at = task_loss(tasks, data, 0, symbols=symbols)
        train(tasks, loss_at, Schedule(300, RECIPE.lr, 30), progress=False)
        right[symbols] = accuracy(tasks.model.eval(), test)
    assert right[True] > 0.9 > 0.8 > right[False]
