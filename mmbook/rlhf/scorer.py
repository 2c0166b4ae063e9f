"""What PPO is paid, and what the critic expects: both come from the reward model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mmbook.models import Prefix, ScalarHead, decode
from mmbook.rlhf.config import PPOConfig
from mmbook.rlhf.rewards import Reward
from mmbook.training.world import World
from mmbook.world import SceneBatch
from mmbook.world.photos import PictureBatch


def random_numbers(
    generator: torch.Generator, rows: int, model: Any, config: PPOConfig
) -> torch.Generator | Tensor:
    """What the sampler draws from: the generator, or a table with a number for each token of each row."""
    if not config.per_row:
        return generator
    return torch.rand(rows, model.max_words, generator=generator, device=generator.device)


class Scorer:
    """The reward as PPO uses it: standardised on captions of the reference; the critic starts from it.

    The value of a half-said caption is what the reward model would give if it stopped there, plus a linear
    head that learns what is to come (19). The head reads the states of the frozen reward model (`critic` is
    "reward"), of the policy that is being trained ("shared"), or of a copy of the reward model with adapters
    of its own ("separate").
    """

    def __init__(
        self,
        reward_model: Reward,
        reference: Any,
        scenes: SceneBatch | PictureBatch,
        config: PPOConfig,
        generator: torch.Generator,
        world: World | None = None,
    ) -> None:
        self.world = world = world or World()
        self.reward_model, self.config = reward_model, config
        self.on_reference = reward_model.trunk is reference
        on_cpu = generator.device.type == "cpu"  # where heads are drawn, whatever device samples
        start = generator if on_cpu else torch.Generator().manual_seed(generator.initial_seed())
        width = reference.width if config.critic == "shared" else reward_model.trunk.width
        self.value_head = ScalarHead(width, start).to(reference.device)
        self.own = None
        if config.critic == "separate":
            self.own = reward_model.trunk.adapted(config.rank, generator.initial_seed() + 1)
            output = getattr(self.own.model.module, "get_output_embeddings", lambda: None)()
            if output is not None:  # it says nothing here, and DDP waits for the gradients of all that learns
                output.requires_grad_(False)
        draws = random_numbers(generator, len(scenes), reference, config)
        if isinstance(draws, Tensor):
            draws, scenes = world.mine(draws), world.mine(scenes)
        speed = replace(config.speed, graph=False)  # it would be kept for this one time
        out = decode(reference, reference.prefix(scenes), draws, config.tau, speed=speed)
        R = world.all(self.read(scenes, out.ids, out.mask)[0][:, -1])
        self.mu, self.sigma = torch.zeros_like(R[0]), torch.ones_like(R[0])
        self.paid = R.mean(), R.std()
        if config.standardise:
            self.mu = self.paid[0]  # 6: the reference averages 0
            self.sigma = self.paid[1] if self.paid[1] > 1e-6 else self.sigma  # equal rewards stay 0

    def parameters(self) -> list[nn.Parameter]:
        """What the critic learns."""
        return [*self.value_head.parameters(), *(self.own.parameters() if self.own else [])]

    @torch.no_grad()
    def read(
        self, scenes: SceneBatch, ids: Tensor, m: Tensor, reference: tuple[Prefix, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Prefix]:
        """Rewards of all beginnings (B, T + 1), the states behind them (B, T + 1, D), and the prefix.

        `reference` has prefix and states of the reference policy; they are the trunk's own where the reward
        model was built on the reference, and then nothing is computed twice.
        """
        if reference is None or not self.on_reference:
            prefix = self.reward_model.trunk.prefix(scenes)
            reference = prefix, self.reward_model.trunk.states(prefix, ids)
        prefix, states = reference
        so_far = self.reward_model.so_far(prefix, ids, m, states, scenes)
        finite = so_far.isfinite().all(1)
        if self.world.total((~finite).sum()):  # in all processes, or the others would wait
            if finite.all():
                raise ValueError("reward: expected finite numbers, got others in another process")
            bad = int((~finite).nonzero()[0])
            caption = self.reward_model.trunk.text(ids[bad : bad + 1], m[bad : bad + 1])[0]
            raise ValueError(
                f"reward: expected finite numbers, got {so_far[bad][~so_far[bad].isfinite()][0].item()} for "
                f"{caption!r}, so no update was made with it; train the reward model again"
            )
        return so_far, states, prefix

    def value(self, states: Tensor, so_far: Tensor, m: Tensor) -> Tensor:
        """V (B, T) of the states before each token."""
        return (so_far + self.value_head(states)) * m

    def critic_states(self, part: Any, policy_states: Callable[[], Tensor]) -> Tensor:
        """The states (B, T, D) that the value head reads; the policy's are asked for where it is shared."""
        if self.config.critic == "shared":
            return policy_states()[:, :-1]
        if self.own is not None:
            prefix = (
                part.trunk_prefix if self.config.speed.features else self.own.model.prefix(part.pictured())
            )
            return self.own.model.states(prefix, part.ids)[:, :-1]
        return part.seen
