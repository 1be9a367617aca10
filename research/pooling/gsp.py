"""Generalized sum pooling: a weighted mean that attends to the share mu of features nearest to learned prototypes.

Entropic partial transport of a mass mu from features to prototypes; its plan has a closed form, sigmoids of the
log-sum-exp of costs with an exact mean (`threshold`). mu -> 1 or gamma -> 0 is average pooling; gamma -> infinity keeps
the nearest features alone (T8, `set_bounds.nearest_weights`). Source: `gurbuz:23`; the closed form is derived. The
published solver's 100 sweeps leave a relative error of 1e-2 at gamma = 50, and a release that ships gamma = 0.1 is
average pooling: weights there are nearly constant.

Letters: `B` collections, `N` features of a padded one, `n` that take part, `D` channels, `m` prototypes.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling import threshold
from research.pooling.operator import Operator
from research.pooling.sets import set_pool

__all__ = ["GSP", "Plan", "costs", "example", "gsp_pool", "k_centre", "plan"]


class Plan(NamedTuple):
    """The transport of one collection; all are 0 at features that take no part."""

    weight: Float[Array, "B N"]  # alpha, mean 1, in [0, 1 / mu]
    residual: Float[Array, "B N"]  # rho = (1 - mu alpha) / n: mass that stays, of 1 / n
    attributes: Float[Array, "B m"]  # z, sums to 1: share of the transported mass at every prototype


def costs(x: Float[Array, "B N D"], prototypes: Float[Array, "m D"]) -> Float[Array, "B m N"]:
    """Distances, not squared, after every vector longer than 1 is scaled to length 1; in [0, 2], float32 at least."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x, prototypes = _clipped(x.astype(wide)), _clipped(prototypes.astype(wide))
    products = jnp.einsum("md,bnd->bmn", prototypes, x, precision=jax.lax.Precision.HIGHEST)
    squares = (prototypes**2).sum(axis=-1)[None, :, None] + (x**2).sum(axis=-1)[:, None] - 2 * products
    return _root(jnp.maximum(squares, 0))


def plan(cost: Float[Array, "B m N"], mu=0.3, gamma=5.0, *, mask: Bool[Array, "B N"] | None = None) -> Plan:
    """The optimal plan for these costs.

    Args:
      mu: share of the mass that is transported, in (0, 1).
      gamma: inverse temperature, >= 0.

    Raises: ValueError for mu outside (0, 1), gamma < 0 or a wrong mask.
    """
    checks.at_least("gamma", gamma, 0)
    checks.require(np.ndim(cost) == 3, "cost", "have shape (B, m, N)", np.shape(cost))
    taken = jnp.ones((cost.shape[0], cost.shape[2]), bool) if mask is None else mask
    checks.shape("mask", taken, (cost.shape[0], cost.shape[2]))
    logits = jnp.where(taken[:, None], -gamma * cost, 0)
    weight = threshold.threshold_weights(jax.nn.logsumexp(logits, axis=1), mu, mask=taken)
    count = jnp.maximum(taken.sum(axis=-1, keepdims=True), 1)
    residual = jnp.where(taken, (1 - mu * weight) / count, 0)
    attributes = (jax.nn.softmax(logits, axis=1) * (weight / count)[:, None]).sum(axis=-1)
    return Plan(weight, residual, attributes)


