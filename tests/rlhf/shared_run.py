"""Short PPO runs, one for each job in a JSON file, by whatever processes were started.

A job names its `strategy`, the fields of its `config`, and where its results go (`out`); with a `folder` it
leaves checkpoints, and with `stop` it is interrupted in the update after that many. A job that `breaks` does
so in the last process only: it cannot see the others' folder, or is paid what is no number.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mmbook.models import VLM, Speed, load_pretrained_model
from mmbook.rlhf import PPOConfig, RewardModel, fine_tune_with_rl
from mmbook.rlhf.fine_tune import Run
from mmbook.training.world import World
from mmbook.world import sample_scenes


def run(job: dict[str, Any], tiny: VLM) -> None:
    """Do one job; the main process writes the tuned weights, the history and what was seen on the way."""
    world, update, seen = World.start(job.get("strategy", "ddp")), Run.update, []
    reward = RewardModel(tiny, looks=False, seed=3).requires_grad_(False)
    reward.interval = (0.8, 0.9)
    held, scenes, folder, breaks = {}, sample_scenes(2, 0), job.get("folder"), job.get("breaks")
    last = world.rank == world.size - 1
    if breaks == "folder" and last:
        folder += "-elsewhere"
    if breaks == "reward" and last:
        reward.so_far = lambda prefix, ids, *_: ids.new_full(
            (len(ids), ids.shape[1] + 1), math.nan, dtype=float
        )

    def stopped(self: Run) -> None:
        if len(self.history) == job.get("stop", -1):
            raise KeyboardInterrupt
        update(self)
        held.update({n: tuple(p.to_local().shape if hasattr(p, "to_local") else p.shape)
                     for n, p in self.policy.model.module.named_parameters()})  # fmt: skip

    how = {"updates": 2, "batch": 16, "minibatches": 2, "rank": 4, "per_row": True, **job["config"]}
    how["speed"] = Speed(**how.get("speed", {}))
    Run.update = stopped  # type: ignore[method-assign]
    try:
        tuned = fine_tune_with_rl(
            tiny, reward, 0, PPOConfig(**how), progress=False, folder=folder, world=world, every=1,
            callback=lambda i, m: seen.append([i, len(m.history), m.sample(scenes, greedy=True)]),
        )  # fmt: skip
    except KeyboardInterrupt:
        return
    except ValueError as error:
        if not breaks:
            raise
        Path(f"{job['out']}.{world.rank}").write_text(str(error))
        return
    finally:
        Run.update = update  # type: ignore[method-assign]
    if world.main:
        Path(job["out"]).parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous() for k, v in tuned.module.named_parameters()}, job["out"])
        found = {"history": tuned.history, "seen": seen, "held": held, "size": world.size}
        Path(job["out"]).with_suffix(".json").write_text(json.dumps(found))


if __name__ == "__main__":
    model = load_pretrained_model("tiny", device="cpu")
    for job in json.loads(Path(sys.argv[1]).read_text()):
        run(job, model)
