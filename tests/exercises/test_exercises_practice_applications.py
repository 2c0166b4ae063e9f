"""Typical mistakes in the exercises on applications, each beside the words that it gets."""

import numpy as np

from mmbook.world.mdp import MDP


def best(rights):
    return max(rights, key=rights.count)


def by(chance, bar):
    return lambda rights, c, ell: best(rights) if chance(rights) >= bar(c, ell) else "ask"


def likeliest(rights):
    return rights.count(best(rights)) / len(rights)


def exact(c, ell):
    return 1 - c / (1 + ell)


DECISIONS = {
    "several things are meant": by(lambda rights: 1 / len(rights), exact),
    "whenever the answers differ": lambda rights, c, ell: best(rights) if len(set(rights)) == 1 else "ask",
    "two of three things may share one": by(lambda rights: 1 / len(set(rights)), exact),
    "divide by 1 \\+ ell": by(likeliest, lambda c, ell: 1 - c),
    "you divide by ell": by(likeliest, lambda c, ell: 1 - c / ell),
    "the other way round": lambda rights, c, ell: (
        best(rights) if likeliest(rights) < exact(c, ell) else "ask"
    ),
    "the likeliest is the best guess": lambda rights, c, ell: (
        min(rights, key=rights.count) if likeliest(rights) >= exact(c, ell) else "ask"
    ),
    'expected "ask" or one of': lambda rights, c, ell: "a rocket.",
}


def tutor(change=None, reward=-1.0, of_last=False, start=0, last=3):
    def build(e, h, f):
        P, R = np.zeros((4, 2, 4)), np.full((4, 2, 4), reward)
        P[0, 0], P[0, 1], P[1, 0], P[2, 0] = [1 - e, e, 0, 0], [1, 0, 0, 0], [0, 1 - e, e, 0], [0, 0, 1, 0]
        P[1, 1] = [(1 - h / 2) * f, (1 - h / 2) * (1 - f), 0, h / 2]
        P[2, 1] = [0, (1 - h) * f, (1 - h) * (1 - f), h]
        P[3, :, 3] = 1
        if of_last:
            R[..., :3] = 0
        R[3] = 0
        for (s, a), row in (change(h, f) if change else {}).items():
            P[s, a] = row
        return MDP(P, R, np.eye(4)[start], np.arange(4) == last)

    return build


TUTORS = {
    "without the basics a hard task teaches nothing": tutor(lambda h, f: {(0, 1): [1 - h, 0, 0, h]}),
    "only half as often": tutor(lambda h, f: {(1, 1): [(1 - h) * f, (1 - h) * (1 - f), 0, h]}),
    "only who fails can fall back": tutor(
        lambda h, f: {(1, 1): [f, 1 - f - h / 2, 0, h / 2], (2, 1): [0, f, 1 - f - h, h]}
    ),
    "with probability f": tutor(lambda h, f: {(1, 1): [0, 1 - h / 2, 0, h / 2], (2, 1): [0, 0, 1 - h, h]}),
    "falls by one state": tutor(lambda h, f: {(2, 1): [(1 - h) * f, 0, (1 - h) * (1 - f), h]}),
    "its reward is -1, not 1": tutor(reward=1.0),
    "you pay only for the last step": tutor(of_last=True),
    "no lesson costs anything": tutor(reward=0.0),
    "begins new": tutor(start=1),
    "only the last state is terminal": tutor(last=9),
    "expected an MDP": lambda e, h, f: None,
}

MISTAKES = {"practice-applications/decide": DECISIONS, "practice-applications/tutor": TUTORS}
