"""Finite sums of gradients that are cocoercive on average (class A): least squares, logistic regression, feasibility.

All are F_i(u) = x_i phi(x_i'u, t_i) with phi nondecreasing and of slope <= c in the margin x_i'u, so that under a
sampling law q the constant is L = c max_i |x_i|^2 / (n q_i): c max |x_i|^2 for uniform draws, c mean |x_i|^2 for draws
proportional to |x_i|^2 ("importance"). L_F is c times the largest eigenvalue of X'X / n.
Source: `cai:24` for the class; constants are ours, tested.
"""

import abc
import functools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels import page_difference
from pallas_kernels.page_difference.xla import WIDTH
from research.core import validate
from research.core.types import Array, Float
from research.halpern import proxes, sampling
from research.halpern.inclusions import Inclusion

__all__ = ["Feasibility", "LeastSquares", "LinearModel", "Logistic", "feasibility", "least_squares", "logistic"]

LAWS = ("importance", "uniform")
#: Bytes of X that a core's own cache keeps from one reading to the next, and of the blocks that are copied there if X
#: is larger.
_IN_CACHE, _BLOCK = 1 << 20, 1 << 18


class LinearModel(Inclusion):
    """F(u) = (1/n) sum_i x_i phi(x_i'u, t_i) with `X [n, D]`; a point is an array `[D]`.

    Rows that are filled up repeat their targets and weights, which saves a TPU the gathers of single numbers: to change
    these, build the model anew.
    """

    rows: Float[Array, "n W"]  # X, filled up by targets, weights and zeros as far as W > D
    targets: Float[Array, "n"]
    weight: Float[Array, "n"]  # 1 / (n q_i), 0 for a component that is zero
    table: Any  # AliasTable, or None for uniform draws
    regulariser: proxes.Prox
    lipschitz: Float[Array, ""]
    lipschitz_full: Float[Array, ""]
    num_columns: int = eqx.field(static=True)  # D

    @property
    def features(self) -> Float[Array, "n D"]:
        """X."""
        return self.rows[:, : self.num_columns]

    @property
    def num_components(self) -> int:
        return self.rows.shape[0]

    @property
    def num_indices(self) -> int:
        return 1

    @property
    def cocoercive(self) -> bool:
        return True

    #: Whether phi(m, t) = m - t, where a difference needs one margin, of the move.
    linear: ClassVar[bool] = False

    @staticmethod
    @abc.abstractmethod
    def link(margin: Float[Array, "b"], target: Float[Array, "b"]) -> Float[Array, "b"]:
        """phi(margin, target)."""

    def full(self, u):
        return self.summed(self.rows, self.targets, u) / self.num_components

    def difference(self, draws, new, old):
        weight = None if self.table is None else self.weight
        return self.summed_difference(self.rows, self.targets, draws[:, 0], weight, new, old) / len(draws)

    def summed(self, rows: Float[Array, "m W"], targets: Float[Array, "m"], u: Float[Array, "D"]) -> Float[Array, "D"]:
        """sum_i x_i phi(x_i'u, t_i) over rows and targets like the model's own."""
        point = self._widen(u)

        def part(rows, targets):
            margin = jnp.matmul(rows, point, precision=jax.lax.Precision.HIGHEST)
            # Else XLA turns the first product of many lanes over to have lanes in front: half as fast on a CPU.
            margin = jax.lax.optimization_barrier(margin)
            return jnp.matmul(self.link(margin, targets), rows, precision=jax.lax.Precision.HIGHEST)

        if rows.nbytes <= _IN_CACHE:
            return part(rows, targets)[: self.num_columns]
        in_blocks = functools.partial(_sum_in_blocks, part)
        return jax.lax.platform_dependent(rows, targets, cpu=in_blocks, default=part)[: self.num_columns]

    def summed_difference(self, rows, targets, index, weight, new, old):
        """sum_b weight[i] x_i (phi(x_i'new, t_i) - phi(x_i'old, t_i)), i = index[b], weights of 1 if None.

        Rows are read once for both points; on a TPU by a kernel (`pallas_kernels.page_difference`) where they are
        filled up. With 447 of 200,000 rows of 50 numbers an update then takes, by the compiler's estimate, 17,700
        cycles in place of 34,200 on a v5e and 6,400 in place of 10,600 on a v6e.
        """
        link = None if self.linear else self.link
        return page_difference.page_difference(rows, targets, weight, index, new, old, link=link)

    def sample(self, key, shape):
        if self.table is None:
            return sampling.uniform(key, (*shape, 1), self.num_components)
        return sampling.draw(self.table, key, shape)[..., None]

    def prox(self, v, step_size):
        return self.regulariser(v, step_size)

    def _widen(self, u):
        return jnp.pad(u, (0, self.rows.shape[1] - self.num_columns))


