"""The caption language: what can be said of a scene, how each style says it, and how a caption is read back.

A `Statement` is the meaning of a caption, `say` turns it into English, `parse` is the exact inverse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmbook.world.scenes import QUARTERS
from mmbook.world.stickers import KINDS

STYLES = ("terse", "plain", "detailed", "polite", "relation", "rambling")
RELATIONS = ("left of", "right of", "above", "below")
MOST_MENTIONS = 4  # a scene has four quarters


@dataclass(frozen=True)
class Statement:
    """What a caption claims: kinds in order of mention, and (in two styles) sizes and quarters or relations.

    `relations[i]` holds between mention i and mention i + 1; in the relation style a single mention claims to
    be alone.
    """

    style: str
    kinds: tuple[str, ...]
    big: tuple[bool, ...] = ()
    quarters: tuple[int, ...] = ()
    relations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.kinds)
        if self.style not in STYLES:
            raise ValueError(f"style: expected one of {', '.join(STYLES)}, got {self.style!r}")
        if not 1 <= n <= MOST_MENTIONS:
            raise ValueError(f"kinds: expected one to {MOST_MENTIONS}, got {n}")
        for name, wanted in (
            ("big", n if self.style == "detailed" else 0),
            ("quarters", n if self.style == "detailed" else 0),
            ("relations", n - 1 if self.style == "relation" else 0),
        ):
            if len(getattr(self, name)) != wanted:
                raise ValueError(
                    f"{name}: expected {wanted} of them in a {self.style} caption of {n} kinds, "
                    f"got {len(getattr(self, name))}"
                )


def article(kind: str) -> str:
    """The kind with its article, "an apple"."""
    return ("an " if kind[0] in "aeiou" else "a ") + kind


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def say(statement: Statement) -> str:
    """The English caption of a statement, in lower case."""
    kinds = statement.kinds
    things = [article(kind) for kind in kinds]
    match statement.style:
        case "terse":
            return ", ".join(kinds) + "."
        case "plain":
            return _listed(things) + "."
        case "detailed":
            return (
                _listed(
                    [
                        f"a {'big' if big else 'small'} {kind} at the {QUARTERS[quarter]}"
                        for kind, big, quarter in zip(kinds, statement.big, statement.quarters, strict=True)
                    ]
                )
                + "."
            )
        case "polite":
            return f"hello, please let me show you {_listed(things)}. thank you!"
        case "relation":
            if len(kinds) == 1:
                return f"{things[0]} is all alone."
            links = [
                f"is {relation} {thing}"
                for relation, thing in zip(statement.relations, things[1:], strict=True)
            ]
            return f"{things[0]} {', which '.join(links)}."
        case _:
            return f"well, i can see {' and then '.join(things)}, i guess."


def normalise(caption: str) -> str:
    """Lower case, one space between words, punctuation as words of its own: the tokens of the tiny model."""
    return " ".join(re.findall(r"[\w-]+|[^\w\s]", caption.lower()))


_KIND = "|".join(KINDS)
_THING = rf"(?:an? (?:{_KIND}))"
_PLACED = rf"(?:a (?:big|small) (?:{_KIND}) at the (?:{'|'.join(QUARTERS)}))"


def _list_of(part: str) -> str:
    return rf"{part}(?:(?: , {part}){{0,{MOST_MENTIONS - 2}}} and {part})?"


_LINK = rf"is (?:{'|'.join(RELATIONS)}) {_THING}"
_GRAMMAR = {
    style: re.compile(pattern)
    for style, pattern in {
        "terse": rf"(?:{_KIND})(?: , (?:{_KIND})){{0,{MOST_MENTIONS - 1}}} \.",
        "plain": rf"{_list_of(_THING)} \.",
        "detailed": rf"{_list_of(_PLACED)} \.",
        "polite": rf"hello , please let me show you {_list_of(_THING)} \. thank you !",
        "relation": rf"{_THING} (?:is all alone|{_LINK}(?: , which {_LINK}){{0,{MOST_MENTIONS - 2}}}) \.",
        "rambling": rf"well , i can see {_THING}(?: and then {_THING}){{0,{MOST_MENTIONS - 1}}} , i guess \.",
    }.items()
}


def parse(caption: str) -> Statement | None:
    """The statement that a caption makes, or None when it is not in the language (nor is a wrong article)."""
    words = normalise(caption)
    for style, pattern in _GRAMMAR.items():
        if pattern.fullmatch(words):
            kinds = tuple(re.findall(rf"\b({_KIND})\b", words))
            statement = Statement(
                style,
                kinds,
                big=tuple(w == "big" for w in re.findall(r"\b(big|small)\b", words)),
                quarters=tuple(QUARTERS.index(q) for q in re.findall("|".join(QUARTERS), words))
                if style == "detailed"
                else (),
                relations=tuple(re.findall("|".join(RELATIONS), words)) if style == "relation" else (),
            )
            return statement if normalise(say(statement)) == words else None
    return None
