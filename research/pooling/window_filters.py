"""Linear filters of windows: what gates, trees and posets read of a window beside its maximum and mean.

A window has K = prod(window) elements in row-major order, taken as strided slices (`window_slices.parts`), which a
compiler fuses into one pass; windows are never laid out in memory.

Letters: `B` batch, `S` the window's axes, `O` those of the output, `C` channels, `M` filters.
"""

import functools
import operator
from collections.abc import Sequence

from research.core.types import Array, Float

__all__ = ["responses"]


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
