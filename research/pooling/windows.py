"""Pooling over strided windows of an N-dimensional feature map, channels last: one function for every separable kind.

    y = window_pool(x, "soft", window=2, params={"beta": 1.0})

The gradient is our own for every kind, since that of `lax.reduce_window` for a maximum takes 20 to 30 times as long as
needed on CPUs: `phase_transpose` sums, for every element, over the windows that contain it. Elements that a mask leaves
out, and padding, take part in nothing: not in a value, not in a count, not in a gradient, whatever they hold.

Source: `lee:16`, `stergiou:21`, `radenovic:19`, `ko:21`, by kind. Guarantees: `window_bounds.power_mean_gap` (T1),
`log_mean_exp_gap` (T2), `softpool_gap` (T3), `CONVEX` (T4), `excess_error` (T5).
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.pooling import geometry as geometry_lib
from research.pooling import separable
from research.pooling.operator import Operator
from research.pooling.window_slices import Spec, elements, kept, wide

__all__ = ["KINDS", "example", "window_pool"]

#: Every kind with its parameters and their defaults; `eps` is a Python number, the others may be arrays.
KINDS: dict[str, dict[str, float]] = {
    "sum": {},
    "avg": {},
    "max": {},
    "min": {},
    "soft": {"beta": 1.0},
    "lme": {"tau": 1.0},
    "lse": {"tau": 1.0},
    "power": {"p": 3.0, "eps": 1e-6},
    "geometric": {"eps": 1e-6},
    "lp": {"p": 2.0},
    "gnp": {"p": 1.0, "q": 0.5, "eps": 1e-6},
    "mixed": {"a": 0.5},
}
GRADIENTS = ("exact", "straight")
TIES = ("first", "split", "all")


def window_pool(
    x: jax.Array,
    kind: str,
    window: int | tuple[int, ...],
    strides: int | tuple[int, ...] | None = None,
    padding: str | tuple[tuple[int, int], ...] = "VALID",
    *,
    params: Mapping[str, Any] | None = None,
    mask: jax.Array | None = None,
    count_include_pad: bool = False,
    grad: str = "exact",
    ties: str = "first",
    impl: str | None = None,
) -> jax.Array:
    """Pools windows of a feature map; `B` maps, spatial axes `S`, `C` channels, windows `S'`, `n` elements of a window.

    Args:
      x: `[B, *S, C]` floating. NaN spreads to the windows that contain it, and to no other.
      kind: a key of `KINDS`. `sum`; `avg`, sum / n; `max`; `min`; `soft`, sum w x with w = softmax(beta x); `lme` and
        `lse`, tau log(mean exp(x / tau)) and the same of the sum; `power`, (mean max(x, eps)^p)^(1/p), whose p = 0 is
        `geometric`, exp(mean log max(x, eps)); `lp`, (sum |x|^p)^(1/p), p > 0; `gnp`, n^-q (sum (|x| + eps)^p)^(1/p);
        `mixed`, a max + (1 - a) avg.
      window: length of a window along every axis; one number stands for all axes.
      strides: steps between windows; the window's lengths if None.
      padding: "VALID", "SAME", "CEIL" or a pair (low, high) for every axis, see `geometry.resolve`.
      params: of the kind. beta and p: scalar or `[C]`; tau > 0: scalar or `[C]`; a: anything that broadcasts against
        `[*S', C]`; q: scalar or `[C]`. p given as a Python number may also be 0 or infinite for `power` (infinite for
        `lp`); as an array it must stay away from 0, see `power.bounded_power`.
      mask: `[B, *S]` bool, True takes part. A window without any element pools to 0, with gradient 0.
      count_include_pad: `n` of `avg` and `mixed` is the window's size, also where elements are padding or masked.
      grad: "exact", or "straight" for `soft`: its weights held constant, as the released CUDA kernel of `stergiou:21`
        does; non-negative, not the gradient.
      ties: who gets the cotangent among equal largest elements: the "first" in row-major order, all in equal parts
        ("split"), or "all" of them in full, which is no subgradient.
      impl: formulation; None takes the fastest known one, see `choices`.

    Returns:
      `[B, *S', C]` in the dtype of `x`; 16-bit inputs are summed in float32.

    Raises:
      ValueError: an argument is none of the above; the message names it.

    Source: `lee:16` (mixed, CEIL), `stergiou:21` (soft), `radenovic:19` (power mean), `ko:21` (lp, gnp).
    """
    x = jnp.asarray(x)
    validate.require(x.ndim >= 3, "x", "have shape [B, *S, C] with at least one spatial axis", x.shape)
    validate.require(jnp.issubdtype(x.dtype, jnp.floating), "x", "be floating", x.dtype)
    validate.one_of("kind", kind, tuple(KINDS))
    validate.one_of("grad", grad, GRADIENTS)
    validate.one_of("ties", ties, TIES)
    validate.require(grad == "exact" or kind == "soft", "grad", f"be 'exact' for kind {kind!r}", repr(grad))
    geometry = geometry_lib.resolve(x.shape[1:-1], window, strides, padding)
    mask = _checked_mask(mask, x.shape)
    params = _checked_params(kind, params, x.shape[-1])
    eps = params.get("eps", 0.0)
    spec = Spec(kind, eps, geometry, count_include_pad, grad, ties)
    return _compose(spec, x, mask, params, impl)


def _checked_mask(mask, shape):
    if mask is None:
        return None
    mask = jnp.asarray(mask)
    validate.require(mask.dtype == jnp.bool_, "mask", "be boolean", mask.dtype)
    validate.shape("mask", mask, shape[:-1])
    return mask


def _checked_params(kind, params, channels):
    """The parameters with defaults; Python numbers stay Python numbers."""
    given = dict(params or {})
    allowed = f"consist of {', '.join(KINDS[kind]) or 'nothing'} for kind {kind!r}"
    validate.require(set(given) <= set(KINDS[kind]), "params", allowed, ", ".join(sorted(given)))
    merged = KINDS[kind] | given
    for name, value in merged.items():
        if name != "a":
            allowed = f"be a scalar or have shape ({channels},)"
            validate.require(np.shape(value) in ((), (1,), (channels,)), f"params[{name!r}]", allowed, np.shape(value))
        if validate.is_concrete(value):
            number = np.asarray(value, np.float64)
            validate.require(not np.isnan(number).any(), f"params[{name!r}]", "not be NaN", value)
            if name != "p":
                validate.finite(f"params[{name!r}]", number)
            if name == "tau":
                validate.positive("params['tau']", number)
            if name == "p":
                _check_power(kind, value, number)
    if "eps" in merged:
        validate.require(isinstance(merged["eps"], (int, float)), "params['eps']", "be a Python number", merged["eps"])
        validate.at_least("params['eps']", merged["eps"], 0.0)
    return merged


def _check_power(kind, given, p):
    if kind == "lp":
        validate.require(bool((p > 0).all()), "params['p']", "be > 0 for kind 'lp'", given)
    if isinstance(given, (int, float)):
        validate.require(kind != "gnp" or (p != 0 and np.isfinite(p)), "params['p']", "be finite and not 0", given)
    else:
        allowed = "be finite and not 0 where it is an array"
        validate.require(bool((np.isfinite(p) & (p != 0)).all()), "params['p']", allowed, given)


def _compose(spec, x, mask, params, impl):
    """The kind by kinds of which each has one reduction."""
    run = functools.partial(separable.pool, mask=mask, impl=impl)
    if spec.kind in ("power", "lp") and isinstance(params["p"], (int, float)) and np.isinf(params["p"]):
        size = jnp.abs(x) if spec.kind == "lp" else jnp.maximum(x, jnp.asarray(spec.eps, x.dtype))
        return run(spec._replace(kind="max" if params["p"] > 0 else "min"), size)
    if spec.kind == "geometric" or (spec.kind == "power" and isinstance(params["p"], (int, float)) and not params["p"]):
        logs = jnp.log(jnp.maximum(kept(mask, wide(x), 1), spec.eps))  # in 16 bits 1 / eps would be infinite
        y = jnp.exp(run(spec._replace(kind="avg", count_include_pad=False), logs))
        return (y if mask is None else jnp.where(elements(spec.geometry, mask) > 0, y, 0)).astype(x.dtype)
    if spec.kind == "mixed":
        share = jnp.asarray(params["a"], x.dtype)
        largest, mean = run(spec._replace(kind="max"), x), run(spec._replace(kind="avg"), x)
        share = share.reshape((1,) * (x.ndim - share.ndim) + share.shape)
        return mean + share * (largest - mean)
    if spec.kind == "gnp":
        n = elements(spec.geometry, mask).astype(x.dtype)
        y = run(spec._replace(kind="lp"), x, params["p"])
        return y * jnp.maximum(n, 1) ** -_channels(params["q"], x)
    if spec.kind in ("lme", "lse"):
        return run(spec, x, 1 / params["tau"])
    return run(spec, x, params["beta"] if spec.kind == "soft" else params.get("p"))


def _channels(value, x):
    """A scalar or one number for every channel, of the rank of `x`."""
    value = jnp.asarray(value, x.dtype)
    return value.reshape((1,) * (x.ndim - 1) + (-1,))


_RANGE = ("permutation", "idempotent", "monotone", "min_max")
#: Formula, source, invariants of every kind on a collection; of positive elements for the last two.
_SAYS = {
    "sum": ("sum x", "lee:16, conventional pooling", ("permutation", "homogeneous", "monotone")),
    "avg": ("sum x / n", "lee:16, conventional pooling", (*_RANGE, "homogeneous", "shift")),
    "max": ("max x", "lee:16, conventional pooling", (*_RANGE, "homogeneous", "shift", "mean_max")),
    "min": ("min x", "lee:16, conventional pooling", (*_RANGE, "homogeneous", "shift")),
    "soft": (
        "sum w x, w = softmax(beta x)",
        "stergiou:21, SoftPool",
        ("permutation", "idempotent", "shift", "mean_max"),
    ),
    "lme": ("tau log(mean exp(x / tau))", "zhu:23, smoothed maximum", (*_RANGE, "shift", "mean_max")),
    "lse": ("tau log(sum exp(x / tau))", "zhu:23, smoothed maximum", ("permutation", "shift", "monotone")),
    "lp": ("(sum |x|^p)^(1/p)", "L^p norm", ("permutation", "homogeneous")),
    "gnp": ("n^-q (sum (|x| + eps)^p)^(1/p)", "ko:21, GNP", ("permutation",)),
    "mixed": ("a max x + (1 - a) mean x", "lee:16, mixed pooling", (*_RANGE, "homogeneous", "shift", "mean_max")),
    "power": ("(mean max(x, eps)^p)^(1/p)", "radenovic:19, GeM", (*_RANGE, "homogeneous")),
    "geometric": ("exp(mean log max(x, eps))", "power mean with p = 0", (*_RANGE, "homogeneous")),
}


def example(key: jax.Array) -> dict[str, Operator]:
    """Every kind on collections with padding, and two on overlapping windows of a sequence."""
    x = jax.random.uniform(key, (2, 4, 2), minval=0.2, maxval=2.0)
    signs = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, x.shape), 1.0, -1.0).astype(x.dtype)
    mask = jnp.array([[True] * 4, [True, False, True, False]])
    learned = {"soft": {"beta": 1.5}, "lme": {"tau": 0.7}, "lse": {"tau": 0.7}, "power": {"p": 2.5}, "lp": {"p": 2.5},
               "gnp": {"p": 1.5, "q": 0.5}, "mixed": {"a": 0.3}}  # fmt: skip

    def whole(kind, params, x, mask):
        return window_pool(x, kind, x.shape[1], params=params, mask=mask)[:, 0]

    def overlapping(kind, params, x, mask):
        return window_pool(x, kind, 3, 1, "SAME", params=params, mask=mask)

    operators = {}
    for kind, (formula, source, invariants) in _SAYS.items():
        params = {name: jnp.full((), value, x.dtype) for name, value in learned.get(kind, {}).items()}
        positive = kind in ("power", "geometric")
        operators[kind] = Operator(
            functools.partial(whole, kind), params, x if positive else signs * x, formula, source, mask=mask,
            invariants=invariants, positive=positive,
        )  # fmt: skip
        if kind in ("max", "soft"):
            operators[f"{kind}_overlapping"] = operators[kind]._replace(
                apply=functools.partial(overlapping, kind), invariants=()
            )
    operators["lp_whole"] = operators["lp"]._replace(
        apply=lambda params, x, mask: window_pool(x, "lp", x.shape[1], params={"p": 3}, mask=mask)[:, 0], params=()
    )
    return operators
