"""Poset filters: the largest sum over the elements of an up-closed subset of a window.

For a partial order P on the K positions of a window, y = max over the filters F of P of sum_{i in F} x_i. A filter is a
subset that contains with i every j with i < j; the empty set and the whole window are filters. y is the support
function of the order polytope of P, so it is convex, 1-homogeneous, sub-additive and monotone in x. Its gradient is the
0/1 indicator of the filter that attains it, the first of the list at ties: smaller filters come first, so a window
without positive elements gives 0 and no gradient.

On inputs >= 0 the whole window is a maximiser for every P, and y is the plain sum: put a poset filter before the
nonlinearity, not behind a ReLU. Source: `dolores-cuenca:24`; its table of the 16 orders of four elements is `COVERS`.
Guarantees: `value_bounds`, and `refines`, which orders the values of two posets (T7).

Letters: `K` elements of a window, `F` filters, `B`, `S`, `O`, `C` as in `window_filters`.
"""

import functools
import itertools
import math
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.pooling.geometry import resolve
from research.pooling.operator import Operator
from research.pooling.window_slices import parts

__all__ = [
    "COVERS", "MAX_ELEMENTS", "automorphisms", "example", "filters", "poset_pool", "refines", "relations", "support",
    "value_bounds",
]  # fmt: skip

#: Covers (i, j), i < j, of the 16 partial orders of four elements up to isomorphism; positions of a 2 x 2 window in
#: row-major order. The numbers are those of the paper's table; 12 is "N", the authors' default, 13 a chain.
COVERS = (
    ((0, 3), (1, 3), (2, 3)),
    (),
    ((0, 1),),
    ((0, 2), (1, 2), (2, 3)),
    ((0, 2), (1, 2)),
    ((0, 1), (0, 2)),
    ((0, 1), (2, 3)),
    ((0, 1), (1, 2), (1, 3)),
    ((0, 1), (1, 2)),
    ((0, 1), (0, 2), (0, 3)),
    ((0, 1), (0, 2), (2, 3)),
    ((0, 2), (0, 3), (1, 2), (1, 3)),
    ((0, 1), (2, 1), (2, 3)),
    ((0, 1), (1, 2), (2, 3)),
    ((0, 1), (0, 2), (1, 3), (2, 3)),
    ((0, 2), (1, 3), (2, 3)),
)

#: Filters are listed by trying every subset.
MAX_ELEMENTS = 16

#: Up to so many filters are compared in straight-line code, which fuses; more of them in a loop.
_UNROLLED = 64

Covers = Sequence[tuple[int, int]]


def relations(covers: Covers, size: int = 4) -> np.ndarray:
    """The strict order that covers generate: `[K, K]` bool, True at (i, j) for i < j.

    Raises ValueError for positions outside the window and for relations that are cyclic, hence not antisymmetric.
    """
    less = np.zeros((size, size), bool)
    for pair in covers:
        fits = len(pair) == 2 and all(0 <= i < size for i in pair)
        checks.require(fits, "covers", f"be pairs of positions 0..{size - 1}", tuple(pair))
        less[tuple(pair)] = True
    for k in range(size):
        less |= less[:, k, None] & less[None, k]
    checks.require(not less.diagonal().any(), "covers", "be acyclic", tuple(map(tuple, covers)))
    return less


def filters(poset: int | Covers, size: int = 4) -> np.ndarray:
    """All filters of a partial order, `[F, K]` bool, in ascending order of (number of elements, bits).

    Args:
      poset: a number of `COVERS`, or pairs (i, j), i < j, that generate the order.
      size: K, the elements of a window; at most `MAX_ELEMENTS`.

    Raises ValueError for an unknown number, a number with K other than 4, and what `relations` refuses.
    """
    return _filters(_covers(poset, size), size).copy()


def _covers(poset: int | Covers, size: int) -> tuple[tuple[int, int], ...]:
    if not isinstance(poset, int | np.integer):
        return tuple(tuple(map(int, pair)) for pair in poset)
    checks.require(0 <= poset < len(COVERS), "poset", f"be a number in 0..{len(COVERS) - 1} or covers", poset)
    checks.require(size == 4, "window", f"have 4 elements, as poset {poset} has", f"{size} elements")
    return COVERS[poset]


@functools.cache
def _filters(covers: tuple[tuple[int, int], ...], size: int) -> np.ndarray:
    checks.require(1 <= size <= MAX_ELEMENTS, "window", f"have 1 to {MAX_ELEMENTS} elements", f"{size} elements")
    less = relations(covers, size)
    member = (np.arange(2**size)[:, None] >> np.arange(size)) & 1 == 1
    broken = (member[:, :, None] & ~member[:, None, :] & less).any(axis=(1, 2))
    found = member[~broken]
    return found[np.argsort(found.sum(axis=1), kind="stable")]


def refines(finer: int | Covers, coarser: int | Covers, size: int = 4) -> bool:
    """Whether the first order has all relations of the second: then its polytope is a subset, and y <= y of the second.

    T7: adding relations leaves fewer filters to choose from.
    """
    less, other = (relations(_covers(poset, size), size) for poset in (finer, coarser))
    return bool((less | ~other).all())


