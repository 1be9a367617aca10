"""Small programs whose physical limit is known: a compiler that breaks its own model shows here first.

The estimate of each is a known multiple of its limit. Where that is far from 1, the model itself says why:

- `copy`, `rows`: reads and writes each have the whole bandwidth of HBM, so that a copy takes little more than half of
  its limit; on tpu7x the compiler first fetches the argument into VMEM, and nothing overlaps with that;
- `small blocks`: 500 to 600 cycles of latency for each of its grid steps (two at a time on v5p), that nothing hides;
- `matmul` on v6e and tpu7x: filling the larger matrix unit for blocks of 256 rows, and on tpu7x the fetch;
- `lanes`: a reduction over lanes goes through the XLU three to five times, and each waits for the one before;
- `scan` on v5p: XLA leaves a product of this size to one of the two TensorCores.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels._lab.chips import LANES, Chip

__all__ = ["COMPILERS", "WIDTH", "Micro", "band", "micros", "unknown_rounds"]

#: The compilers under which the multiples were measured: from one to the other they move by at most 0.3 %.
COMPILERS = ("libtpu 0.0.42.1", "libtpu 0.0.52")
#: Half width of a band. A model that is wrong by 15 % is outside; another order of the same instructions, or another
#: version of JAX that writes a kernel's loop differently, may move an estimate by some per cent and breaks nothing.
WIDTH = 0.10


class Micro(NamedTuple):
    """A program and its limit.

    Attributes:
      name: what it exercises.
      fn: the program.
      args: its arguments, on one device.
      limit: cycles that one device needs at least.
      measured: estimated cycles over limit, by chip.
    """

    name: str
    fn: Callable
    args: tuple
    limit: Callable[[Chip], float]
    measured: dict[str, float]


def band(micro: Micro, chip: Chip) -> tuple[float, float]:
    """Where the estimate over the limit must lie."""
    measured = micro.measured[chip.name]
    return measured / (1 + WIDTH), measured * (1 + WIDTH)


def micros() -> tuple[Micro, ...]:
    """All of them; loops that run are long enough for their start and end to matter little."""
    rounds = 64
    approximate = functools.partial(pl.reciprocal, approx=True)
    return (
        Micro("copy", *_rowwise(_double, 8192, 512), _traffic(2 * 8192), _by_chip(0.6, 0.486, 0.652, 1.06)),
        Micro("small blocks", *_rowwise(_double, 1024, 8), _traffic(2 * 1024), _by_chip(10.3, 11.5, 10.7, 17.0)),
        Micro("multiply and add", *_rowwise(_polynomial, 2048, 128), _slots("valu", 2 * rounds * 2048),
              _by_chip(1.11, 1.15, 1.09, 1.12)),
        Micro("exp", *_rowwise(_repeated(jnp.exp), 1024, 128), _slots("eup", rounds * 1024),
              _by_chip(1.22, 1.16, 1.07, 1.09)),
        Micro("reciprocal", *_rowwise(_repeated(approximate), 1024, 128), _slots("eup", rounds * 1024),
              _by_chip(1.19, 1.25, 1.16, 1.11)),
        Micro("matmul", *_matmul(), _products(8192, 1024, 1024), _by_chip(1.12, 1.13, 1.5, 1.67)),
        Micro("rows", *_rowwise(_sum_rows, 8192, 512, rows_out=8), _traffic(8192 + 128),
              _by_chip(0.917, 0.763, 0.991, 1.65)),
        Micro("lanes", *_rowwise(_max_lanes, 2048, 512), _slots("xlu", 16 * 2048 // 4),
              _by_chip(13.2, 13.3, 6.57, 6.65)),
        Micro("loop", *_rowwise(_loop, 32, 16), _slots("valu", 400 * 16 * 32), _by_chip(1.13, 1.18, 1.11, 1.03)),
        Micro("scan", *_scan(50), _products(1024, 1024, 1024, times=50), _by_chip(1.1, 1.9, 1.18, 1.22)),
    )  # fmt: skip


def unknown_rounds() -> tuple[Callable, tuple]:
    """A loop that data ends: the estimate has one round of it, and says so."""

    def fn(x, w):
        return jax.lax.while_loop(lambda c: c[0, 0] > 0, lambda c: _product(c, w), x)

    return fn, (_square(1024), _square(1024))


_COLUMNS = 512


def _by_chip(*measured: float) -> dict[str, float]:
    return dict(zip(("v5e", "v5p", "v6e", "tpu7x"), measured, strict=True))


def _traffic(rows: int) -> Callable[[Chip], float]:
    return lambda chip: chip.cycles(4.0 * rows * _COLUMNS)


def _slots(unit: str, rows: int) -> Callable[[Chip], float]:
    """So many rows each go once through a unit of every TensorCore that the device has."""
    return lambda chip: rows * _COLUMNS / LANES / getattr(chip.slots, unit) / chip.tensor_cores


def _products(m: int, k: int, n: int, times: int = 1) -> Callable[[Chip], float]:
    return lambda chip: 2.0 * m * k * n * times / chip.flops * chip.clock


def _rowwise(kernel, rows: int, block: int, rows_out: int | None = None) -> tuple[Callable, tuple]:
    """A kernel over blocks of rows, shared by the TensorCores of a device; `rows_out` of a block's rows are written."""
    grid, written = rows // block, rows_out or block
    out = jax.ShapeDtypeStruct((grid * written, _COLUMNS), jnp.float32)

    def fn(x):
        return pl.pallas_call(
            kernel,
            out_shape=out,
            grid=(grid,),
            in_specs=[pl.BlockSpec((block, _COLUMNS), lambda i: (i, 0))],
            out_specs=pl.BlockSpec((written, _COLUMNS), lambda i: (i, 0)),
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
            name="micro",
        )(x)

    return fn, (jax.ShapeDtypeStruct((rows, _COLUMNS), jnp.float32),)


