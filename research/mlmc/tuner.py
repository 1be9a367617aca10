"""Choosing r, b and the estimator from a pilot run, within the set where the variance is known to be finite.

At depth 0 the work-normalised variance is a function of second moments of level differences,

    (sum of E Delta_n**2 / p_n - gamma_0**2) * 2**b_0 r_0/(2 r_0 - 1) * leaves of a child,    p_n = r_0 (1 - r_0)**n,

so that one pilot gives it for every r_0: moments are measured at the levels that were visited often, and fall as
2**(-beta n) above, with beta fitted but not above what the class of the link allows. The other parameters are searched
one coordinate at a time on a grid, all with the same replicates.

Searching on the sample variance instead is a trap: outside the admissible set it looks small, as the rare high levels
that make it infinite were never drawn. So candidates need a moment profile of at least p_0 = 2.2. Source: derived; with
exact prefactors, where `syed:23` has r_0 = 1 - 2**(-(1 + beta)/2) from the rates alone.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize

from research.core import stats, validate
from research.core.stats import Interval
from research.mlmc import bounds, read

__all__ = ["Certificate", "Choice", "Levels", "fit_levels", "largest_rate", "rate_without_prefactor", "tune"]

#: Visits that make a level's second moment a measurement.
_ENOUGH = 64
#: Smallest distance of r from 1/2 that is looked at: there costs grow as the reciprocal of it.
_MARGIN = 0.005


# ---- One depth -------------------------------------------------------------------------------------------------------


class Levels(NamedTuple):
    """Second moments of the differences at one depth: measured up to a level, falling geometrically above."""

    measured: np.ndarray  # E Delta_n**2 for n = 0, ..., L
    rate: float  # beta in use, at most the class's
    fitted: float  # beta as the pilot has it; NaN where no difference is other than zero
    mean: float  # sum of E Delta_n over the measured levels: gamma_0

    def variance(self, r: float) -> float:
        """Of a single-term replicate; infinite for r >= 1 - 2**-beta."""
        ratio = 2.0**-self.rate / (1 - r)
        if ratio >= 1 and self.measured[-1] > 0:
            return math.inf
        weighted = self.measured / (r * (1 - r) ** np.arange(len(self.measured)))
        tail = weighted[-1] * ratio / (1 - ratio) if self.measured[-1] > 0 else 0.0
        return float(weighted.sum() + tail - self.mean**2)

    def best(self, upper: float) -> tuple[float, float]:
        """The r in (1/2, upper] of least variance times r/(2 r - 1), and that product."""
        lower = min(0.5 + _MARGIN, (0.5 + upper) / 2)
        found = optimize.minimize_scalar(
            lambda r: self.variance(r) * r / (2 * r - 1), bounds=(lower, upper), method="bounded"
        )
        return float(found.x), float(found.fun)


def fit_levels(count, mean, mean_square, mean_fourth, cap: float) -> Levels:
    """From what a pilot saw at one depth.

    The rate is fitted to the upper half of the measured levels: lower ones need not follow it yet. The class's rate is
    a theorem, so that it is given up only where the fit is below it by three standard errors.

    Args:
      count, mean, mean_square, mean_fourth: `[L]` visits of each level, and means of Delta, Delta**2, Delta**4 over
        them; Delta_0 is the link itself.
      cap: the largest beta to believe in: the class's, of `bounds.VARIANCE_RATES`, or less.

    Raises:
      ValueError: fewer than two levels above 0 with 64 visits, so that no rate can be fitted; or beta <= 1, where no r
        makes both variance and cost finite.
    """
    count, mean, square, fourth = (np.asarray(x, np.float64) for x in (count, mean, mean_square, mean_fourth))
    last = int(np.cumprod(count >= _ENOUGH).sum()) - 1
    validate.require(last >= 2, "count", f"show levels 0, 1 and 2 at least {_ENOUGH} times each", count[:3])
    measured, total = square[: last + 1].copy(), float(mean[: last + 1].sum())
    if not measured[1:].any():
        return Levels(measured, cap, math.nan, total)
    upper = np.arange(min(last // 2 + 1, last - 1), last + 1)
    upper = upper[measured[upper] > 0]
    fitted, rate = math.nan, cap
    if len(upper) > 1:
        # Of log2 of a second moment, from its relative error.
        error = np.sqrt(np.maximum(fourth[upper] / measured[upper] ** 2 - 1, 1e-6) / count[upper]) / math.log(2)
        slope, covariance = np.polyfit(upper, np.log2(measured[upper]), 1, w=1 / error, cov="unscaled")
        fitted = -float(slope[0])
        rate = cap if fitted + 3 * math.sqrt(covariance[0, 0]) >= cap else fitted
    validate.require(
        rate > 1, "beta", "exceed 1 for finite variance at finite cost (raise b, or use deterministic levels)", rate
    )
    # The tail starts from the last three levels, not from the last alone, which was visited least.
    top = np.arange(max(1, last - 2), last + 1)
    measured[last] = np.average(measured[top] * 2.0 ** (rate * (top - last)), weights=count[top])
    return Levels(measured, rate, fitted, total)


def rate_without_prefactor(beta: float) -> float:
    """r = 1 - 2**(-(1 + beta)/2): best where E Delta_n**2 = c 2**(-beta n) from n = 0 on, and gamma_0 = 0.

    Then p_n is proportional to the root of the second moment over the cost, for the best of all level laws. 0.646 for
    beta = 2, 0.580 for 3/2; the true prefactor of level 0 moves it.
    """
    return 1 - 2.0 ** (-(1 + beta) / 2)


def largest_rate(
    problem: read.Problem, r: Sequence[float], depths: Sequence[int], moments: float, upper: float = 1.0 - 2.0**-20
) -> float:
    """The largest common value <= upper of r_d, d in `depths`, for which p_0 >= moments; others as in r.

    Raises: ValueError where no value above 1/2 does.
    """

    def first(value):
        return bounds.moment_profile(problem, [value if d in depths else r[d] for d in range(len(r))])[0]

    low, high = 0.5 + 1e-4, upper
    validate.require(
        first(low) >= moments, "moments", f"be at most {first(low):.3g} for links {problem.smoothness}", moments
    )
    if first(high) >= moments:
        return high
    for _ in range(40):  # p_0 does not increase with any r_d
        middle = (low + high) / 2
        low, high = (middle, high) if first(middle) >= moments else (low, middle)
    return low


# ---- The search ------------------------------------------------------------------------------------------------------


class Certificate(NamedTuple):
    """What a choice stands on."""

    profile: tuple[float, ...]  # p_0, ..., p_{D-1}
    leaves: float  # expected, of a replicate
    work_normalised_variance: Interval  # predicted, by a jackknife over groups of replicates
    levels: Levels  # of depth 0, at the chosen b
    pilot: dict[str, np.ndarray]  # `read.level_statistics` there, all groups together
    pilot_leaves: int  # spent on all candidates
    tried: dict[tuple, float]  # (r_1, ..., r_{D-1}), b -> predicted, with its best r_0
    ratios: dict[tuple, float]  # estimator, r_0 -> its sample variance over the single-term one's, on the same ids

    @property
    def remark(self) -> str | None:
        """Of `bounds.tail_remark`, on standard errors with this choice."""
        return bounds.tail_remark(self.profile[0])


class Choice(NamedTuple):
    r: tuple[float, ...]
    b: tuple[int, ...]
    estimator: str
    certificate: Certificate

    def params(self, **others) -> read.Params:
        """`read.Params` with this choice; other fields by name."""
        return read.Params(r=self.r, b=self.b, estimator=self.estimator, **others)


@dataclasses.dataclass
class _Pilot:
    """Statistics of the same replicates, in groups, for one candidate after another."""

    problem: read.Problem
    seed: Sequence[int]
    groups: int
    size: int
    leaves: int = 0

    def _ids(self, group):
        return np.arange(self.size) + group * self.size

    def statistics(self, r, b) -> dict[str, np.ndarray]:
        """Of depth 0 and below, `[groups, D, levels]`."""
        params = read.Params(r=tuple(r), b=tuple(b), block=self.size)
        found = [read.level_statistics(self.problem, params, self.seed, self._ids(g)) for g in range(self.groups)]
        table = {name: np.stack([one[name] for one in found]) for name in found[0]}
        inner = table["count"][:, -1]  # every node of the last depth runs 2**(b + n) leaves
        self.leaves += int((inner * 2.0 ** (b[-1] + np.arange(inner.shape[1]))).sum())
        return table

    def values(self, r, b, estimator) -> np.ndarray:
        """Replicates, `[groups, size]`."""
        params = read.Params(r=tuple(r), b=tuple(b), block=self.size, estimator=estimator)
        ids = np.concatenate([self._ids(g) for g in range(self.groups)])
        found = read.replicates(self.problem, params, self.seed, ids)
        self.leaves += int(np.asarray(found.leaves, np.int64).sum())
        return np.asarray(found.value, np.float64).reshape(self.groups, self.size)


def _pooled(table: dict[str, np.ndarray], keep=slice(None)) -> dict[str, np.ndarray]:
    """The statistics of some groups together."""
    count = table["count"][keep]
    total = count.sum(axis=0)
    means = {
        name: (table[name][keep] * count).sum(axis=0) / np.maximum(total, 1)
        for name in ("mean", "mean_square", "mean_fourth")
    }
    return {"count": total, **means, "largest": table["largest"][keep].max(axis=0)}


def _fitted(table, keep, cap) -> Levels:
    """Of depth 0, from some groups."""
    part = _pooled(table, keep)
    return fit_levels(*(part[name][0] for name in ("count", "mean", "mean_square", "mean_fourth")), cap)


def _cap(problem, r) -> float:
    """The largest beta of depth 0: the class's, or less where the children have too few moments for it."""
    word = problem.smoothness[0]
    below = bounds.moment_profile(problem, r)[1] if problem.depth > 1 else problem.leaf_moments
    rate = bounds.VARIANCE_RATES[word]
    # One child far out decides: P(|h| > 1) falls as 2**(-n (p - 1)) only.
    return rate if word == "quadratic" else min(rate, below - 1)


