"""Instances of online matching with stochastic rewards: what they are, validation, and generators.

Source: `mehta:12` for the model and the upper-triangular graph.

Letters: `U` offline nodes, `V` arrivals.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["Problem", "ad_clicks", "permuted", "upper_triangular", "validate"]


class Problem(eqx.Module):
    """Who would succeed with whom, and what a success is worth; arrivals in the order of the columns."""

    success: Float[Array, "U V"]  # in [0, 1]; 0 for no edge
    weights: Float[Array, " U"]  # > 0


def validate(problem: Problem) -> None:
    """Raises ValueError naming argument, index and value; traced arrays are checked for their shapes only."""
    checks.shape("success", problem.success, (None, None))
    checks.shape("weights", problem.weights, (problem.success.shape[0],))
    checks.at_least("number of offline nodes", problem.success.shape[0], 1)
    checks.at_least("number of arrivals", problem.success.shape[1], 1)
    checks.in_range("success", problem.success, 0, 1)
    checks.positive("weights", problem.weights)


def upper_triangular(num_nodes: int, probability: float, dtype=jnp.float32) -> Problem:
    """The thick upper-triangular graph: phase k = 0..n-1 has round(1/p) arrivals, each adjacent to nodes u >= k.

    Unit weights; the matching LP is worth n when 1/p is an integer, and policies that keep loads level lose the most.
    """
    checks.at_least("num_nodes", num_nodes, 1)
    checks.in_range("probability", probability, 0, 1)
    checks.positive("probability", probability)
    copies = round(1 / probability)
    adjacent = jnp.triu(jnp.ones((num_nodes, num_nodes), dtype)).T
    return Problem(jnp.repeat(probability * adjacent, copies, axis=1), jnp.ones(num_nodes, dtype))


def permuted(key: Key, problem: Problem) -> Problem:
    """The same instance with its offline nodes renamed at random: a tie break by index no longer knows the phases."""
    order = jax.random.permutation(key, problem.weights.shape[0])
    return Problem(problem.success[order], problem.weights[order])


def ad_clicks(
    key: Key, num_nodes: int, num_arrivals: int, *, density: float = 0.3, median: float = 0.05, spread: float = 1.0,
    dtype=jnp.float32,
) -> Problem:  # fmt: skip
    """Click-through rates: edges with probability `density`, p = min(1, median exp(spread N)), weights exp(N/2).

    `N` are standard normal, for p the sum of an advertiser's, an arrival's and the edge's own part, a third each.
    """
    checks.in_range("density", density, 0, 1)
    checks.positive("median", median)
    checks.at_least("spread", spread, 0)
    shape = (num_nodes, num_arrivals)

    def normal(name, part):
        return jax.random.normal(prng.stream(key, name), part, dtype)

    rate = (
        normal("advertiser", (num_nodes, 1)) + normal("arrival", (1, num_arrivals)) + normal("edge", shape)
    ) / 3**0.5
    edges = jax.random.uniform(prng.stream(key, "edges"), shape, dtype) < density
    success = jnp.where(edges, jnp.minimum(1, median * jnp.exp(spread * rate)), 0)
    return Problem(success, jnp.exp(normal("weights", (num_nodes,)) / 2))