def _double(x_ref, o_ref):
    o_ref[...] = x_ref[...] * 2.0


def _polynomial(x_ref, o_ref):
    x = y = x_ref[...]
    for _ in range(64):
        y = y * x + 0.5
    o_ref[...] = y


def _repeated(operation) -> Callable:
    def kernel(x_ref, o_ref):
        y = x_ref[...]
        for _ in range(64):
            y = operation(y)
        o_ref[...] = y

    return kernel


def _sum_rows(x_ref, o_ref):
    o_ref[...] = jnp.sum(x_ref[...].reshape(-1, 8, _COLUMNS), axis=0)


def _max_lanes(x_ref, o_ref):
    x = x_ref[...]
    y = x[:, :128]
    for _ in range(16):
        y = x[:, :128] + jnp.max(y, axis=1, keepdims=True)
    o_ref[...] = jnp.tile(y, (1, _COLUMNS // 128))


def _loop(x_ref, o_ref):
    x = x_ref[...]

    def body(_, y):
        for _ in range(8):
            y = y * x + 0.5
        return y

    o_ref[...] = jax.lax.fori_loop(0, 400, body, x)


def _matmul() -> tuple[Callable, tuple]:
    """[8192, 1024] times [1024, 1024], which stays in VMEM."""
    block, (m, k, n) = 256, (8192, 1024, 1024)

    def kernel(x_ref, w_ref, o_ref):
        o_ref[...] = _product(x_ref[...], w_ref[...])

    def fn(x, w):
        return pl.pallas_call(
            kernel,
            out_shape=jax.ShapeDtypeStruct((m, n), jnp.bfloat16),
            grid=(m // block,),
            in_specs=[pl.BlockSpec((block, k), lambda i: (i, 0)), pl.BlockSpec((k, n), lambda i: (0, 0))],
            out_specs=pl.BlockSpec((block, n), lambda i: (i, 0)),
            compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",)),
            name="micro",
        )(x, w)

    return fn, (jax.ShapeDtypeStruct((m, k), jnp.bfloat16), jax.ShapeDtypeStruct((k, n), jnp.bfloat16))


def _scan(length: int) -> tuple[Callable, tuple]:
    def fn(x, w):
        return jax.lax.scan(lambda c, _: (_product(c, w), None), x, length=length)[0]

    return fn, (_square(1024), _square(1024))


def _product(x, w):
    return jnp.dot(x, w, preferred_element_type=jnp.float32).astype(jnp.bfloat16)


def _square(n: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((n, n), jnp.bfloat16)