def gsp_pool(
    x: Float[Array, "B N D"], prototypes: Float[Array, "m D"], mu=0.3, gamma=5.0, *,
    mask: Bool[Array, "B N"] | None = None, reduce: str = "mean", power: float = 3.0, empty: float = 0.0,
) -> Float[Array, "B D"]:  # fmt: skip
    """Pools alpha_j x_j.

    Args:
      x: features.
      prototypes: `[m, D]`, learned.
      mu, gamma: as in `plan`; the training configurations of the source have 0.3 and 5.
      mask: True takes part.
      reduce: "mean" (1/n) sum alpha x; "max", or "gem" with this power, of alpha x.
      empty: of a collection without features.

    Returns: `[B, D]` in the dtype of x. With "mean": between the smallest and largest feature of every channel.
    Raises: ValueError for what `plan` and `sets.set_pool` refuse.
    """
    checks.one_of("reduce", reduce, ("mean", "max", "gem"))
    checks.shape("prototypes", prototypes, (None, np.shape(x)[-1]))
    x = jnp.asarray(x)
    if mask is not None:
        checks.shape("mask", mask, x.shape[:2])
        x = jnp.where(mask[..., None], x, 0)
    found = plan(costs(x, jnp.asarray(prototypes)), mu, gamma, mask=mask)
    weighted = found.weight[..., None] * x.astype(found.weight.dtype)
    kind, params = ("power", {"p": power}) if reduce == "gem" else (reduce, None)
    return set_pool(weighted, kind, mask=mask, params=params, empty=empty).astype(x.dtype)


class GSP(eqx.Module):
    """`gsp_pool` with learned prototypes; 64 of them for fewer than 1,000 classes, 128 else, in the source."""

    prototypes: Float[Array, "m D"]
    mu: float = 0.3
    gamma: float = 5.0

    @classmethod
    def create(cls, key: Key, dim: int, num_prototypes: int = 64, mu: float = 0.3, gamma: float = 5.0) -> "GSP":
        """Prototypes from N(0, 0.3^2); `k_centre` over class weights is the other start of the source."""
        checks.at_least("dim", dim, 1)
        checks.at_least("num_prototypes", num_prototypes, 1)
        return cls(0.3 * jax.random.normal(key, (num_prototypes, dim)), mu, gamma)

    def __call__(self, x: Float[Array, "B N D"], mask: Bool[Array, "B N"] | None = None) -> Float[Array, "B D"]:
        return gsp_pool(x, self.prototypes, self.mu, self.gamma, mask=mask)


def k_centre(points: Float[Array, "P D"], num_centres: int, first: int = 0) -> Float[Array, "m D"]:
    """Greedy k-centre: the point farthest from those chosen, again and again; within twice the best radius.

    Args:
      num_centres: m, at most P.
      first: index of the first centre.

    Raises: ValueError for m outside [1, P].
    """
    checks.require(np.ndim(points) == 2, "points", "have shape (P, D)", np.shape(points))
    checks.in_range("num_centres", num_centres, 1, len(points))
    checks.in_range("first", first, 0, len(points) - 1)

    def distance(at):
        return ((points - points[at][None]) ** 2).sum(axis=-1)

    def choose(carry, _):
        nearest, at = carry
        nearest = jnp.minimum(nearest, distance(at))
        return (nearest, jnp.argmax(nearest).astype(jnp.int32)), at

    start = (jnp.full(len(points), jnp.inf, points.dtype), jnp.int32(first))
    _, chosen = jax.lax.scan(choose, start, length=num_centres)
    return points[chosen]


def _root(squares):
    """The square root with gradient 0 at 0."""
    zero = squares == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, squares)))


def _clipped(vectors):
    return vectors / jnp.maximum(_root((vectors**2).sum(axis=-1, keepdims=True)), 1)


def example(key) -> dict[str, Operator]:
    """Three collections of up to six features, four prototypes."""
    of_x, of_prototypes = jax.random.split(key)
    x = 0.4 * jax.random.normal(of_x, (3, 6, 3))
    mask = jnp.arange(6)[None] < jnp.array([6, 4, 2])[:, None]

    def apply(params, x, mask):
        return params(x, mask)

    module = GSP.create(of_prototypes, 3, num_prototypes=4)
    module = GSP(module.prototypes, jnp.asarray(0.4), jnp.asarray(5.0))
    return {
        "gsp": Operator(
            apply, module, x, "sum_j alpha_j x_j / n, alpha_j = sigmoid(b + lse_i(-gamma |p_i - x_j|)) / mu",
            "gurbuz:23", "pooling/fig_nuisance", mask, ("permutation", "idempotent", "min_max"),
        )
    }  # fmt: skip
