"""Entropic balanced assignment by Sinkhorn's iteration in logarithms: approximate, set against exact methods.

Maximises <s, x> + eps H(x) with row sums K and column sums L = K T / E. Nothing keeps x <= 1 for K > 1, and the plan's
argmax is not balanced: the column potentials are biases whose top-K has loads near L, and whose D bounds the optimum.
Source: `cuturi:13`.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.balancing import assignment
from research.balancing.assignment import Problem
from research.core import validate as checks
from research.core.types import Array, Float

__all__ = ["Plan", "sinkhorn"]


class Plan(NamedTuple):
    """After a row update: rows sum to K up to rounding, columns to L up to `violation`."""

    x: Float[Array, "T E"]
    bias: Float[Array, " E"]  # column potentials in score units, of mean 0
    value: Float[Array, ""]  # <s, x>
    violation: Float[Array, ""]  # max_k |sum_i x_ik - L|, in tokens


def sinkhorn(problem: Problem, temperature: float | Float[Array, ""], num_steps: int) -> Plan:
    """`num_steps` alternations: columns, then rows.

    Args:
      problem: all of its tokens valid.
      temperature: eps > 0, in score units.

    Raises: ValueError for bad scores or K, padding, temperature or number of steps.
    """
    assignment.validate(problem)
    checks.require(problem.valid is None, "valid", "be None", "a mask")
    checks.positive("temperature", temperature)
    checks.at_least("num_steps", num_steps, 1)
    scaled = problem.scores / temperature
    rows, columns = jnp.log(problem.top_k), jnp.log(assignment.balanced_load(problem))

    def of_rows(bias):
        return rows - jax.nn.logsumexp(scaled + bias[None], axis=1)

    def alternate(_, bias):
        return columns - jax.nn.logsumexp(scaled + of_rows(bias)[:, None], axis=0)

    zero = jnp.zeros(problem.num_experts, problem.scores.dtype)
    bias = jax.lax.fori_loop(0, num_steps, alternate, zero)
    x = jnp.exp(scaled + bias[None] + of_rows(bias)[:, None])
    violation = jnp.max(jnp.abs(x.sum(axis=0) - assignment.balanced_load(problem)))
    return Plan(x, temperature * (bias - bias.mean()), jnp.sum(problem.scores * x), violation)
