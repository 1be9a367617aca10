"""All children of all lanes at once in plain jnp: the oracle of every test of this package.

Normals are `jax.scipy.special.ndtri`, good to 6e-7; those of `lax.erf_inv` are off by up to 2.2e-5.
"""

import jax
import jax.numpy as jnp

from pallas_kernels import _threefry

__all__ = ["nested_leaf"]


def nested_leaf(words, first, count, state, constants, *, leaf, kinds, tag, most):
    """Same contract as `api.nested_leaf`; holds `most` values for every lane."""
    count = jnp.repeat(count, words.shape[1] // count.shape[0])
    child = jnp.arange((most + 1) // 2)

    def of_half(origin, number):
        def one(q):
            return jnp.stack(leaf(tuple(constants), tuple(state), variates(words, origin + q.astype(jnp.uint32))))

        return jnp.sum(jax.vmap(one)(child), axis=0, where=(child[:, None] < number[None])[:, None])

    def variates(key, c):
        found = []
        for q in range(-(-len(kinds) // 2)):
            found += _threefry.threefry_2x32(key, (c, jnp.full_like(c, tag + q)))
        return tuple(_law(kind, word) for kind, word in zip(kinds, found, strict=False))

    return jnp.stack([of_half(first[0], (count + 1) // 2), of_half(first[1], count // 2)])


def _law(kind, word):
    whole = (word >> jnp.uint32(9)).astype(jnp.int32)
    if kind == "uniform":
        return (whole.astype(jnp.float32) + 0.5) * 2.0**-23
    # The lower quantile of the smaller tail: in float32 the other one has lost its digits.
    upper = whole >= 1 << 22
    below = jnp.where(upper, (1 << 23) - 1 - whole, whole)
    value = jax.scipy.special.ndtri((2 * below + 1).astype(jnp.float32) * 2.0**-24)
    return jnp.where(upper, -value, value)
