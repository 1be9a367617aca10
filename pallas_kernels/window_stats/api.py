"""Pooling over windows by statistics that add up: the public function."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.window_stats import kernel_tpu, reference, xla
from pallas_kernels.window_stats.geometry import Axis, Geometry
from pallas_kernels.window_stats.rules import KINDS, PARAMETRIC, TIES

__all__ = ["why_not", "window_stats"]

_NAME = "window_stats"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]
Pads = tuple[tuple[int, int], tuple[int, int]]


def window_stats(
    x: jax.Array,
    theta: jax.Array | None = None,
    *,
    kind: str,
    window: tuple[int, int],
    strides: tuple[int, int],
    padding: Pads = ((0, 0), (0, 0)),
    ties: str = "first",
    straight: bool = False,
    count_include_pad: bool = False,
    impl: Impl | None = None,
) -> jax.Array:
    """Pools each window of each channel to one number: K elements x of a window, of which padding is none.

        sum     sum x                    lp     (sum |x|^p)^(1/p)
        avg     mean x                   power  (mean max(x, 1e-6)^p)^(1/p)
        max     max x                    lme    tau log mean exp(x / tau)
        min     min x                    lse    tau log sum exp(x / tau)
        mixed   a max x + (1 - a) mean x soft   sum w x, w = softmax(beta x)

    Args:
      x: `[B, H, W, C]` floating. 16-bit numbers are widened to float32, and the result is rounded.
      theta: `[C]` of the dtype of x, float32 for 16 bits: p != 0 (> 0 for "lp"), tau > 0, beta or a, for the kinds
        that have one; these are not checked. None for the others.
      kind: as above.
      window: rows and columns, >= 1.
      strides: >= 1.
      padding: before and after, for rows and for columns, >= 0. Every window must have an element.
      ties: whose is the slope of a maximum that several elements attain: "first" along rows, "all" of them in full,
        or "split" in equal shares.
      straight: for "soft": derivatives with the weights held constant.
      count_include_pad: means divide by the window's size, also where it hangs over the border.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `[B, H', W', C]`. A NaN is in its windows and in the slopes of their elements, and nowhere else. Differentiable
      once, in x and theta; the derivative of "soft" in beta is a difference of squares, off by roundings of x^2.

    Raises:
      ValueError: shapes, dtypes or options do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Sources: `stergiou:21` for SoftPool, `radenovic:19` for power means, `lee:16` for the mixture.
    """
    x = jnp.asarray(x)
    options = checked(x, theta, kind, window, strides, padding, ties, straight, count_include_pad)
    theta = jnp.ones(x.shape[-1], _of_theta(x)) if theta is None else jnp.asarray(theta)
    if impl == "reference":
        return choose(_NAME, impl, _forward(options), x, theta)(x, theta)
    return _pool(x, theta, options, impl)


def why_not(x: jax.Array, theta: jax.Array | None = None, **options) -> str | None:
    """Why no TPU runs the kernel for these arguments, which are those of `window_stats` without impl; None if it does.

    Raises ValueError as `window_stats`.
    """
    defaults = {"padding": ((0, 0), (0, 0)), "ties": "first", "straight": False, "count_include_pad": False}
    return _unsupported(dict(checked(x, theta, **(defaults | options))), x, theta)


def _of_theta(x):
    return jnp.promote_types(x.dtype, jnp.float32)


def _hashable(options):
    return tuple(sorted(options.items()))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _pool(x, theta, options, impl):
    return choose(_NAME, impl, _forward(options), x, theta)(x, theta)


def _there(x, theta, options, impl):
    # Only the structure of what is kept can say at trace time whether theta's derivative is asked for.
    kept = x.value, theta.value, () if theta.perturbed else None
    return _pool(x.value, theta.value, options, impl), kept


def _back(options, impl, kept, cotangent):
    x, theta, learned = kept
    learned = learned is not None and not dict(options)["straight"]
    if isinstance(cotangent, SymbolicZero):
        return jnp.zeros_like(x), jnp.zeros_like(theta)
    run = choose(_NAME, impl, _backward(options, learned), x, theta)
    slopes, of_theta = run(x, theta, cotangent)
    return slopes, of_theta if learned else jnp.zeros_like(theta)


_pool.defvjp(_there, _back, symbolic_zeros=True)


@functools.cache
def _forward(options):
    candidates = _candidates(options, kernel_tpu.forward, xla.forward)
    oracle = functools.partial(reference.window_stats, **dict(options))
    return candidates | {"reference": Candidate({"default": oracle}, automatic=False)}


@functools.cache
def _backward(options, learned):
    return _candidates(
        options, functools.partial(kernel_tpu.backward, learned=learned),
        functools.partial(xla.backward, learned=learned),
    )  # fmt: skip


def _candidates(options, kernel, by_xla):
    options = dict(options)
    unsupported = functools.partial(_unsupported, options)
    return {
        "pallas_tpu": Candidate({"tpu": functools.partial(kernel, **options)}, unsupported),
        "xla": Candidate({"default": functools.partial(by_xla, **options)}),
        "pallas_interpret": Candidate(
            {"default": functools.partial(kernel, **options, interpret=True)}, unsupported, automatic=False
        ),
    }


def _unsupported(options, x, theta, *rest):
    del rest
    return kernel_tpu.unsupported(x, theta, **options)


def checked(x, theta, kind, window, strides, padding, ties, straight, count_include_pad):
    """Options of an implementation, as a tuple of pairs; raises as `window_stats`."""
    if x.ndim != 4 or not jnp.issubdtype(x.dtype, jnp.floating) or 0 in x.shape:
        raise ValueError(f"x must be floating [B, H, W, C] with no axis empty, got {x.dtype} {x.shape}.")
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}.")
    if (kind in PARAMETRIC) != (theta is not None):
        raise ValueError(f"theta must be {'an array' if kind in PARAMETRIC else 'None'} for kind {kind!r}.")
    if theta is not None and (jnp.shape(theta) != x.shape[3:] or jnp.result_type(theta) != _of_theta(x)):
        raise ValueError(
            f"theta must be {_of_theta(x)} {x.shape[3:]}, got {jnp.result_type(theta)} {jnp.shape(theta)}."
        )
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, got {ties!r}.")
    if straight and kind != "soft":
        raise ValueError(f"straight must be False for kind {kind!r}: only 'soft' has straight derivatives.")
    for name, pair in (("window", window), ("strides", strides)):
        if len(pair) != 2 or min(pair) < 1:
            raise ValueError(f"{name} must be two numbers >= 1, got {pair}.")
    if len(padding) != 2 or any(len(pair) != 2 or min(pair) < 0 for pair in padding):
        raise ValueError(f"padding must be two pairs of numbers >= 0, got {padding}.")
    geometry = Geometry(*(Axis(*map(int, each)) for each in zip(
        x.shape[1:3], window, strides, *zip(*padding, strict=True), strict=True)))  # fmt: skip
    for name, axis in zip(("rows", "columns"), geometry, strict=True):
        if axis.out < 1:
            raise ValueError(f"window must fit the padded x, got {axis.window} {name} of a window for "
                             f"{axis.size + axis.low + axis.high}.")  # fmt: skip
        if (o := axis.empty()) is not None:
            raise ValueError(f"padding must leave an element to every window, got none in the {name} of window {o}.")
    return _hashable({"kind": kind, "ties": ties, "straight": bool(straight), "geometry": geometry,
                      "include_pad": bool(count_include_pad)})  # fmt: skip


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; SoftPool over 2x2."""
    x, theta = abstract(8, 56, 128)
    options = checked(x, theta, "soft", (2, 2), (2, 2), ((0, 0), (0, 0)), "first", False, False)
    return _explain(_forward(options), platform, x, theta)


def abstract(batch, side, channels):
    """Arguments as `jax.ShapeDtypeStruct` trees."""
    return jax.ShapeDtypeStruct((batch, side, side, channels), jnp.float32), jax.ShapeDtypeStruct(
        (channels,), jnp.float32
    )
