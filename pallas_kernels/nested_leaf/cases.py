"""What the laboratory costs and what every test of kernels runs, for this operation.

The compiler's simulator counts a loop whose length depends on data once: both sides are costed with loops of fixed
length on one tile, the kernel by what a longer loop, or a larger tile, costs more.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._blocks import LANES
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.nested_leaf import api, kernel_tpu, xla

__all__ = ["cases", "examples"]

_TAG = 0x30000000
_FLOCK = 1024  # leaves of a unit


def cases():
    """A walk with one normal, and 64 children a lane.

    XLA does not finish in ten minutes where its loops have one round, which it unrolls for a TPU: short families have
    no peer, and so no case.
    """
    return (_case("many", 64, 32),)


def _case(name, count, height):
    """The kernel on a tile of `2 height` rows less one of half as many."""

    def args(height):
        keys = _abstract(1, 2, height, LANES, dtype=jnp.uint32)
        return _abstract(1, dtype=jnp.int32), keys, keys, _abstract(1, 1, height, LANES), _abstract(1)

    kernel = functools.partial(kernel_tpu.stream, leaf=_walk, kinds=("normal",), tag=_TAG, most=count, fixed=count)

    def by_xla(words, first, state, constants):
        return xla.tile_sums(words, first, count, state, constants, leaf=_walk, kinds=("normal",), tag=_TAG)

    words, first, _, state, constants = api.abstract(1, 2 * height * LANES, 1, 1)
    units = height * LANES * count / _FLOCK
    return Case(
        name, kernel, args(2 * height), by_xla, (words, first, state, constants), units, "1,024 leaves", 2 * units,
        args(height),
    )  # fmt: skip


def _abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def _walk(constants, state, u):
    return (state[0] + constants[0] * u[0],)


def _scaled(constants, state, u):
    """No constants."""
    return (jnp.sin(state[0] + state[1] * u[0]),)


def _two_values(constants, state, u):
    """Three variates of both laws, two values."""
    x = state[0] + constants[0] * u[0]
    return jnp.exp(-constants[1] * x**2) * u[1], jnp.maximum(x, u[2])


def examples():
    """Tiles with no, one, odd and many children; several registers, variates and values."""
    return (
        _example("one variate", _scaled, counts=(1, 0, 6, 17), size=2, constants=(), kinds=("normal",)),
        _example("two values", _two_values, counts=(3, 10), size=1, constants=(0.4, 0.3),
                 kinds=("normal", "uniform", "normal"), registers=3),
    )  # fmt: skip


def _example(name, leaf, *, counts, size, constants, kinds, registers=1):
    rng = np.random.default_rng(0)
    lanes = len(counts) * registers * kernel_tpu.REGISTER
    words, first = (jnp.asarray(rng.integers(1 << 32, size=(2, lanes)), jnp.uint32) for _ in range(2))
    state = jnp.asarray(rng.normal(size=(size, lanes)), jnp.float32)
    args = words, first, jnp.asarray(counts, jnp.int32), state, jnp.asarray(constants, jnp.float32)
    options = {"kinds": kinds, "tag": _TAG, "most": max(counts)}

    def call(*args, impl):
        return jax.jit(functools.partial(api.nested_leaf, leaf=leaf, **options, impl=impl))(*args)

    def interpret(*args):
        *args, mode = args
        return jax.jit(functools.partial(kernel_tpu.nested_leaf, leaf=leaf, **options, interpret=mode))(*args)

    # Each normal is off by up to 1.5e-6 and a sum by some roundings.
    return Example(name, args, call, interpret, 2e-6, differentiable=(3, 4) if constants else (3,))
