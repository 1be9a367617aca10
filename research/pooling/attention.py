"""Attention over the elements of a set: one weight per element (attention pooling), or one per channel too (AttSets).

Weights are a softmax over the elements that take part, so results lie between the smallest and the largest element of
every channel and do not depend on the order (T9). The released AttSets has no nonlinearity on its logits.

Source: `ilse:18` for attention and gated attention pooling, `yang:20` for AttSets, whose training is in `faset`.

Letters: `G` sets, `N` elements of a padded set, `M` elements in all, `D` channels, `H` hidden units, `O` outputs.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling import layouts, softmax_monoid
from research.pooling.operator import Operator

__all__ = ["AttSets", "AttentionPool", "attention_logits", "attention_pool", "attsets", "example"]


def attention_logits(
    x: Float[Array, "*S D"], hidden: Float[Array, "D H"], score: Float[Array, " H"],
    gate: Float[Array, "D H"] | None = None,
) -> Float[Array, "*S"]:  # fmt: skip
    """w (tanh(x V) * sigmoid(x U)): one logit per element; without the gate for U = None."""
    checks.shape("hidden", hidden, (np.shape(x)[-1], None))
    checks.shape("score", score, np.shape(hidden)[1:])
    found = jnp.tanh(x @ hidden)
    if gate is not None:
        checks.shape("gate", gate, np.shape(hidden))
        found = found * jax.nn.sigmoid(x @ gate)
    return found @ score


def attention_pool(
    x: Array, hidden: Float[Array, "D H"], score: Float[Array, " H"], gate: Float[Array, "D H"] | None = None, *,
    mask=None, segment_ids=None, num_segments: int | None = None, sorted: bool = False, empty: float = 0.0,
) -> Float[Array, "G D"]:  # fmt: skip
    """sum_i w_i x_i, w the softmax of `attention_logits` over the elements of a set.

    Args:
      x: `[G, N, D]`, or `[M, D]` with segment ids.
      hidden, score, gate: V, w, U.
      mask, segment_ids, num_segments, sorted: as in `layouts.layout_of`.
      empty: of a set without elements, with zero gradient.

    Raises: ValueError for weights of wrong shape, and for what `layouts.layout_of` refuses.
    """
    layout = layouts.layout_of(x, mask=mask, segment_ids=segment_ids, num_segments=num_segments, sorted=sorted)
    wide = _wide(layout, x)
    logits = attention_logits(wide, hidden, score, gate)[..., None]
    return softmax_monoid.pooled(layout, logits, wide, empty).astype(x.dtype)


def attsets(
    x: Array, weight: Float[Array, "D OD"], bias: Float[Array, " OD"] | None = None, *, tanh: bool = False,
    mask=None, segment_ids=None, num_segments: int | None = None, sorted: bool = False, empty: float = 0.0,
) -> Float[Array, "G OD"]:  # fmt: skip
    """y_od = sum_i A_iod x_id, A the softmax over the set of x W + b: a weight per element, output and channel.

    Args:
      x: `[G, N, D]`, or `[M, D]` with segment ids.
      weight, bias: W `[D, O D]`, b `[O D]`; outputs lie side by side.
      tanh: bounds the logits by 1.
      mask, segment_ids, num_segments, sorted, empty: as in `attention_pool`.

    Raises: ValueError for a number of columns that D does not divide, and for what `layouts.layout_of` refuses.
    """
    layout = layouts.layout_of(x, mask=mask, segment_ids=segment_ids, num_segments=num_segments, sorted=sorted)
    channels = np.shape(x)[-1]
    checks.shape("weight", weight, (channels, None))
    columns = np.shape(weight)[1]
    checks.require(columns > 0 and columns % channels == 0, "weight", f"have a multiple of {channels} columns", columns)
    wide = _wide(layout, x)
    logits = wide @ weight
    if bias is not None:
        checks.shape("bias", bias, (columns,))
        logits = logits + bias.reshape((1,) * (logits.ndim - 1) + (columns,))
    values = jnp.tile(wide, (1,) * (wide.ndim - 1) + (columns // channels,))
    return softmax_monoid.pooled(layout, jnp.tanh(logits) if tanh else logits, values, empty).astype(x.dtype)


class AttentionPool(eqx.Module):
    """`attention_pool` with its weights; the scorer of `ilse:18`, `hidden` 128 as in the public graph code."""

    hidden: Float[Array, "D H"]
    score: Float[Array, " H"]
    gate: Float[Array, "D H"] | None = None

    @classmethod
    def create(cls, key: Key, dim: int, hidden: int = 128, gated: bool = False) -> "AttentionPool":
        """Weights uniform in +-1/sqrt(inputs)."""
        checks.at_least("dim", dim, 1)
        checks.at_least("hidden", hidden, 1)
        keys = jax.random.split(key, 3)
        gate = _uniform(keys[2], (dim, hidden), dim) if gated else None
        return cls(_uniform(keys[0], (dim, hidden), dim), _uniform(keys[1], (hidden,), hidden), gate)

    def __call__(self, x: Array, mask=None, **layout) -> Float[Array, "G D"]:
        return attention_pool(x, self.hidden, self.score, self.gate, mask=mask, **layout)


class AttSets(eqx.Module):
    """`attsets` with its weights."""

    weight: Float[Array, "D OD"]
    bias: Float[Array, " OD"] | None = None
    tanh: bool = eqx.field(static=True, default=False)

    @classmethod
    def create(cls, key: Key, dim: int, outputs: int = 1, bias: bool = False, tanh: bool = False) -> "AttSets":
        """Weights uniform in +-1/sqrt(D), no bias unless asked for."""
        checks.at_least("dim", dim, 1)
        checks.at_least("outputs", outputs, 1)
        zero = jnp.zeros(outputs * dim) if bias else None
        return cls(_uniform(key, (dim, outputs * dim), dim), zero, tanh)

    def __call__(self, x: Array, mask=None, **layout) -> Float[Array, "G OD"]:
        return attsets(x, self.weight, self.bias, tanh=self.tanh, mask=mask, **layout)


def _wide(layout, x):
    """Elements in float32 at least, 0 where they take no part."""
    return layout.where(jnp.asarray(x).astype(jnp.promote_types(jnp.result_type(x), jnp.float32)), 0)


def _uniform(key, shape, inputs):
    return jax.random.uniform(key, shape, minval=-(inputs**-0.5), maxval=inputs**-0.5)


def example(key) -> dict[str, Operator]:
    """Three sets of up to five elements."""
    of_x, of_plain, of_gated, of_attsets = jax.random.split(key, 4)
    x = jax.random.normal(of_x, (3, 5, 3))
    mask = jnp.arange(5)[None] < jnp.array([5, 3, 1])[:, None]
    invariants = ("permutation", "idempotent", "min_max")

    def operator(module, formula, source):
        return Operator(lambda module, x, mask: module(x, mask), module, x, formula, source, "", mask, invariants)

    return {
        "attention_pool": operator(
            AttentionPool.create(of_plain, 3, 4), "sum_i w_i x_i, w = softmax_i(w tanh(V x_i))", "ilse:18"
        ),
        "gated_attention_pool": operator(
            AttentionPool.create(of_gated, 3, 4, gated=True),
            "sum_i w_i x_i, w = softmax_i(w (tanh(V x_i) * sigmoid(U x_i)))", "ilse:18",
        ),
        "attsets": operator(
            AttSets.create(of_attsets, 3, bias=True), "sum_i A_id x_id, A = softmax_i(x_i W + b)", "yang:20"
        ),
    }  # fmt: skip
