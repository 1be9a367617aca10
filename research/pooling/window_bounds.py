"""What pooling over windows is guaranteed to do: one function per theorem; tests assert them, figures draw them.

T1 power means, T2 log-mean-exp and log-sum-exp, T3 SoftPool, T4 convexity, T5 the mean's optimality; all derived here.
The length of a pyramid (T18) is `adaptive.pyramid_length`, the range of gates and trees (T6) `tree.hull`.

Letters: `n` elements of a window.
"""

import math

import numpy as np
from scipy.special import lambertw

from research.core import validate

__all__ = [
    "CONVEX", "excess_error", "log_mean_exp_gap", "negative_below", "power_mean_gap", "softpool_gap", "softpool_worst",
]  # fmt: skip

#: T4: kinds that are convex in the window; `lp` for p >= 1. `avg` and `sum` are linear, SoftPool is neither convex nor
#: concave.
CONVEX = ("sum", "avg", "max", "lse", "lme", "lp")


def power_mean_gap(p: float, n: int) -> float:
    """T1: 0 <= log max - log M_p <= this for p > 0, and 0 <= log M_p - log min <= this for p < 0; elements positive.

    M_p is nondecreasing in p. Reached in the limit of one element that dominates: then n M_p^p = max^p.
    """
    validate.require(p != 0, "p", "not be 0", p)
    return math.log(n) / abs(p)


def log_mean_exp_gap(tau: float, n: int) -> float:
    """T2: max - LME_tau and LSE_tau - max lie in [0, this]; mean <= LME_tau, which is nonincreasing in tau."""
    validate.positive("tau", tau)
    return tau * math.log(n)


def softpool_gap(beta: float, n: int) -> float:
    """T3: the largest max - y over all windows of n elements, W0((n - 1) / e) / beta; `softpool_worst` attains it.

    Also mean <= y <= max, and dy/dbeta is the variance of x under the weights, >= 0.
    """
    validate.positive("beta", beta)
    return float(lambertw((n - 1) / math.e).real) / beta


def softpool_worst(beta: float, n: int) -> np.ndarray:
    """T3: a window `[n]` with the largest gap: one element of 0, the others at -(1 + W0((n - 1) / e)) / beta."""
    worst = np.full(n, -(1.0 / beta + softpool_gap(beta, n)))
    worst[0] = 0.0
    return worst


def negative_below(y, beta: float):
    """T3': the derivative of SoftPool's y by an element is negative exactly where the element is below this."""
    validate.positive("beta", beta)
    return y - 1.0 / beta


def excess_error(y, mean, n: int):
    """T5: what the squared error of a window that y is put in place of has more than with its mean, n (y - mean)^2.

    So no pooled value gives a better nearest-neighbour reconstruction than the mean, and among values above the mean
    the smaller is the better: avg, then SoftPool, then max.
    """
    return n * (y - mean) ** 2
