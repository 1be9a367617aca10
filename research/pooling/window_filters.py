"""Linear filters of windows: what gates, trees and posets read of a window beside its maximum and mean.

A window has K = prod(window) elements in row-major order. They are taken as K strided slices of the input, which a
compiler fuses into one pass; windows are never laid out in memory.

Letters: `B` batch, `S` the window's axes, `O` those of the output, `C` channels, `M` filters.
"""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from research.core.types import Array, Float

__all__ = ["responses", "slices"]


def slices(
    x: Float[Array, "B *S C"], window: Sequence[int], strides: Sequence[int], pads: Sequence[tuple[int, int]],
    fill: float = 0.0,
) -> list[Float[Array, "B *O C"]]:  # fmt: skip
    """The K elements of every window, row-major: entry k of the list holds the k-th element of all windows.

    Args:
      pads: elements of value `fill` before and after, per axis of the window.
    """
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], window, strides, strict=True)]
    batch, channels = x.shape[0], x.shape[-1]
    return [
        jax.lax.slice(
            x, (0, *at, 0),
            (batch, *(a + (m - 1) * s + 1 for a, m, s in zip(at, sizes, strides, strict=True)), channels),
            (1, *strides, 1),
        )
        for at in itertools.product(*map(range, window))
    ]  # fmt: skip


def responses(
    filters: Float[Array, "M K *C"], elements: Sequence[Float[Array, "B *O C"]]
) -> list[Float[Array, "B *O C"]]:
    """The M inner products of every window with the filters; `[M, K]` are shared by channels, `[M, K, C]` are not."""
    rank = elements[0].ndim

    def weight(m, k):
        one = filters[m, k]
        return one.reshape((1,) * (rank - one.ndim) + one.shape)

    return [sum(weight(m, k) * element for k, element in enumerate(elements)) for m in range(filters.shape[0])]
