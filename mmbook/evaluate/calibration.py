"""Does a probability mean what it says? Reliability, its error, and the temperature that repairs it."""

from __future__ import annotations

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, log_softmax


def reliability(lead: np.ndarray, bins: int = 10) -> np.ndarray:
    """Rows (mean probability, share right, count) of comparisons, in equal bins from 1/2 to 1; no empty ones.

    `lead` (n,) is the reward of the chosen response less the rejected one's, so the side that a reward model
    bets on has probability sigmoid(|lead|), and it is right where lead > 0; 0 is half right.
    Raises ValueError for no comparison.
    """
    lead = np.asarray(lead, float)
    if not lead.size or not np.isfinite(lead).all():
        raise ValueError(f"lead: expected one finite number or more, got {lead}")
    p, right = expit(np.abs(lead)), (np.sign(lead) + 1) / 2
    place = np.minimum(((p - 0.5) * 2 * bins).astype(int), bins - 1)
    inside = [place == b for b in np.unique(place)]
    return np.array([(p[i].mean(), right[i].mean(), i.sum()) for i in inside])


def calibration_error(lead: np.ndarray, bins: int = 10) -> float:
    """The expected calibration error: the mean distance of probability and share right in `reliability`.

    Source: {cite}`guo2017calibration`.
    """
    said, was, n = reliability(lead, bins).T
    return float((np.abs(said - was) * n).sum() / n.sum())


def fit_temperature(lead: np.ndarray) -> float:
    """The T for which leads over T make the choices likeliest; the order of rewards stays what it was.

    Raises ValueError where no T is best: every choice ranked right, or no better than chance.
    """
    lead = np.asarray(lead, float)
    if not lead.size or lead.min() >= 0 or lead.mean() <= 0:
        raise ValueError(
            "lead: expected choices ranked right more clearly than wrong, and some of them wrong, got "
            f"{(lead > 0).sum()} of {lead.size} right with mean lead {lead.mean() if lead.size else 0.0:.3g}"
        )

    def slope(s: float) -> float:
        """Of the mean log-likelihood in s = 1 / T; it falls."""
        return float((lead * expit(-s * lead)).mean())

    high = 1.0
    while slope(high) > 0:
        high *= 2
    return 1 / brentq(slope, 0.0, high)


def fit_softmax_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """The T for which softmax(logits / T) makes labels (N,) likeliest, from 1/20 to 20; logits (N, K).

    Raises ValueError where there is not one label for each row. Source: {cite}`guo2017calibration`.
    """
    logits, label = np.asarray(logits, float), np.asarray(label)
    if logits.ndim != 2 or label.shape != logits.shape[:1]:
        raise ValueError(f"label: expected one for each row of {logits.shape}, got shape {label.shape}")

    def loss(log_T: float) -> float:
        return -float(log_softmax(logits / np.exp(log_T), -1)[np.arange(len(label)), label].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))
