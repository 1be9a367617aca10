"""Multilevel Monte Carlo with fixed levels and an adaptive number of samples, for one nesting (D = 1).

The estimate is the sum over levels l = 0, ..., L of the mean of N_l samples of Delta_l (`level_samples`); it has the
bias E[P - P_L]. Rounds of samples go on until the N_l meet the allocation of least cost for a variance of
(1 - theta) eps**2, and a further level is added as long as the remaining bias, extrapolated from the last levels,
exceeds sqrt(theta) eps. So the root mean squared error is about eps, as far as the extrapolation is right.
Source: `giles:15`, Algorithm 1 and section 3; rates by regression and the lower limits of means and variances as in
the author's public code. Departures: the cost of a sample is its number of inner samples, not a measured time; a
driver that would need more than the finest level, or more samples than it can count, fails instead of going on.

`run` is one compiled program and can be batched, sharded and stopped between rounds; `solve` is for use on the host.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import loops, validate
from research.core.status import Status
from research.core.types import Array, Float, Int, Key, UInt
from research.mlmc import level_samples, moments, words
from research.mlmc.moments import CentralMoments
from research.mlmc.problems import NestedExpectation

__all__ = [
    "MAX_SAMPLES", "Params", "Result", "State", "WeakConvergenceError", "allocation", "check", "cost_bound", "improve",
    "init", "least_cost", "num_leaves", "run", "solve",
]  # fmt: skip

#: Most samples of a level.
MAX_SAMPLES = 1 << 30
#: Samples may fall short of the allocation by this share when a level is judged.
_SLACK = 0.01
#: Least rates that a regression may find.
_LEAST_RATE = 0.5


class WeakConvergenceError(RuntimeError):
    """The finest level that was allowed has a larger bias than the tolerance permits."""


class Params(eqx.Module):
    tolerance: float | Float[Array, ""]  # eps > 0, root mean squared error that is asked for; traced
    num_steps: int = eqx.field(static=True, default=64)  # most rounds
    min_level: int = eqx.field(static=True, default=2)  # the first L, >= 2: rates need levels 1 and 2
    max_level: int = eqx.field(static=True, default=10)  # the last one, >= min_level
    initial: int | Int[Array, ""] = 1000  # N0 >= 1, samples of every level to begin with; traced
    bias_share: float | Float[Array, ""] = 0.25  # theta in (0, 1), share of squared bias in eps**2; traced
    base: int = eqx.field(static=True, default=0)  # level 0 has 2**base inner samples
    # alpha, beta, gamma of |E Delta_l| = O(2**(-alpha l)), Var Delta_l = O(2**(-beta l)), cost O(2**(gamma l));
    # None: by regression over levels 1, ..., L at every round, at least 1/2.
    weak_rate: float | None = None
    variance_rate: float | None = None
    cost_rate: float | None = None

    def __check_init__(self):
        validate.positive("Params.tolerance", self.tolerance)
        validate.at_least("Params.num_steps", self.num_steps, 1)
        validate.at_least("Params.min_level", self.min_level, 2)
        allowed = f"be >= Params.min_level, {self.min_level}"
        validate.require(self.max_level >= self.min_level, "Params.max_level", allowed, self.max_level)
        validate.in_range("Params.initial", self.initial, 1, MAX_SAMPLES)
        if validate.is_concrete(self.bias_share):
            validate.require(0 < float(self.bias_share) < 1, "Params.bias_share", "lie in (0, 1)", self.bias_share)
        for name in ("weak_rate", "variance_rate", "cost_rate"):
            if getattr(self, name) is not None:
                validate.positive(f"Params.{name}", getattr(self, name))


class State(NamedTuple):
    step: Int[Array, ""]  # rounds done
    samples: CentralMoments  # [max_level + 1, 2], of Delta_l and P_l
    wanted: Int[Array, " M"]  # samples that the next round adds
    finest: Int[Array, ""]  # L
    rates: Float[Array, " 3"]  # alpha, beta, gamma as last used; 0 before the first round
    remainder: Float[Array, ""]  # bias as last extrapolated; infinite before
    status: Int[Array, ""]  # OK while it goes on; CONVERGED; DIVERGED at the finest level; NONFINITE
    seed: UInt[Array, " 2"]


class Result(NamedTuple):
    value: Float[Array, ""]
    standard_error: Float[Array, ""]  # of the value about its own mean, which is off by the bias
    remainder: Float[Array, ""]  # extrapolated bias
    leaves: Float[Array, ""]  # inner samples, rounded to a float; `num_leaves` is exact
    state: State
    status: Int[Array, ""]  # CONVERGED; BUDGET after `num_steps` rounds; DIVERGED, NONFINITE as in the state


# ---- Theory ----------------------------------------------------------------------------------------------------------


def allocation(variances, costs, tolerance: float, bias_share: float = 0.25) -> Float[Array, " L"]:
    """Samples per level of least cost for a variance of (1 - theta) eps**2, rounded up; as floats.

    N_l = sqrt(V_l / C_l) sum_k sqrt(V_k C_k) / ((1 - theta) eps**2). V = (1, 1/4, 1/16), C = (1, 2, 4) and eps = 0.1
    give (295, 105, 37). Source: `giles:08`, equation 12; `giles:15`, section 3.
    """
    variances, costs = jnp.asarray(variances), jnp.asarray(costs)
    total = jnp.sum(jnp.sqrt(variances * costs))
    return jnp.ceil(jnp.sqrt(variances / costs) * total / ((1 - bias_share) * tolerance**2))


def least_cost(variances, costs, tolerance: float, bias_share: float = 0.25) -> Float[Array, ""]:
    """Cost of `allocation` before it is rounded: (sum of sqrt(V_l C_l))**2 / ((1 - theta) eps**2). Of one level, with
    the variance of P_L, it is the cost of plain nested Monte Carlo with as small a bias.
    """
    total = jnp.sum(jnp.sqrt(jnp.asarray(variances) * jnp.asarray(costs)))
    return total**2 / ((1 - bias_share) * tolerance**2)


def cost_bound(
    tolerance: float,
    weak: tuple[float, float],
    variance: tuple[float, float],
    cost: tuple[float, float] = (1.0, 1.0),
    bias_share: float = 0.25,
) -> tuple[int, float]:
    """Levels and cost that suffice for a root mean squared error of eps, by the constants of the complexity theorem.

    With |E[P_l - P]| <= c_1 2**(-alpha l), V_l <= c_2 2**(-beta l) and C_l <= c_3 2**(gamma l), levels up to the least
    L with c_1 2**(-alpha L) <= sqrt(theta) eps and the allocation rounded up cost at most

        sum of C_l + (sum of sqrt(V_l C_l))**2 / ((1 - theta) eps**2),

    whose order is `bounds.deterministic_cost`. Source: `giles:15`, Theorem 1; its proof with the constants kept.

    Args:
      weak, variance, cost: pairs (c_1, alpha), (c_2, beta), (c_3, gamma), all positive.

    Returns:
      L, and the bound.
    """
    validate.positive("tolerance", tolerance)
    for name, pair in (("weak", weak), ("variance", variance), ("cost", cost)):
        validate.positive(name, pair)
    validate.require(0 < bias_share < 1, "bias_share", "lie in (0, 1)", bias_share)
    finest = max(0, math.ceil(math.log2(weak[0] / (math.sqrt(bias_share) * tolerance)) / weak[1]))
    costs = [cost[0] * 2.0 ** (cost[1] * level) for level in range(finest + 1)]
    roots = [math.sqrt(variance[0] * 2.0 ** (-variance[1] * level) * c) for level, c in enumerate(costs)]
    return finest, sum(costs) + sum(roots) ** 2 / ((1 - bias_share) * tolerance**2)


# ---- The driver ------------------------------------------------------------------------------------------------------


def init(problem: NestedExpectation, params: Params, key: Key) -> State:
    """Before the first round.

    Raises: ValueError for a problem whose depth is not 1 or that does not fit itself, or max_level + base beyond 30.
    """
    level_samples.check(problem, params.max_level, params.base)
    samples = level_samples.start(problem, params.max_level)
    levels = jnp.arange(params.max_level + 1)
    wanted = jnp.where(levels <= params.min_level, jnp.asarray(params.initial, jnp.int32), 0)
    nothing = jnp.zeros(3, samples.mean.dtype)
    remainder = jnp.full((), jnp.inf, nothing.dtype)
    seed = words.seed_words(key, "multilevel")
    return State(
        jnp.int32(0), samples, wanted, jnp.int32(params.min_level), nothing, remainder, jnp.int32(Status.OK), seed
    )


def improve(problem: NestedExpectation, params: Params, state: State) -> State:
    """One round: the samples that were wanted, then what they say: rates, further samples, a further level, or the
    end.
    """
    samples = level_samples.add(problem, state.seed, state.samples, state.wanted, params.base)
    state = state._replace(step=state.step + 1, samples=samples)
    levels = jnp.arange(params.max_level + 1)
    costs = _costs(params, samples.mean.dtype)
    in_use = levels <= state.finest
    seen = jnp.stack([jnp.abs(samples.mean[:, 0]), moments.variance(samples)[:, 0], costs])
    sound = jnp.all(jnp.where(in_use[None], jnp.isfinite(seen), True))
    supported = _supported(seen, _given(params, state.rates))
    rates = jnp.array([-1, -1, 1], costs.dtype) * _slopes(supported, state.finest)
    rates = _given(params, jnp.maximum(rates, _LEAST_RATE))
    weak, fall, _ = rates
    means, variances, _ = supported

    wanted = _wanted(params, variances, costs, samples, in_use)
    settled = jnp.all(wanted <= _SLACK * samples.count[:, 0].astype(means.dtype))
    last = jnp.arange(3)
    # Of the last three levels, level 0 left out: max over k of m_{L-k} 2**(-k alpha) / (2**alpha - 1).
    back = jnp.where(last < state.finest, means[jnp.maximum(state.finest - last, 0)] * 2.0 ** (-last * weak), 0)
    remainder = jnp.where(settled, jnp.max(back) / (2.0**weak - 1), state.remainder)
    biased = settled & (remainder > jnp.sqrt(params.bias_share) * params.tolerance)
    stuck = biased & (state.finest == params.max_level)
    more = biased & ~stuck

    finest = state.finest + more.astype(jnp.int32)
    new = more & (levels == finest)
    variances = jnp.where(new, variances[state.finest] / 2.0**fall, variances)
    wanted = jnp.where(more, _wanted(params, variances, costs, samples, levels <= finest), wanted)
    crowded = jnp.any(wanted + samples.count[:, 0].astype(wanted.dtype) > MAX_SAMPLES)
    status = jnp.where(jnp.all(wanted <= 0), Status.CONVERGED, Status.OK)
    status = jnp.where(stuck | crowded, Status.DIVERGED, status)
    status = jnp.where(sound, status, Status.NONFINITE).astype(jnp.int32)
    wanted = jnp.where(status == Status.OK, wanted, 0).astype(jnp.int32)
    return state._replace(wanted=wanted, finest=finest, rates=rates, remainder=remainder, status=status)


def run(problem: NestedExpectation, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """Rounds until it has converged or failed, at most `params.num_steps`; pass `state` to go on."""
    state = init(problem, params, key) if state is None else state
    state, _ = loops.while_active(
        lambda state: improve(problem, params, state), lambda state: state.status == Status.OK, state, params.num_steps
    )
    count = state.samples.count[:, 0]
    used = count > 0
    variances = jnp.where(used, moments.variance(state.samples)[:, 0], 0)
    number = count.astype(variances.dtype)
    value = jnp.sum(jnp.where(used, state.samples.mean[:, 0], 0))
    error = jnp.sqrt(jnp.sum(variances / jnp.maximum(number, 1)))
    leaves = jnp.sum(number * _costs(params, number.dtype))
    status = jnp.where(state.status == Status.OK, Status.BUDGET, state.status).astype(jnp.int32)
    return Result(value, error, state.remainder, leaves, state, status)


_run = eqx.filter_jit(run)


def solve(problem: NestedExpectation, params: Params, key: Key) -> Result:
    """`run`, compiled and checked; on the host. Raises as `init` and `check` do."""
    result = _run(problem, params, key)
    check(params, result)
    return result


def check(params: Params, result: Result) -> None:
    """Raises unless one run has converged.

    Raises:
      WeakConvergenceError: the bias on `max_level` is too large.
      FloatingPointError: a sample is not finite.
      RuntimeError: more than 2**30 samples of a level, or `num_steps` rounds, were not enough.
    """
    status, state = Status(int(result.status)), result.state
    if status == Status.NONFINITE:
        raise FloatingPointError(f"samples must be finite, got a mean of {jax.device_get(state.samples.mean[:, 0])}.")
    if status == Status.BUDGET:
        raise RuntimeError(f"Params.num_steps must allow more rounds, got {params.num_steps}.")
    if status != Status.DIVERGED:
        return
    allowed = math.sqrt(float(params.bias_share)) * float(params.tolerance)
    if int(state.finest) == params.max_level and float(state.remainder) > allowed:
        raise WeakConvergenceError(
            f"Params.max_level must be larger, got {params.max_level}: the bias left there is about "
            f"{float(state.remainder):.3g}, and a tolerance of {float(params.tolerance):.3g} allows {allowed:.3g}."
        )
    raise RuntimeError(f"Params.tolerance must need at most 2**30 samples of a level, got {float(params.tolerance)}.")


def num_leaves(params: Params, state: Any) -> int:
    """Inner samples of a run, exactly."""
    counts: Sequence[int] = jax.device_get(state.samples.count[:, 0]).tolist()
    return sum(count << (level + params.base) for level, count in enumerate(counts))


def _costs(params, dtype):
    return 2.0 ** (params.base + jnp.arange(params.max_level + 1, dtype=dtype))


def _given(params, rates):
    """The rates that the user knows, and `rates` for the others."""
    asked = (params.weak_rate, params.variance_rate, params.cost_rate)
    return jnp.stack([rates[k] if rate is None else jnp.asarray(rate, rates.dtype) for k, rate in enumerate(asked)])


def _supported(seen, rates):
    """Means and variances `[3, M]`, from level 2 on at least half of what the level before predicts: a level may have
    few samples, all of them zero. Costs, in the last row, stay as they are, and so do levels without samples.
    """
    level = jnp.arange(seen.shape[1])
    ahead = level[:, None] - level[None]
    decay = jnp.where(jnp.arange(3) < 2, 2.0 ** -(1 + rates), 0)[:, None, None]
    # x_l becomes the largest of x_j decay**(l - j) over 1 <= j <= l: the recursion unrolled.
    kept = jnp.where(((ahead >= 0) & (level[None] >= 1))[None], decay ** jnp.maximum(ahead, 0)[None], 0)
    return jnp.maximum(seen, jnp.max(kept * jnp.where(jnp.isnan(seen), 0, seen)[:, None], axis=-1))


def _slopes(x, finest):
    """Least squares slopes of log2 x over levels 1, ..., finest, for every row."""
    level = jnp.arange(x.shape[1], dtype=x.dtype)
    used = (level >= 1) & (level <= finest)
    y = jnp.where(used[None], jnp.log2(jnp.maximum(x, jnp.finfo(x.dtype).tiny)), 0)
    away = jnp.where(used, level - (1 + finest.astype(x.dtype)) / 2, 0)
    return jnp.sum(away[None] * y, axis=1) / jnp.sum(away * level)


def _wanted(params, variances, costs, samples, in_use):
    """Further samples of every level, as floats."""
    wanted = allocation(jnp.where(in_use, variances, 0), costs, params.tolerance, params.bias_share)
    return jnp.maximum(wanted - samples.count[:, 0].astype(wanted.dtype), 0)
