"""Instances of online Bayesian matching: arrays in, validation, random families, and the hard instance of each bound.

Letters: `n` offline nodes, `T` arrival times, `J` types. Generators take a key first, work under `jit` and `vmap`, and
draw from named streams, so that no family shares a draw with another.
Source: `braverman:24`; the random families are those of `hayderi:24`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = [
    "Problem", "as_typed", "ba", "er", "from_arrays", "geom", "hard_edge", "hard_prophet", "identical", "pad", "stack",
    "typed_random", "validate", "validate_allocation", "vertex_weighted",
]  # fmt: skip

#: How far, in probability, a row of type probabilities may exceed 1 by rounding.
ROW_SUM_TOLERANCE = 1e-6
#: How far, in probability, an allocation that a user brings may leave the polytope before it is refused.
ALLOCATION_TOLERANCE = 1e-4


class Problem(eqx.Module):
    """One instance. Bernoulli: time t's own node arrives, or nobody. Typed: one of `J` types arrives, or nobody.

    weights:  `[n, T]`, or typed `[n, T, J]`, or `[n, 1, J]` where they do not depend on time; >= 0, 0 for no edge.
    arrivals: `[T]` in [0, 1], or typed `[T, J]` with rows that sum to at most 1.
    A batch, for `vmap`, has one more leading axis on both; the properties are those of one instance.
    """

    weights: Float[Array, "n T *J"]
    arrivals: Float[Array, "T *J"]

    @property
    def num_offline(self) -> int:
        return self.weights.shape[0]

    @property
    def num_steps(self) -> int:
        return self.arrivals.shape[0]

    @property
    def num_types(self) -> int:
        """`J`, or 0 for a Bernoulli problem."""
        return self.arrivals.shape[1] if self.typed else 0

    @property
    def typed(self) -> bool:
        return self.arrivals.ndim == 2

    @property
    def allocation_shape(self) -> tuple[int, ...]:
        """Shape of a fractional solution `x`: `[n, T]` or `[n, T, J]`."""
        return (self.num_offline, *self.arrivals.shape)


def from_arrays(weights: Array, arrivals: Array, *, dtype: jnp.dtype | None = None) -> Problem:
    """A checked problem from arrays of any kind.

    Args:
      weights: `[n, T]`; typed `[n, T, J]`, `[n, 1, J]`, or `[n, J]` for weights that do not depend on time.
      arrivals: `[T]`, or typed `[T, J]`.
      dtype: of both, hence of all arithmetic; that of `weights` if None.

    Raises:
      ValueError: see `validate`; also integer weights without a `dtype`, since rounding them is never meant.
    """
    _require_floating("weights", weights, dtype)
    weights = jnp.asarray(weights, dtype)
    arrivals = jnp.asarray(arrivals, weights.dtype)
    if weights.ndim == 2 and arrivals.ndim == 2:
        weights = weights[:, None, :]
    problem = Problem(weights, arrivals)
    validate(problem)
    return problem


def _require_floating(name, array, dtype=None):
    actual = jnp.result_type(array) if dtype is None else jnp.dtype(dtype)
    checks.require(jnp.issubdtype(actual, jnp.floating), name, "have a floating dtype", actual)


def validate(problem: Problem, *, batched: bool = False) -> None:
    """Raises ValueError naming argument, index and value; traced arrays are checked for their shapes only.

    `batched`: both leaves have one more axis in front, equally long; all instances are checked.
    """
    weights, arrivals = problem.weights, problem.arrivals
    _require_floating("weights", weights)
    _require_floating("arrivals", arrivals)
    of_weights, of_arrivals = np.shape(weights), np.shape(arrivals)
    if batched:
        allowed = "have one leading axis of instances, equally long and not empty"
        lead = of_weights[:1] + of_arrivals[:1]
        checks.require(len(lead) == 2 and lead[0] == lead[1] > 0, "weights and arrivals", allowed, lead)
        of_weights, of_arrivals = of_weights[1:], of_arrivals[1:]
    _validate_shapes(of_weights, of_arrivals)
    checks.finite("weights", weights)
    checks.at_least("weights", weights, 0)
    checks.finite("arrivals", arrivals)
    checks.in_range("arrivals", arrivals, 0, 1)
    if len(of_arrivals) == 2 and checks.is_concrete(arrivals):
        totals = np.asarray(arrivals, np.float64).sum(-1)
        checks.in_range("sum of arrivals over types", totals, 0, 1 + ROW_SUM_TOLERANCE)


def _validate_shapes(weights, arrivals):
    allowed = "have shapes [n, T] and [T], or [n, T or 1, J] and [T, J]"
    ranks = len(weights), len(arrivals)
    checks.require(ranks in ((2, 1), (3, 2)), "weights and arrivals", allowed, (weights, arrivals))
    checks.at_least("number of offline nodes", weights[0], 1)
    checks.at_least("number of arrival times", arrivals[0], 1)
    stationary = ranks[0] == 3 and weights[1] == 1
    fits = weights[1:] == arrivals or (stationary and weights[2] == arrivals[1])
    checks.require(fits, "weights and arrivals", allowed, (weights, arrivals))
    if ranks[0] == 3:
        checks.at_least("number of types", arrivals[1], 1)


def validate_allocation(problem: Problem, x: Array, tolerance: float = ALLOCATION_TOLERANCE) -> None:
    """Raises ValueError unless `x` is feasible for LP-OnOpt up to `tolerance` (in probability); skips tracers.

    Constraints: x >= 0, sum_i x_it <= p_t and x_it <= p_t (1 - y_it), with y_it the mass given to i before t.
    """
    checks.shape("x", x, problem.allocation_shape)
    checks.finite("x", x)
    if not checks.is_concrete(problem, x):
        return
    x, arrivals = np.asarray(x, np.float64), np.asarray(problem.arrivals, np.float64)[None]
    of_time = x.sum(-1) if problem.typed else x
    free = 1 - np.cumsum(of_time, 1) + of_time
    room = arrivals * (free[..., None] if problem.typed else free)
    checks.at_least("x", x, -tolerance)
    checks.at_least("slack of sum_i x_it <= p_t", (arrivals - x.sum(0, keepdims=True))[0], -tolerance)
    checks.at_least("slack of x_it <= p_t (1 - y_it)", room - x, -tolerance)


def as_typed(problem: Problem) -> Problem:
    """The same instance with types: a Bernoulli problem gets a single one."""
    return problem if problem.typed else Problem(problem.weights[..., None], problem.arrivals[:, None])


def pad(problem: Problem, num_offline: int, num_steps: int) -> Problem:
    """The problem with more offline nodes (weight 0) and times (probability 0) at the end: no value changes."""
    checks.at_least("num_offline", num_offline, problem.num_offline)
    checks.at_least("num_steps", num_steps, problem.num_steps)
    late = num_steps - problem.num_steps
    nodes = (0, num_offline - problem.num_offline)
    stationary = problem.typed and problem.weights.shape[1] == 1
    types = ((0, 0),) * problem.typed
    weights = jnp.pad(problem.weights, (nodes, (0, 0 if stationary else late), *types))
    return Problem(weights, jnp.pad(problem.arrivals, ((0, late), *types)))


def stack(problems: list[Problem]) -> Problem:
    """One batch of problems of one kind, padded to the largest `n` and `T` among them."""
    checks.at_least("number of problems", len(problems), 1)
    n, steps = max(p.num_offline for p in problems), max(p.num_steps for p in problems)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(pad(p, n, steps) for p in problems))


def _uniform(key, stream, shape, dtype):
    return jax.random.uniform(prng.stream(key, stream), shape, dtype)


def er(key: Key, density: float, num_offline: int, num_steps: int, dtype=jnp.float32) -> Problem:
    """Erdos-Renyi: every edge with probability `density`, weights and arrival probabilities U(0, 1)."""
    checks.in_range("density", density, 0, 1)
    shape = (num_offline, num_steps)
    edges = _uniform(key, "er_edges", shape, dtype) < density
    weights = jnp.where(edges, _uniform(key, "er_weights", shape, dtype), 0)
    return Problem(weights, _uniform(key, "er_arrivals", (num_steps,), dtype))


def ba(key: Key, degree: int, num_offline: int, num_steps: int, dtype=jnp.float32) -> Problem:
    """Preferential attachment: each arrival joins `degree` offline nodes drawn without replacement, degree + 1 as odds.

    Weights and arrival probabilities U(0, 1).
    """
    checks.in_range("degree", degree, 1, num_offline)
    shape = (num_steps, num_offline)
    gumbels = jax.random.gumbel(prng.stream(key, "ba_edges"), shape, dtype)

    def attach(degrees, gumbel):
        _, chosen = jax.lax.top_k(jnp.log1p(degrees) + gumbel, degree)
        edges = jnp.zeros_like(degrees).at[chosen].set(1)
        return degrees + edges, edges

    _, edges = jax.lax.scan(attach, jnp.zeros(num_offline, dtype), gumbels)
    weights = edges * _uniform(key, "ba_weights", shape, dtype)
    return Problem(weights.T, _uniform(key, "ba_arrivals", (num_steps,), dtype))


def geom(key: Key, share: float, num_offline: int, num_steps: int, dtype=jnp.float32) -> Problem:
    """Everybody uniform in the unit square; weight (Dmax - D) / Dmax by distance D, for the closest `share` of them."""
    checks.in_range("share", share, 0, 1)
    offline = _uniform(key, "geom_offline", (num_offline, 1, 2), dtype)
    online = _uniform(key, "geom_online", (1, num_steps, 2), dtype)
    distance = jnp.linalg.norm(offline - online, axis=-1)
    closeness = 1 - distance / jnp.max(distance)
    weights = jnp.where(closeness >= jnp.quantile(closeness, 1 - share), closeness, 0)
    return Problem(weights, _uniform(key, "geom_arrivals", (num_steps,), dtype))


def vertex_weighted(key: Key, density: float, num_offline: int, num_steps: int, dtype=jnp.float32) -> Problem:
    """Every edge with probability `density`, its weight that of the offline node, U(0, 1); arrivals U(0, 1)."""
    checks.in_range("density", density, 0, 1)
    edges = _uniform(key, "vertex_edges", (num_offline, num_steps), dtype) < density
    weights = jnp.where(edges, _uniform(key, "vertex_weights", (num_offline, 1), dtype), 0)
    return Problem(weights, _uniform(key, "vertex_arrivals", (num_steps,), dtype))


def typed_random(
    key: Key, num_offline: int, num_steps: int, num_types: int, *, stationary: bool = False, dtype=jnp.float32
) -> Problem:
    """Weights U(0, 1), the same at all times if `stationary`; at each time somebody arrives with a U(0, 1) probability,

    spread over the types in proportion to exponential draws (uniform on the simplex).
    """
    weights = _uniform(key, "typed_weights", (num_offline, 1 if stationary else num_steps, num_types), dtype)
    shares = jax.random.exponential(prng.stream(key, "typed_shares"), (num_steps, num_types), dtype)
    total = _uniform(key, "typed_arrivals", (num_steps, 1), dtype)
    return Problem(weights, total * shares / jnp.sum(shares, 1, keepdims=True))


def hard_edge(num_exhausted: int, poisson: float, eta: float, dtype=jnp.float32) -> tuple[Problem, Float[Array, "n T"]]:
    """The instance on which rounding loses the most against LP-OnOpt, and the LP's optimal solution.

    Nodes 0..m-1 (`m = num_exhausted`) are nearly used up by arrivals of weight `eta` at times 0..m-1, each of
    probability 1 - s/m (`s = poisson`); at time m everybody is worth 1 and one arrival is certain; at time m+1 the
    fresh node m alone is worth eta/2. As eta -> 0 a rounding with rescaling (eps, delta) earns
    1 - (1 - (1 - eps)(1 - s)) (1 - (1 + delta) s/m)^m of the LP, whose minimum over s, as m grows, is rho(eps, delta).
    """
    checks.at_least("num_exhausted", num_exhausted, 1)
    checks.in_range("poisson", poisson, 0, 1)
    m, share = num_exhausted, poisson / num_exhausted
    weights = np.zeros((m + 1, m + 2))
    weights[range(m), range(m)] = eta
    weights[:, m] = 1
    weights[m, m + 1] = eta / 2
    x = np.zeros_like(weights)
    x[range(m), range(m)] = 1 - share
    x[:m, m] = share
    x[m, m:] = 1 - poisson, poisson
    arrivals = np.concatenate([np.full(m, 1 - share), [1, 1]])
    return Problem(jnp.asarray(weights, dtype), jnp.asarray(arrivals, dtype)), jnp.asarray(x, dtype)


def hard_prophet(eta: float, gain: float = 1.0, dtype=jnp.float32) -> Problem:
    """One node, a sure weight 1, then `gain / eta` with probability `eta`: no policy beats 1/2 + eta/2 of a prophet

    at gain 1, nor of the ex-ante LP. Greedy gets 1 whatever the gain.
    """
    checks.in_range("eta", eta, 0, 1)
    checks.positive("eta", eta)
    return Problem(jnp.asarray([[1.0, gain / eta]], dtype), jnp.asarray([1.0, eta], dtype))


def identical(num_offline: int, num_steps: int, load: float, dtype=jnp.float32) -> Problem:
    """Identical nodes, unit weights, `load` arrivals expected in all: the gap of LP-OnOpt to the philosopher."""
    checks.in_range("load", load, 0, num_steps)
    return Problem(jnp.ones((num_offline, num_steps), dtype), jnp.full((num_steps,), load / num_steps, dtype))
