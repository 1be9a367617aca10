"""Linear maps A that are never more than two products: dense, sparse, and the incidence of a graph.

A subclass needs `forward` and `transpose`; a program's constraints may be any of them, of any shapes of x and y.

Letters: `m` rows, `n` columns, `N` stored entries.
Source: `applegate:21` for programs known through products alone.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.core import validate as checks
from research.core.types import Array, Float, Int
from research.halpern.inclusions import Point

__all__ = ["Dense", "Incidence", "Operator", "Sparse", "norm_estimate"]

_HIGHEST = jax.lax.Precision.HIGHEST
_POWER_STEPS, _INFLATION = 50, 1.01


class Operator(eqx.Module):
    """A linear map from x to y; under `jax.vmap` with shared entries a product is one matrix product."""

    @abc.abstractmethod
    def forward(self, x: Point) -> Point:
        """A x."""

    @abc.abstractmethod
    def transpose(self, y: Point) -> Point:
        """A' y."""

    def magnitude(self) -> "Operator":
        """The map with the moduli of A's entries, for the bound sqrt(|A|_1 |A|_inf) of the norm."""
        raise NotImplementedError


class Dense(Operator):
    """A stored matrix."""

    matrix: Float[Array, "m n"]

    def __check_init__(self):
        checks.finite("Dense.matrix", self.matrix)

    def forward(self, x):
        return jnp.einsum("mn,n->m", self.matrix, x, precision=_HIGHEST)

    def transpose(self, y):
        return jnp.einsum("mn,m->n", self.matrix, y, precision=_HIGHEST)

    def magnitude(self):
        return Dense(jnp.abs(self.matrix))


class Sparse(Operator):
    """Entries by their places, in any order; entries at one place add up."""

    rows: Int[Array, " N"]
    columns: Int[Array, " N"]
    values: Float[Array, " N"]
    num_rows: int = eqx.field(static=True)
    num_columns: int = eqx.field(static=True)

    def __check_init__(self):
        checks.same_length(rows=self.rows, columns=self.columns, values=self.values)
        checks.in_range("Sparse.rows", self.rows, 0, self.num_rows - 1)
        checks.in_range("Sparse.columns", self.columns, 0, self.num_columns - 1)
        checks.finite("Sparse.values", self.values)

    def forward(self, x):
        return jax.ops.segment_sum(self.values * x[self.columns], self.rows, self.num_rows)

    def transpose(self, y):
        return jax.ops.segment_sum(self.values * y[self.rows], self.columns, self.num_columns)

    def magnitude(self):
        # Entries at one place may cancel in A and not here: an upper bound all the same.
        return eqx.tree_at(lambda op: op.values, self, jnp.abs(self.values))


class Incidence(Operator):
    """Edges of a bipartite graph onto its two sides: x `[E]` -> loads of the left nodes, then of the right ones."""

    left: Int[Array, " E"]
    right: Int[Array, " E"]
    num_left: int = eqx.field(static=True)
    num_right: int = eqx.field(static=True)

    def __check_init__(self):
        checks.same_length(left=self.left, right=self.right)
        checks.in_range("Incidence.left", self.left, 0, self.num_left - 1)
        checks.in_range("Incidence.right", self.right, 0, self.num_right - 1)

    def forward(self, x):
        loads = (jax.ops.segment_sum(x, self.left, self.num_left), jax.ops.segment_sum(x, self.right, self.num_right))
        return jnp.concatenate(loads)

    def transpose(self, y):
        return y[self.left] + y[self.num_left + self.right]

    def magnitude(self):
        return self


def norm_estimate(operator: Operator, x: Point, y: Point) -> Float[Array, ""]:
    """An upper estimate of |A|_2: 1.01 of what 50 power steps find, and never above sqrt(|A|_1 |A|_inf).

    Power steps approach the norm from below, and a step size asks for a bound from above. The second number is one, the
    first in practice: its start is fixed and irregular, so that equal programs get equal steps.

    Args:
      x, y: any points, for their shapes and dtypes.
    """
    sizes = iter(range(1, 1 + len(jax.tree.leaves(x))))
    start = jax.tree.map(lambda leaf: _irregular(leaf, next(sizes)), x)

    def grow(_, v):
        w = operator.transpose(operator.forward(v))
        return optax.tree.scale(1 / jnp.maximum(optax.tree.norm(w), jnp.finfo(_dtype(x)).tiny), w)

    direction = jax.lax.fori_loop(0, _POWER_STEPS, grow, start)
    found = _INFLATION * optax.tree.norm(operator.forward(direction))
    try:
        moduli = operator.magnitude()
    except NotImplementedError:
        return found
    most_rows = _largest(moduli.forward(jax.tree.map(jnp.ones_like, x)))
    most_columns = _largest(moduli.transpose(jax.tree.map(jnp.ones_like, y)))
    return jnp.minimum(found, jnp.sqrt(most_rows * most_columns))


def _irregular(leaf, number):
    # The square roots' fractional parts have no period that a matrix could share.
    return (1 + jnp.modf(jnp.sqrt(jnp.arange(2 * number, 2 * number + leaf.size, dtype=leaf.dtype)))[0]).reshape(
        np.shape(leaf)
    )


def _largest(tree):
    return jnp.max(jnp.stack([jnp.max(leaf) for leaf in jax.tree.leaves(tree)]))


def _dtype(tree):
    return jax.tree.leaves(tree)[0].dtype
