"""What the soft maxima of a window guarantee: how far below the largest element they stay (T1 to T3).

Host functions of NumPy numbers, float64. Letters: `n` elements of a window.
"""

import numpy as np
from scipy import special

from research.core import validate as checks

__all__ = ["log_mean_exp_gap", "power_mean_gap", "softpool_gap"]


def power_mean_gap(n: int, p: float | np.ndarray) -> np.ndarray:
    """T1: the largest log max - log M_p for p > 0, and log M_p - log min for p < 0, of positive elements, in nats.

    (log n) / |p|, approached as one element dominates. Raises ValueError for n < 1 and p = 0.
    """
    checks.at_least("n", n, 1)
    power = np.abs(np.asarray(p, np.float64))
    checks.positive("|p|", power)
    return np.log(n) / power


def log_mean_exp_gap(n: int, tau: float | np.ndarray) -> np.ndarray:
    """T2: the largest max - LME_tau, and LSE_tau - max, in the elements' unit: tau log n.

    Approached as one element dominates, and attained by equal elements. Raises ValueError for n < 1 and tau <= 0.
    """
    checks.at_least("n", n, 1)
    checks.positive("tau", tau)
    return np.log(n) * np.asarray(tau, np.float64)


def softpool_gap(n: int, beta: float | np.ndarray) -> np.ndarray:
    """T3: the largest max - y of SoftPool, in the elements' unit: W0((n - 1) / e) / beta, less than (log n) / beta.

    Attained by one element above n - 1 equal ones at the distance (1 + W0((n - 1) / e)) / beta. W0 is the principal
    branch of Lambert's function. Raises ValueError for n < 1 and beta <= 0.
    """
    checks.at_least("n", n, 1)
    checks.positive("beta", beta)
    return special.lambertw((n - 1) / np.e).real / np.asarray(beta, np.float64)