class _Candidate(NamedTuple):
    r: tuple[float, ...]
    b: tuple[int, ...]
    predicted: float  # work-normalised variance
    levels: Levels
    table: dict[str, np.ndarray]


def _predicted(levels, upper, r, b) -> tuple[float, float]:
    """Best r_0, and the work-normalised variance with it."""
    rate, product = levels.best(upper)
    return rate, product * 2.0 ** b[0] * bounds.expected_leaves(r[1:], b[1:])


def _evaluate(problem, pilot, moments, start, tail, b) -> _Candidate | None:
    """Runs a pilot at r_0 = start and finds the best r_0; None where no r_0 has the moments."""
    try:
        upper = largest_rate(problem, (start, *tail), (0,), moments)
    except ValueError:
        return None
    r = (min(start, upper), *tail)
    table = pilot.statistics(r, b)
    levels = _fitted(table, slice(None), _cap(problem, r))
    rate, predicted = _predicted(levels, upper, r, b)
    return _Candidate((rate, *tail), b, predicted, levels, table)


def _interval(problem, found: _Candidate, upper, level) -> Interval:
    """Jackknife over groups, of the logarithm of the prediction, r_0 chosen anew each time."""
    groups = len(found.table["count"])

    def logarithm(keep):
        levels = _fitted(found.table, keep, _cap(problem, found.r))
        return math.log(_predicted(levels, upper, found.r, found.b)[1])

    whole = math.log(found.predicted)
    without = np.array([logarithm(np.arange(groups) != g) for g in range(groups)])
    half = stats.t_interval(groups * whole - (groups - 1) * without, level)
    spread = float(half.high - half.low) / 2
    ends = (math.exp(whole + sign * spread) for sign in (-1, 1))
    return Interval(np.asarray(found.predicted), *map(np.asarray, ends), groups, level, "jackknife")


