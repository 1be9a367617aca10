"""The prophet: the best matching once all arrivals are known, exactly for few arrivals and by sampling for many.

Every realised set of arrivals is one maximum-weight bipartite matching, solved on the host.
Source: the benchmark that `braverman:24` sets aside for the philosopher; the solver is SciPy's.

Letters: `n` offline nodes, `T` times, `J` types.
"""

from typing import NamedTuple

import numpy as np

from research.core import stats
from research.core import validate as checks
from research.core.types import Array, Float, Int
from research.matching import problems

__all__ = ["MAX_EXACT_STEPS", "Estimate", "best_matching", "expected", "prophet", "sampled"]

#: 2^16 matchings take seconds.
MAX_EXACT_STEPS = 16


class Estimate(NamedTuple):
    value: float  # expected weight of the best matching in hindsight
    interval: stats.Interval | None  # of its mean over the samples, at the level asked for; None: exact


def best_matching(weights: Float[np.ndarray, "n m"]) -> float:
    """Weight of the heaviest matching between `n` nodes and `m` arrivals, weights >= 0."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(weights, maximize=True)
    return float(weights[rows, columns].sum())


def prophet(problem: problems.Problem, kinds: Int[Array, "R T"]) -> Float[np.ndarray, " R"]:
    """The best matching of each realisation: `kinds[r, t]` is the type that arrived (0 if Bernoulli), or -1.

    `kinds` is `Info.arrived` of `rounding` or `policies`, so that a policy and the prophet can face the same arrivals.
    """
    weights, _ = _typed_arrays(problem)
    steps = np.arange(weights.shape[1])
    values = []
    for kind in np.asarray(kinds):
        came = kind >= 0
        values.append(best_matching(weights[:, steps[came], kind[came]]) if came.any() else 0.0)
    return np.asarray(values)


def expected(problem: problems.Problem) -> Estimate:
    """Exact expectation over all realisations.

    Raises: ValueError above 16 times, or, with types, above 2^16 realisations.
    """
    problems.validate(problem)
    weights, arrivals = _typed_arrays(problem)
    num_steps, num_types = arrivals.shape
    checks.require(num_steps <= MAX_EXACT_STEPS, "number of arrival times", f"be <= {MAX_EXACT_STEPS}", num_steps)
    outcomes = [np.flatnonzero(np.append(p, max(0.0, 1 - p.sum())) > 0) for p in arrivals]
    count = int(np.prod([len(o) for o in outcomes], dtype=np.int64))
    most = 1 << MAX_EXACT_STEPS
    checks.require(count <= most, "number of realisations", f"be <= {most}; `sampled` takes any number", count)
    grid = np.stack(np.meshgrid(*outcomes, indexing="ij"), -1).reshape(count, num_steps)
    padded = np.concatenate([arrivals, np.maximum(0, 1 - arrivals.sum(1, keepdims=True))], axis=1)
    probability = np.prod(padded[np.arange(num_steps)[None], grid], axis=1)
    return Estimate(float(probability @ prophet(problem, np.where(grid == num_types, -1, grid))), None)


def sampled(problem: problems.Problem, kinds: Int[Array, "R T"], level: float = 0.95) -> Estimate:
    """Mean over realisations drawn elsewhere (`Info.arrived` of many runs), with a t interval."""
    values = prophet(problem, kinds)
    return Estimate(float(values.mean()), stats.t_interval(values, level))


def _typed_arrays(problem):
    """NumPy float64 weights `[n, T, J]` and arrivals `[T, J]`."""
    weights, arrivals = (np.asarray(x, np.float64) for x in (problem.weights, problem.arrivals))
    if arrivals.ndim == 1:
        weights, arrivals = weights[..., None], arrivals[:, None]
    return np.broadcast_to(weights, (weights.shape[0], *arrivals.shape)), arrivals
