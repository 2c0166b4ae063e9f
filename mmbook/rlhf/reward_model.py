"""The reward model: a vision-language model with heads, one of which checks words against the picture."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mmbook.equations import log_prob
from mmbook.feedback.dataset import picture_key
from mmbook.feedback.intervals import wilson
from mmbook.feedback.items import whole_seed
from mmbook.models import MatchHead, Prefix, ScalarHead, load_pretrained_model
from mmbook.models.threads import one_thread
from mmbook.rlhf.reward_fit import Features, cross_validate, fit
from mmbook.rlhf.rewards import Reward
from mmbook.world import Scene, normalise

if TYPE_CHECKING:
    from mmbook.feedback import Feedback, Judgement

POOLS, TUNES = ("mean", "sum", "order", "last"), ("head", "lora", "full")
WEIGHTS = "reward.safetensors"
KNOWN = (
    "looks",
    "reads",
    "pool",
    "caution",
    "accuracy",
    "interval",
    "pairs",
    "contradictions",
    "nu",
    "kappa",
)


@dataclass(frozen=True)
class RewardConfig:
    """How a reward model is fitted; what it attends to is decided by cross-validation where that is None."""

    looks: bool | None = None  # whether words are checked against the picture
    reads: bool | None = None  # whether the language model's states and probabilities count
    pool: str = "mean"  # of a linear head over words: mean, sum, order (knows first from last) or last word
    tune: str = (
        "head"  # what learns beside the heads: nothing, adapters ("lora"), the language model ("full")
    )
    members: int = 1  # models in an ensemble, each fitted to a draw of the judgements with replacement
    caution: float = 0.0  # standard deviations of the members taken off their mean
    epochs: int = 50  # passes over the judgements
    most: int = 10_000  # judgements read in all; where there are many, epochs are fewer
    batch: int = 25  # judgements a step
    lr: float = 3e-3  # of the heads
    trunk_lr: float = 5e-4  # of what else learns
    rank: int = 16  # of the adapters
    weight_decay: float = 1.0  # of the match head; a tenth of it for linear heads
    margin: float = 0.0  # lead that the better caption of a pair is asked for
    flipped: float = 0.0  # probability with which answers were turned round on purpose, at most 1/2
    centre: float = 0.01  # weight c of the centring term
    match_centre: float = 0.1  # the same where words are only matched: it settles what a wrong word costs
    folds: int = 4  # of the cross-validation; where the trunk learns too, only the first is held out
    minimum: int = 10  # fewest usable judgements

    def __post_init__(self) -> None:
        least = {"epochs": 1, "most": 1, "batch": 1, "folds": 2, "minimum": 2, "members": 1, "rank": 1}
        for name, low in least.items():
            if not isinstance(value := getattr(self, name), int) or value < low:
                raise ValueError(f"{name}: expected a whole number, {low} or more, got {value!r}")
        for name in ("caution", "lr", "trunk_lr", "weight_decay", "margin", "centre", "match_centre"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number, 0 or more, got {getattr(self, name)!r}")
        for name, known in (("pool", POOLS), ("tune", TUNES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}")
        if self.caution and self.members < 2:
            raise ValueError(f"members: expected 2 or more with caution={self.caution}, as one has no spread")
        if not 0 <= self.flipped < 0.5 or (self.flipped and self.margin):
            raise ValueError(
                f"flipped: expected a probability below 1/2, and no margin with it, got {self.flipped!r}, "
                f"margin={self.margin!r}"
            )
        if self.tune != "head" and self.members > 1:
            raise ValueError(f"members: expected 1 with tune={self.tune!r}, as members share a frozen trunk")


@dataclass(frozen=True)
class Read:
    """What heads read of responses: ids, mask (B, T), states (B, T + 1, D); what no head needs is None."""

    ids: Tensor
    mask: Tensor
    states: Tensor
    words: Tensor | None = None  # embeddings (B, T, D)
    parts: Tensor | None = None  # of the picture (B, I, D), and which are real (B, I)
    there: Tensor | None = None
    log_p: Tensor | None = None  # of the words under the trunk, (B, T)


class Heads(nn.Module):
    """All that is learned on a trunk; returns the reward (B, T) of responses that stop after each token.

    A linear head is pooled over words. A match head adds what each word gains by its fit to the picture, once
    for each word. Where both are used, the log-likelihood and the least likely word count too.
    """

    def __init__(self, trunk: Any, looks: bool, reads: bool, pool: str, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.reads, self.pool = reads, pool
        self.language = ScalarHead(trunk.width, generator)
        self.match = MatchHead(trunk.width, generator) if looks else None
        self.order = ScalarHead(trunk.width, generator) if pool == "order" else None
        self.likely = nn.Parameter(torch.zeros(2)) if looks and reads else None
        words = trunk.module.get_input_embeddings().num_embeddings if looks else 0
        self.register_buffer("neutral", torch.zeros(words))
        self.register_buffer("judged", torch.ones(words, dtype=torch.bool))

    def forward(self, x: Read) -> Tensor:
        total, n = torch.zeros_like(x.mask), x.mask.cumsum(1)
        if self.reads:
            said = self.language(x.states[:, 1:]) * x.mask
            if self.pool == "last":
                total = said.gather(1, (n - 1).long())
            else:
                total = said.cumsum(1) / (10 if self.pool == "sum" else n)
        if self.reads and self.order is not None:  # the mean of (1 - 2 (t - 1/2) / n) times the head
            said = self.order(x.states[:, 1:]) * x.mask
            total = total + (said.cumsum(1) - ((2 * n - 1) * said).cumsum(1) / n) / n
        if self.match is not None:
            again = (x.ids[:, :, None] == x.ids[:, None, :]).tril(-1).any(-1)
            fits = (self.match(x.words, x.parts, x.there) - self.neutral[x.ids]) * self.judged[x.ids]
            total = total + (fits * x.mask * ~again).cumsum(1)
        if self.likely is not None and x.log_p is not None:
            seen = torch.stack([x.log_p.cumsum(1), x.log_p.cummin(1).values], -1)
            total = total + seen @ self.likely
        return total


class RewardModel(Reward):
    """r(x, y): picture and caption to one number, built up word by word.

    `accuracy` is the share of `pairs` held-out comparisons that cross-validation ranks right, `interval` its
    95 % Wilson interval (of the form that did best, so a little optimistic for few labels), `looks` whether
    words are checked against the picture, `reads` whether the language model's states count,
    `contradictions` the share of labels that another label contradicts, `nu` how common ties are, `kappa`
    where ratings go up. With several `members` the reward is their mean less `caution` times their spread.
    """

    def __init__(
        self,
        trunk: Any,
        looks: bool,
        seed: int,
        reads: bool | None = None,
        pool: str = "mean",
        members: int = 1,
        caution: float = 0.0,
    ) -> None:
        super().__init__(trunk)
        self.looks, self.reads = looks, not looks if reads is None else reads
        self.pool, self.caution, self.base = pool, caution, None
        self.members = nn.ModuleList(Heads(trunk, looks, self.reads, pool, seed + i) for i in range(members))
        self.interval, self.nu, self.kappa = (0.0, 1.0), float("nan"), list[float]()
        self.to(trunk.device).eval()

    @property
    def language(self) -> ScalarHead:
        """The linear head (of the first member)."""
        return self.members[0].language

    @property
    def match(self) -> MatchHead | None:
        """The match head (of the first member), if there is one."""
        return self.members[0].match

    def read(
        self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, log_p: Tensor | None = None
    ) -> Read:
        """What the heads need to know of responses; `log_p` is computed unless it is given."""
        if not self.looks:
            return Read(ids, mask, states)
        columns = prefix.picture.any(0)  # rows may differ in how many parts they have
        if self.reads and log_p is None:
            log_p = log_prob(self.trunk.logits(states[:, :-1]), ids) * mask
        words = self.trunk.module.get_input_embeddings()(ids)
        return Read(ids, mask, states, words, prefix.embeds[:, columns], prefix.picture[:, columns], log_p)

    def so_far(self, prefix: Prefix, ids: Tensor, mask: Tensor, states: Tensor, scenes: Any = None) -> Tensor:
        """The reward (B, T + 1) of responses that stop after 0, 1, ..., T tokens; constant after their end.

        `states` are the trunk's, (B, T + 1, D).
        """
        x = self.read(prefix, ids, mask, states)
        each = torch.stack([heads(x) for heads in self.members])
        total = each.mean(0)
        if len(each) > 1 and self.caution:
            total = total - self.caution * each.std(0)
        return torch.cat([torch.zeros_like(total[:, :1]), total], 1)

    @torch.no_grad()
    def settle(self, prefix: Prefix, ids: Tensor, mask: Tensor) -> None:
        """Let a word that nobody has judged, and one that fits every picture alike, say nothing.

        A comparison of two captions leaves open what the words in both are worth. Where nothing but the
        picture counts, each word is centred between its best and its worst fit to the pictures in `prefix`.
        """
        words = ids[mask.bool()].unique()
        for heads in self.members if self.looks else []:
            heads.judged.zero_()[words] = True
            if not self.reads:
                many = words.expand(len(prefix), -1)
                x = self.read(prefix, many, torch.ones_like(many), states=many)
                fit = heads.match(x.words, x.parts, x.there)
                heads.neutral[words] = (fit.amax(0) + fit.amin(0)) / 2

    @torch.no_grad()
    def explain(self, scene: Scene, caption: str) -> list[tuple[str, float]]:
        """Each word of a caption with what it adds to the reward at its place, the end token last."""
        prefix, (ids, mask) = self.trunk.prefix([scene]), self.trunk.tokens([caption])
        so_far = self.so_far(prefix, ids, mask, self.trunk.states(prefix, ids))[0]
        words = [self.trunk.tokenizer.decode([token]) for token in ids[0]]
        return list(zip(words, so_far.diff().tolist(), strict=True))

    def save(self, folder: str | Path) -> None:
        """Write the heads as safetensors with what is known of them, and the trunk if it learned too."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        about = {name: getattr(self, name) for name in KNOWN} | {"members": len(self.members)}
        about |= {"model": self.base or self.trunk.hash, "tuned": self.base is not None}
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, folder / WEIGHTS, {"about": json.dumps(about)})
        if self.base is not None:
            self.trunk.save(folder / "trunk")

    @classmethod
    def load(cls, folder: str | Path, model: Any) -> RewardModel:
        """Read what `save` wrote, for the `model` that it was built on.

        Raises FileNotFoundError, ValueError for another model.
        """
        path = Path(folder) / WEIGHTS
        if not path.exists():
            raise FileNotFoundError(f"{path}: expected what RewardModel.save wrote, found no such file")
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("model") != model.hash:
            raise ValueError(
                f"{path}: expected the model {about.get('model')}, on which this reward model was built, got "
                f"{model.hash}; load that model first"
            )
        trunk = model
        if about["tuned"]:
            trunk = load_pretrained_model(Path(folder) / "trunk", model.device)
        how = {name: about[name] for name in ("looks", "reads", "pool", "members", "caution")}
        loaded = cls(trunk, seed=0, **how)
        loaded.load_state_dict(state)
        for name in KNOWN:
            setattr(loaded, name, about[name])
        loaded.interval, loaded.base = tuple(about["interval"]), model.hash if about["tuned"] else None
        return loaded.requires_grad_(False)