def _line_search(best, moved: Callable, count: int, at: int):
    """Steps from index `at` of one coordinate as long as it improves, up first, then down."""
    for direction in (1, -1):
        index, improved = at + direction, False
        while 0 <= index < count:
            found = moved(best, index)
            if found is None or not found.predicted < best.predicted:
                break
            best, index, improved = found, index + direction, True
        if improved:
            break
    return best


def tune(
    problem: read.Problem,
    seed,
    *,
    groups: int = 16,
    group: int = 4096,
    bases: Sequence[int] = (0, 1, 2, 3),
    inner_rates: Sequence[float] = (0.54, 0.56, 0.58, 0.60, 0.62, 0.64, 0.66),
    estimators: Sequence[str] = ("single",),
    moments: float = 2.2,
    sweeps: int = 2,
    level: float = 0.95,
) -> Choice:
    """r, b and the estimator of least predicted work-normalised variance, in leaves.

    Every candidate is compiled and run on the same `groups * group` replicates: about 4 candidates at D = 1 and
    2 to 20 at D = 2, of a few seconds each.

    Args:
      seed: two uint32 words.
      groups, group: number of groups, >= 8, and replicates in each, a power of two.
      bases: candidates of every b_d, increasing.
      inner_rates: candidates of r_1, ..., r_{D-1}, increasing; the best r_0 follows by a formula.
      estimators: candidates of `read.ESTIMATORS`. Others than "single" are compared with it on the same replicates, at
        the chosen r, and one is taken where the interval of the ratio of variances lies below 1; it then tries two
        smaller and two larger r_0.
      moments: smallest p_0 of the moment profile, > 2.
      sweeps: passes over all coordinates.

    Raises:
      ValueError: depth 0; no r with enough moments, as for links with a jump; a pilot too small; moments <= 2.
    """
    validate.require(problem.depth >= 1, "problem.depth", "be >= 1", problem.depth)
    validate.require(moments > 2, "moments", "be > 2, where the variance is finite", moments)
    validate.at_least("groups", groups, 8)
    for name in estimators:
        validate.one_of("estimators", name, read.ESTIMATORS)
    bases, inner_rates = sorted(bases), sorted(inner_rates)
    depth = problem.depth
    common = largest_rate(problem, (0.5,) * depth, range(depth), moments, 0.6)
    pilot = _Pilot(problem, seed, groups, group)
    if depth > 1:
        inner_rates = sorted({*inner_rates, common})
    seen = {}

    def evaluate(tail, b):
        if (tail, b) not in seen:
            seen[tail, b] = _evaluate(problem, pilot, moments, common, tail, b)
        return seen[tail, b]

    def with_rate(d, best, index):
        return evaluate((*best.r[1:d], inner_rates[index], *best.r[d + 1 :]), best.b)

    def with_base(d, best, index):
        return evaluate(best.r[1:], (*best.b[:d], bases[index], *best.b[d + 1 :]))

    best = evaluate((common,) * (depth - 1), (bases[0],) * depth)
    for _ in range(sweeps):
        before = best
        for d in range(depth):
            best = _line_search(best, functools.partial(with_base, d), len(bases), bases.index(best.b[d]))
        for d in range(1, depth):
            best = _line_search(best, functools.partial(with_rate, d), len(inner_rates), inner_rates.index(best.r[d]))
        if best is before:
            break
    upper = largest_rate(problem, best.r, (0,), moments)
    predicted = _interval(problem, best, upper, level)
    r, estimator, ratios, predicted = _choose_estimator(pilot, best, upper, predicted, estimators, level)
    certificate = Certificate(
        bounds.moment_profile(problem, r),
        bounds.expected_leaves(r, best.b),
        predicted,
        best.levels,
        _pooled(best.table),
        pilot.leaves,
        {key: found.predicted for key, found in seen.items() if found is not None},
        ratios,
    )
    return Choice(r, best.b, estimator, certificate)


