"""Real Fourier transforms over the last three axes: the library's, and products with matrices on a TPU.

Convention: forward is `jnp.fft.rfftn`, f_k = sum_x f(x) exp(-i k x); backward its inverse. A TPU has no butterfly: its
compiler makes a product of every transform, and takes more than ten minutes over one of 64^3 in three dimensions. One
product an axis, written out, compiles in seconds and costs 8 N flops a number and axis.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float

__all__ = ["AXES", "backward", "by_products", "forward", "inverse_by_products"]

AXES = (-3, -2, -1)


def forward(field: Float[Array, "... N N N"]) -> Array:
    """Modes `[..., N, N, N // 2 + 1]` of a real field; N is even."""
    return jax.lax.platform_dependent(field, tpu=by_products, default=functools.partial(jnp.fft.rfftn, axes=AXES))


def backward(modes: Array) -> Float[Array, "... N N N"]:
    """The real field of modes `[..., N, N, N // 2 + 1]`."""
    size = modes.shape[-2]
    library = functools.partial(jnp.fft.irfftn, s=(size,) * 3, axes=AXES)
    return jax.lax.platform_dependent(modes, tpu=inverse_by_products, default=library)


def by_products(field: Float[Array, "... N N N"]) -> Array:
    """`forward`, on any platform."""
    size = field.shape[-1]
    cosine, sine = _tables(size, size // 2 + 1, field.dtype)
    real, imaginary = _product(field, cosine, -1), -_product(field, sine, -1)
    for axis in (-2, -3):
        real, imaginary = _turned(real, imaginary, axis, -1)
    return jax.lax.complex(real, imaginary)


def inverse_by_products(modes: Array) -> Float[Array, "... N N N"]:
    """`backward`, on any platform."""
    size = modes.shape[-2]
    real, imaginary = modes.real, modes.imag
    for axis in (-3, -2):
        real, imaginary = _turned(real, imaginary, axis, 1)
    cosine, sine = _tables(size, size // 2 + 1, real.dtype)
    # Modes other than the first and the last stand for their conjugates too.
    twice = np.full(size // 2 + 1, 2.0)
    twice[[0, -1]] = 1
    weights = jnp.asarray(twice / size**3, real.dtype)[:, None]
    return _product(real, cosine.T * weights, -1) - _product(imaginary, sine.T * weights, -1)


def _tables(size: int, number: int, dtype) -> tuple[Array, Array]:
    """cos and sin of 2 pi x k / N, `[N, number]`, of angles reduced exactly."""
    turns = (np.arange(size)[:, None] * np.arange(number)[None]) % size
    angle = 2 * np.pi * turns / size
    return jnp.asarray(np.cos(angle), dtype), jnp.asarray(np.sin(angle), dtype)


def _product(array, matrix, axis):
    moved = jnp.matmul(jnp.moveaxis(array, axis, -1), matrix, precision=jax.lax.Precision.HIGHEST)
    return jnp.moveaxis(moved, -1, axis)


def _turned(real, imaginary, axis, sign):
    """The complex transform along an axis, exp(sign i k x)."""
    size = real.shape[axis]
    cosine, sine = _tables(size, size, real.dtype)
    sine = sign * sine
    return (
        _product(real, cosine, axis) - _product(imaginary, sine, axis),
        _product(real, sine, axis) + _product(imaginary, cosine, axis),
    )
