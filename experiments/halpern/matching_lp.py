"""The matching family's linear programs as inclusions, with operators that are never stored.

In acceptance probabilities q_it = x_it / p_t, for n offline nodes and T times:
  - `fluid`, the expected matching: sum_i q_it <= 1 at each t, sum_t p_t q_it <= 1 at each i. A is the incidence matrix
    of all edges, weighted by p on one side; two sums are one product.
  - `online`, LP-OnOpt: sum_i q_it <= 1, and q_it + sum_{s<t} p_s q_is <= 1 at each edge. A has n T^2 / 2 entries; a
    product is a sum over nodes and a cumulative sum over times.
Source: `braverman:24` for the programs. The only module that knows both families.
"""

import jax.numpy as jnp

from research.core.types import Array, Float, Key
from research.halpern import linear_programs, operators
from research.halpern.linear_programs import LinearProgram
from research.matching import certificates, problems, relaxation
from research.matching.problems import Problem

__all__ = ["Fluid", "Online", "allocation", "bounds", "draw", "fluid", "online"]


class Fluid(operators.Operator):
    """q `[n, T]` -> loads of the times `[T]` and of the nodes `[n]`."""

    arrivals: Float[Array, " T"]

    def forward(self, x):
        return jnp.sum(x, axis=0), jnp.sum(self.arrivals[None] * x, axis=1)

    def transpose(self, y):
        times, nodes = y
        return times[None] + nodes[:, None] * self.arrivals[None]

    def magnitude(self):
        return self


class Online(operators.Operator):
    """q `[n, T]` -> loads of the times `[T]`, and of every edge with what came before it `[n, T]`."""

    arrivals: Float[Array, " T"]

    def forward(self, x):
        taken = self.arrivals[None] * x
        return jnp.sum(x, axis=0), x + jnp.cumsum(taken, axis=1) - taken

    def transpose(self, y):
        times, edges = y
        later = jnp.cumsum(edges[:, ::-1], axis=1)[:, ::-1] - edges
        return times[None] + edges + self.arrivals[None] * later

    def magnitude(self):
        return self


def fluid(problem: Problem) -> LinearProgram:
    """The expected matching of a Bernoulli problem: an upper bound of `online`."""
    n, steps = problem.weights.shape
    ones = jnp.ones(steps, problem.weights.dtype), jnp.ones(n, problem.weights.dtype)
    return _program(problem, Fluid(problem.arrivals), ones)


def online(problem: Problem) -> LinearProgram:
    """LP-OnOpt of a Bernoulli problem."""
    ones = jnp.ones(problem.weights.shape[1], problem.weights.dtype), jnp.ones_like(problem.weights)
    return _program(problem, Online(problem.arrivals), ones)


def _program(problem, operator, limits):
    costs = -problem.weights * problem.arrivals[None]
    return linear_programs.linear_program(
        costs, operator, limits, high=jnp.where(costs < 0, 1.0, 0.0).astype(costs.dtype)
    )


def allocation(problem: Problem, acceptance: Float[Array, "n T"]) -> Float[Array, "n T"]:
    """A feasible x of LP-OnOpt from acceptance probabilities that are nearly so."""
    return certificates.repair(problem, acceptance * problem.arrivals[None])


def draw(key: Key, size: tuple[int, int], dtype) -> Problem:
    """An Erdős–Rényi instance of n nodes and T times, density 1/2."""
    return problems.er(key, 0.5, *size, dtype)


def bounds(problem: Problem, tolerance: float = 1e-7) -> relaxation.Solution:
    """LP-OnOpt by the solver that is made for it, certified from both sides."""
    return relaxation.solve(problem, relaxation.PRECISE, tolerance=tolerance)