def _usable(feedback: Feedback, minimum: int) -> list[Judgement]:
    """The judgements of a log. Raises ValueError for too few, too alike or empty ones."""
    judged = feedback.judgements()
    for j in judged:
        if not all(map(normalise, j.captions)):
            raise ValueError(
                f"{feedback.path}: expected captions with words, got an empty response in record "
                f"{j.record['id']}; leave it out of the log"
            )
    usable = [j for j in judged if j.kind != "tie"]
    kinds = {j.kind for j in usable}
    things = "judgements" if kinds - {"pair"} else "pairs"
    if len(usable) < minimum:
        raise ValueError(
            f"{feedback.path}: {len(usable)} usable {things} (ties and "
            f"skips do not count), at least {minimum} are needed and 50 are better; label some more"
        )
    if len({picture_key(j.scene) for j in usable}) < 2:
        raise ValueError(
            f"{feedback.path}: all {len(usable)} usable {things} are of one scene; expected "
            "two or more scenes, so that some can be held out; label more pictures"
        )
    if kinds == {"rating"} and len(ratings := {j.rating for j in usable}) < 2:
        raise ValueError(
            f"{feedback.path}: all {len(usable)} ratings are {ratings.pop()}; expected two different ones or "
            "more, as equal ones say nothing of what is better"
        )
    return judged


