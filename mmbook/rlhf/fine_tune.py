"""The whole run of PPO-RLHF: update after update, on any number of processes, resumed where it stopped."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from mmbook.equations import adaptive_beta, approximate_kl, clip_fraction, explained_variance, kl_k1
from mmbook.equations._arguments import unread
from mmbook.feedback.items import whole_seed
from mmbook.models.threads import one_thread
from mmbook.rlhf import ppo
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.rewards import Reward
from mmbook.training.checkpoint import Checkpoint
from mmbook.training.progress import bar
from mmbook.training.world import World, gathered, spread, whole
from mmbook.world import SceneBatch, sample_scenes
from mmbook.world.photos import PictureBatch

SEEN = ("m", "log_p_old", "log_p_ref", "S", "V_old", "G")
Scenes = Callable[[int, np.random.Generator], SceneBatch | PictureBatch]


def fine_tune_with_rl(
    model: Any,
    reward_model: Reward,
    seed: int = 0,
    config: PPOConfig | None = None,
    progress: bool = True,
    scenes: Scenes | None = None,
    reference: Any = None,
    folder: str | Path | None = None,
    callback: Callable[[int, Any], None] | None = None,
    world: World | None = None,
    every: int = 10,
    **changes: Any,
) -> Any:
    """Move a model towards captions that a reward model likes, near what it was; returns a new model.

    `changes` override fields of `config` ("beta=0.2"); `scenes(n, rng)` draws the pictures; `reference` is
    another model than the present one to stay near; `callback(update, model)` may look at the policy, with
    its `history` so far, before the first update and after each. With a `folder` a checkpoint is left there
    `every` ten updates and when the run is interrupted, and the same call goes on from it, bit for bit. In
    each of several processes (`World.start`) the same call works on its share of the same batch; it needs
    `per_row=True`, and only the main one writes and calls back. The result's `history` has one row an update:
    "score" (mean standardised reward), "kl" (nats a caption from the reference), "beta",
    "clip_fraction", "approximate_kl", "explained_variance" and "words" (tokens a caption); each describes the
    policy before its update. Warns when the reward model is no better than chance on held-out labels.
    Raises ValueError, before any update, for a reward that is not finite, captions that are all empty, a
    reward model with another vocabulary, or a checkpoint of another run.
    Source: {cite}`schulman2017ppo`, {cite}`ouyang2022instructgpt`, {cite}`huang2024nplus`.
    """
    if not hasattr(model, "adapted") or not hasattr(reward_model, "so_far"):
        raise TypeError(
            "expected fine_tune_with_rl(model, reward_model): a model and what train_reward_model returned, "
            f"got {type(model).__name__} and {type(reward_model).__name__}"
        )
    config, seed = replace(config or PPOConfig(), **changes), whole_seed(seed)
    for name, other in (("reward_model", reward_model.trunk), ("reference", reference)):
        if other is not None and other.tokenizer.get_vocab() != model.tokenizer.get_vocab():
            raise ValueError(
                f"{name}: expected one that reads the model's own vocabulary, got another one, "
                "which would read other captions; train it on this model"
            )
    low, high = reward_model.interval
    if low <= 0.5:
        warnings.warn(
            "these labels carry no measurable preference: the reward model ranks "
            f"{reward_model.accuracy:.0%} of {reward_model.pairs} held-out pairs right (95 % interval "
            f"{low:.0%} to {high:.0%}), and chance is 50%. PPO will follow it all the same.",
            stacklevel=2,
        )
    draw = scenes or cast(Scenes, getattr(model, "scenes", sample_scenes))
    world = world or World()
    with one_thread():
        run = Run(model, reward_model, seed, config, draw, reference, world)
        checkpoint = Checkpoint(folder, "ppo", run.identity()) if folder else None
        if checkpoint and (saved := checkpoint.load()):
            run.restore(*saved)
        run.agree()

        def report(update: int) -> None:
            seen = run.look() if callback else None  # in every process
            if callback and world.main:
                callback(update, seen)

        if not run.history:
            report(0)
        updates = range(len(run.history), config.updates)
        for update in bar(
            updates, "PPO", progress and world.main, initial=len(run.history), total=config.updates
        ):
            before = run.state() if checkpoint else None
            try:
                run.update()
                report(update + 1)
            except BaseException:
                if checkpoint and before and world.main:
                    checkpoint.save(update, *before)  # Ctrl-C: what the update had begun is done again
                raise
            if checkpoint and ((update + 1) % every == 0 or update + 1 == config.updates):
                state = run.state()
                if world.main:
                    checkpoint.save(update + 1, *state)
    return run.finished()


class Run:
    """Everything that changes while a policy is trained, one update at a time.

    Raises ValueError for a batch that cannot be shared out among the processes.
    """

    def __init__(
        self,
        model: Any,
        reward_model: Reward,
        seed: int,
        config: PPOConfig,
        scenes: Scenes,
        reference: Any,
        world: World | None = None,
    ) -> None:
        self.model, self.config, self.seed, self.scenes, self.frozen = model, config, seed, scenes, reference
        self.world = world = world or World()
        if world.size > 1 and not config.per_row:
            raise ValueError(
                f"per_row: expected True with {world.size} processes, as all draw the same numbers and each "
                "uses those of its own captions"
            )
        if config.speed.compile and config.shards % world.size:
            raise ValueError(
                f"shards: expected a multiple of {world.size} processes, got {config.shards}: minibatches of "
                "other sizes would be compiled anew"
            )
        if config.batch // config.group % world.size:
            raise ValueError(
                f"batch: expected a multiple of group * processes = {config.group} * {world.size}, got "
                f"{config.batch}"
            )
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(model.device).manual_seed(seed)
        self.policy = model.adapted(config.rank, seed, config.speed.dtype)
        start = scenes(2 * config.batch, self.rng)
        self.scorer = ppo.Scorer(reward_model, reference or model, start, config, self.generator, world)
        learner = world.wrap(ppo.Learner(self.policy, self.scorer, config))
        self.engine = ppo.Engine(world, learner, ppo.loss_scaler(self.policy.model, config))
        groups = [
            {"params": self.policy.parameters(), "lr": config.lr},
            {"params": self.scorer.parameters(), "lr": config.value_lr},
        ]
        fused = config.speed.fused or None
        self.optimizer = torch.optim.AdamW(groups, eps=1e-5, weight_decay=0.0, fused=fused)  # 15
        self.decay = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.0, config.updates)
        self.beta, self.history = config.beta, list[dict[str, float]]()

    def minibatches(self) -> list[Tensor]:
        """The rows of the whole batch that each step of an epoch learns from, equally many of each shard."""
        shards, B = self.config.shards, self.config.batch
        draw = {"generator": self.generator, "device": self.generator.device}
        order = torch.stack([torch.randperm(B // shards, **draw) + i * B // shards for i in range(shards)])
        return [rows.flatten() for rows in order.tensor_split(self.config.minibatches, 1)]

    def step(self, batch: ppo.Rollout, rows: Tensor) -> tuple[Tensor, Tensor]:
        """One step on some rows of the whole batch; returns which of them are here and their log-probs."""
        here = rows - self.world.rank * len(batch.m)
        if self.world.size > 1:
            here = here[(here >= 0) & (here < len(batch.m))]
        trim = self.config.speed.trim
        part = batch.part(here, trim) if len(here) else batch.part(rows[:1] * 0, trim).silent()
        args = self.policy, self.scorer, self.optimizer, part, self.config, self.beta, self.engine
        log_p = ppo.minibatch_step(*args)
        return here, log_p[: len(here)]

    def update(self) -> None:
        """Sample once, then take the steps of all epochs on what was sampled; on a GPU it is asked little."""
        with unread(self.model.device.type != "cpu"):
            batch = self.sampled()
            self.learn(batch, {name: self.world.all(getattr(batch, name)) for name in SEEN})

    def sampled(self) -> ppo.Rollout:
        """This process's share of a rollout."""
        config, world = self.config, self.world
        scenes = self.scenes(wanted := config.batch // config.group, self.rng)
        if len(scenes) != wanted:
            raise ValueError(f"scenes: expected a function that draws {wanted}, got {len(scenes)} from it")
        with torch.no_grad(), world.whole(self.engine.learner):
            return self.engine.learner(
                ppo.rollout, self.policy, self.scorer, scenes, self.generator, config, self.frozen, self.beta,
                world,
            )  # fmt: skip

    def learn(self, batch: ppo.Rollout, whole_batch: dict[str, Tensor]) -> None:
        """Take the steps of all epochs; `whole_batch` has what all processes sampled."""
        config, world = self.config, self.world
        m, moved = whole_batch["m"], list[Tensor]()
        for _ in range(config.epochs):
            now, order = torch.zeros_like(batch.m), self.minibatches()  # 14: always this many steps
            for rows in order:
                here, log_p = self.step(batch, rows)
                now[here, : log_p.shape[1]] = log_p
            now = world.all(now)
            for rows in order:
                some = now[rows], whole_batch["log_p_old"][rows], m[rows]
                moved.append(torch.stack([approximate_kl(*some), clip_fraction(*some, config.eps)]))
            limit = 1.5 * config.stop_kl  # where there is none, the device is not asked before the end
            if limit < math.inf and torch.stack(moved[-len(order) :])[:, 0].mean() > limit:
                break  # 17
        if self.engine.scaler and self.engine.scaler.get_scale() < 1:
            raise ValueError(
                "gradient: expected finite numbers, got others, so these steps were not taken; the policy "
                f"has diverged: lower lr = {config.lr} or value_lr = {config.value_lr}"
            )
        self.decay.step()
        seen = {
            "score": whole_batch["S"].mean(),
            "kl": (kl_k1(whole_batch["log_p_old"], whole_batch["log_p_ref"]) * m).sum(1).mean(),
            "approximate_kl": torch.stack(moved)[:, 0].mean(),
            "clip_fraction": torch.stack(moved)[:, 1].mean(),
            "explained_variance": explained_variance(whole_batch["V_old"], whole_batch["G"], m),
            "words": m.sum(1).mean(),
        }
        row = dict(zip(seen, torch.stack([x.float() for x in seen.values()]).tolist(), strict=True))
        self.history.append(row | {"beta": self.beta})
        if config.kl_goal is not None:
            self.beta = adaptive_beta(
                self.beta, row["kl"], config.kl_goal, config.batch, config.horizon
            )  # 16

    def look(self) -> Any:
        """The policy as a model that can speak; put together from its shards in all processes."""
        model = self._whole_policy().model
        model.history = self.history
        return model

    def finished(self) -> Any:
        """The tuned model; this run is used up."""
        tuned = self._whole_policy().merged()
        tuned.history = self.history
        return tuned

    def _whole_policy(self) -> Any:
        if self.world.size == 1 or self.world.strategy == "ddp":
            return self.policy
        policy = self.model.adapted(self.config.rank, self.seed, self.config.speed.dtype)
        weights = whole(self._weights())
        for name, p in policy.model.module.named_parameters():
            if p.requires_grad:
                p.data.copy_(weights[f"policy.{name}"])
        return policy

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be continued."""
        free = ("speed", "accumulate", "shards")  # what a run may be continued with another of
        config = {name: x for name, x in vars(self.config).items() if name not in free}
        draws = self.generator.device.type  # another kind of device draws other numbers
        return {**config, "seed": self.seed, "model": self.model.hash, "draws": draws}

    def _weights(self) -> dict[str, Tensor]:
        parts = {"policy": self.policy.model.module, "value": self.scorer.value_head}
        if self.scorer.own:
            parts["critic"] = self.scorer.own.model.module
        named = [(f"{k}.{n}", p) for k, part in parts.items() for n, p in part.named_parameters()]
        return {name: p.data for name, p in named if p.requires_grad}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """A copy of the weights that move, and of all else that the next update depends on.

        It lies in the memory of the main process's host; all processes take part.
        """
        rest = {
            "optimizer": gathered(self.optimizer.state_dict(), self.world.main),
            "decay": self.decay.state_dict(),
            "rng": self.rng.bit_generator.state,
            "generator": self.generator.get_state(),
            "beta": self.beta,
            "history": self.history,
            "scale": (self.scorer.mu, self.scorer.sigma),
            "paid": self.scorer.paid,
            "scaler": self.engine.scaler.state_dict() if self.engine.scaler else {},
        }
        return gathered(self._weights(), self.world.main), copy.deepcopy(rest)

    def restore(self, weights: dict[str, Tensor], rest: dict[str, Any]) -> None:
        """Go on from a saved state. Raises ValueError where another reward, reference or scenes made it."""
        device = self.model.device
        ours, theirs = self.scorer.paid, [x.to(device) for x in rest["paid"]]
        half = next(self.policy.model.module.parameters()).dtype.itemsize < 4  # then some captions may differ
        close = ours[1].item() / self.config.batch**0.5 if half else 1e-4
        if not torch.allclose(torch.stack(ours), torch.stack(theirs), atol=close):
            text = "mean {:.4g} and deviation {:.4g}".format
            raise ValueError(
                "checkpoint: expected one made with this reward, reference and scenes, whose first captions "
                f"earn {text(*ours)}, got one with {text(*theirs)}; choose another folder or remove this one"
            )
        for name, p in self._weights().items():
            p.copy_(spread(weights[name], p))
        for group in rest["optimizer"]["param_groups"]:
            group["fused"] = self.config.speed.fused or None
        self.optimizer.load_state_dict(rest["optimizer"])
        for p, moments in self.optimizer.state.items():
            moments.update({k: spread(x, p) for k, x in moments.items() if x.shape == p.shape})
        self.decay.load_state_dict(rest["decay"])
        self.rng.bit_generator.state = rest["rng"]
        self.generator.set_state(rest["generator"])
        self.beta, self.history = rest["beta"], rest["history"]
        self.scorer.mu, self.scorer.sigma = (x.to(device) for x in rest["scale"])
        scaler, theirs = self.engine.scaler, rest["scaler"]
        if scaler and theirs and theirs["growth_interval"] == scaler.get_growth_interval():
            scaler.load_state_dict(theirs)  # not one that another precision needed

    def agree(self) -> None:
        """Raise ValueError unless all processes have done the same updates."""
        done = len(self.history)
        if self.world.total(torch.tensor(done, device=self.model.device)) != done * self.world.size:
            raise ValueError(
                f"checkpoint: expected the same one in all processes, got one with {done} updates in process "
                f"{self.world.rank} and others elsewhere; give them a folder that all of them see"
            )
