"""Tree pooling: learned linear filters of a window at the leaves of a binary tree, mixed by learned gates inside.

f(leaf m) = v_m . x, f(node m) = s f(left) + (1 - s) f(right) with s = sigmoid(w_m . x), and the root's value is the
pool's. Unrolled, y = sum over leaves of pi_m(x) v_m . x, where pi is the product of the gates on the way, a partition
of unity: y lies in the hull of the leaves' responses (T6, `hull`). With every leaf 1 / K it is average pooling for any
gates. Gates are in heap order, node m has the children 2 m + 1 and 2 m + 2; leaves go from left to right. Filters are
shared by channels and positions: (2 L - 1) K parameters for L leaves, 3 K for two and 7 K for four.
Source: `lee:16`; the authors' code draws all weights from N(0, 0.1^2).

Letters: `B` batch, `S` axes of the input, `O` those of the output, `C` channels, `K` elements of a window, `L` leaves.
"""

import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling.geometry import resolve
from research.pooling.operator import Operator
from research.pooling.window_filters import responses
from research.pooling.window_slices import parts

__all__ = ["LEAF_INITS", "SCALE", "Tree", "example", "hull", "path_weights", "tree_pool"]

#: Standard deviation of initial weights.
SCALE = 0.1

#: How leaves start: near average pooling, or as in the authors' code, from noise alone.
LEAF_INITS = ("average", "noise")

_Lengths = int | Sequence[int]
_Padding = str | Sequence[tuple[int, int]]


def _check(leaves, gates, size: int) -> None:
    count = leaves.shape[0]
    power = leaves.ndim == 2 and count >= 2 and count & (count - 1) == 0
    checks.require(power, "leaves", "have shape (L, K) with L a power of two, at least 2", leaves.shape)
    checks.require(
        leaves.shape[1] == size, "leaves", f"have K = {size} weights, as a window has elements", leaves.shape
    )
    checks.shape("gates", gates, (count - 1, size))


def _read(x, leaves, gates, window, strides, padding):
    """Responses of the leaves and shares of the gates, in float32 at least."""
    geometry = resolve(x.shape[1:-1], window, strides, padding)
    _check(leaves, gates, math.prod(geometry.window))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    elements = [element.astype(wide) for element in parts(x, geometry, 0)]
    found = responses(jnp.concatenate([leaves, gates]).astype(wide), elements)
    return found[: leaves.shape[0]], [jax.nn.sigmoid(logit) for logit in found[leaves.shape[0] :]]


def tree_pool(
    x: Float[Array, "B *S C"], leaves: Float[Array, "L K"], gates: Float[Array, "L-1 K"], window: _Lengths,
    strides: _Lengths | None = None, padding: _Padding = "VALID",
) -> Float[Array, "B *O C"]:  # fmt: skip
    """The root's value for every window.

    Args:
      leaves: filters of the leaves from left to right, row-major elements; L is a power of two, at least 2.
      gates: of the inner nodes, in heap order.
      window, strides, padding: as in `geometry.resolve`. Padded elements are skipped by all filters.

    Raises ValueError for another number of leaves, gates or weights, and for what `geometry.resolve` refuses.
    """
    values, shares = _read(x, leaves, gates, window, strides, padding)
    while len(values) > 1:  # a level at a time: its gates are the last of those that are left
        level, shares = shares[len(shares) - len(values) // 2 :], shares[: len(shares) - len(values) // 2]
        pairs = zip(level, values[::2], values[1::2], strict=True)
        values = [share * left + (1 - share) * right for share, left, right in pairs]
    return values[0].astype(x.dtype)


def path_weights(
    x: Float[Array, "B *S C"], leaves: Float[Array, "L K"], gates: Float[Array, "L-1 K"], window: _Lengths,
    strides: _Lengths | None = None, padding: _Padding = "VALID",
) -> tuple[Float[Array, "L B *O C"], Float[Array, "L B *O C"]]:  # fmt: skip
    """The partition of unity pi, and the responses of the leaves: y = sum of their products over L."""
    values, shares = _read(x, leaves, gates, window, strides, padding)
    weights = [jnp.ones_like(values[0])]
    while len(weights) < len(values):
        level, shares = shares[: len(weights)], shares[len(weights) :]
        weights = [
            part
            for weight, share in zip(weights, level, strict=True)
            for part in (weight * share, weight * (1 - share))
        ]
    return jnp.stack(weights), jnp.stack(values)


def hull(responses: Float[Array, "L *shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """T6: the smallest and the largest response, between which the value lies; hence |y| <= max |v_m . x|."""
    return responses.min(axis=0), responses.max(axis=0)


class Tree(eqx.Module):
    """Tree pooling with learned filters."""

    leaves: Float[Array, "L K"]
    gates: Float[Array, "L-1 K"]
    window: _Lengths = eqx.field(static=True)
    strides: _Lengths | None = eqx.field(static=True, default=None)
    padding: _Padding = eqx.field(static=True, default="VALID")

    @classmethod
    def create(
        cls, key: Key, window: Sequence[int], strides: _Lengths | None = None, padding: _Padding = "VALID", *,
        leaves: int = 2, leaf_init: str = "average",
    ):  # fmt: skip
        """Weights from N(0, `SCALE`^2); with `leaf_init` "average", 1 / K is added to those of the leaves."""
        checks.one_of("leaf_init", leaf_init, LEAF_INITS)
        power = leaves >= 2 and leaves & (leaves - 1) == 0
        checks.require(power, "leaves", "be a power of two, at least 2", leaves)
        size = math.prod(window)
        for_leaves, for_gates = jax.random.split(key)
        centre = 1 / size if leaf_init == "average" else 0.0
        return cls(
            centre + SCALE * jax.random.normal(for_leaves, (leaves, size)),
            SCALE * jax.random.normal(for_gates, (leaves - 1, size)), tuple(window), strides, padding,
        )  # fmt: skip

    def __call__(self, x: Float[Array, "B *S C"]) -> Float[Array, "B *O C"]:
        return tree_pool(x, self.leaves, self.gates, self.window, self.strides, self.padding)


def example(key: Key) -> dict[str, Operator]:
    """Four leaves over overlapping and partial windows; and, on sets, leaves that sum to 1."""
    for_tree, for_x, for_sets = jax.random.split(key, 3)
    on_sets = Tree.create(for_tree, (4,))
    on_sets = eqx.tree_at(lambda tree: tree.leaves, on_sets, jax.nn.softmax(on_sets.leaves, axis=1))
    formula, source = "sum_m pi_m(x) v_m . x", "lee:16, section 3.2"
    return {
        "tree": Operator(
            lambda module, x, mask: module(x), Tree.create(for_tree, (3, 2), (2, 2), "CEIL", leaves=4),
            jax.random.normal(for_x, (2, 5, 4, 2)), formula, source, "pooling/fig_invariance",
        ),
        "tree_of_means": Operator(
            lambda module, x, mask: module(x)[:, 0], on_sets, jax.random.normal(for_sets, (3, 4, 2)), formula, source,
            invariants=("idempotent", "min_max"),
        ),
    }  # fmt: skip
