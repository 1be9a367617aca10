"""Robust aggregation of N vectors, some of which may be anything: median, trimmed mean, geometric median, flag.

What a minority can do to each of them is in `robust_bounds` (theorem T19): the coordinate median and the geometric
median stay within a multiple of the spread of the others for any f < N/2 bad vectors, the trimmed mean for f up to what
it drops, the mean for none. The flag aggregator is in `flag`.
Source: `weiszfeld:37` with the test of data points and the step away from them of `vardi:00`; `yin:18` for median and
trimmed mean.

Letters: `N` vectors of `D` entries; leading axes are batches.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research.core import loops
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling.flag import flag_aggregate
from research.pooling.operator import Operator

__all__ = ["KINDS", "example", "geometric_median", "median", "robust_pool", "trimmed_mean"]

#: Distances below this share of the spread count as zero.
_TOUCHING = 1e-12


def robust_pool(x: Float[Array, "*B N D"], kind: str, *, mask: Bool[Array, "*B N"] | None = None, **options):
    """Aggregates N vectors into one, `[..., D]`.

    Args:
      kind: one of `KINDS`.
      mask: True takes part; None for all.
      options: what the kind's own function takes.

    Raises: ValueError for another kind, mask or option.
    """
    checks.one_of("kind", kind, tuple(KINDS))
    return KINDS[kind](x, mask=mask, **options)


def _parts(x, mask):
    """Vectors with masked ones zero, the mask, whether to take part as `[..., N, 1]`, how many do as `[..., 1, 1]`."""
    checks.require(np.ndim(x) >= 2, "x", "have shape (..., N, D)", np.shape(x))
    mask = jnp.ones(x.shape[:-1], bool) if mask is None else mask
    checks.require(jnp.asarray(mask).dtype == bool, "mask", "be of dtype bool", jnp.asarray(mask).dtype)
    checks.shape("mask", mask, x.shape[:-1])
    taking = mask[..., None]
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return jnp.where(taking, wide, 0), mask, taking, mask.sum(axis=-1)[..., None, None]


def median(
    x: Float[Array, "*B N D"], *, mask: Bool[Array, "*B N"] | None = None, empty: float = 0.0
) -> Float[Array, "*B D"]:
    """Median of every coordinate; the mean of the two middle ones where the number is even; `empty` for none."""
    parts = _parts(x, mask)
    return _mean_of_ranks(parts, _middle(parts[-1]), empty).astype(x.dtype)


def trimmed_mean(
    x: Float[Array, "*B N D"],
    *,
    trim: int | Int[Array, ""],
    mask: Bool[Array, "*B N"] | None = None,
    empty: float = 0.0,
) -> Float[Array, "*B D"]:
    """Mean of every coordinate without its `trim` smallest and largest values.

    Args:
      trim: f >= 0 with 2 f < N; may be traced. A collection with fewer than 2 f + 1 members is trimmed to its median.
    """
    parts = _parts(x, mask)
    if checks.is_concrete(trim):
        checks.at_least("trim", trim, 0)
        checks.require(2 * int(trim) < x.shape[-2], "trim", f"be < N / 2 = {x.shape[-2] / 2:g}", trim)
    return _mean_of_ranks(parts, jnp.minimum(trim, _middle(parts[-1])), empty).astype(x.dtype)


def _middle(count):
    """How many to drop on each side for the median."""
    return jnp.maximum(count - 1, 0) // 2


def _mean_of_ranks(parts, low, empty):
    x, _, taking, count = parts
    ordered = jnp.sort(jnp.where(taking, x, jnp.inf), axis=-2)
    place = jnp.expand_dims(jnp.arange(x.shape[-2])[:, None], tuple(range(x.ndim - 2)))
    kept = (place >= low) & (place < count - low)
    total = jnp.where(kept, ordered, 0).sum(axis=-2)
    number = (count - 2 * low)[..., 0]
    found = jnp.where(number > 0, total / jnp.maximum(number, 1), empty)
    # Sorting puts NaN behind the padding: it is brought back where it belongs.
    return jnp.where(jnp.isnan(x).any(axis=-2), jnp.nan, found)


def geometric_median(
    x: Float[Array, "*B N D"],
    *,
    mask: Bool[Array, "*B N"] | None = None,
    empty: float = 0.0,
    num_steps: int = 64,
) -> Float[Array, "*B D"]:
    """The point with the least sum of distances to the vectors.

    A vector at which the others pull with a force of at most its own weight is the minimiser, and is returned as it is.
    Where there is none the sum of distances is smooth around the minimiser, and Weiszfeld's iteration from the
    coordinate median, with Newton's step wherever that gives a smaller sum, stops within rounding after a dozen steps;
    after `num_steps` at the latest.

    Derivatives are those of the minimiser (implicit differentiation), not of the iteration: with H = sum of
    (I - u u') / r over vectors at distance r in direction u, H dy = sum of (I - u u') dx / r; a minimiser that is one
    of the vectors moves with it. They are meaningless where it is not unique, as for an even number of collinear ones.
    """
    checks.at_least("num_steps", num_steps, 1)
    filled, mask, _, count = _parts(x, mask)
    start = jax.lax.stop_gradient(_mean_of_ranks((filled, mask, mask[..., None], count), _middle(count), 0.0))
    batch = filled.shape[:-2]
    flat = (a.reshape(-1, *a.shape[len(batch) :]) for a in (filled, mask, start))
    found = jax.vmap(functools.partial(_minimiser, num_steps))(*flat).reshape(*batch, x.shape[-1])
    return jnp.where(count[..., 0] > 0, found, empty).astype(x.dtype)


def _distances(x, mask, y):
    """To the vectors, infinite to masked ones; and which of them y touches, at distances that count as zero."""
    apart = jnp.linalg.norm(x - y[None], axis=-1)
    floor = _TOUCHING * jnp.max(jnp.where(mask, apart, 0))
    touching = mask & (apart <= floor)
    return jnp.where(mask, jnp.where(touching, 1, apart), jnp.inf), touching


def _forces(x, mask, y):
    """Weights 1 / r of the vectors that y does not touch, directions to them, and how many it touches."""
    apart, touching = _distances(x, mask, y)
    weight = jnp.where(touching, 0, 1 / apart)
    return weight, weight[:, None] * (x - y[None]), touching.sum()


def _is_minimiser(x, mask):
    """Whether each vector is one; up to rounding, since equal vectors around it may hold each other in balance."""

    def one(y):
        _, unit, own = _forces(x, mask, y)
        return jnp.linalg.norm(unit.sum(axis=0)) <= own * (1 + 8 * jnp.finfo(x.dtype).eps)

    return jax.vmap(one)(x) & mask


def _newton(weight, unit, right):
    """H^-1 right, with H = s I - B B' and B the N columns u sqrt(1 / r): solved in N dimensions.

    Collinear vectors leave H singular along their line: the ridge keeps the result finite.
    """
    total = weight.sum()
    columns = unit * jnp.sqrt(weight)[:, None]
    ridge = 16 * jnp.finfo(unit.dtype).eps * total + jnp.finfo(unit.dtype).tiny
    inner = (total + ridge) * jnp.eye(len(unit), dtype=unit.dtype) - columns @ columns.T
    return (right + columns.T @ jnp.linalg.solve(inner, columns @ right)) / (total + ridge)


def _step(x, mask, y):
    """Newton's step where it has the smaller sum of distances, else Weiszfeld's, which never has a larger one."""
    weight, unit, own = _forces(x, mask, y)
    pull = unit.sum(axis=0)
    strength = jnp.linalg.norm(pull)
    # On a vector that is not the minimiser: leave with what the pull exceeds its weight by.
    share = 1 - own / jnp.where(strength > 0, strength, 1)
    plain = y + jnp.where(strength > own, share, 0) * pull / jnp.where(weight.sum() > 0, weight.sum(), 1)
    fast = y + _newton(weight, unit, pull)

    def cost(y):
        return jnp.sum(jnp.where(mask, jnp.linalg.norm(x - y[None], axis=-1), 0))

    return jnp.where((own == 0) & (cost(fast) <= cost(plain)), fast, plain)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _minimiser(num_steps, x, mask, start):
    tolerance = 4 * jnp.finfo(x.dtype).eps
    is_one = _is_minimiser(x, mask)

    def step(carry):
        y, _ = carry
        new = _step(x, mask, y)
        spread = jnp.max(jnp.where(mask[:, None], jnp.abs(x - new[None]), 0))
        return new, jnp.max(jnp.abs(new - y)) > tolerance * spread

    def going(carry):
        return carry[1] & ~is_one.any()

    (y, _), _ = loops.while_active(step, going, (start, jnp.asarray(True)), num_steps)
    return jnp.where(is_one.any(), x[jnp.argmax(is_one)], y)


@_minimiser.defjvp
def _minimiser_jvp(num_steps, primals, tangents):
    x, mask, start = primals
    y, dx = _minimiser(num_steps, x, mask, start), tangents[0]
    _, touching = _distances(x, mask, y)
    weight, unit, own = _forces(x, mask, y)
    across = dx - jnp.sum(unit * dx, axis=-1, keepdims=True) * unit
    smooth = _newton(weight, unit, weight @ across)
    return y, jnp.where(own > 0, (touching / jnp.maximum(own, 1)).astype(x.dtype) @ dx, smooth)


#: Kind -> the function of its own.
KINDS = {
    "median": median,
    "trimmed_mean": trimmed_mean,
    "geometric_median": geometric_median,
    "flag": flag_aggregate,
}


def example(key: Key) -> dict[str, Operator]:
    """Five vectors of three entries, one of them padding."""
    x = jax.random.normal(key, (2, 5, 3))
    mask = jnp.arange(5)[None] < jnp.array([[5], [4]])
    figure = "pooling/fig_byzantine"

    def operator(kind, formula, source, invariants, **options):
        def apply(params, x, mask):
            return robust_pool(x, kind, mask=mask, **options)

        return Operator(apply, (), x, formula, source, figure, mask, invariants)

    coordinatewise = ("permutation", "idempotent", "homogeneous", "shift", "monotone", "min_max")
    return {
        "median": operator("median", "median of every coordinate", "yin:18, definition 1", coordinatewise),
        "trimmed mean": operator(
            "trimmed_mean", "mean without the f smallest and largest, per coordinate", "yin:18, definition 2",
            coordinatewise, trim=1,
        ),
        "geometric median": operator(
            "geometric_median", "argmin over y of sum of |x_i - y|", "weiszfeld:37; vardi:00",
            ("permutation", "idempotent", "homogeneous", "shift", "min_max"),
        ),
    }  # fmt: skip
