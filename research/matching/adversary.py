"""A search for configurations that beat a claimed constant: many hill climbs at once, each on its own lane.

A configuration is one time of an instance: a few nodes with mass `y` already given away and mass `z = x/p` given now,
mass on fresh nodes (y = 0, spread thinly) and mass on nearly exhausted ones (y -> 1, a Poisson number of them is free).
Free nodes are independent, the extremal case among negatively dependent ones. What is found bounds the constant from
above; that nothing lower is found is evidence for it, not a proof.
Source: derived here; the constants are those of `braverman:24`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.matching import bounds

__all__ = [
    "ARRIVALS", "Configuration", "VertexWeights", "Worst", "expected_minimum", "ratio", "search", "vertex_weights",
]  # fmt: skip

#: Arrival probabilities that `search` tries by default.
ARRIVALS = (1e-4, 0.1, 0.5, 1.0)
#: Proposals move by 10**u with u uniform between these.
_LOG_SCALES = (-6.0, -0.3)


class Configuration(NamedTuple):
    """`used_i + mass_i <= 1`, and all masses together sum to at most 1."""

    used: Float[Array, "... k"]  # y_i: mass given to node i before this time
    mass: Float[Array, "... k"]  # z_i = x_i / p
    fresh: Float[Array, "..."]
    exhausted: Float[Array, "..."]


class Worst(NamedTuple):
    """The worst of a search over all lanes."""

    ratio: Float[Array, ""]
    arrival: Float[Array, ""]
    configuration: Configuration


def _subsets(num_nodes):
    return (np.arange(1 << num_nodes)[:, None] >> np.arange(num_nodes)) & 1


def expected_minimum(configuration: Configuration, arrival, eps=0.0, delta=0.0) -> Float[Array, ""]:
    """E[min(1, X)] of one configuration under the rescaling (eps, delta); exact, over all `2^k` free sets."""
    used, mass, fresh, exhausted = configuration
    threshold = bounds.threshold(eps, delta)
    # h(y + p z) - h(y) over p, without dividing a difference by a small p: late is the part of z past the threshold.
    late = jnp.clip(mass - (threshold - used) / arrival, 0, mass)
    rescaled_mass = (1 - eps) * mass + (eps + delta) * late
    free = 1 - bounds.rescaled(used, eps, delta)
    rates = jnp.where(free > 0, jnp.minimum(rescaled_mass / jnp.where(free > 0, free, 1), 1), 0)
    members = jnp.asarray(_subsets(used.shape[-1]), used.dtype)
    law = jnp.prod(jnp.where(members > 0, free[None, :], 1 - free[None, :]), 1)
    total = (1 - eps) * fresh + jnp.sum(members * rates[None, :], 1)
    return 1 - jnp.exp(-(1 + delta) * exhausted) * (1 - jnp.sum(law * jnp.minimum(1, total)))


def _total(configuration):
    return jnp.sum(configuration.mass, -1) + configuration.fresh + configuration.exhausted


def ratio(configuration: Configuration, arrival, eps=0.0, delta=0.0) -> Float[Array, ""]:
    """E[min(1, X)] / sum z, at least the algorithm's ratio if it is right; 1 for a configuration without mass."""
    total = _total(configuration)
    proposed = expected_minimum(configuration, arrival, eps, delta)
    return jnp.where(total > 0, proposed / jnp.where(total > 0, total, 1), 1)


def _project(configuration):
    """Back into the polytope: masses scaled down to a total of 1, then `used` clipped to 1 minus the node's mass."""
    masses = [jnp.maximum(leaf, 0) for leaf in configuration[1:]]
    scale = jnp.maximum(_total(Configuration(configuration.used, *masses)), 1)
    mass, fresh, exhausted = (leaf / scale for leaf in masses)
    return Configuration(jnp.clip(configuration.used, 0, 1 - mass), mass, fresh, exhausted)


def _perturbed(key, configuration):
    """Some coordinates moved by a normal step whose scale is log-uniform: far jumps and fine polish in one rule."""
    keys = dict(zip(("scale", "which", "move"), jax.random.split(key, 3), strict=True))
    flat, unravel = flatten_util.ravel_pytree(configuration)
    scale = 10 ** jax.random.uniform(keys["scale"], (), flat.dtype, *_LOG_SCALES)
    which = jax.random.bernoulli(keys["which"], 0.3, flat.shape)
    return _project(unravel(flat + which * scale * jax.random.normal(keys["move"], flat.shape, flat.dtype)))


def _random(key, num_nodes, dtype):
    masses_key, share_key, present_key, used_key = jax.random.split(key, 4)
    # Sparse ones among the starts: from a little of everything most climbs end in the closed form's configuration.
    share = jax.random.uniform(share_key, (), dtype)
    present = jax.random.bernoulli(present_key, share, (num_nodes + 2,))
    masses = present * jax.random.exponential(masses_key, (num_nodes + 2,), dtype)
    masses = masses / jnp.maximum(jnp.sum(masses), jnp.finfo(dtype).tiny)
    used = jax.random.uniform(used_key, (num_nodes,), dtype)
    return _project(Configuration(used, masses[:-2], masses[-2], masses[-1]))


def _climb(objective, key, start, num_steps):
    """The best of `num_steps` proposals, each accepted if it lowers the objective."""

    def propose(carry, step):
        best, value = carry
        trial = _perturbed(prng.per_step(key, step), best)
        lower = objective(trial)
        keep = lower < value
        return (jax.tree.map(lambda new, old: jnp.where(keep, new, old), trial, best), jnp.minimum(lower, value)), None

    (best, value), _ = jax.lax.scan(propose, (start, objective(start)), jnp.arange(num_steps))
    return best, value


