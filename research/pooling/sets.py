"""Pooling a batch of sets, dense with a mask or flat with segment ids: one function for ten statistics.

    y = set_pool(x, "mean", mask=mask)                                    # x: [G, N, D], mask: [G, N]
    y = set_pool(x, "softmax", segment_ids=ids, num_segments=G, params={"beta": 2.0})

Elements that take no part touch neither outputs nor gradients, whatever they hold. All kinds are the same for elements
in any order, up to the rounding of a reordered sum (T9, `set_bounds.reordering_error`).

Source: `zaheer:17` for sets; `stergiou:21` for softmax with an inverse temperature; `radenovic:19` for power means;
`ko:21` for GNP; `ilse:18` for LME.

Letters: `G` sets, `N` elements of a padded set, `M` elements in all, `D` channels, `n` elements of one set.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from research.core import validate as checks
from research.core.types import Array, Float
from research.pooling import layouts, softmax_monoid
from research.pooling.operator import Operator

__all__ = ["KINDS", "SMALLEST_POWER", "example", "pool_sharded", "set_pool"]

#: |p| of a power mean below which 1/p is not to be trusted, save for p = 0 itself.
SMALLEST_POWER = 1e-3


def set_pool(
    x: Array, kind: str, *, mask=None, segment_ids=None, num_segments: int | None = None, sorted: bool = False,
    params: dict | None = None, empty: float = 0.0, axis_name: str | None = None,
) -> Float[Array, "G D"]:  # fmt: skip
    """One number per set and channel.

    Args:
      x: `[G, N, D]`, or `[M, D]` with segment ids. Kept in its dtype; accumulated in float32 at least. Integers give
        float32, except for sum, max and min; so does var of half precision, whose squares it cannot hold.
      kind: of `KINDS`. sum S; mean S / n; max; min; var sum (x - mean)^2 / n; std its root; softmax
        sum w x, w = softmax(beta x); power (mean max(x, eps)^p)^(1/p), p = 0 the geometric mean, +-inf max and min;
        gnp n^-q (sum (|x| + eps)^p)^(1/p); lme tau log mean exp(x / tau).
      mask, segment_ids, num_segments, sorted: as in `layouts.layout_of`.
      params: softmax beta (1.0); power p (3.0), eps (1e-6); gnp p, q (1.0 each), eps (1e-6); lme tau (1.0). Numbers, or
        `[D]` arrays for channels; p = 0 and p = +-inf as Python numbers only, since they are other formulas.
      empty: of a set without elements, with zero gradient.
      axis_name: mesh axis that the elements of every set are split over, inside `shard_map`.

    Equal maxima share their gradient, and a set of equal elements has a std with gradient 0.

    Raises: ValueError for an unknown kind or parameter, tau <= 0, beta not finite, NaN p, 0 < |p| < 1e-3, p = 0 as an
    array, eps < 0, and for what `layouts.layout_of` refuses.
    """
    checks.one_of("kind", kind, tuple(KINDS))
    layout = layouts.layout_of(
        x, mask=mask, segment_ids=segment_ids, num_segments=num_segments, sorted=sorted, axis_name=axis_name
    )
    settings = _settings(kind, params or {}, x)
    x = jnp.asarray(x)
    wide = x
    if kind not in ("sum", "max", "min") or jnp.issubdtype(x.dtype, jnp.floating):
        wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    pooled = KINDS[kind](layout, layout.where(wide, 0), **settings)
    pooled = jnp.where(layout.count > 0, pooled, jnp.asarray(empty).astype(pooled.dtype))
    return pooled.astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) and kind != "var" else pooled


def pool_sharded(x: Array, kind: str, *, mesh: Mesh, axis: str = "data", mask=None, segment_ids=None, **options):
    """`set_pool` with the elements of every set split over a mesh axis; statistics of sets are all that travels.

    Args:
      x: `[G, N, D]` with N, or `[M, D]` with M, divisible by the axis; a `mask` is split alike.
      options: those of `set_pool`.

    Raises: ValueError for an axis that the mesh lacks or that does not divide the elements.
    """
    checks.require(axis in mesh.shape, "mesh", f"have an axis {axis!r}", mesh.axis_names)
    elements = np.shape(x)[1] if segment_ids is None else np.shape(x)[0]
    allowed = f"have a number of elements divisible by the {mesh.shape[axis]} devices"
    checks.require(elements % mesh.shape[axis] == 0, "x", allowed, elements)
    split = P(None, axis) if segment_ids is None else P(axis)
    given = {name: value for name, value in (("mask", mask), ("segment_ids", segment_ids)) if value is not None}

    def local(x, given):
        return set_pool(x, kind, axis_name=axis, **given, **options)

    return jax.shard_map(local, mesh=mesh, in_specs=(split, split), out_specs=P())(x, given)


def _sum(layout, x):
    return layout.sum(x)


def _mean(layout, x):
    return layout.sum(x) / _size(layout, x)


def _max(layout, x):
    return layouts.maximum(layout, x)


def _min(layout, x):
    return -layouts.maximum(layout, -x)


def _var(layout, x):
    # Around the mean, not as a difference of moments, which cancels.
    return layout.sum((x - layout.spread(_mean(layout, x))) ** 2) / _size(layout, x)


def _std(layout, x):
    var = _var(layout, x)
    return jnp.where(var == 0, 0, jnp.sqrt(jnp.where(var == 0, 1, var)))


def _softmax(layout, x, beta):
    return softmax_monoid.pooled(layout, _wide(beta, x) * x, x)


def _power(layout, x, p, eps):
    floored = jnp.where(x <= eps, jnp.asarray(eps, x.dtype), x)  # lets NaN pass, and no gradient at or below eps
    if isinstance(p, float) and math.isinf(p):
        return (_max if p > 0 else _min)(layout, floored)
    if isinstance(p, float) and p == 0:
        return jnp.exp(layout.sum(jnp.log(floored)) / _size(layout, x))
    total = softmax_monoid.log_total(layout, _wide(p, x) * jnp.log(floored))
    return jnp.exp((total - jnp.log(_size(layout, x))) / _row(p, x))


def _gnp(layout, x, p, q, eps):
    size = layout.where(jnp.abs(x) + eps, 1)
    total = softmax_monoid.log_total(layout, _wide(p, x) * jnp.log(size))
    return jnp.exp(total / _row(p, x) - _row(q, x) * jnp.log(_size(layout, x)))


def _lme(layout, x, tau):
    total = softmax_monoid.log_total(layout, x / _wide(tau, x))
    return _row(tau, x) * (total - jnp.log(_size(layout, x)))


#: Kind -> function of (layout, elements, parameters).
KINDS = {
    "sum": _sum, "mean": _mean, "max": _max, "min": _min, "var": _var, "std": _std,
    "softmax": _softmax, "power": _power, "gnp": _gnp, "lme": _lme,
}  # fmt: skip

_DEFAULTS = {
    "softmax": {"beta": 1.0}, "power": {"p": 3.0, "eps": 1e-6},
    "gnp": {"p": 1.0, "q": 1.0, "eps": 1e-6}, "lme": {"tau": 1.0},
}  # fmt: skip


def _size(layout, x) -> Float[Array, "G 1"]:
    return jnp.maximum(layout.count, 1).astype(x.dtype)


def _wide(parameter, x):
    """A parameter as elements meet it: a number, or `[D]` with axes of length 1 before it."""
    parameter = jnp.asarray(parameter, x.dtype)
    return parameter if parameter.ndim == 0 else parameter.reshape((1,) * (x.ndim - 1) + parameter.shape)


def _row(parameter, x):
    """A parameter as pooled values `[G, D]` meet it."""
    parameter = jnp.asarray(parameter, x.dtype)
    return parameter if parameter.ndim == 0 else parameter[None]


def _settings(kind, given, x) -> dict:
    defaults = _DEFAULTS.get(kind, {})
    for name in given:
        checks.require(name in defaults, "params", f"have no names but {', '.join(defaults) or 'none'}", repr(name))
    settings = defaults | given
    for name, value in settings.items():
        allowed = f"be a number or have shape ({np.shape(x)[-1]},)"
        checks.require(np.shape(value) in ((), np.shape(x)[-1:]), name, allowed, np.shape(value))
    if "eps" in settings:
        checks.at_least("eps", settings["eps"], 0)
    if "tau" in settings:
        checks.positive("tau", settings["tau"])
    for name in ("beta", "q"):
        if name in settings:
            checks.finite(name, settings[name])
    if "p" in settings:
        settings["p"] = _power_of(kind, settings["p"])
    return settings


def _power_of(kind, p):
    """p as a Python float where it is a Python number: 0 and infinities are formulas of their own."""
    allowed = f"have |p| >= {SMALLEST_POWER:g}"
    if isinstance(p, int | float) and kind == "power" and (p == 0 or math.isinf(p)):
        return float(p)
    if checks.is_concrete(p):
        values = np.asarray(p, np.float64)
        good = np.isfinite(values) & (np.abs(values) >= SMALLEST_POWER)
        extra = ", or be 0 or +-inf as a Python number" if kind == "power" else ""
        checks.require(bool(good.all()), "p", allowed + extra, p)
    return p


def example(key) -> dict[str, Operator]:
    """Every kind on three sets of up to five elements, and two of them flat."""
    x = jax.random.normal(key, (3, 5, 2))
    mask = jnp.arange(5)[None] < jnp.array([5, 3, 1])[:, None]

    def operator(kind, formula, *invariants, source="zaheer:17", params=(), positive=False):
        def apply(params, x, mask):
            return set_pool(x, kind, mask=mask, params=dict(params))

        inputs = jnp.exp(x) if positive else x
        return Operator(
            apply, params, inputs, formula, source, mask=mask, invariants=("permutation", *invariants),
            positive=positive,
        )  # fmt: skip

    def flat(kind):
        def apply(params, x, mask):
            groups, size, channels = x.shape
            ids = jnp.repeat(jnp.arange(groups), size)
            rows, taken = x.reshape(-1, channels), mask.reshape(-1)
            return set_pool(rows, kind, mask=taken, segment_ids=ids, num_segments=groups, sorted=True)

        return apply

    linear = ("idempotent", "homogeneous", "shift", "monotone", "min_max")
    found = {
        "set_sum": operator("sum", "sum_i x_i", "homogeneous", "monotone"),
        "set_mean": operator("mean", "sum_i x_i / n", *linear, "mean_max"),
        "set_max": operator("max", "max_i x_i", *linear, "mean_max"),
        "set_min": operator("min", "min_i x_i", *linear),
        "set_var": operator("var", "sum_i (x_i - mean)^2 / n"),
        "set_std": operator("std", "sqrt(sum_i (x_i - mean)^2 / n)", "homogeneous"),
        "set_softmax": operator(
            "softmax", "sum_i w_i x_i, w = softmax(beta x)", "idempotent", "shift", "min_max", "mean_max",
            source="stergiou:21", params={"beta": jnp.asarray(1.5)},
        ),
        "set_power": operator(
            "power", "(sum_i x_i^p / n)^(1/p)", "idempotent", "homogeneous", "monotone", "min_max",
            source="radenovic:19", params={"p": jnp.array([2.5, -1.5])}, positive=True,
        ),
        "set_gnp": operator(
            "gnp", "n^-q (sum_i (|x_i| + eps)^p)^(1/p)", source="ko:21",
            params={"p": jnp.array([2.0, -1.0]), "q": jnp.array([0.5, -1.0])}, positive=True,
        ),
        "set_lme": operator(
            "lme", "tau log(sum_i exp(x_i / tau) / n)", "idempotent", "shift", "monotone", "min_max", "mean_max",
            source="ilse:18", params={"tau": jnp.asarray(0.7)},
        ),
    }  # fmt: skip
    for kind in ("softmax", "max"):
        dense = found[f"set_{kind}"]
        # The rows of a batch are sets here, not entries: applied to all of them at once.
        found[f"segment_{kind}"] = dense._replace(apply=flat(kind), params=())
    return found
