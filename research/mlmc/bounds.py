"""What is guaranteed of estimators with random levels, and the checks that follow from it.

A node of depth d < D has level N with P(N = n) = r_d (1 - r_d)**n and 2**(b_d + N) children; lambda_d = -log2(1 - r_d).
Costs count leaves. Everything here is arithmetic on the host in double precision; second moments in closed form are in
`second_moments`.

Source: `syed:23` for unbiasedness, finite variance and the order of the cost. Constants, and the moment profile, are
derived unless a docstring says otherwise.
"""

import math
import operator
import warnings
from collections.abc import Sequence

from research.core import validate
from research.mlmc.problems import SMOOTHNESS, NestedExpectation

__all__ = [
    "MAX_BASE", "VARIANCE_RATES", "HeavyTailWarning", "check_levels", "decay", "deterministic_cost", "expected_leaves",
    "largest_cost", "lipschitz_limits", "lipschitz_moment", "moment_profile", "nested_cost_exponent", "nested_slope",
    "smooth_limits", "tail_remark", "variance_limit",
]  # fmt: skip

#: Largest base exponent b_d: a node of level 0 then has 2**20 children.
MAX_BASE = 20

#: beta of E Delta_n**2 = O(2**(-beta n)) by class of link; for a kink or a jump where the inner mean has a bounded
#: density near it. Measured: 1.97 for a smooth link, 1.42 to 1.50 for a kink, 0.47 for a jump.
VARIANCE_RATES = {"smooth": 2.0, "quadratic": 2.0, "kink": 1.5, "lipschitz": 1.0, "discontinuous": 0.5}


class HeavyTailWarning(UserWarning):
    """An estimator that may have infinite variance, or whose standard error means little."""


# ---- Levels ----------------------------------------------------------------------------------------------------------


def decay(rate: float) -> float:
    """lambda = -log2(1 - r), the rate at which P(N = n) falls per level and the tail index of 2**N."""
    return -math.log1p(-rate) / math.log(2)


def expected_leaves(r: Sequence[float], b: Sequence[int] | None = None) -> float:
    """Leaves per replicate in the mean: the product of 2**b_d r_d / (2 r_d - 1) over the depths.

    (0.74, 0.60) costs 4.625 leaves. Infinite where some r_d <= 1/2. Source: `syed:23` for b = 0.
    """
    exponents = (0,) * len(r) if b is None else b
    if any(rate <= 0.5 for rate in r):
        return math.inf
    return math.prod(2.0**base * rate / (2 * rate - 1) for rate, base in zip(r, exponents, strict=True))


def largest_cost(replicates: float, rate: float) -> float:
    """Order of the costliest of so many replicates, in leaves: R**(1/lambda), the quantile of 2**N at 1 - 1/R.

    P(2**N >= 2**n) = (1 - r)**n, so 2**N has tail index lambda: below 2, and the cost of infinite variance, for every
    r < 3/4.
    """
    return replicates ** (1 / decay(rate))


def smooth_limits(depth: int) -> tuple[float, ...]:
    """Upper ends of r_0, ..., r_{D-1} for links of bounded second derivative: 1 - 2**-k_d, k_d = 2**(d+1)/(2**(d+1)-1).

    For 1/2 < r_d < these and a leaf with 2**(D+1) moments, the estimator has finite variance and finite expected cost,
    so that error epsilon costs O(epsilon**-2): |Delta| <= |g''| (a - b)**2 / 8 gives E|Delta_n|**q = O(2**(-n q))
    where the children have 2 q moments, and the sum of p_n**(1-q) 2**(-n q) is finite for 1 - r > 2**(-q/(q-1)), with
    q = 2**(d+1). Source: `syed:23`, the theorem on links with bounded second derivative; values re-derived.
    """
    return tuple(1 - 2.0 ** -(2 ** (d + 1) / (2 ** (d + 1) - 1)) for d in range(depth))


def lipschitz_limits(depth: int, excess: float) -> tuple[float, ...]:
    """Upper ends of r_d for Lipschitz links: 1 - 2**-rho with rho = (1 + delta)**(1/D), the same at every depth.

    The leaf has two moments; error epsilon in absolute mean then costs O(epsilon**(-2 (1 + delta))).

    Args:
      excess: delta in (0, 1/2).

    Source: `syed:23`, the theorem on Lipschitz links; rho is sufficient by derivation.
    """
    validate.require(0 < excess < 0.5, "excess", "lie in (0, 1/2)", excess)
    return (1 - 2.0 ** -((1 + excess) ** (1 / depth)),) * depth if depth else ()


