"""The checkers of the chapter on deep Q-learning: published solutions pass, typical mistakes are named."""

from mmbook.equations import double_q_target


def best(Q, axis=-1):
    return Q.detach().max(axis).values


TARGETS = {
    "bootstrap from states that ended": lambda r, Q, end, cut, g: r + g * best(Q),
    "stop at a truncation": lambda r, Q, end, cut, g: r + g * best(Q) * ~(end | cut),
    "wrong way round": lambda r, Q, end, cut, g: r + g * best(Q) * end,
    "wrong axis": lambda r, Q, end, cut, g: r + g * Q.detach().max() * ~end,
    "expected one target for each": lambda r, Q, end, cut, g: r[:3] + g * best(Q, 0),
    "mean over the actions": lambda r, Q, end, cut, g: r + g * Q.detach().mean(-1) * ~end,
    "do not discount what follows": lambda r, Q, end, cut, g: r + best(Q) * ~end,
    "leave out the reward": lambda r, Q, end, cut, g: g * best(Q) * ~end,
    "discount the reward as well": lambda r, Q, end, cut, g: g * (r + best(Q) * ~end),
    "right for a bandit only": lambda r, Q, end, cut, g: r,
    "gradient flows through the target": lambda r, Q, end, cut, g: r + g * Q.amax(-1) * ~end,
    r"expected \[5.0, -0.5": lambda r, Q, end, cut, g: r + 7,
}


DOUBLES = {
    "changed places": lambda r, Q, old, end, g: double_q_target(r, old, Q, g, end),
    "plain DQN": lambda r, Q, old, end, g: double_q_target(r, old, old, g, end),
    "target network is not used": lambda r, Q, old, end, g: double_q_target(r, Q, Q, g, end),
    "states that ended": lambda r, Q, old, end, g: double_q_target(r, Q, old, g, 0 * end),
    "same action": lambda r, Q, old, end, g: r + g * old[:, Q.sum(0).argmax()] * (1 - end),
    "average the two": lambda r, Q, old, end, g: double_q_target(r, Q + old, (Q + old) / 2, g, end),
    "batch of one": lambda r, Q, old, end, g: double_q_target(r, Q, old, g, end).squeeze(),
    "stopped with IndexError": lambda r, Q, old, end, g: old[9],
}

MISTAKES = {"rl-dqn/target": TARGETS, "rl-dqn/double": DOUBLES}
