"""Small instances with values worked out by hand or by enumeration; float64 arrays, so use them under `x64`."""

import jax.numpy as jnp
import numpy as np

from research.matching import problems


def double(values):
    return jnp.asarray(values, jnp.float64)


def two_by_four():
    """LP-OnOpt 7.05, philosopher 6.89, prophet 7.36, ex-ante 7.9; and a feasible x of value 5.4."""
    problem = problems.from_arrays(double([[4, 3, 2, 5], [3, 5, 1, 4]]), double([0.5, 0.6, 0.8, 0.5]))
    return problem, double([[0.3, 0.2, 0.2, 0.1], [0.2, 0.3, 0.2, 0.1]])


def two_that_collide():
    """At time 2 both propose for sure: a discard that depends on the arrival correlates the two."""
    problem = problems.from_arrays(double([[1, 0, 1, 1], [0, 1, 1, 1]]), double([0.5, 0.5, 0.2, 1]))
    return problem, double([[0.5, 0, 0.1, 0.4], [0, 0.5, 0.1, 0.4]])


def three_that_collide():
    weights = double([[0.3, 0, 0, 1, 1], [0, 0.3, 0, 0.9, 1], [0, 0, 0.3, 0.8, 1]])
    x = double([[0.5, 0, 0, 0.2, 0.3], [0, 0.5, 0, 0.2, 0.3], [0, 0, 0.5, 0.2, 0.3]])
    return problems.from_arrays(weights, double([0.5, 0.5, 0.5, 0.6, 1])), x


def two_types():
    """LP value 3.5 at the given x."""
    weights = np.stack([[[3, 2], [1, 4]], [[2, 5], [2, 1]]], axis=-1)
    x = double([[[0.3, 0.1], [0.1, 0.15]], [[0.15, 0.2], [0.2, 0.1]]])
    return problems.from_arrays(double(weights), double([[0.5, 0.3], [0.4, 0.4]])), x


def gamble():
    """LP-OnOpt and philosopher 1.5, prophet and ex-ante 2.49, greedy 1."""
    return problems.from_arrays(double([[1, 150]]), double([1, 0.01]))
