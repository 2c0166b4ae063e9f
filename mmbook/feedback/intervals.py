"""Intervals for measured shares."""

from __future__ import annotations


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a share ({cite}`wilson1927`). Raises ValueError without a trial."""
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(
            f"successes, trials: expected 0 <= successes <= trials and a trial, got {successes} of {trials}"
        )
    from scipy.stats import binomtest  # slow to import

    low, high = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(low), float(high)
