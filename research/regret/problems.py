"""Problems of the group learner: from arrays, from the paper's synthetic law, and group families from attribute codes.

The paper's own random draws (`synthetic_law`, `permutation`) come from NumPy's and Python's legacy generators, seeded
per call: the global generators are neither read nor changed. `synthetic_jax` draws the same law by key, under `jit` and
`vmap`.
Source: `acharya:24`, Section 4.
"""

import functools
import itertools
import operator
import random
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import prng, validate
from research.core.types import Array, Bool, Float, Int, Key
from research.regret import groupwise

__all__ = [
    "PAPER_SEEDS", "SYNTHETIC_GROUPS", "SYNTHETIC_LABELS", "Family", "Table", "depth_prior", "from_arrays",
    "from_table", "intersectional", "membership", "min_max", "permutation", "sorted_order", "synthetic_jax",
    "synthetic_law",
]  # fmt: skip

#: Seeds of the paper's ten shuffles, for `permutation`.
PAPER_SEEDS = (473, 503, 623, 550, 692, 989, 617, 458, 301, 205)

SYNTHETIC_GROUPS = ("circle", "square", "triangle", "green", "red", "always_on")
SYNTHETIC_LABELS = ("mean", "min", "max", "dperm")

_SHAPE_WEIGHTS = (0.5, 0.3, 0.2)  # circle, square, triangle
_COLOR_WEIGHTS = (0.6, 0.4)  # green, red
_NUM_FEATURES = 20
_NOISE = 0.16
_LAW_SEED = 21


class Table(NamedTuple):
    """A data set in host memory; `from_table` makes it a problem."""

    features: Float[np.ndarray, "n d"]
    labels: Float[np.ndarray, " n"]  # in [0, 1]
    awake: Bool[np.ndarray, "n G"]
    groups: tuple[str, ...]


class Family(NamedTuple):
    """Groups that are conjunctions of attribute values."""

    conditions: Int[np.ndarray, "G m"]  # required code of each attribute; -1: any
    names: tuple[str, ...]


def from_arrays(
    features: Array,
    labels: Array,
    awake: Array,
    prior: Array | None = None,
    *,
    order: Array | None = None,
    dtype: jnp.dtype | None = None,
) -> groupwise.Problem:
    """A problem from arrays of any kind.

    Args:
      features, labels: `[n, d]`, `[n]`; labels in [0, 1] wherever a bound is claimed.
      awake: `[n, G]`, 0 or 1.
      prior: `[G]`, positive, sums to 1; uniform if None.
      order: `[T]` rows in the order shown, or `[R, T]` for a `vmap` with `groupwise.order_axes`; as they are if None.
      dtype: of features, labels and prior, hence of all arithmetic; that of `features` if None.

    Raises:
      ValueError: shapes that do not fit. Values are checked by `groupwise.validate`, in `groupwise.run`.
    """
    features = jnp.asarray(features, dtype)
    labels = jnp.asarray(labels, features.dtype)
    awake = jnp.asarray(awake)
    validate.shape("features", features, (None, None))
    validate.shape("awake", awake, (None, None))
    validate.same_length(features=features, labels=labels, awake=awake)
    num_groups = awake.shape[1]
    validate.at_least("number of groups", num_groups, 1)
    prior = jnp.full((num_groups,), 1 / num_groups) if prior is None else prior
    order = None if order is None else jnp.asarray(order, jnp.int32)
    return groupwise.Problem(features, labels, awake, jnp.asarray(prior, features.dtype), order)


def from_table(
    table: Table, prior: Array | None = None, *, order: Array | None = None, dtype: jnp.dtype | None = None
) -> groupwise.Problem:
    """`from_arrays` of a `Table`."""
    return from_arrays(table.features, table.labels, table.awake, prior, order=order, dtype=dtype)


def permutation(seed: int, num_rows: int) -> Int[np.ndarray, " n"]:
    """The paper's shuffle of a data set for one run seed: `numpy.random.RandomState(seed).permutation(num_rows)`."""
    return np.random.RandomState(seed).permutation(num_rows)


def sorted_order(order: Int[np.ndarray, " n"], key: np.ndarray, *, descending: bool = False) -> Int[np.ndarray, " n"]:
    """The shuffled rows `order` sorted by the rows' `key [n]`, ties as shuffled; descending is that order reversed."""
    ascending = np.asarray(order)[np.argsort(np.asarray(key)[order], kind="stable")]
    return ascending[::-1] if descending else ascending


def min_max(values: Array, axis: int = 0) -> Array:
    """Values scaled to [0, 1] along an axis; a constant column becomes 0.

    Uses the whole data set, as the paper does, and so knows the range of the future: not strictly online.
    """
    low, high = values.min(axis=axis, keepdims=True), values.max(axis=axis, keepdims=True)
    span = high - low
    return (values - low) / (span + (span == 0))