def _choose_estimator(pilot, best, upper, predicted, estimators, level):
    """r, estimator, ratios of variances, and the prediction, after a comparison on the same replicates.

    The sample variance of neither shows the rare levels, but both miss the same ones: their ratio is taken times the
    prediction for single terms, which has them. Rivals meet at the r in hand; the winner then tries others.
    """
    chosen, name, ratios, alone = best.r, "single", {}, {}

    def trial(rival, rate):
        r = (rate, *best.r[1:])
        if rate not in alone:
            alone[rate] = pilot.values(r, best.b, "single")
        values = pilot.values(r, best.b, rival)
        ratios[rival, rate] = ratio = float(values.var() / alone[rate].var())
        spread = stats.t_interval(np.log(values.var(axis=1) / alone[rate].var(axis=1)), level)
        middle = ratio * best.levels.variance(rate) * bounds.expected_leaves(r, best.b)
        half = math.log(predicted.high / predicted.low) / 2 + float(spread.high - spread.low) / 2
        ends = (np.asarray(middle * math.exp(sign * half)) for sign in (-1, 1))
        found = Interval(np.asarray(middle), *ends, predicted.n, level, "jackknife, paired ratio")
        return (r, rival, found) if spread.high < 0 else None

    won = [trial(rival, best.r[0]) for rival in estimators if rival != "single"]
    won = sorted((found for found in won if found is not None), key=lambda found: found[2].mean)
    if won:
        rates = [best.r[0] + step for step in (-0.04, -0.02, 0.02, 0.04)]
        more = [trial(won[0][1], rate) for rate in rates if 0.5 + _MARGIN < rate <= upper]
        chosen, name, predicted = min(
            [won[0], *(found for found in more if found is not None)], key=lambda found: found[2].mean
        )
    return chosen, name, ratios, predicted
