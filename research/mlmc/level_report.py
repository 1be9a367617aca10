"""What samples of fixed levels say about a multilevel method: rates, whether levels fit together, what was saved.

Two checks belong to every run. The kurtosis of Delta on the finest level says how many samples its variance needs: a
standard error of sqrt((kurtosis - 1)/N) in relative terms. The consistency check says whether E Delta_l is really
E P_l - E P_{l-1}: the difference of the three means, over three times what their standard deviations allow, exceeds 1
with a probability of at most 0.3 % where it is, and always, with enough samples, where it is not.
Source: `giles:15`, section 3; limits as in the author's public code. On the host, in double precision.
"""

import math
from typing import NamedTuple

import jax
import numpy as np

from research.core import validate
from research.mlmc import multilevel
from research.mlmc.moments import CentralMoments

__all__ = ["MAX_KURTOSIS", "Concern", "Outcome", "Report", "outcome", "report"]

#: Kurtosis of the finest level beyond which its variance is not to be trusted.
MAX_KURTOSIS = 100.0


class Concern(NamedTuple):
    """A check that failed; its text is `str` of it."""

    kind: str  # "kurtosis" or "consistency"
    level: int
    value: float
    limit: float

    def __str__(self):
        if self.kind == "kurtosis":
            return f"kurtosis {self.value:.0f} on the finest level, {self.level}: its variance has a large error"
        return f"consistency check {self.value:.2f} > 1 on level {self.level}: the difference does not fit the levels"


class Report(NamedTuple):
    """Of levels 0, ..., L; arrays `[L + 1]`."""

    samples: np.ndarray  # N_l
    mean: np.ndarray  # of Delta_l
    mean_value: np.ndarray  # of P_l
    variance: np.ndarray  # of Delta_l
    variance_value: np.ndarray  # of P_l
    kurtosis: np.ndarray  # of Delta_l; NaN without spread
    consistency: np.ndarray  # 0 on level 0; more than 1 is a concern
    cost: np.ndarray  # inner samples per sample
    weak_rate: float  # alpha, beta, gamma by regression over levels 1, ..., L
    variance_rate: float
    cost_rate: float
    concerns: tuple[Concern, ...]


class Outcome(NamedTuple):
    """Of one adaptive run."""

    tolerance: float
    value: float
    leaves: int
    standard_leaves: float  # of plain nested Monte Carlo with the inner samples of the finest level
    saving: float  # the second over the first
    samples: tuple[int, ...]  # N_0, ..., N_L


def report(samples: CentralMoments, base: int = 0) -> Report:
    """The table of levels, from moments `[M, 2]` of Delta_l and P_l; levels from the first empty one on are left out.

    Raises: ValueError with fewer than three levels that have samples.
    """
    samples = jax.device_get(samples)
    count = samples.count[:, 0].astype(np.int64)
    length = len(count) if count.all() else int(np.argmin(count > 0))
    validate.require(length >= 3, "samples", "hold at least three levels, for rates", f"{length} with samples")
    mean, second, fourth = (np.asarray(x, np.float64)[:length] for x in (samples.mean, samples.second, samples.fourth))
    count = count[:length]
    variance = second / count[:, None]
    spread = second[:, 0] > 0
    kurtosis = np.where(spread, count * fourth[:, 0] / np.where(spread, second[:, 0], 1) ** 2, np.nan)
    consistency = _consistency(count, mean, variance)
    cost = 2.0 ** (base + np.arange(length))
    concerns = [Concern("consistency", level, float(x), 1.0) for level, x in enumerate(consistency) if x > 1]
    if kurtosis[-1] > MAX_KURTOSIS:
        concerns.insert(0, Concern("kurtosis", length - 1, float(kurtosis[-1]), MAX_KURTOSIS))
    return Report(
        count, mean[:, 0], mean[:, 1], variance[:, 0], variance[:, 1], kurtosis, consistency, cost,
        -_slope(np.abs(mean[:, 0])), -_slope(variance[:, 0]), _slope(cost), tuple(concerns),
    )  # fmt: skip


def _consistency(count, mean, variance):
    """|mean Delta_l + mean P_{l-1} - mean P_l| over three times the sum of the standard deviations of the means."""
    error = np.sqrt(variance / count[:, None])
    gap = np.abs(mean[1:, 0] + mean[:-1, 1] - mean[1:, 1])
    # Means are rounded to float32: a gap of that size is none.
    allowed = 3 * (error[1:, 0] + error[:-1, 1] + error[1:, 1]) + 1e-5 * np.abs(mean[1:, 1])
    return np.concatenate([[0.0], np.divide(gap, allowed, out=np.zeros_like(gap), where=gap > 0)])


def _slope(x):
    """Of log2 x over levels 1, ..., L; levels without spread are left out, NaN where two are not left."""
    level = np.arange(1, len(x))
    kept = x[1:] > 0
    return float(np.polyfit(level[kept], np.log2(x[1:][kept]), 1)[0]) if kept.sum() > 1 else math.nan


def outcome(params: multilevel.Params, result: multilevel.Result) -> Outcome:
    """What an adaptive run cost, and what plain nested Monte Carlo with its finest level would have."""
    samples = jax.device_get(result.state.samples)
    finest, leaves = int(result.state.finest), multilevel.num_leaves(params, result.state)
    spread = samples.second[finest, 1] / samples.count[finest, 1]
    cost = 2.0 ** (params.base + finest)
    standard = float(multilevel.least_cost([spread], [cost], params.tolerance, params.bias_share))
    counts = tuple(samples.count[: finest + 1, 0].tolist())
    return Outcome(float(params.tolerance), float(result.value), leaves, standard, standard / leaves, counts)
