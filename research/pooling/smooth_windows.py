"""The smooth kinds on windows, in two formulations that agree to rounding.

`apart`: every window subtracts its own largest exponent, so nothing overflows whatever the input. An element that lies
in nine windows is exponentiated nine times.

`shared`: one exponential of an element, for all its windows; then sums over windows of `e` and `e x`, and backwards
sums over the windows of an element, are all that is left. Sound while every exponent is within `LIMIT` of 0, so that
no sum leaves float32 and no weight above 1e-26 of its window is lost; asked of the whole array (of the elements that
are not NaN), and where it does not hold `apart` is computed instead.

An exponential under several slices is computed once only where each is used in one expression: hence the logarithm
first and then the mean with its weights in `apart`, and reciprocal sums in place of logarithms in `shared`.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from research.pooling import kinds
from research.pooling.phase_transpose import phase_transpose
from research.pooling.window_slices import Spec, elements, kept, parts, total, wide

__all__ = ["LIMIT", "adjoint", "coefficient_gradient", "forward", "forward_with_stats"]

#: Of the absolute value of an exponent in `shared`: the sum of nine exp(60) squared is within float32.
LIMIT = 60.0
#: Smallest coefficient of `shared` in absolute value: |x| <= LIMIT / SMALLEST then.
SMALLEST = 1e-4


def _kind(spec):
    return kinds.Smooth(spec.kind, spec.eps)


def _inside(x, mask):
    """The elements, 1 where they take no part: any that all kinds are defined at."""
    return wide(kept(mask, x, 1))


def _count(spec, mask, dtype):
    return jnp.maximum(elements(spec.geometry, mask), 1).astype(dtype)


def _some(spec, mask):
    """Whether a window has an element."""
    return True if mask is None else elements(spec.geometry, mask) > 0


def forward(spec: Spec, x: jax.Array, mask, c: jax.Array, shared: bool) -> jax.Array:
    """`[B, *O, C]`, in float32 at least."""
    if not shared:
        return _apart(spec, x, mask, c)
    if spec.kind != "soft":  # used once, the powers would be computed again for every window: held by a branch
        fits = _moderate(spec, x, mask, c)
        e = lax.cond(fits, lambda *a: _powers(spec, *a), lambda x, *_: wide(x), x, mask, c)
        return lax.cond(fits, lambda e, *_: _of_powers(spec, e, mask, c), lambda _, *a: _apart(spec, *a), e, x, mask, c)
    return lax.cond(
        _moderate(spec, x, mask, c), lambda *a: _shared(spec, *a)[0], lambda *a: _apart(spec, *a), x, mask, c
    )


def forward_with_stats(spec: Spec, x: jax.Array, mask, c: jax.Array, shared: bool):
    """`[B, *O, C]` values, and (values, `l` or 1 / sum exp(c u), whether it is the latter or None for never)."""
    if not shared:
        y, log_total = _apart_with_log(spec, x, mask, c)
        return y, (y, log_total, None)
    fits = _moderate(spec, x, mask, c)
    y, stat = lax.cond(fits, lambda *a: _shared(spec, *a), lambda *a: _apart_with_log(spec, *a), x, mask, c)
    return y, (y, stat, fits)


def adjoint(spec: Spec, x: jax.Array, mask, c: jax.Array, stats, ct: jax.Array) -> jax.Array:
    """`[B, *S, C]` from the cotangent."""
    y, stat, fits = stats
    if fits is None:
        return _apart_adjoint(spec, x, mask, c, y, stat, ct)
    run = [functools.partial(branch, spec) for branch in (_shared_adjoint, _apart_adjoint)]
    return lax.cond(fits, *run, x, mask, c, y, stat, ct)


def coefficient_gradient(spec: Spec, x: jax.Array, mask, c: jax.Array, stats, ct: jax.Array) -> jax.Array:
    """Gradient for `c`, by the weighted mean of `u` in every window, for `soft` the weighted variance of `x`."""
    y, stat, fits = stats
    apart, shared = (functools.partial(_slopes, spec, shared=shared) for shared in (False, True))
    rate = apart(x, mask, c, y, stat) if fits is None else lax.cond(fits, shared, apart, x, mask, c, y, stat)
    grads = jnp.where(ct == 0, 0, ct * rate)
    axes = tuple(axis for axis, size in enumerate(c.shape) if size == 1)
    return grads.sum(axis=axes).reshape(c.shape)


# Own largest exponent in every window.


def _exponents(spec, x, mask, c):
    z = kept(mask, c * kinds.coordinate(_kind(spec), _inside(x, mask)), -jnp.inf)
    found = parts(z, spec.geometry, -jnp.inf)
    top = functools.reduce(jnp.maximum, found)
    return found, jnp.where(jnp.isfinite(top), top, 0)


def _sum(terms):
    return functools.reduce(jnp.add, terms)


def _log_total(spec, x, mask, c):
    """`l`, -inf of no element."""
    found, top = _exponents(spec, x, mask, c)
    return top + jnp.log(_sum([jnp.exp(z - top) for z in found]))


def _apart(spec, x, mask, c):
    some = _some(spec, mask)
    if spec.kind != "soft":
        return _value(spec, mask, c, _log_total(spec, x, mask, c))
    found, top = _exponents(spec, x, mask, c)
    values = parts(kept(mask, _inside(x, mask)), spec.geometry, 0)
    weights = [jnp.exp(z - top) for z in found]
    mean = _sum([w * v for w, v in zip(weights, values, strict=True)]) / jnp.where(some, _sum(weights), 1)
    return jnp.where(some, mean, 0)


def _value(spec, mask, c, log_total):
    some = _some(spec, mask)
    n = _count(spec, mask, log_total.dtype)
    return jnp.where(some, kinds.value(_kind(spec), jnp.where(some, log_total, 0), c, n), 0)


def _apart_with_log(spec, x, mask, c):
    log_total = _log_total(spec, x, mask, c)
    if spec.kind != "soft":
        return _value(spec, mask, c, log_total), log_total
    values = parts(kept(mask, _inside(x, mask)), spec.geometry, 0)
    weights = _weights(spec, x, mask, c, log_total, shared=False)
    return _sum([w * v for w, v in zip(weights, values, strict=True)]), log_total


def _weights(spec, x, mask, c, stat, shared):
    """Those of the elements of every window, which sum to 1; 0 of no element."""
    z = kept(mask, c * kinds.coordinate(_kind(spec), _inside(x, mask)), -jnp.inf)
    if shared:
        return [e * stat for e in parts(jnp.exp(z), spec.geometry, 0)]
    stat = jnp.where(stat == -jnp.inf, 0, stat)
    return [jnp.exp(part - stat) for part in parts(z, spec.geometry, -jnp.inf)]


def _apart_adjoint(spec, x, mask, c, y, log_total, ct):
    kind = _kind(spec)
    r = kinds.rest(kind, log_total, jnp.where(log_total == -jnp.inf, 1, y))
    ct = jnp.where(r == jnp.inf, 0, ct)

    def local(x, outs, _):
        c_ = c.reshape((1,) * (x.ndim - 1) + (-1,))
        w = jnp.exp(kinds.exponent(kind, x, c_) - outs[1]) * outs[0]
        if spec.kind == "soft" and spec.grad == "exact":
            return w * (1 + c_ * (x - outs[2]))
        return w * kinds.factor(kind, x)

    return phase_transpose(_inside(x, mask), [(ct, 0), (r, jnp.inf), (y, 0)], spec.geometry, local)


# One exponential of every element.


def _moderate(spec, x, mask, c):
    """Whether all exponents are within the limit; those of elements that take no part, or are NaN, do not count.

    Largest and smallest elements are found at the speed of the memory; NaN among them costs a second, slower look, so
    that a NaN changes nothing elsewhere, not even the rounding.
    """
    kind, steepest = _kind(spec), jnp.abs(c).max()
    inside = wide(kept(mask, x, 1 if kind.logarithmic else 0))
    if kind.logarithmic:
        inside = kinds.size(kind, inside)
        inside = jnp.where((inside == 0) & (c.min() > 0), 1, inside)  # 0^c is 0 exactly
        high = jnp.exp(LIMIT / steepest)
        low = 1 / high
    else:
        high = LIMIT / steepest
        low = -high
    largest, smallest = inside.max(), inside.min()
    return (jnp.abs(c).min() >= SMALLEST) & lax.cond(
        jnp.isnan(largest),
        lambda: ~jnp.any((inside > high) | (inside < low)),
        lambda: (largest <= high) & (smallest >= low),
    )


def _powers(spec, x, mask, c):
    return kept(mask, jnp.exp(c * kinds.coordinate(_kind(spec), _inside(x, mask))))


def _shared(spec, x, mask, c):
    """Values and reciprocal sums, 0 of a window whose sum is 0."""
    e = _powers(spec, x, mask, c)
    sums = total(e, spec.geometry)
    reciprocal = jnp.where(sums == 0, 0, 1 / sums)
    if spec.kind == "soft":
        return total(e * _inside(x, mask), spec.geometry) * reciprocal, reciprocal
    return _value(spec, mask, c, jnp.log(sums)), reciprocal


def _of_powers(spec, e, mask, c):
    return _value(spec, mask, c, jnp.log(total(e, spec.geometry)))


def _shared_adjoint(spec, x, mask, c, y, reciprocal, ct):
    kind, inside = _kind(spec), _inside(x, mask)
    if kind.logarithmic:
        own = kinds.factor(kind, inside) * jnp.exp(kinds.exponent(kind, inside, c))
        return own * _gather(spec, ct * y * reciprocal)
    e = jnp.exp(c * inside)
    ct = ct * reciprocal
    if spec.kind != "soft" or spec.grad == "straight":
        return e * _gather(spec, ct)
    return e * ((1 + c * inside) * _gather(spec, ct) - c * _gather(spec, ct * y))


def _gather(spec, ct):
    """For every element the sum over its windows."""
    return phase_transpose(None, [(ct, 0)], spec.geometry, lambda _, outs, __: outs[0])


def _slopes(spec, x, mask, c, y, stat, *, shared):
    """Derivative of every value by `c`."""
    kind, inside = _kind(spec), _inside(x, mask)
    weights = _weights(spec, x, mask, c, stat, shared)
    u = kinds.coordinate(kind, inside)
    u = parts(kept(mask, jnp.where(u == -jnp.inf, 0, u)), spec.geometry, 0)
    if spec.kind == "soft":
        return _sum([w * (v - y) ** 2 for w, v in zip(weights, u, strict=True)])
    mean = _sum([w * v for w, v in zip(weights, u, strict=True)])
    log_total = -jnp.log(jnp.where(stat == 0, 1, stat)) if shared else jnp.where(stat == -jnp.inf, 0, stat)
    return kinds.slope(kind, y, mean, log_total, c, _count(spec, mask, y.dtype))
