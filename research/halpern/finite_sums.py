"""Finite sums of gradients that are cocoercive on average (class A): least squares, logistic regression, feasibility.

All are F_i(u) = x_i phi(x_i'u, t_i) with phi nondecreasing and of slope <= c in the margin x_i'u, so that under a
sampling law q the constant is L = c max_i |x_i|^2 / (n q_i): c max |x_i|^2 for uniform draws, c mean |x_i|^2 for draws
proportional to |x_i|^2 ("importance"). L_F is c times the largest eigenvalue of X'X / n.
Source: `cai:24` for the class; constants are ours, tested.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Float
from research.halpern import proxes, sampling
from research.halpern.inclusions import Inclusion

__all__ = ["Feasibility", "LeastSquares", "LinearModel", "Logistic", "feasibility", "least_squares", "logistic"]

LAWS = ("importance", "uniform")


class LinearModel(Inclusion):
    """F(u) = (1/n) sum_i x_i phi(x_i'u, t_i) with `X [n, D]`; a point is an array `[D]`."""

    features: Float[Array, "n D"]
    targets: Float[Array, "n"]
    weight: Float[Array, "n"]  # 1 / (n q_i), 0 for a component that is zero
    table: Any  # AliasTable, or None for uniform draws
    regulariser: proxes.Prox
    lipschitz: Float[Array, ""]
    lipschitz_full: Float[Array, ""]

    @property
    def num_components(self) -> int:
        return self.features.shape[0]

    @property
    def num_indices(self) -> int:
        return 1

    @property
    def cocoercive(self) -> bool:
        return True

    @staticmethod
    @abc.abstractmethod
    def link(margin: Float[Array, "b"], target: Float[Array, "b"]) -> Float[Array, "b"]:
        """phi(margin, target)."""

    def full(self, u):
        margin = jnp.matmul(self.features, u, precision=jax.lax.Precision.HIGHEST)
        pull = self.link(margin, self.targets) / self.num_components
        return jnp.matmul(pull, self.features, precision=jax.lax.Precision.HIGHEST)

    def difference(self, draws, new, old):
        """Rows are read once for both points."""
        index = draws[:, 0]
        rows, targets = self.features[index], self.targets[index]
        pull = self.pull_difference(rows, targets, new, old) * self.weight[index] / draws.shape[0]
        return jnp.matmul(pull, rows, precision=jax.lax.Precision.HIGHEST)

    def pull_difference(self, rows, targets, new, old):
        """phi at the new point less phi at the old one, `[b]`."""
        margins = jnp.matmul(rows, jnp.stack([new, old], axis=1), precision=jax.lax.Precision.HIGHEST)
        return self.link(margins[:, 0], targets) - self.link(margins[:, 1], targets)

    def sample(self, key, shape):
        if self.table is None:
            return jax.random.randint(key, (*shape, 1), 0, self.num_components, jnp.int32)
        return sampling.draw(self.table, key, shape)[..., None]

    def prox(self, v, step_size):
        return self.regulariser(v, step_size)


class LeastSquares(LinearModel):
    """F_i(u) = x_i (x_i'u - t_i); built by `least_squares`."""

    @staticmethod
    def link(margin, target):
        return margin - target

    def pull_difference(self, rows, targets, new, old):
        """One margin, of the move."""
        return jnp.matmul(rows, new - old, precision=jax.lax.Precision.HIGHEST)


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
    return kind(features, targets, weight, table, regulariser, lipschitz, slope * _mean_gram_norm(features))


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
