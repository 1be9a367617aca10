"""Linear filters of windows: what gates, trees and posets read of a window beside its maximum and mean.

A window has K = prod(window) elements in row-major order. They are taken as K strided slices of the input, which a
compiler fuses into one pass; windows are never laid out in memory.

Letters: `B` batch, `S` the window's axes, `O` those of the output, `C` channels, `M` filters.
"""

import functools
import itertools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from research.core.types import Array, Float
from research.pooling.geometry import Geometry

__all__ = ["responses", "slices"]


def slices(x: Float[Array, "B *S C"], geometry: Geometry, fill: float = 0.0) -> list[Float[Array, "B *O C"]]:
    """The K elements of every window, row-major: entry k of the list holds the k-th element of all windows.

    Args:
      geometry: of the axes S; padded elements have the value `fill`.
    """
    pads = [(low, max(high, 0)) for low, high in geometry.pads]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=fill)
    steps = (1, *geometry.strides, 1)

    def element(at):
        last = [a + (m - 1) * s + 1 for a, m, s in zip(at, geometry.out, geometry.strides, strict=True)]
        return jax.lax.slice(x, (0, *at, 0), (x.shape[0], *last, x.shape[-1]), steps)

    return [element(at) for at in itertools.product(*map(range, geometry.window))]


def responses(
    filters: Float[Array, "M K *C"], elements: Sequence[Float[Array, "B *O C"]]
) -> list[Float[Array, "B *O C"]]:
    """The M inner products of every window with the filters; `[M, K]` are shared by channels, `[M, K, C]` are not."""
    rank = elements[0].ndim

    def weight(m, k):
        one = filters[m, k]
        return one.reshape((1,) * (rank - one.ndim) + one.shape)

    def response(m):
        return functools.reduce(operator.add, [weight(m, k) * element for k, element in enumerate(elements)])

    return [response(m) for m in range(filters.shape[0])]