def lipschitz_moment(excess: float) -> float:
    """q = 2 (1 + delta)/(1 + 2 delta) < 2: moments below it are finite within `lipschitz_limits`."""
    return 2 * (1 + excess) / (1 + 2 * excess)


def variance_limit(rate: float) -> float:
    """Largest r with finite variance at D = 1 where E Delta_n**2 falls as 2**(-beta n): 1 - 2**-beta."""
    return 1 - 2.0**-rate


# ---- Moments ---------------------------------------------------------------------------------------------------------


def _moment(smoothness: str, rate: float, below: float) -> float:
    """p_d from the class of link, r_d, and p_{d+1}."""
    if below <= 1:  # the children have no mean: nothing is gained by averaging them
        return below / 2 if smoothness == "quadratic" else below
    slope = decay(rate)
    # One child of a large family that is far out on its own; conservative.
    single = 1 + (below - 1) / slope
    if smoothness == "smooth":
        return min(slope / (slope - 1), single)
    if smoothness == "quadratic":
        return min(slope / (slope - 1), below / 2)
    if smoothness == "kink":
        return min((2 * slope + 1) / (2 * slope - 1), single)
    if smoothness == "discontinuous":
        return min(1 + 1 / (2 * slope), single)
    order = min(2.0, below)
    return slope / (slope - (order - 1) / order)


def moment_profile(
    problem: NestedExpectation | Sequence[str], r: Sequence[float], leaf_moments: float = math.inf
) -> tuple[float, ...]:
    """p_0, ..., p_{D-1}: moments of the estimator at depth d are finite below p_d, from the inside out.

    With lambda = lambda_d and p_D = `leaf_moments`:

        smooth          min(lambda/(lambda - 1), 1 + (p_{d+1} - 1)/lambda), for smooth and Lipschitz links
        quadratic       min(lambda/(lambda - 1), p_{d+1}/2), for smooth links that grow as z**2
        kink            min((2 lambda + 1)/(2 lambda - 1), 1 + (p_{d+1} - 1)/lambda)
        lipschitz       lambda/(lambda - (s - 1)/s) with s = min(2, p_{d+1}); always below 2
        discontinuous   min(1 + 1/(2 lambda), 1 + (p_{d+1} - 1)/lambda), for a jump where the mean has a density

    The first term is exact at D = 1 (a tail index; `experiments` measures it). The second is a big-jump argument and
    conservative, so that a violation is a reason to warn. Finite variance needs p_0 > 2, a standard error that means
    something p_0 > 4. At D = 0 the profile is empty and the moments are the leaf's.

    Args:
      problem: with its classes and leaf moments, or the classes alone, of `problems.SMOOTHNESS`, length D.
      r: length D, each in (1/2, 1).
      leaf_moments: of the leaf, where `problem` is a sequence of classes.
    """
    if not isinstance(problem, Sequence):
        problem, leaf_moments = problem.smoothness, problem.leaf_moments
    for word in problem:
        validate.one_of("smoothness", word, SMOOTHNESS)
    _check_rates(r, len(problem))
    profile, below = [], leaf_moments
    for word, rate in zip(reversed(problem), reversed(r), strict=True):
        below = _moment(word, rate, below)
        profile.append(below)
    return tuple(reversed(profile))


def tail_remark(moments: float) -> str | None:
    """What to print next to a standard error, from the number p_0 of finite moments; None where p_0 >= 4."""
    if moments <= 2:
        return "variance infinite: the standard error is meaningless"
    return "heavy-tailed: fourth moment infinite" if moments < 4 else None


def _check_rates(r: Sequence[float], depth: int) -> None:
    validate.require(
        isinstance(r, Sequence) and not isinstance(r, str), "r", "be a tuple of numbers, one for each depth", repr(r)
    )
    validate.require(len(r) == depth, "r", f"have one entry for each of {depth} depths", r)
    for d, rate in enumerate(r):
        validate.require(0.5 < rate < 1, f"r[{d}]", "lie in (1/2, 1)", rate)


def _check_bases(b: Sequence[int], depth: int) -> None:
    validate.require(
        isinstance(b, Sequence) and len(b) == depth, "b", f"have one entry for each of {depth} depths", repr(b)
    )
    for d, base in enumerate(b):
        try:
            fits = 0 <= operator.index(base) <= MAX_BASE
        except TypeError:
            fits = False
        validate.require(fits, f"b[{d}]", f"be an integer in 0..{MAX_BASE}", base)


