"""The rules on whole arrays, one shifted array for each place of a window: what runs where the kernel does not.

Windows that overlap are joined along rows first and then across them, with a barrier between the two, without which XLA
would compute the first for each place of the second again: on a TPU that is six times the work for 3x3 places. The
gradient gathers: an element looks at the windows that it lies in, phase by phase of its position, instead of windows
scattering to their elements.
"""

import itertools

import jax
import jax.numpy as jnp

from pallas_kernels.window_stats.rules import Calm, rule

__all__ = ["backward", "forward", "wide"]


def forward(x, theta, *, kind, ties, straight, geometry, include_pad, calm=False):
    """`[B, H, W, C]` and `[C]` to `[B, H', W', C]`; `calm` where exponents of an image lie within `rules.SPAN`.

    16-bit numbers are widened first, and the result is rounded.
    """
    dtype, x = x.dtype, wide(x)
    theta = theta[None, None, None]
    law = _calmed(rule(kind, ties, straight), x, theta, calm)
    found = law.finish(_statistic(law, x, theta, geometry), _count(geometry, include_pad, x.dtype), theta)
    return found.astype(dtype)


def backward(x, theta, cotangent, *, kind, ties, straight, geometry, include_pad, learned, calm=False):
    """Derivatives in `x`, and in `theta` where `learned`, else None; both in the dtype of their arguments."""
    dtype, x, cotangent = x.dtype, wide(x), wide(cotangent)
    theta = theta[None, None, None]
    law = _calmed(rule(kind, ties, straight, learned), x, theta, calm)
    statistic = _statistic(law, x, theta, geometry)
    pulled, of_theta = law.pulled(statistic, _count(geometry, include_pad, x.dtype), cotangent, theta)
    # Window a - u is at a - u + reach - 1; beyond the last there are neutral ones, as many as an element may ask for.
    more = [(axis.reach - 1, _periods(axis) - axis.out) for axis in geometry]
    pulled = tuple(_padded(value, *more, neutral) for value, neutral in zip(pulled, law.neutral_pulled, strict=True))
    if law.joins_back and any(axis.overlaps for axis in geometry):
        for number, axis in ((1, geometry.rows), (2, geometry.columns)):
            pulled = _apart(_spread(law, pulled, axis, number), geometry)
        slopes = law.slope(x, pulled, theta)
    else:
        slopes = _looked_at(law, x, theta, pulled, geometry)
    return slopes.astype(dtype), jnp.sum(of_theta, axis=(0, 1, 2)) if learned else None


def wide(x):
    """In float32 at least."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _calmed(law, x, theta, calm):
    return Calm(law, jnp.max(law.lift(x, theta)[0], axis=(1, 2), keepdims=True)) if calm else law


def _apart(values, geometry):
    """Computed once, where each is used by several windows."""
    overlaps = any(axis.overlaps for axis in geometry)
    return jax.lax.optimization_barrier(values) if overlaps else values


def _spread(law, pulled, axis, number):
    """Windows along an axis of the arrays to its elements: what all windows of each are joined to."""
    phases = []
    for phase in range(axis.stride):
        near = _near(axis, phase)
        parts = [
            tuple(jax.lax.slice_in_dim(value, start, start + _periods(axis), axis=number) for value in pulled)
            for _, start in near
        ]
        some = pulled[0].shape[:number] + (_periods(axis),) + pulled[0].shape[number + 1 :]
        empty = tuple(jnp.full(some, neutral, value.dtype) for neutral, value in zip(
            law.neutral_pulled, pulled, strict=True))  # fmt: skip
        phases.append(law.join_pulled(parts, [place for place, _ in near]) if near else empty)
    return tuple(_interleaved(values, axis, number) for values in zip(*phases, strict=True))


def _interleaved(phases, axis, number):
    """Elements of the axis out of its phases, `[.., periods, ..]` each."""
    whole = phases[0] if axis.stride == 1 else jnp.stack(phases, axis=number + 1)
    shape = phases[0].shape[:number] + (-1,) + phases[0].shape[number + 1 :]
    return jax.lax.slice_in_dim(whole.reshape(shape), axis.low, axis.low + axis.size, axis=number)


def _near(axis, phase):
    """Place in the window, and index of the first period's window among padded ones, for each window of a phase."""
    places = range(phase, axis.window, axis.stride)
    return [(place, axis.reach - 1 - u) for u, place in enumerate(places)]


def _looked_at(law, x, theta, pulled, geometry):
    """Slopes window by window: where windows do not overlap, or the rule has to know the element."""
    rows, columns = geometry
    x = _padded(x, *((axis.low, _periods(axis) * axis.stride - axis.size - axis.low) for axis in geometry), 1.0)
    by_row = []
    for r in range(rows.stride):
        phases = []
        for q in range(columns.stride):
            part = x[:, r :: rows.stride, q :: columns.stride]
            total = jnp.zeros_like(part)
            for (i, down), (j, along) in itertools.product(_near(rows, r), _near(columns, q)):
                at = slice(None), slice(down, down + _periods(rows)), slice(along, along + _periods(columns))
                here = [value[at] for value in pulled]
                if law.joins_back:
                    total += law.slope(part, here, theta)
                else:
                    total += law.slope_in(part, here, i * columns.window + j)
            phases.append(total)
        by_row.append(_interleaved(phases, columns, 2))
    return _interleaved(by_row, rows, 1)


def _periods(axis):
    """Strides that cover all elements and all windows' first positions."""
    return max(-(-(axis.low + axis.size) // axis.stride), axis.out)


def _statistic(law, x, theta, geometry):
    rows, columns = geometry
    lifted = law.lift(x, theta)
    pads = (rows.low, rows.high), (columns.low, columns.high)
    lifted = [
        None if value is None else _padded(value, *pads, neutral)
        for value, neutral in zip(lifted, law.neutral, strict=True)
    ]

    def part(values, number, axis, place):
        last = place + axis.stride * (axis.out - 1) + 1
        return tuple(
            None if value is None else jax.lax.slice_in_dim(value, place, last, axis.stride, axis=number)
            for value in values
        )

    down, along = range(rows.window), range(columns.window)
    if rows.overlaps:
        joined = law.join([part(lifted, 2, columns, j) for j in along], along)
        joined = _apart(joined, geometry)
        return law.join([part(joined, 1, rows, i) for i in down], [i * columns.window for i in down])
    parts = [part(part(lifted, 1, rows, i), 2, columns, j) for i, j in itertools.product(down, along)]
    return law.join(parts, range(geometry.area))


def _count(geometry, include_pad, dtype):
    if include_pad or not geometry.padded:
        return float(geometry.area)
    down, along = (_held(axis) for axis in geometry)
    return (down[:, None] * along[None])[None, :, :, None].astype(dtype)


def _held(axis):
    """Elements of each window."""
    first = axis.stride * jnp.arange(axis.out)
    return jnp.minimum(first + axis.window, axis.low + axis.size) - jnp.maximum(first, axis.low)


def _padded(value, rows, columns, fill):
    """A negative high pad cuts."""
    zero = (0, 0, 0)
    return jax.lax.pad(value, jnp.asarray(fill, value.dtype), (zero, (*rows, 0), (*columns, 0), zero))
