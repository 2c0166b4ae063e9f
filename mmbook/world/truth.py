"""The truth checker: compare every claim of a caption with the scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmbook.world.captions import STYLES, parse
from mmbook.world.scenes import Scene


@dataclass(frozen=True)
class Check:
    """The verdict on one caption.

    `claims` lists (claim, right); `coverage` is the share of the scene's stickers that are named; `true`
    means grammatical with every claim right, `full` means true and nothing left out. An ungrammatical caption
    makes no claim.
    """

    style: str | None
    claims: tuple[tuple[str, bool], ...]
    coverage: float

    @property
    def grammatical(self) -> bool:
        return self.style is not None

    @property
    def wrong(self) -> int:
        """How many claims are wrong."""
        return sum(not right for _, right in self.claims)

    @property
    def true(self) -> bool:
        return self.grammatical and self.wrong == 0

    @property
    def full(self) -> bool:
        return self.true and self.coverage == 1.0

    @property
    def claim_precision(self) -> float:
        """The share of right claims; not a number when there are none."""
        return 1 - self.wrong / len(self.claims) if self.claims else float("nan")

    @property
    def utility(self) -> float:
        """What the caption is worth to a reader: 3 coverage - 1.5 wrong claims, or -3 if ungrammatical."""
        return 3 * self.coverage - 1.5 * self.wrong if self.grammatical else -3.0


def check(caption: str, scene: Scene) -> Check:
    """Compare each claim of a caption with the scene; a kind named twice is a claim that there are two."""
    statement = parse(caption)
    if statement is None:
        return Check(None, (), 0.0)
    where = {s.kind: s for s in scene.stickers}
    claims: list[tuple[str, bool]] = []
    for i, kind in enumerate(statement.kinds):
        again = kind in statement.kinds[:i]
        claims.append((f"{'another ' if again else ''}{kind}", kind in where and not again))
        sticker = where.get(kind)
        if statement.big:
            claims.append(
                (
                    f"{kind} {'big' if statement.big[i] else 'small'}",
                    sticker is not None and sticker.big == statement.big[i],
                )
            )
            claims.append(
                (
                    f"{kind} in quarter {statement.quarters[i]}",
                    sticker is not None and sticker.quarter == statement.quarters[i],
                )
            )
    for relation, a, b in zip(statement.relations, statement.kinds, statement.kinds[1:], strict=False):
        claims.append(
            (
                f"{a} {relation} {b}",
                a in where and b in where and holds(relation, where[a].quarter, where[b].quarter),
            )
        )
    if statement.style == "relation" and len(statement.kinds) == 1:
        claims.append((f"{statement.kinds[0]} alone", scene.kinds == statement.kinds))
    return Check(statement.style, tuple(claims), len(where.keys() & set(statement.kinds)) / len(where))


def holds(relation: str, a: int, b: int) -> bool:
    """Whether quarter `a` is left of, right of, above or below quarter `b`."""
    (row_a, column_a), (row_b, column_b) = divmod(a, 2), divmod(b, 2)
    return {
        "left of": column_a < column_b,
        "right of": column_a > column_b,
        "above": row_a < row_b,
        "below": row_a > row_b,
    }[relation]


def score(captions: Sequence[str], scenes: Sequence[Scene]) -> dict:
    """Means over many captions: grammatical, true, full, coverage, claim_precision, utility, style shares.

    Claim precision is right claims over all claims. Raises ValueError unless captions match scenes.
    """
    if len(captions) != len(scenes) or not captions:
        raise ValueError(
            f"captions: expected one for each of {len(scenes)} scenes and at least one, got {len(captions)}"
        )
    checks = [check(caption, scene) for caption, scene in zip(captions, scenes, strict=True)]
    n, claims = len(checks), sum(len(c.claims) for c in checks)
    return {
        "grammatical": sum(c.grammatical for c in checks) / n,
        "true": sum(c.true for c in checks) / n,
        "full": sum(c.full for c in checks) / n,
        "coverage": sum(c.coverage for c in checks) / n,
        "claim_precision": 1 - sum(c.wrong for c in checks) / claims if claims else float("nan"),
        "utility": sum(c.utility for c in checks) / n,
        "style": {style: sum(c.style == style for c in checks) / n for style in STYLES},
    }