def automorphisms(poset: int | Covers, size: int = 4) -> list[tuple[int, ...]]:
    """Permutations of the positions that keep the order, and with it the value. For K up to 6 or so: all are tried."""
    less = relations(_covers(poset, size), size)
    tried = (np.array(order) for order in itertools.permutations(range(size)))
    return [tuple(map(int, order)) for order in tried if (less[np.ix_(order, order)] == less).all()]


def value_bounds(elements: Float[Array, "*batch K"]) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """(max(0, sum x), sum of the positive elements): where the value of every poset lies (T7).

    The lower end compares the two filters that all posets have; the upper one is attained by the antichain.
    """
    return jnp.maximum(0, elements.sum(axis=-1)), jnp.maximum(0, elements).sum(axis=-1)


def support(
    elements: Sequence[Float[Array, "*shape"]], poset: int | Covers
) -> tuple[Float[Array, "*shape"], Int[Array, "*shape"]]:
    """The value, for K arrays of one shape that hold an element each, and the filter that attains it, as bits.

    Bit k says whether element k is in it; that has no gradient. A NaN element gives NaN.
    """
    members = _filters(_covers(poset, len(elements)), len(elements))
    bits = (members << np.arange(len(elements))).sum(axis=1).astype(np.int32)
    zero = jnp.zeros_like(elements[0])
    first = (zero, jnp.zeros(zero.shape, jnp.int32))  # the empty set, whose bits are first
    if len(members) <= _UNROLLED:
        best = first
        for member, code in zip(members[1:], bits[1:], strict=True):
            best = _larger(best, functools.reduce(operator.add, (elements[k] for k in np.flatnonzero(member))), code)
        return best
    stacked = jnp.stack(elements)
    flat = (len(elements),) + (1,) * zero.ndim

    def compare(best, one):
        member, code = one
        return _larger(best, jnp.where(member.reshape(flat), stacked, 0).sum(axis=0), code), None

    return jax.lax.scan(compare, first, (jnp.asarray(members[1:]), jnp.asarray(bits[1:])))[0]


def _larger(best, value, code):
    takes = (value > best[0]) | jnp.isnan(value)
    return jnp.where(takes, value, best[0]), jnp.where(takes, code, best[1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _value(elements: tuple[Array, ...], covers: tuple[tuple[int, int], ...], size: int):
    return support(elements, covers)[0]


def _forward(elements, covers, size):
    value, code = support(elements, covers)
    return value, code.astype(jnp.uint8 if size <= 8 else jnp.uint16)  # all that the gradient needs of the input


def _backward(covers, size, code, cotangent):
    return (tuple(jnp.where((code >> k) & 1 == 1, cotangent, 0) for k in range(size)),)


_value.defvjp(_forward, _backward)


def poset_pool(
    x: Float[Array, "B *S C"], poset: int | Covers = 12, window: int | Sequence[int] = (2, 2),
    strides: int | Sequence[int] | None = None, padding: str | Sequence[tuple[int, int]] = "CEIL", *,
    scale: float = 1.0,
) -> Float[Array, "B *O C"]:  # fmt: skip
    """Poset filter of every window.

    Args:
      x: channels last.
      poset: a number of `COVERS` (a window of four elements), or covers (i, j), i < j, of row-major positions.
      window, strides, padding: as in `geometry.resolve`, with at most `MAX_ELEMENTS` elements in a window. Padded
        elements are 0; by default windows that reach over the right or lower edge are completed with them.
      scale: factor of the value; 1 / K makes constants c >= 0 keep their size, since the value of a constant window is
        K max(c, 0).

    Raises ValueError for a window of another number of elements than the poset, for what `relations` refuses and for
    what `geometry.resolve` refuses.

    Guarantees: `value_bounds`, `refines`. Source: `dolores-cuenca:24`.
    """
    geometry = resolve(x.shape[1:-1], window, strides, padding)
    size = math.prod(geometry.window)
    covers = _covers(poset, size)
    _filters(covers, size)  # refuses an order of other elements before anything is computed
    value = _value(tuple(parts(x, geometry, 0)), covers, size)
    return value if isinstance(scale, float | int) and scale == 1 else value * scale


def example(key: Key) -> dict[str, Operator]:
    """Three orders on the four elements of a set, drawn away from ties, and windows that reach over an edge."""
    x = jax.random.normal(key, (3, 4, 2))
    names = {"antichain": 1, "N": 12, "chain": 13}
    found = {
        f"poset_{name}": Operator(
            lambda _, x, mask, number=number: poset_pool(x, number, (4,))[:, 0], (), x,
            "max over filters F of sum_{i in F} x_i", "dolores-cuenca:24, table of posets", "pooling/fig_windows",
            invariants=("homogeneous", "monotone") + (("permutation",) if name == "antichain" else ()),
        )
        for name, number in names.items()
    }  # fmt: skip
    found["poset_windows"] = Operator(
        lambda _, x, mask: poset_pool(x, 12), (), jax.random.normal(key, (2, 3, 5, 2)),
        "max over filters F of sum_{i in F} x_i", "dolores-cuenca:24, table of posets", "pooling/fig_windows",
    )  # fmt: skip
    return found
