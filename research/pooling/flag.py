"""The flag aggregator: directions of N vectors, projected onto the subspace that most of them nearly lie in.

With unit vectors g_i, the subspace is Y of r orthonormal columns with the least sum of sines sqrt(1 - |Y'g_i|^2), found
by iteratively reweighted singular vectors. The result is (1/r) sum of Y Y' g_i: a sum of directions, of length at most
N / r (`robust_bounds.flag_length`) whatever the lengths of the inputs; `rescale` gives it theirs.
Source: `almasi:24`, and the authors' public code for the weights. Departures: the iteration starts from the
span of the unweighted vectors, where the code draws a random one, so that results repeat; no gradient goes through it,
since singular vectors have none where singular values meet.

All of it depends on the vectors through inner products. `gram=True` replaces them by their coordinates in an
orthonormal basis of their span, made from the N x N matrix of those: the cost of an iteration is then free of D, and of
vectors that are split over devices only their partial inner products have to be summed.

Letters: `N` vectors of `D` entries, `r` columns; leading axes are batches.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling.operator import Operator

__all__ = ["RESCALE", "example", "flag_aggregate", "objective"]

#: Lengths that the result may be given.
RESCALE = ("none", "median_norm")
#: Added to squared sines, so that a vector within the subspace has a finite weight.
_SMOOTHING = 1e-7


def flag_aggregate(
    x: Float[Array, "*B N D"],
    *,
    rank: int,
    mask: Bool[Array, "*B N"] | None = None,
    empty: float = 0.0,
    num_steps: int = 5,
    pairs: float = 0.0,
    gram: bool | None = None,
    rescale: str = "none",
) -> Float[Array, "*B D"]:
    """Aggregates N vectors into one.

    Args:
      rank: r, 1 <= r <= min(N, D).
      num_steps: reweightings, >= 0.
      pairs: lambda >= 0: every ordered difference g_i - g_j takes part as well, with its own weight times
        lambda / (n (n - 1)), n the number of vectors that take part.
      gram: whether to work in coordinates of the span; None does where D > N. It squares the condition number: vectors
        closer together than the root of the machine precision are not told apart.
      rescale: "none"; "median_norm" for the median length of the vectors that take part.

    Raises: ValueError for arguments outside these ranges.
    """
    checks.require(np.ndim(x) >= 2, "x", "have shape (..., N, D)", np.shape(x))
    number, size = x.shape[-2:]
    checks.require(1 <= rank <= min(number, size), "rank", f"lie in [1, min(N, D)] = [1, {min(number, size)}]", rank)
    checks.at_least("num_steps", num_steps, 0)
    checks.at_least("pairs", pairs, 0)
    checks.one_of("rescale", rescale, RESCALE)
    mask = jnp.ones(x.shape[:-1], bool) if mask is None else mask
    checks.require(jnp.asarray(mask).dtype == bool, "mask", "be of dtype bool", jnp.asarray(mask).dtype)
    checks.shape("mask", mask, x.shape[:-1])
    wide = jax.lax.stop_gradient(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    one = functools.partial(
        _aggregate, rank=rank, num_steps=num_steps, pairs=pairs, gram=size > number if gram is None else gram,
        rescale=rescale,
    )  # fmt: skip
    batch = x.shape[:-2]
    found = jax.vmap(one)(wide.reshape(-1, number, size), mask.reshape(-1, number)).reshape(*batch, size)
    return jnp.where(mask.any(axis=-1)[..., None], found, empty).astype(x.dtype)


def _aggregate(x, mask, *, rank, num_steps, pairs, gram, rescale):
    x = jnp.where(mask[:, None], x, 0)
    length = jnp.linalg.norm(x, axis=-1)
    unit = x / jnp.where(length > 0, length, 1)[:, None]
    placed, back = _coordinates(unit) if gram else (unit, None)
    basis = _subspace(placed, mask, rank, num_steps, pairs)
    total = basis.T @ (basis @ placed.sum(axis=0)) / rank
    pooled = total if back is None else (back @ total) @ unit
    if rescale == "median_norm":
        middle = jnp.nanmedian(jnp.where(mask, length, jnp.nan))
        size = jnp.linalg.norm(pooled)
        pooled = pooled * middle / jnp.where(size > 0, size, 1)
    return jnp.where(jnp.isnan(x).any(), jnp.nan, pooled)


def _coordinates(unit):
    """Rows in an orthonormal basis of their span, and the matrix whose product with coordinates weighs the rows."""
    values, vectors = jnp.linalg.eigh(unit @ unit.T)
    kept = values > len(unit) * jnp.finfo(unit.dtype).eps * values[-1]
    root = jnp.sqrt(jnp.where(kept, values, 0))
    return vectors * root[None], vectors * jnp.where(kept, 1 / jnp.where(kept, root, 1), 0)[None]


def _subspace(rows, mask, rank, num_steps, pairs):
    """Orthonormal rows `[r, D]` after the reweightings."""
    first, second = np.triu_indices(len(rows), 1)
    count = mask.sum()
    # A pair stands for both its orders: two equal rows are one that is longer by the root of two.
    share = (jnp.sqrt(2.0) * pairs / jnp.maximum(count * (count - 1), 1)).astype(rows.dtype)
    paired = jnp.where((mask[first] & mask[second])[:, None], rows[first] - rows[second], 0) if pairs else rows[:0]

    def leading(weighted):
        return jnp.linalg.svd(weighted, full_matrices=False)[2][:rank]

    def reweigh(_, basis):
        # Differences are not of unit length: theirs is the published expression, for which a sine need not exist.
        apart = jnp.abs(1 - jnp.sum((paired @ basis.T) ** 2, axis=-1)) + _SMOOTHING
        weight = jnp.concatenate([_squared_sines(rows, basis) ** -0.25, share * apart**-0.25])
        return leading(jnp.concatenate([rows, paired]) * weight[:, None])

    return jax.lax.fori_loop(0, num_steps, reweigh, leading(rows))


def _squared_sines(unit, basis):
    """|g - Y Y'g|^2, which is 1 - |Y'g|^2 without its cancellation, smoothed."""
    return jnp.sum((unit - (unit @ basis.T) @ basis) ** 2, axis=-1) + _SMOOTHING


def objective(x: Float[Array, "N D"], basis: Float[Array, "r D"]) -> Float[Array, ""]:
    """Sum of sines between the vectors' directions and the subspace, smoothed as the weights are."""
    unit = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    return jnp.sqrt(_squared_sines(unit, basis)).sum()


def example(key: Key) -> dict[str, Operator]:
    """Five vectors of eight entries, one of them padding, in both forms."""
    x = jax.random.normal(key, (2, 5, 8))
    mask = jnp.arange(5)[None] < jnp.array([[5], [4]])

    def operator(formula, **options):
        return Operator(
            lambda params, x, mask: flag_aggregate(x, mask=mask, **options), (), x, formula, "almasi:24",
            "pooling/fig_byzantine", mask, ("permutation",), False,
        )  # fmt: skip

    return {
        "flag": operator("(1/r) sum of Y Y' x_i / |x_i|, Y a robust subspace", rank=2, gram=False),
        "flag by inner products": operator(
            "the same from the matrix of inner products, of the median length", rank=2, pairs=0.5,
            rescale="median_norm",
        ),
    }  # fmt: skip