def search(
    key: Key, eps, delta, *, num_nodes: int = 5, arrivals=ARRIVALS, num_starts: int = 64, num_steps: int = 2000
) -> Worst:
    """The configuration of least `ratio` found by `num_starts` hill climbs at each of `arrivals`.

    Args:
      key: of the starts and of all proposals.
      eps, delta: the rescaling; floats or traced scalars, so that a grid of them is one `vmap`.
      num_nodes: arbitrary nodes beside the fresh and the exhausted mass, in [0, 10]; `2^num_nodes` terms a step.
      arrivals: `[A]` probabilities in (0, 1].

    Raises: ValueError naming the argument.
    """
    bounds.validate_rescaling(eps, delta)
    checks.in_range("num_nodes", num_nodes, 0, 10)
    checks.at_least("num_starts", num_starts, 1)
    checks.at_least("num_steps", num_steps, 1)
    checks.positive("arrivals", arrivals)
    checks.in_range("arrivals", arrivals, 0, 1)
    return _search(key, eps, delta, jnp.asarray(arrivals), num_nodes, num_starts, num_steps)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _search(key, eps, delta, arrivals, num_nodes, num_starts, num_steps):
    def lane(start_key, climb_key, arrival):
        start = _random(start_key, num_nodes, arrivals.dtype)
        return _climb(lambda c: ratio(c, arrival, eps, delta), climb_key, start, num_steps)

    num_lanes = num_starts * arrivals.shape[0]
    of_lane = jnp.repeat(arrivals, num_starts)
    configurations, values = jax.vmap(lane)(*_lane_keys(key, num_lanes), of_lane)
    worst = jnp.argmin(values)
    return Worst(values[worst], of_lane[worst], jax.tree.map(lambda leaf: leaf[worst], configurations))


class VertexWeights(NamedTuple):
    """Evidence for vertex weights, unscaled: the best `g` against all cuts found, and what it would promise."""

    grid: np.ndarray  # [m] in [0, 1]
    g: np.ndarray  # [m] non-increasing, linear in between
    integrals: np.ndarray  # [rounds] int g: falls towards the constant from above as cuts are added
    violation: float  # sum z g(y) - E[min(1, X)] of the worst configuration that the last round found


def vertex_weights(
    key: Key, *, num_points: int = 21, num_rounds: int = 30, num_nodes: int = 3, num_starts: int = 128,
    num_steps: int = 1000,
) -> VertexWeights:  # fmt: skip
    """Cutting planes: the largest int_0^1 g over non-increasing g with sum z_i g(y_i) <= E[min(1, X)] everywhere.

    Any such g makes its integral the ratio of the unscaled rounding against LP-OnOpt on vertex weights. Each round
    solves the linear program over the cuts so far, then searches for configurations that its g violates. The
    constraint does not depend on the arrival probability, since nothing is rescaled.

    Raises: ValueError naming the argument.
    """
    from scipy import optimize

    for name, value, least in (("num_points", num_points, 2), ("num_rounds", num_rounds, 1)):
        checks.at_least(name, value, least)
    grid = np.linspace(0, 1, num_points)
    widths = np.full(num_points, 1 / (num_points - 1))
    widths[[0, -1]] /= 2
    falling = np.eye(num_points, k=1)[:-1] - np.eye(num_points)[:-1]
    cuts, levels, integrals = [], [], []
    for number in range(num_rounds + 1):
        rows, sides = np.vstack([falling, *cuts]), np.concatenate([np.zeros(num_points - 1), *levels])
        solution = optimize.linprog(-widths, A_ub=rows, b_ub=sides, bounds=(0, 1), method="highs")
        g = solution.x
        found, values, coefficients = _violations(
            prng.per_step(key, number), jnp.asarray(g), num_nodes, num_starts, num_steps
        )
        integrals.append(float(widths @ g))
        cuts.append(np.asarray(coefficients, np.float64))
        levels.append(np.asarray(values, np.float64))
    return VertexWeights(grid, g, np.asarray(integrals), float(-np.min(found)))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _violations(key, g, num_nodes, num_starts, num_steps):
    """Of each climb's configuration: E[min(1, X)] - sum z g(y), E[min(1, X)], and the coefficients of g `[m]`."""
    grid = jnp.linspace(0, 1, g.shape[0], dtype=g.dtype)

    def coefficients(configuration):
        hat = jnp.maximum(0, 1 - jnp.abs(configuration.used[:, None] - grid[None, :]) * (g.shape[0] - 1))
        inner = jnp.sum(configuration.mass[:, None] * hat, 0)
        return inner.at[0].add(configuration.fresh).at[-1].add(configuration.exhausted)

    def slack(configuration):
        return expected_minimum(configuration, jnp.ones((), g.dtype)) - jnp.sum(coefficients(configuration) * g)

    def lane(start_key, climb_key):
        best, value = _climb(slack, climb_key, _random(start_key, num_nodes, g.dtype), num_steps)
        return value, expected_minimum(best, jnp.ones((), g.dtype)), coefficients(best)

    return jax.vmap(lane)(*_lane_keys(key, num_starts))


def _lane_keys(key, num_lanes):
    return [prng.replicate_keys(prng.stream(key, name), num_lanes) for name in ("starts", "proposals")]
