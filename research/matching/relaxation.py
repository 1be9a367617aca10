"""LP-OnOpt by `dualscan`: certified bounds on the philosopher, for Bernoulli and typed problems, alone or in batches.

The LP: max <w, x> over x >= 0, sum_i x_it <= p_t, x_it <= p_t (1 - y_it), y_it the mass given to i before t. Relaxing
the column constraint with multipliers lam >= 0 leaves one optimal-stopping problem per offline node, an exact backward
sweep, so that every lam proves an upper bound D(lam); the sweep smoothed at a temperature has a best response x, which
after `repair` is feasible and proves a lower bound. D is minimised by accelerated projected gradient with adaptive
restart while the temperature falls.

A step here is one round (`_rounds`): `iterations` gradient iterations at one temperature, then both bounds.
Source: `braverman:24` for the LP; for the minimisation those of `_rounds`.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import status
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.matching import _rounds, _sweeps, problems
from research.matching._rounds import Info, State
from research.matching.certificates import Certificate, certificate, dual_value, repair, smoothing_bias, waiting_values
from research.matching.problems import Problem

__all__ = [
    "PRECISE", "Certificate", "Info", "Params", "Problem", "Result", "Solution", "State", "certificate", "dual_value",
    "example", "init", "repair", "run", "smoothing_bias", "solve", "solve_batch", "step", "value", "waiting_values",
]  # fmt: skip


class Params(eqx.Module):
    """`num_steps` rounds of `iterations` gradient iterations at temperatures `temperature * factor^k`, k = 0, 1, ..."""

    num_steps: int = eqx.field(static=True, default=300)
    iterations: int = eqx.field(static=True, default=10)
    patience: int = eqx.field(static=True, default=40)  # rounds without progress at one temperature
    temperature: float = 0.1  # first, in units of the column's largest weight
    factor: float = 0.35  # in (0, 1)
    solved: float = 0.5  # in (0, 1): share of the gap that may be unsolved at a temperature when it falls

    def __check_init__(self):
        for name in ("num_steps", "iterations", "patience"):
            checks.at_least(f"Params.{name}", getattr(self, name), 1)
        checks.positive("Params.temperature", self.temperature)
        for name in ("factor", "solved"):
            share = getattr(self, name)
            checks.positive(f"Params.{name}", share)
            if checks.is_concrete(share):
                checks.require(float(share) < 1, f"Params.{name}", "be < 1", share)


#: For tolerances below 1e-5, in float64. A column that is overfull by a millionth, and whose multiplier is still many
#: temperatures away, is no longer mended once it is cold: more of the gap must be closed while it is warm.
PRECISE = Params(num_steps=600, iterations=20, factor=0.5, solved=0.1)


class Result(NamedTuple):
    """What `run` returns."""

    x: Float[Array, "n T *J"]  # feasible
    multipliers: Float[Array, "T *J"]
    state: State
    trace: Info
    status: Int[Array, ""]


class Solution(NamedTuple):
    """What `solve` returns; `solve_batch` puts a batch axis in front of everything."""

    x: Float[Array, "n T *J"]  # feasible, worth `primal`
    multipliers: Float[Array, "T *J"]  # lam >= 0, D(lam) = `dual`
    values: Float[Array, "n U"]  # V_it at lam, t = 0..T (`U = T + 1`): bid prices; V_iT = 0
    primal: Float[Array, ""]  # primal <= LP <= dual
    dual: Float[Array, ""]
    gap: Float[Array, ""]  # (dual - primal) / dual; 0 if dual is 0
    rounds: Int[Array, ""]
    status: Int[Array, ""]  # CONVERGED, BUDGET or NONFINITE


# --- one instance ---------------------------------------------------------------------------------------------------


def _lanes(problem):
    return _sweeps.lanes(problem.weights[None], problem.arrivals[None])


def _to_lanes(problem, state):
    """A state of one instance as a batch of one."""
    return jax.tree.map(lambda x: x[:, None, None] if x.ndim == 1 and not problem.typed else x[..., None], state)


def _from_lanes(problem, tree):
    """Lane 0 of states or infos; Bernoulli multipliers lose their axis of types."""
    return jax.tree.map(lambda x: x[:, 0, 0] if x.ndim == 3 and not problem.typed else x[..., 0], tree)


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """Multipliers zero, nothing proved yet; the key is not used."""
    del key
    return _from_lanes(problem, _rounds.start(_lanes(problem), params))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One round: `params.iterations` gradient iterations, both bounds, and the next temperature.

    The temperature falls once less than `params.solved` of the gap is unsolved at it (`_sweeps.audit`), or after
    `params.patience` rounds none of which lowered that part by a tenth; never below 8 units in the last place of 1,
    where it is lost in rounding.
    """
    return _from_lanes(problem, _rounds.one_round(_lanes(problem), params, _to_lanes(problem, state)))


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` rounds whatever the gap; pass `state` to continue an earlier run exactly where it stopped.

    Raises:
      ValueError: bad input (`problems.validate`); under `jit` only shapes are checked.
    """
    problems.validate(problem)
    state = init(problem, params, key) if state is None else state
    return _run(problem, params, state)


@jax.jit
def _run(problem, params, state):
    lanes = _lanes(problem)
    last, trace = jax.lax.scan(
        lambda carry, _: _rounds.one_round(lanes, params, carry), _to_lanes(problem, state), length=params.num_steps
    )
    x = _rounds.allocations(lanes, last)[0]
    last = _from_lanes(problem, last)
    trace = jax.tree.map(lambda leaf: leaf[:, 0], trace)
    x = repair(problem, x if problem.typed else x[..., 0])
    return Result(x, last.dual_multipliers, last, trace, status.of((last, trace)))


# --- until certified ------------------------------------------------------------------------------------------------


def solve(problem: Problem, params: Params | None = None, *, tolerance: float = 1e-4) -> Solution:
    """Rounds until the relative gap (dual - primal) / dual is at most `tolerance`, `params.num_steps` at most.

    The gap is that of the arithmetic at hand, less an allowance for its rounding; `certificate` takes it again in
    float64. In float32 tolerances below about 1e-5 are out of reach. In float64, of 256 instances of 10 x 20 (ER, BA,
    vertex weights, geometric) 13 stay above 1e-6, at 4e-5 or less, by the default parameters, and none by `PRECISE`.

    Raises:
      ValueError: bad input (`problems.validate`) or a tolerance that is not positive; under `jit` only shapes.
    """
    problems.validate(problem)
    checks.positive("tolerance", tolerance)
    return _solve_one(problem, params or Params(), tolerance)


def solve_batch(batch: Problem, params: Params | None = None, *, tolerance: float = 1e-4) -> Solution:
    """`solve` for problems with one more axis in front, all leaves of the solution alike.

    An instance whose gap is closed is frozen, so that its solution does not depend on how long the others take; the
    loop ends with the slowest. Faster on a CPU than `vmap` of `solve`, whose arithmetic it shares.

    Raises:
      ValueError: as in `solve`, for the first bad instance found.
    """
    problems.validate(batch, batched=True)
    checks.positive("tolerance", tolerance)
    return _solve(batch, params or Params(), tolerance)


@jax.jit
def _solve_one(problem, params, tolerance):
    batch = jax.tree.map(lambda leaf: leaf[None], problem)
    return jax.tree.map(lambda leaf: leaf[0], _solve(batch, params, tolerance))


@jax.jit
def _solve(batch, params, tolerance):
    lanes = _sweeps.lanes(batch.weights, batch.arrivals)
    enough = jnp.maximum(tolerance - 16 * jnp.finfo(lanes.arrivals.dtype).eps, 0)

    def open_(state):
        closed = _rounds.relative_gap(state.primal, state.dual) <= enough
        return ~closed & jnp.isfinite(_rounds.total(state.multipliers))

    def body(state):
        keep = open_(state)
        after, _ = _rounds.one_round(lanes, params, state)
        return _rounds.choose(keep, after, state)

    start = _rounds.start(lanes, params)
    last = jax.lax.while_loop(lambda s: jnp.any(open_(s) & (s.step < params.num_steps)), body, start)
    x = _rounds.allocations(lanes, last)
    typed = batch.arrivals.ndim == 3
    x = jax.vmap(repair)(batch, x if typed else x[..., 0])
    values = jnp.transpose(_sweeps.values(lanes, last.dual_multipliers), (2, 1, 0))
    multipliers, reached = (jnp.moveaxis(lam, -1, 0) for lam in (last.dual_multipliers, last.multipliers))
    gap = _rounds.relative_gap(last.primal, last.dual)
    return Solution(
        x,
        multipliers if typed else multipliers[..., 0],
        values,
        last.primal,
        last.dual,
        gap,
        last.step,
        jax.vmap(status.of)((reached, last.primal, last.dual), gap <= enough),
    )


def value(problem: Problem, params: Params | None = None, *, tolerance: float = 1e-4) -> Float[Array, ""]:
    """The LP's value, from below and within `tolerance`, differentiable in weights and arrivals.

    Gradients are those of the envelope theorem at the approximate optimum, never through the iterations: x for the
    weights, and lam_t + sum_i (1 - y_it) max(0, w_it - lam_t - V_i,t+1) for the arrivals. Where the LP has several
    optima, one of its subgradients. Arguments and errors as in `solve`; parameters have no gradient.
    """
    return _value(problem, params or Params(), tolerance)


@jax.custom_vjp
def _value(problem, params, tolerance):
    return solve(problem, params, tolerance=tolerance).primal


def _value_forward(problem, params, tolerance):
    solution = solve(problem, params, tolerance=tolerance)
    of_time = jnp.sum(solution.x, axis=2) if problem.typed else solution.x
    free, later = 1 - jnp.cumsum(of_time, axis=1) + of_time, solution.values[:, 1:]
    if problem.typed:
        free, later = free[..., None], later[..., None]
    surplus = jnp.maximum(problem.weights - solution.multipliers[None] - later, 0)
    by_arrivals = solution.multipliers + jnp.sum(free * surplus, axis=0)
    stationary = problem.weights.shape[1] != problem.num_steps
    by_weights = jnp.sum(solution.x, axis=1, keepdims=True) if stationary else solution.x
    nothing = jax.tree.map(jnp.zeros_like, (params, tolerance))
    return solution.primal, (Problem(by_weights, by_arrivals), nothing)


def _value_backward(residuals, cotangent):
    gradient, nothing = residuals
    return jax.tree.map(lambda leaf: cotangent * leaf, gradient), *nothing


_value.defvjp(_value_forward, _value_backward)


def example(key: Key) -> tuple[Problem, Params]:
    """Four offline nodes, six times, two rounds of five iterations."""
    return problems.er(key, 0.8, 4, 6), Params(num_steps=4, iterations=5)
