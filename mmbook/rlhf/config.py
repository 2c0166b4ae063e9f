"""The settings of PPO-RLHF."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mmbook.models.speed import Speed


@dataclass(frozen=True)
class PPOConfig:
    """What one run does; the symbols are those of the equations."""

    updates: int = 16  # rollouts, each followed by its steps
    batch: int = 128  # captions sampled for an update
    group: int = 1  # captions of one scene; RLOO and GRPO compare them
    epochs: int = 2  # passes over them
    minibatches: int = 4  # optimizer steps in a pass
    accumulate: int = 1  # micro-batches a minibatch is computed in; changes memory, not the result
    lr: float = 1e-3  # of the adapters; decays linearly to zero over the run
    value_lr: float = 3e-3  # of the critic
    rank: int = 16  # of the adapters; 0: all of the language model learns, beside a frozen copy
    tau: float = 1.0  # temperature of sampler, old, new and reference policy alike
    advantage: str = "gae"  # "gae" with a critic; "rloo" or "grpo" with groups and none
    critic: str = "reward"  # reads the frozen reward model, the policy ("shared"), or a "separate" copy
    beta: float = 0.3  # price of a nat away from the reference, in standard deviations of the reward
    kl: str = "k1"  # the estimate of that distance: "k1", "k2" or "k3"
    kl_in: str = "reward"  # where it is charged: "reward" or "loss"
    kl_goal: float | None = None  # nats a caption that beta is steered to; None: beta is fixed
    horizon: int = 2000  # captions that the steering takes
    stop_kl: float = math.inf  # an update ends once it has moved by 1.5 of this, nats a token
    gamma: float = 1.0  # discount of a later token's reward
    lam: float = 0.95  # of generalised advantages: 0 trusts the critic, 1 what came
    eps: float = 0.2  # ratios count up to 1 +- this
    eps_v: float = 0.2  # inf: values are not clipped
    c_v: float = 0.5  # weight of the critic's loss
    c_H: float = 0.0  # weight of the entropy
    standardise: bool = True  # rewards, by mean and deviation on captions of the reference
    c: float = 5.0  # standardised rewards are clipped to +-c
    p: float = 1.0  # taken off the reward of a caption that never ends
    whiten_rewards: bool = False  # scale the rewards per token to variance 1, their mean kept
    whiten_advantages: bool = True  # over the whole rollout: mean 0, variance 1
    clip_norm: float = 1.0  # largest norm of the whole gradient
    per_row: bool = False  # a caption has random numbers of its own: it is the same whatever is beside it
    shards: int = 1  # blocks of the batch that are shuffled apart: as many processes then have equal work
    speed: Speed = field(default_factory=Speed)  # changes cost; with per_row not the result either

    def __post_init__(self) -> None:
        for name in COUNTS:
            least = 0 if name == "rank" else 1
            if not isinstance(value := getattr(self, name), int) or value < least:
                raise ValueError(f"{name}: expected a whole number, {least} or more, got {value!r}")
        for name in ("lr", "value_lr", "tau", "eps", "clip_norm", "eps_v", "c", "stop_kl"):
            value = getattr(self, name)
            if not (0 < value < math.inf or (value == math.inf and name in ("eps_v", "c", "stop_kl"))):
                raise ValueError(f"{name}: expected a positive number, got {value!r}")
            object.__setattr__(self, name, float(value))  # checkpoints do not bring NumPy's numbers back
        for name in ("beta", "gamma", "lam", "c_v", "c_H", "p"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number, 0 or more, got {getattr(self, name)!r}")
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.kl_goal is not None and not 0 < self.kl_goal < math.inf:
            raise ValueError(f"kl_goal: expected a positive number or None, got {self.kl_goal!r}")
        if self.kl_goal is not None and not self.beta:
            raise ValueError("beta: expected a positive number to steer from to kl_goal, got 0")
        if self.kl_goal is not None:
            object.__setattr__(self, "kl_goal", float(self.kl_goal))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.minibatches * self.accumulate > self.batch:
            parts = f"minibatches * accumulate = {self.minibatches * self.accumulate}"
            raise ValueError(f"batch: expected at least {parts}, got {self.batch}")
        for name in ("group", "shards"):
            if self.batch % (of := getattr(self, name)):
                raise ValueError(f"batch: expected a multiple of {name} = {of}, got {self.batch}")
        if self.minibatches > self.batch // self.shards:
            raise ValueError(
                f"minibatches: expected at most batch / shards = {self.batch // self.shards}, got "
                f"{self.minibatches}"
            )
        if self.advantage != "gae" and self.group < 2:
            raise ValueError(f"group: expected 2 or more captions to compare, got {self.group}")


COUNTS = (
    "updates",
    "batch",
    "group",
    "epochs",
    "minibatches",
    "accumulate",
    "rank",
    "horizon",
    "shards",
)
CHOICES = {
    "advantage": ("gae", "rloo", "grpo"),
    "critic": ("reward", "shared", "separate"),
    "kl": ("k1", "k2", "k3"),
    "kl_in": ("reward", "loss"),
}