def check_levels(
    problem: NestedExpectation,
    r: Sequence[float],
    *,
    b: Sequence[int] | None = None,
    allow_infinite_variance: bool = False,
    strict: bool = False,
) -> tuple[float, ...]:
    """Whether random levels with these parameters make sense for a problem; to be called before anything is run.

    Args:
      r: geometric parameters, length D.
      b: base exponents, length D, each in 0, ..., 20; None: zeros.
      allow_infinite_variance: take links with a jump, and say nothing of a profile that is too low.
      strict: a profile that is too low is an error.

    Returns:
      the moment profile, length D.

    Raises:
      ValueError: r or b of wrong length or out of range (NaN included); a link with a jump, unless allowed; p_0 <= 2
        where strict; strict together with allow_infinite_variance.

    Warns:
      HeavyTailWarning: p_0 <= 2, so that the variance may be infinite; or leaves averaged as logarithms, whose
        estimates have a kurtosis beyond 1000 even where the profile is fine.
    """
    validate.require(
        not (strict and allow_infinite_variance), "strict", "be False where infinite variance is allowed", strict
    )
    _check_rates(r, problem.depth)
    if b is not None:
        _check_bases(b, problem.depth)
    profile = moment_profile(problem, r)
    for d, word in enumerate(problem.smoothness):
        validate.require(
            word != "discontinuous" or allow_infinite_variance,
            f"smoothness[{d}]",
            "not be a jump, which gives random levels infinite variance, unless allow_infinite_variance=True",
            repr(word),
        )
    moments = profile[0] if profile else problem.leaf_moments
    if moments <= 2 and not allow_infinite_variance:
        text = f"the variance may be infinite: moments of the estimator are finite below p_0 = {moments:.3g} only, "
        text += f"with r = {tuple(map(float, r))} and links {problem.smoothness}; smaller r_d, down to 1/2, raise p_0."
        if strict:
            raise ValueError(f"r must give p_0 > 2 where strict=True; {text}")
        warnings.warn(text, HeavyTailWarning, stacklevel=2)
    if problem.inner == "logmeanexp":
        text = "leaves are averaged as logarithms: expect a kurtosis beyond 1000, raise b of the innermost depth, and "
        text += "draw inner samples by importance sampling where you can."
        warnings.warn(text, HeavyTailWarning, stacklevel=2)
    return profile


# ---- Orders of cost --------------------------------------------------------------------------------------------------


def nested_cost_exponent(depth: int, smooth: bool) -> int:
    """k such that nested Monte Carlo with the best allocation needs O(epsilon**-k) leaves for error epsilon.

    Smooth links: the mean squared error is about A/N_0 + (sum of B_d/N_d)**2, so k = 2 + D. Lipschitz links alone:
    A/N_0 + sum of B_d/N_d, so k = 2 (1 + D). Source: `rainforth:18`; with random levels k = 2, `syed:23`.
    """
    return 2 + depth if smooth else 2 * (1 + depth)


def nested_slope(allocation: str, depth: int, smooth: bool = True) -> float:
    """Slope of log mean squared error against log leaves of nested Monte Carlo.

    Args:
      allocation: "equal", N_0 = N_1 = ... = m (NMC1 of `syed:23`); "square", N_0 = N_1**2 = ... = m**2 (NMC2); or
        "best", of `nested_cost_exponent`.

    At D = 2 and smooth links -1/3, -1/2 and -1/2; random levels have -1 at every D.
    """
    validate.one_of("allocation", allocation, ("equal", "square", "best"))
    if allocation == "equal":  # m**(D+1) leaves for an error of order 1/m
        return -1 / (depth + 1)
    if allocation == "square":  # m**(D+2) leaves for 1/m**2, or for 1/m where links are only Lipschitz
        return -(2 if smooth else 1) / (depth + 2) if depth else -1.0
    return -2 / nested_cost_exponent(depth, smooth)


def deterministic_cost(weak: float, variance: float, cost: float = 1.0) -> tuple[float, int]:
    """Orders of deterministic multilevel Monte Carlo: (k, l) of a cost O(epsilon**-k |log epsilon|**l).

    Args:
      weak: alpha of |E Delta_n| = O(2**(-alpha n)), with alpha >= min(beta, gamma)/2.
      variance: beta of Var Delta_n = O(2**(-beta n)).
      cost: gamma of the cost O(2**(gamma n)) of a sample; 1 for inner samples.

    Returns:
      (2, 0) where beta > gamma, (2, 2) where they are equal, (2 + (gamma - beta)/alpha, 0) below.

    Source: `giles:15`, Theorem 1; `giles:08`, Theorem 3.1.
    """
    for name, value in (("weak", weak), ("variance", variance), ("cost", cost)):
        validate.positive(name, value)
    validate.require(weak >= min(variance, cost) / 2, "weak", "be >= min(variance, cost)/2", weak)
    if variance > cost:
        return 2.0, 0
    return (2.0, 2) if variance == cost else (2 + (cost - variance) / weak, 0)
