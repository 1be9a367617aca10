"""One reduction over windows with a derivative of our own, for the kinds that need one: sums, extremes, exponentials.

`pool` computes it by the formulation that `choices` names for the kind and the windows' overlap, or by a named one.
"""

import functools

import jax
import jax.numpy as jnp

from research.core import validate
from research.pooling import choices, kinds, linear_windows, power_windows, smooth_windows, window_kernel
from research.pooling.window_slices import Spec, kept, wide

__all__ = ["FORMULATIONS", "pool"]

#: What `impl` may name. "slices" of sums and extremes; "powers" where the exponent is a small whole Python number;
#: "apart" and "shared" as in `smooth_windows`.
FORMULATIONS = ("slices", "powers", "apart", "shared")


def pool(spec: Spec, x: jax.Array, c=None, *, mask: jax.Array | None = None, impl: str | None = None) -> jax.Array:
    """Pools `x` `[B, *S, C]` by one of `kinds.SUM`, `kinds.ORDER` and `kinds.EXPONENTIAL`.

    Args:
      c: coefficient of an exponential kind, scalar or `[C]`; a Python number is static.
      mask: `[B, *S]` bool or None.
      impl: one of FORMULATIONS, or None.

    Returns:
      `[B, *O, C]` in the dtype of `x`.

    Raises:
      ValueError: unknown `impl`.
      NotImplementedError: a formulation that this kind does not have.
    """
    if spec.kind not in kinds.EXPONENTIAL:
        c = 0.0
    whole = isinstance(c, (int, float)) and float(c).is_integer() and 1 <= c <= power_windows.LARGEST
    possible = ["slices"] if spec.kind not in kinds.EXPONENTIAL else ["apart", "shared"]
    possible += ["powers"] * (whole and spec.kind in ("power", "lp"))
    if impl is not None and impl not in possible:
        validate.one_of("impl", impl, (None, *FORMULATIONS))
        raise NotImplementedError(
            f"window_pool[{impl}]: kind {spec.kind!r} has {', '.join(possible)} here; use impl=None or one of them."
        )
    if "powers" in possible and impl in (None, "powers"):
        spec = spec._replace(power=int(c))
    spec = spec._replace(learned=not isinstance(c, (int, float)))
    c = jnp.asarray(c, jnp.promote_types(x.dtype, jnp.float32)).reshape((1,) * (x.ndim - 1) + (-1,))
    return _pool(spec, impl, x, mask, c)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _pool(spec, impl, x, mask, c):
    if _free(spec, impl, x, mask):
        ours = functools.partial(_value, spec, impl, mask=mask)
        return jax.lax.platform_dependent(x, c, tpu=functools.partial(window_kernel.value, spec), default=ours)
    return _value(spec, impl, x, c, mask=mask)


def _value(spec, impl, x, c, *, mask):
    if spec.kind in kinds.SUM:
        return linear_windows.mean(spec, x, mask)
    if spec.kind in kinds.ORDER:
        return linear_windows.extreme(spec, x, mask)
    if spec.power:
        return power_windows.forward(spec, x, mask).astype(x.dtype)
    return smooth_windows.forward(spec, x, mask, c, _shares(spec, impl, "value")).astype(x.dtype)


def _free(spec, impl, x, mask):
    """Whether a TPU may run its kernel: no formulation was named, and the kernel has this one."""
    return impl is None and window_kernel.serves(spec, x, mask)


def _shares(spec, impl, direction):
    name = choices.smooth(spec.kind, spec.geometry, direction) if impl is None else impl
    return name == "shared"


def _forward(spec, impl, x, mask, c):
    ours = functools.partial(_value_and_stats, spec, impl, mask=mask)
    chosen = functools.partial(window_kernel.forward, spec, ours) if _free(spec, impl, x, mask) else ours
    y, stats = chosen(x, c)
    return y, (x, mask, c, stats)


def _value_and_stats(spec, impl, x, c, *, mask):
    if spec.kind in kinds.SUM:
        y, stats = linear_windows.mean(spec, x, mask), None
    elif spec.kind in kinds.ORDER:
        y, stats = linear_windows.extreme_with_place(spec, x, mask)
    elif spec.power:
        y = stats = power_windows.forward(spec, x, mask)
    else:
        y, stats = smooth_windows.forward_with_stats(spec, x, mask, c, _shares(spec, impl, "gradient"))
    return y.astype(x.dtype), stats


def _backward(spec, impl, residuals, ct):
    x, mask, c, stats = residuals
    ours = functools.partial(_slopes, spec, mask=mask)
    chosen = functools.partial(window_kernel.adjoint, spec, ours) if _free(spec, impl, x, mask) else ours
    dx, dc = chosen(x, c, stats, wide(ct))
    return dx, None, dc


def _slopes(spec, x, c, stats, ct, *, mask):
    dc = jnp.zeros_like(c)
    if spec.kind in kinds.SUM:
        dx = linear_windows.mean_adjoint(spec, x, mask, ct)
    elif spec.kind in kinds.ORDER:
        dx = linear_windows.extreme_adjoint(spec, x, mask, stats, ct)
    elif spec.power:
        dx = power_windows.adjoint(spec, x, mask, stats, ct)
    else:
        dx = smooth_windows.adjoint(spec, x, mask, c, stats, ct)
        dc = smooth_windows.coefficient_gradient(spec, x, mask, c, stats, ct)
    return kept(mask, dx.astype(x.dtype)), dc


_pool.defvjp(_forward, _backward)
