"""Rounds: label, fit, optimise, then label what the new policy says, fit on everything, and go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmbook.feedback import Feedback, collect_human_feedback
from mmbook.feedback.collect import Annotator
from mmbook.feedback.items import whole_seed
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.fine_tune import fine_tune_with_rl
from mmbook.rlhf.reward_model import RewardConfig, RewardModel, train_reward_model
from mmbook.world.scenes import generator


class Rounds:
    """Training that stops to ask: `label()` about the present policy's captions, then `learn()`, and again.

    Each `learn` fits a new reward model on the labels of the last `memory` rounds (None: of all) and goes on
    from the present policy, but measures KL from the first model, so that all rounds together pay what one
    long run would; with `moving` each round stays near the policy that it began with instead. `model` is the
    present policy, `feedbacks` has each round's logs, `rows` what each round did. With a `folder` the logs
    are `round-<i>-<k>.jsonl` in it and the same calls resume an interrupted round. Raises ValueError.
    Source: {cite}`bai2022hh`.
    """

    def __init__(
        self,
        model: Any,
        seed: int = 0,
        fit: RewardConfig | None = None,
        config: PPOConfig | None = None,
        memory: int | None = None,
        moving: bool = False,
        folder: str | Path | None = None,
    ) -> None:
        if memory is not None and (not isinstance(memory, int) or memory < 1):
            raise ValueError(f"memory: expected a number of rounds, 1 or more, or None, got {memory!r}")
        self.base, self.model, self.seed = model, model, whole_seed(seed)
        self.fit, self.config, self.memory, self.moving = fit, config, memory, moving
        self.folder = None if folder is None else Path(folder)
        self.feedbacks: list[list[Feedback]] = [[]]
        self.rows: list[dict[str, Any]] = []
        self.reward_model: RewardModel | None = None

    def _seed(self, purpose: str) -> int:
        return int(generator(self.seed, f"{purpose} {len(self.rows)}").integers(2**31))

    def label(
        self, pairs: int = 500, annotator: Annotator | None = None, of: Any = None, **how: Any
    ) -> Feedback:
        """Ask which of two captions of the present policy is better; see `collect_human_feedback`.

        Without an annotator it shows the labeller to you. All that is asked in a round counts. `of` asks
        about another model's captions: those of the first model show what the policy has stopped saying.
        """
        i, asked = len(self.rows), self.feedbacks[-1]
        path = None if self.folder is None else self.folder / f"round-{i}-{len(asked)}.jsonl"
        seed = self._seed(f"label {len(asked)} in")
        asked.append(collect_human_feedback(of or self.model, pairs, annotator, path, seed, round=i, **how))
        return asked[-1]

    def learn(self, progress: bool = False, **how: Any) -> dict[str, Any]:
        """Fit a reward model, move the policy by PPO and return the round's row; `how` goes to that PPO.

        The row has the round, the hash of the `labelled` policy and of the new `model`, the usable `pairs`
        behind the reward model, its held-out `accuracy`, the `kl` from the first model and `score` before the
        last update, and the CPU seconds of both fits. Raises ValueError where this round has no labels.
        """
        i, seed = len(self.rows), self._seed("learn")
        if not any(asked.records for asked in self.feedbacks[i]):
            raise ValueError(
                f"round {i}: expected labels of this round, got none; call label() and judge some"
            )
        used = self.feedbacks[-self.memory :] if self.memory else self.feedbacks
        feedback = Feedback.merge([asked for each in used for asked in each], self.base)
        folder = self.folder and self.folder / f"round-{i}"
        times = [time.process_time()]
        reward = self.reward_model = train_reward_model(feedback, seed, self.fit)
        times.append(time.process_time())
        near, labelled = (self.model if self.moving else self.base), self.model.hash
        self.model = fine_tune_with_rl(
            self.model, reward, seed, self.config, progress, reference=near, folder=folder, **how
        )
        last = self.model.history[-1]
        row = {"round": i, "labelled": labelled, "model": self.model.hash, "pairs": reward.pairs}
        row |= {"accuracy": reward.accuracy, "kl": last["kl"], "score": last["score"]}
        row |= {"reward_seconds": times[1] - times[0], "policy_seconds": time.process_time() - times[1]}
        self.rows.append(row)
        self.feedbacks.append([])
        return row


def train_in_rounds(
    model: Any,
    annotator: Annotator,
    rounds: int = 4,
    pairs: int = 500,
    seed: int = 0,
    fit: RewardConfig | None = None,
    config: PPOConfig | None = None,
    memory: int | None = None,
    moving: bool = False,
    folder: str | Path | None = None,
    temperature: float = 1.0,
    explore: float = 0.0,
    measure: Callable[[Any], dict[str, Any]] | None = None,
    **how: Any,
) -> tuple[Any, list[dict[str, Any]]]:
    """Run `rounds` rounds with `pairs` labels each; returns the last policy and a row for each round.

    From the second round on the share `explore` of the pairs are captions of the first model. What `measure`
    says of a round's policy joins its row. All else is as in `Rounds`, which a person who labels uses round
    by round. Raises ValueError without an annotator or for a share outside [0, 1].
    """
    if annotator is None:
        raise ValueError("annotator: expected a function; to label yourself call Rounds(model).label()")
    if not 0 <= explore <= 1:
        raise ValueError(f"explore: expected a share of the pairs, got {explore!r}")
    run = Rounds(model, seed, fit, config, memory, moving, folder)
    for i in range(rounds):
        old = round(explore * pairs) if i else 0
        for of, n in ((run.model, pairs - old), (run.base, old)):
            if n:
                run.label(n, annotator, of, temperature=temperature)
        run.learn(**how).update(measure(run.model) if measure else {})
    return run.model, run.rows
