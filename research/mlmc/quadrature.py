"""Nested expectations by quadrature over their variates: a check of problems with few of them, without random numbers.

Every depth has a rule, points and weights for the law of its variates; the work is the product of their sizes. In
float64 the equidistant rule has smooth integrands against the normal density to rounding; a corner costs the order of
the spacing squared, a jump the spacing.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Float
from research.mlmc.problems import NestedExpectation

__all__ = ["Rule", "normal_rule", "nested_value", "point"]


class Rule(NamedTuple):
    points: np.ndarray  # [N, V]
    weights: np.ndarray  # [N], sum 1


def normal_rule(counts: Sequence[int], reach: float = 8.0) -> Rule:
    """Products of equidistant points in [-reach, reach], `counts[v]` of them for variate v; one point is the mean."""
    axes = []
    for count in counts:
        validate.at_least("counts", count, 1)
        points = np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)
        weights = np.exp(-(points**2) / 2)
        axes.append((points, weights / weights.sum()))
    points = np.array(list(itertools.product(*(points for points, _ in axes)))).reshape(-1, len(axes))
    weights = np.array([np.prod(each) for each in itertools.product(*(weights for _, weights in axes))])
    return Rule(points, weights)


def point(count: int) -> Rule:
    """All of `count` variates at zero: exact where what follows is linear in each of several independent normals."""
    return Rule(np.zeros((1, count)), np.ones(1))


def nested_value(problem: NestedExpectation, rules: Sequence[Rule], *, batch_size: int = 64) -> Float[Array, ""]:
    """gamma_0 with the rules' sums for expectations.

    Args:
      rules: one for each of D + 1 depths, points of the problem's number of variates.
      batch_size: outermost points that are in memory at once, each with all that is below it.

    Raises: ValueError for another number of rules or of variates.
    """
    validate.require(len(rules) == problem.depth + 1, "rules", f"have {problem.depth + 1} entries", len(rules))
    for d, rule in enumerate(rules):
        validate.shape(f"rules[{d}].points", rule.points, (len(rule.weights), problem.num_variates[d]))
    dtype = jnp.result_type(float)
    rules = [Rule(jnp.asarray(points, dtype), jnp.asarray(weights, dtype)) for points, weights in rules]

    def value(d, state):
        """g_d at a state, with everything deeper integrated out."""
        if d == problem.depth:
            return problem.leaf(state)
        below = jax.vmap(lambda u: value(d + 1, problem.transition(d + 1, state, u)))(rules[d + 1].points)
        weights = rules[d + 1].weights
        if d + 1 == problem.depth and problem.inner == "logmeanexp":
            return problem.link(d, state, jax.nn.logsumexp(below, b=weights))
        return problem.link(d, state, jnp.tensordot(weights, below, 1))

    @jax.jit
    def total():
        values = jax.lax.map(lambda u: value(0, problem.init(u)), rules[0].points, batch_size=batch_size)
        return jnp.tensordot(rules[0].weights, values, 1)

    return total()
