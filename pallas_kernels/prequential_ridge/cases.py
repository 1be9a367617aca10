"""What the laboratory costs and what every test of kernels runs, for this operation.

Costs are of rows already gathered, on both sides, per row of one program; moving the states in and out, once per call,
is taken off the kernel's by the difference of two lengths. XLA is given whichever of its forms is estimated
faster: for many programs one row of the recursion with programs along lanes, for wide features one block of the
lockstep form; the loop around either would only add to it. On a v5e, cycles per row:

    d    XLA, blocks of 32, 128 programs    XLA, recursion, 512 programs
    25                               178                              20
    96                               187                              50
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import _blocks
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.prequential_ridge import kernel_tpu, kernel_tpu_lanes, kernel_tpu_tiles, xla
from pallas_kernels.prequential_ridge.api import prequential_ridge

__all__ = ["cases", "examples", "sweep"]

_BLOCK = 32  # rows of XLA's block; d = 25 on a v5e: 186 cycles per row for 8, 177 for 16, 178 for 32
_MANY = 512  # programs of XLA's recursion; with 128 of them 35 and 155 cycles per row for 20 and 50


def cases():
    """Many narrow programs, few wide ones; and, heavier, as many as fill a register's lanes at Adult's width."""
    return (
        _lanes("d25", 25, _blocks.BlockSizes(32, 256), num_blocks=2),
        _tiles("d160", 160, _blocks.BlockSizes(32, 2), num_blocks=2),
        _lanes("d96", 96, _blocks.BlockSizes(8, 128), num_blocks=2)._replace(slow=True),
        _tiles("d256", 256, _blocks.BlockSizes(32, 4), num_blocks=2)._replace(slow=True),
    )


def sweep():
    """Block sizes to try: each layout where it serves, the same number of rows for all sizes of a bucket."""
    for dim, width, rows, tried in (
        (25, 48, 256, ((8, 128), (16, 128), (32, 128), (8, 256), (16, 256), (32, 256))),
        (96, 112, 32, ((8, 128), (16, 128))),
        (256, 1 << 20, 128, ((16, 4), (32, 2), (32, 4), (64, 4))),
    ):
        layout = _lanes if width < 1 << 20 else _tiles
        for sizes in (_blocks.BlockSizes(*pair) for pair in tried):
            name = f"d{dim} rows {sizes.rows} programs {sizes.programs}"
            bucket = {"platform": "tpu", "dtype": "float32", "width": width}
            yield bucket, sizes, layout(name, dim, sizes, rows // sizes.rows)


def _lanes(name, dim, sizes, num_blocks):
    registers = sizes.programs // _blocks.LANES
    tall = _blocks.round_up(dim, _blocks.SUBLANES)

    def args(num_blocks):
        return (
            _abstract(1, num_blocks, registers, sizes.rows, tall, _blocks.LANES),
            _abstract(1, num_blocks, registers, sizes.rows, _blocks.LANES),
            _abstract(1, registers, dim + 1, tall, _blocks.LANES),
            _abstract(1, dtype=jnp.int32),
        )

    kernel = functools.partial(kernel_tpu_lanes.stream, width=dim)
    of_peer = tuple(_abstract(*shape, _MANY) for shape in ((dim, dim), (dim,), (dim,), ()))
    return _case(name, kernel, args, sizes, num_blocks, _one_row, of_peer, _MANY)


def _case(name, kernel, args, sizes, num_blocks, peer, of_peer, rows_of_peer):
    """Half as many blocks are taken off, where there is more than one."""
    less = num_blocks // 2
    rows = sizes.programs * sizes.rows * (num_blocks - less)
    shorter = args(less) if less else None
    return Case(name, kernel, args(num_blocks), peer, of_peer, rows, "row", rows_of_peer, shorter)


def _one_row(factor, weights, x, y):
    """`reference.py` with programs along the last axis: `[d, d, P], [d, P], [d, P], [P]`."""
    gain = jnp.sum(factor * x[None], axis=1)
    pivot = 1 + jnp.sum(x * gain, axis=0)
    residual = y - jnp.sum(x * weights, axis=0)
    scaled = gain / jnp.sqrt(pivot)[None]
    state = factor - scaled[:, None] * scaled[None], weights + gain * (residual / pivot)[None]
    return state, (residual, pivot)


def _tiles(name, dim, sizes, num_blocks):
    columns = _blocks.round_up(dim + 1, _blocks.LANES)

    def args(num_blocks):
        return (
            _abstract(1, num_blocks, sizes.programs, sizes.rows, columns),
            _abstract(sizes.programs, columns, columns),
            _abstract(1, dtype=jnp.int32),
        )

    kernel = functools.partial(kernel_tpu_tiles.stream, width=dim, sizes=sizes)
    peers = 2 * sizes.programs
    of_peer = tuple(_abstract(peers, *shape) for shape in ((dim, dim), (dim,), (_BLOCK, dim), (_BLOCK,)))
    return _case(name, kernel, args, sizes, num_blocks, jax.vmap(xla.learn), of_peer, peers * _BLOCK)


def _abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def examples():
    """Programs of unlike length, one of them empty, in each layout; lengths and widths that fill nothing."""
    return (
        _example("tiles", dim=5, awake=(0.9, 0.0), length=13, sizes=_blocks.BlockSizes(8, 2)),
        _example("lanes", dim=3, awake=(0.9, 0.0, 0.4), length=13, sizes=_blocks.BlockSizes(8, 128)),
    )


def _example(name, *, dim, awake, length, sizes):
    rng = np.random.default_rng(0)
    programs = len(awake)
    rows = np.stack([rng.permutation(20)[:length] for _ in awake])
    rows = np.where(rng.random(rows.shape) < np.asarray(awake)[:, None], rows, -1)
    factor = np.broadcast_to(np.eye(dim), (programs, dim, dim))
    args = (
        *(jnp.asarray(v, jnp.float32) for v in (rng.random((20, dim)), rng.random(20))),
        jnp.asarray(rows, jnp.int32),
        *(jnp.asarray(v, jnp.float32) for v in (factor, np.zeros((programs, dim)))),
    )

    def call(features, labels, rows, factor, weights, *, impl):
        return prequential_ridge(
            features, labels, rows, factor=factor, weights=weights, block_size=sizes.rows, impl=impl
        )

    def interpret(*args):
        *args, mode = args
        return kernel_tpu.prequential_ridge(*args, sizes=sizes, interpret=mode)

    # A float32 result is off by some tens of roundings after as many rows.
    return Example(name, args, call, interpret, 1e-5, (0, 1, 3, 4))
