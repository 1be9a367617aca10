"""A loop over children for each tile of lanes: the path of CPUs and GPUs.

One pass of a loop is one child of every lane of a tile: generator, inverse normal and leaf are one fused operation, and
a tile's keys, states and sums stay in a core's first cache. On a TPU the loops around it cost more than it does; the
table is in `kernel_tpu.py`.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.nested_leaf.variates import variates

__all__ = ["nested_leaf", "tile_sums"]


def nested_leaf(words, first, count, state, constants, *, leaf, kinds, tag):
    """Same contract as `api.nested_leaf`."""
    tiles = count.shape[0]

    def by_tile(rows):
        return jnp.moveaxis(rows.reshape(rows.shape[0], tiles, -1), 1, 0)

    def one(tile):
        words, first, count, state = tile
        return tile_sums(words, first, count, state, constants, leaf=leaf, kinds=kinds, tag=tag)

    sums = jax.lax.map(one, (by_tile(words), by_tile(first), count, by_tile(state)))
    return jnp.moveaxis(sums, 0, 2).reshape(*sums.shape[1:3], -1)


def tile_sums(words, first, count, state, constants, *, leaf, kinds, tag):
    """One tile of W lanes, `[2, Z, W]`: arrays without the axis of tiles; `count` is a number."""
    key, shared, here = tuple(words), tuple(constants), tuple(state)

    def half(origin, number):
        def add(q, sums):
            values = leaf(shared, here, variates(key, origin + q.astype(jnp.uint32), kinds, tag))
            return tuple(x + y for x, y in zip(sums, values, strict=True))

        like = jax.eval_shape(add, jax.ShapeDtypeStruct((), jnp.int32), (jnp.float32(0),) * _length())
        return jax.lax.fori_loop(0, number, add, tuple(jnp.zeros(x.shape, x.dtype) for x in like))

    def _length():
        return len(jax.eval_shape(lambda u: leaf(shared, here, u), (state[0],) * len(kinds)))

    return jnp.stack([jnp.stack(half(first[0], (count + 1) // 2)), jnp.stack(half(first[1], count // 2))])