def synthetic_law(label: str = "mean", num_rounds: int = 100_000) -> Table:
    """The paper's synthetic data, number by number (at its 100,000 rounds; another length is another draw of the law).

    20 uniform features, a shape and a color; each of the five attribute values has its own linear law, and the label of
    a round aggregates the noisy labels of its shape and its color.

    Args:
      label: "mean", "min", "max", or "dperm": the label of whichever of the two comes first in a drawn order.

    Returns:
      `Table` with `features [T, 25]` (20 and the five indicators), min-max scaled `labels`, and the six groups of
      `SYNTHETIC_GROUPS`; float64.
    """
    validate.one_of("label", label, SYNTHETIC_LABELS)
    validate.at_least("num_rounds", num_rounds, 1)
    numbers, choices = np.random.RandomState(_LAW_SEED), random.Random(_LAW_SEED)
    uniform = numbers.uniform(0, 1, (num_rounds, _NUM_FEATURES))
    shape = np.asarray(choices.choices(range(3), _SHAPE_WEIGHTS, k=num_rounds))
    color = np.asarray(choices.choices(range(2), _COLOR_WEIGHTS, k=num_rounds))
    weights = numbers.uniform(0, 1, (_NUM_FEATURES, 5))
    by_value = uniform @ weights + numbers.normal(scale=_NOISE, size=(num_rounds, 5))
    priority = numbers.permutation(5)
    features, labels, awake = _synthetic(np, label, uniform, shape, color, by_value, priority)
    return Table(features, labels, awake, SYNTHETIC_GROUPS)


def synthetic_jax(key: Key, label: str = "mean", num_rounds: int = 100_000, dtype=jnp.float32) -> groupwise.Problem:
    """A draw of the law of `synthetic_law` by key, laws of the five values included; uniform prior.

    Streams: features, shape, color, weights, noise, priority.
    """
    validate.one_of("label", label, SYNTHETIC_LABELS)
    validate.at_least("num_rounds", num_rounds, 1)

    def draw(name, sampler, *args, **kwargs):
        return sampler(prng.stream(key, name), *args, **kwargs)

    uniform = draw("features", jax.random.uniform, (num_rounds, _NUM_FEATURES), dtype)
    shape = draw("shape", jax.random.choice, 3, (num_rounds,), p=jnp.asarray(_SHAPE_WEIGHTS))
    color = draw("color", jax.random.choice, 2, (num_rounds,), p=jnp.asarray(_COLOR_WEIGHTS))
    weights = draw("weights", jax.random.uniform, (_NUM_FEATURES, 5), dtype)
    clean = jnp.dot(uniform, weights, precision=jax.lax.Precision.HIGHEST)
    by_value = clean + _NOISE * draw("noise", jax.random.normal, (num_rounds, 5), dtype)
    priority = draw("priority", jax.random.permutation, 5)
    return from_arrays(*_synthetic(jnp, label, uniform, shape, color, by_value, priority))


def _synthetic(xp, label, uniform, shape, color, by_value, priority):
    """Features, scaled labels and groups; columns of `by_value`: circle, square, triangle, green, red."""
    codes = xp.stack([shape, 3 + color], axis=1)
    active = (codes[:, :, None] == xp.arange(5)[None, None, :]).any(axis=1)
    of_shape, of_color = (xp.take_along_axis(by_value, codes[:, i, None], axis=1)[:, 0] for i in (0, 1))
    if label == "dperm":
        rank = xp.argsort(priority)
        raw = xp.where(rank[codes[:, 0]] < rank[codes[:, 1]], of_shape, of_color)
    else:
        raw = {"mean": lambda a, b: (a + b) / 2, "min": xp.minimum, "max": xp.maximum}[label](of_shape, of_color)
    features = xp.concatenate([uniform, active.astype(uniform.dtype)], axis=1)
    awake = xp.concatenate([active, xp.ones_like(active[:, :1])], axis=1)
    return features, min_max(raw), awake


def intersectional(
    codes: Int[np.ndarray, "n m"],
    max_order: int,
    min_size: int = 1,
    names: Sequence[Sequence[str]] | None = None,
) -> Family:
    """All conjunctions of up to `max_order` attribute values that at least `min_size` rows meet; everybody comes last.

    Args:
      codes: attribute values of each row, >= 0.
      max_order: in [0, m]; 0 gives everybody alone.
      min_size: rows, >= 1.
      names: names of each attribute's values, by code; "attribute=code" if None.
    """
    codes = np.asarray(codes)
    num_attributes = codes.shape[1]
    validate.in_range("max_order", max_order, 0, num_attributes)
    validate.at_least("min_size", min_size, 1)
    validate.at_least("codes", codes, 0)
    conditions, labels = [], []
    for order in range(1, max_order + 1):
        for attributes in itertools.combinations(range(num_attributes), order):
            values, counts = np.unique(codes[:, attributes], axis=0, return_counts=True)
            for value in values[counts >= min_size]:
                condition = np.full(num_attributes, -1)
                condition[list(attributes)] = value
                conditions.append(condition)
                pairs = zip(attributes, value, strict=True)
                labels.append(" & ".join(f"{a}={v}" if names is None else names[a][v] for a, v in pairs))
    conditions.append(np.full(num_attributes, -1))
    return Family(np.stack(conditions), (*labels, "always_on"))


def membership(codes: Int[Array, "n m"], conditions: Int[Array, "G m"]) -> Bool[Array, "n G"]:
    """Which rows meet which conjunctions; on the host or, given jax arrays, on the device."""
    columns = range(codes.shape[1])  # one attribute at a time: nothing larger than the result is formed
    met = ((codes[:, j, None] == conditions[None, :, j]) | (conditions[None, :, j] < 0) for j in columns)
    return functools.reduce(operator.and_, met)


def depth_prior(conditions: Int[np.ndarray, "G m"]) -> Float[np.ndarray, " G"]:
    """Prior proportional to 2^-(number of conditions): what a group pays, ln(1/q), grows with its depth first."""
    mass = 0.5 ** (np.asarray(conditions) >= 0).sum(axis=1)
    return mass / mass.sum()
