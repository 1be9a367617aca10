"""Mixed and gated pooling: between the maximum and the mean of a window, in learned parts.

Mixed: y = a max(x) + (1 - a) mean(x), with a learned number a, whatever the input is. Gated: the part is
sigmoid(w . x), so it answers to the window's content; w holds a weight for every position. Source: `lee:16`; the
authors' code has no bias in the gate, one gate per layer and N(0, 0.1^2) weights, and CEIL padding, where a partial
window's mean is that of its real elements and its gate skips the missing ones.
Guarantee: `tree.hull`, and y in [mean, max] for a in [0, 1] (T6); an a outside of it is allowed, as in the paper.

Letters: `B` batch, `S` axes of the input, `O` those of the output, `C` channels, `K` elements of a window.
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
from research.pooling.windows import window_pool

__all__ = ["GATE_SCALE", "Gated", "Mixed", "example", "gated_pool", "mixed_pool"]

#: Standard deviation of a gate's initial weights.
GATE_SCALE = 0.1

_Lengths = int | Sequence[int]
_Padding = str | Sequence[tuple[int, int]]


def mixed_pool(
    x: Float[Array, "B *S C"], a: float | Float[Array, "..."], window: _Lengths, strides: _Lengths | None = None,
    padding: _Padding = "VALID",
) -> Float[Array, "B *O C"]:  # fmt: skip
    """a max + (1 - a) mean of every window.

    Args:
      a: what broadcasts against `[*O, C]`: one number, one per channel `[C]`, one per region and channel `[*O, C]`.
      window, strides, padding: as in `geometry.resolve`.
    """
    return window_pool(x, "mixed", window, strides, padding, params={"a": a})


def gated_pool(
    x: Float[Array, "B *S C"], weights: Float[Array, "K *C"], window: _Lengths, strides: _Lengths | None = None,
    padding: _Padding = "VALID",
) -> Float[Array, "B *O C"]:  # fmt: skip
    """s max + (1 - s) mean of every window, s = sigmoid(weights . window).

    Args:
      weights: of a window's elements, row-major; `[K]` for all channels, or one gate per channel `[K, C]`.
      window, strides, padding: as in `geometry.resolve`. Padded elements do not take part.

    Raises ValueError for weights of another shape and for what `geometry.resolve` refuses.
    """
    geometry = resolve(x.shape[1:-1], window, strides, padding)
    size, channels = math.prod(geometry.window), x.shape[-1]
    fits = weights.shape in ((size,), (size, channels))
    checks.require(fits, "weights", f"have shape ({size},) or ({size}, {channels})", weights.shape)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    (logit,) = responses(weights[None].astype(wide), [element.astype(wide) for element in parts(x, geometry, 0)])
    share = jax.nn.sigmoid(logit).astype(x.dtype)
    largest, mean = (window_pool(x, kind, window, strides, padding) for kind in ("max", "avg"))
    return mean + share * (largest - mean)


class Mixed(eqx.Module):
    """Mixed pooling with a learned part; starts half way."""

    a: Float[Array, "..."]
    window: _Lengths = eqx.field(static=True)
    strides: _Lengths | None = eqx.field(static=True, default=None)
    padding: _Padding = eqx.field(static=True, default="VALID")

    @classmethod
    def create(
        cls, key: Key, window: _Lengths, strides: _Lengths | None = None, padding: _Padding = "VALID", *,
        shape: tuple[int, ...] = (),
    ):  # fmt: skip
        """`shape` of a: () for a layer, (C,) for channels, (*O, C) for regions and channels. Nothing is drawn."""
        del key
        return cls(jnp.full(shape, 0.5), window, strides, padding)

    def __call__(self, x: Float[Array, "B *S C"]) -> Float[Array, "B *O C"]:
        return mixed_pool(x, self.a, self.window, self.strides, self.padding)


class Gated(eqx.Module):
    """Gated pooling with learned weights."""

    weights: Float[Array, "K *C"]
    window: _Lengths = eqx.field(static=True)
    strides: _Lengths | None = eqx.field(static=True, default=None)
    padding: _Padding = eqx.field(static=True, default="VALID")

    @classmethod
    def create(
        cls, key: Key, window: Sequence[int], strides: _Lengths | None = None, padding: _Padding = "VALID", *,
        channels: int | None = None,
    ):  # fmt: skip
        """Weights from N(0, `GATE_SCALE`^2): one gate per layer, or one for each of `channels`."""
        shape = (math.prod(window),) if channels is None else (math.prod(window), channels)
        return cls(GATE_SCALE * jax.random.normal(key, shape), tuple(window), strides, padding)

    def __call__(self, x: Float[Array, "B *S C"]) -> Float[Array, "B *O C"]:
        return gated_pool(x, self.weights, self.window, self.strides, self.padding)


def example(key: Key) -> dict[str, Operator]:
    """One part for all, one gate for all, a gate per channel with overlapping windows and a partial one."""
    for_gate, for_x, for_sets = jax.random.split(key, 3)
    x, sets = jax.random.normal(for_x, (2, 5, 4, 2)), jax.random.normal(for_sets, (3, 4, 2))
    ranges = ("idempotent", "mean_max")
    return {
        "mixed": Operator(
            lambda module, x, mask: module(x)[:, 0], Mixed.create(for_gate, 4), sets, "a max + (1 - a) mean",
            "lee:16, section 3.1", "pooling/fig_invariance",
            invariants=("permutation", "homogeneous", "shift", "monotone", *ranges),
        ),
        "gated": Operator(
            lambda module, x, mask: module(x)[:, 0], Gated.create(for_gate, (4,)), sets,
            "s max + (1 - s) mean, s = sigmoid(w . x)", "lee:16, section 3.1", "pooling/fig_invariance",
            invariants=ranges,
        ),
        "gated_windows": Operator(
            lambda module, x, mask: module(x), Gated.create(for_gate, (3, 2), (2, 2), "CEIL", channels=2), x,
            "s max + (1 - s) mean, s = sigmoid(w . x)", "lee:16, section 3.1",
        ),
    }  # fmt: skip
