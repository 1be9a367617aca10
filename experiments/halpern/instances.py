"""Instances on which bounds are measured, with known solutions and resolvents; and draws as in the published runs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core import prng
from research.core.types import Array, Float, Key
from research.halpern import finite_sums, quadratics
from research.halpern.inclusions import Point, Problem, Wrapped

__all__ = ["Case", "Distinct", "Solved", "distinct", "least_squares", "saddle"]


class Case(NamedTuple):
    """A row of `config.problem.cases` of `experiments.halpern.games`."""

    name: str
    size: int
    epochs: float  # budget
    plain: float  # kappa of Algorithm 2: c = kappa sqrt(n) / L
    kappa: float  # of Algorithm 2 with restarts
    inner: float  # its M_k / n
    restart: float  # its threshold


class Solved(Wrapped):
    """A bilinear inclusion without constraints that knows its resolvent at any step: from A'A = V diag(squares) V'.

    `quadratics.exact_resolvent` would factorise at every call, and batches of factorisations have stalled on a CPU.
    """

    directions: Float[Array, "n n"]  # V
    squares: Float[Array, "n"]

    def resolvent(self, u: Point, scale: Float[Array, ""]) -> Point:
        """(I + scale F)^{-1} u: x = (I + c^2 A'A)^{-1} (x_0 - c A'y_0), y = y_0 + c A x."""
        pull, _ = self.inclusion.full((jnp.zeros_like(u[0]), u[1]))
        along = _times(self.directions.T, u[0] - scale * pull) / (1 + scale**2 * self.squares)
        x = _times(self.directions, along)
        _, push = self.inclusion.full((x, jnp.zeros_like(u[1])))
        return x, u[1] - scale * push


class Distinct(Wrapped):
    """Uniform draws of which those of one batch, the last axis of the shape, are distinct, as in the published runs.

    A batch costs a sort of n numbers: for replays of small problems.
    """

    def sample(self, key, shape):
        scores = jax.random.uniform(key, (*shape[:-1], self.num_components), jnp.float32)
        return jax.lax.top_k(scores, shape[-1])[1][..., None]


def _times(matrix, vector):
    return jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)


def distinct(problem: Problem) -> Problem:
    """The problem with draws that are distinct within a batch; its own must be uniform over one index."""
    return Problem(Distinct(problem.inclusion), problem.start)


def least_squares(key: Key, decay: Float[Array, ""], size: int, dim: int, dtype) -> tuple[Problem, Float[Array, ""]]:
    """Rows of which entry j has scale j^-decay, started at 0; and the distance to the solution."""
    scales = jnp.arange(1, dim + 1, dtype=dtype) ** -decay
    features = jax.random.normal(prng.stream(key, "features"), (size, dim), dtype) * scales[None, :]
    targets = jax.random.normal(prng.stream(key, "targets"), (size,), dtype)
    solution = jnp.linalg.lstsq(features, targets)[0]
    return Problem(finite_sums.least_squares(features, targets), jnp.zeros_like(solution)), jnp.linalg.norm(solution)


def saddle(key: Key, decay: Float[Array, ""], size: int, dtype) -> tuple[Problem, Float[Array, ""]]:
    """Bilinear without constraints, singular values j^-decay, a normal start; its solution is 0."""
    values = jnp.arange(1, size + 1, dtype=dtype) ** -decay
    game = quadratics.bilinear(prng.stream(key, "matrix"), values)
    squares, directions = jnp.linalg.eigh(_times(game.columns, game.rows))
    inclusion = Solved(game, directions, squares)
    start = jax.random.normal(prng.stream(key, "start"), (2, size), dtype)
    return Problem(inclusion, (start[0], start[1])), jnp.linalg.norm(start)