def _sum_in_blocks(part, rows, targets):
    """part(rows, targets), a sum over rows, block by block: a block is still in the cache at its second reading."""
    block = max(1, _BLOCK // (rows.dtype.itemsize * rows.shape[1]))
    whole = rows.shape[0] // block

    def of(k):
        return part(*(jax.lax.dynamic_slice_in_dim(array, k * block, block) for array in (rows, targets)))

    total = jax.lax.fori_loop(1, whole, lambda k, total: total + of(k), of(0))
    return total + part(rows[whole * block :], targets[whole * block :])


class LeastSquares(LinearModel):
    """F_i(u) = x_i (x_i'u - t_i); built by `least_squares`."""

    linear = True

    @staticmethod
    def link(margin, target):
        return margin - target


class Logistic(LinearModel):
    """F_i(u) = -t_i x_i sigmoid(-t_i x_i'u), t_i in {-1, 1}; built by `logistic`."""

    @staticmethod
    def link(margin, target):
        return -target * jax.nn.sigmoid(-target * margin)


class Feasibility(LinearModel):
    """F_i = I - projection onto {u : x_i'u <= t_i}, |x_i| = 1; built by `feasibility`."""

    @staticmethod
    def link(margin, target):
        return jnp.maximum(margin - target, 0)


def _build(kind, features, targets, law, regulariser, slope):
    features = jnp.asarray(features)
    targets = jnp.asarray(targets, features.dtype)
    validate.one_of("law", law, LAWS)
    validate.shape("features", features, (None, None))
    validate.require(min(features.shape) >= 1, "features", "have a row and a column", features.shape)
    validate.shape("targets", targets, features.shape[:1])
    validate.finite("features", features)
    validate.finite("targets", targets)
    size = jnp.sum(features**2, axis=1)
    mean = jnp.mean(size)
    validate.positive("features' mean squared row norm", mean)
    if law == "uniform":
        weight, table, lipschitz = jnp.ones_like(size), None, slope * jnp.max(size)
    else:
        weight = jnp.where(size > 0, mean / jnp.where(size > 0, size, 1), 0)
        table, lipschitz = sampling.alias_table(size / jnp.sum(size)), slope * mean
    width = features.shape[1]
    rows = features
    if WIDTH // 2 < width < WIDTH:
        rows = jnp.concatenate([features, targets[:, None], weight[:, None]], axis=1)[:, :WIDTH]
        rows = jnp.pad(rows, ((0, 0), (0, WIDTH - rows.shape[1])))
    return kind(rows, targets, weight, table, regulariser, lipschitz, slope * _mean_gram_norm(features), width)


def _mean_gram_norm(features):
    """The largest eigenvalue of X'X / n."""
    tall = features if features.shape[0] >= features.shape[1] else features.T
    gram = jnp.matmul(tall.T, tall, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(jnp.linalg.eigvalsh(gram)[-1], 0) / features.shape[0]


def least_squares(
    features: Float[Array, "n D"],
    targets: Float[Array, "n"],
    *,
    law: str = "importance",
    regulariser: proxes.Prox | None = None,
) -> LeastSquares:
    """The gradient of (1/2n) |X u - t|^2, plus G.

    Args:
      features: X, finite, not all zero.
      targets: t, finite.
      law: "importance" (q_i proportional to |x_i|^2) or "uniform".
      regulariser: the prox of G; None for G = 0.

    Raises ValueError for arrays that do not match or are not finite.
    """
    return _build(LeastSquares, features, targets, law, regulariser or proxes.Nothing(), 1.0)


def logistic(
    features: Float[Array, "n D"],
    labels: Float[Array, "n"],
    *,
    law: str = "importance",
    regulariser: proxes.Prox | None = None,
) -> Logistic:
    """The gradient of (1/n) sum_i log(1 + exp(-t_i x_i'u)), plus G; labels t_i in {-1, 1}, the rest as least squares.

    Raises ValueError as `least_squares`, and for other labels.
    """
    if validate.is_concrete(labels):
        signs = jnp.abs(jnp.asarray(labels)) == 1
        validate.require(bool(jnp.all(signs)), "labels", "be -1 or 1", labels)
    return _build(Logistic, features, labels, law, regulariser or proxes.Nothing(), 0.25)


def feasibility(
    normals: Float[Array, "n D"], offsets: Float[Array, "n"], *, regulariser: proxes.Prox | None = None
) -> Feasibility:
    """Half-spaces {u : normals[i]'u <= offsets[i]} to meet: F(u) is the mean step to their projections. L = 1.

    L_F is the largest eigenvalue of the mean of x_i x_i' over the unit normals x_i: it bounds F's constant, and is it
    where all half-spaces are violated.

    Raises ValueError as `least_squares`, and for a normal that is zero.
    """
    normals = jnp.asarray(normals)
    validate.shape("normals", normals, (None, None))
    length = jnp.linalg.norm(normals, axis=1)
    validate.positive("length of every normal", length)
    scaled = normals / length[:, None], jnp.asarray(offsets, normals.dtype) / length
    model = _build(Feasibility, *scaled, "uniform", regulariser or proxes.Nothing(), 1.0)
    return eqx.tree_at(lambda m: m.lipschitz, model, jnp.ones_like(model.lipschitz))