def train_reward_model(
    feedback: Feedback,
    seed: int = 0,
    config: RewardConfig | None = None,
    shuffle_pictures: bool = False,
    **changes: Any,
) -> RewardModel:
    """Fit a reward model to a feedback log: pairs, ties, ratings, edits and rankings together.

    Cross-validation decides what it attends to: of the forms that rank within one standard error of the most
    held-out comparisons right, the simplest. `changes` override fields of `config`. `shuffle_pictures` gives
    every judgement another one's picture: the control that shows if seeing mattered.
    Raises ValueError for judgements that are too few, of one scene, empty or all alike, or without a model.
    """
    if not hasattr(feedback, "judgements"):
        raise TypeError(
            f"feedback: expected what collect_human_feedback or Feedback.from_log returned, got {feedback!r}"
        )
    config, seed = replace(config or RewardConfig(), **changes), whole_seed(seed)
    judged = _usable(feedback, config.minimum)
    if feedback.model is None:
        raise ValueError(
            f"{feedback.path}: expected feedback with the model that its reward model is built on, got none; "
            "read the log with Feedback.from_log(path, model=load_pretrained_model())"
        )
    if config.flipped and {j.kind for j in judged} - {"pair"}:
        raise ValueError(
            f"{feedback.path}: flipped={config.flipped:g} is for pairs that were all answered; this log has "
            "ties or other judgements, which nobody has turned round"
        )
    trunk, scenes = feedback.model, [j.scene for j in judged]
    pictures = list(scenes)
    if shuffle_pictures:
        order = np.random.default_rng(seed).permutation(len(judged))
        for here, there in zip(order, np.roll(order, 1), strict=True):
            pictures[here] = scenes[there]
            if asked := getattr(scenes[here], "question", ""):  # another's picture, the question its own
                pictures[here] = replace(scenes[there], question=asked)
    with one_thread():
        features = Features(trunk, judged, pictures)
        forms = _forms(config, bool(features.prefix.picture.any()))
        one = replace(config, members=1, caution=0.0)
        tried = {form: cross_validate(_new(trunk, form, one), features, scenes, one, seed) for form in forms}
        most, n = max((right, n) for _, right, n in tried.values())
        enough = most - math.sqrt(most * (n - most) / max(n, 1))
        form = next(form for form in forms if tried[form][1] >= enough)
        model = _new(trunk, form, config)(seed)
        model.base = None if config.tune == "head" else trunk.hash
        fit(model, features, torch.arange(len(judged)), config, seed)
    right = tried[form][1]
    model.accuracy, model.pairs = right / n if n else float("nan"), n
    model.interval, model.contradictions = wilson(right, n) if n else (0.0, 1.0), feedback.contradictions()
    return model


def _forms(config: RewardConfig, pictures: bool) -> list[tuple[bool, bool]]:
    """The (looks, reads) to choose from, the simplest first."""
    forms = [(False, True), *([(True, False), (True, True)] if pictures else [])]
    wanted = config.looks, config.reads
    fitting = [f for f in forms if all(w is None or w == x for w, x in zip(wanted, f, strict=True))]
    if not fitting:
        raise ValueError(
            f"looks, reads: expected one of {forms} for this model, got {config.looks}, {config.reads}"
        )
    return fitting


def _new(trunk: Any, form: tuple[bool, bool], config: RewardConfig) -> Any:
    """A function of the seed that makes a reward model of this form."""
    looks, reads = form
    return lambda seed: RewardModel(trunk, looks, seed, reads, config.pool, config.members, config.caution)
