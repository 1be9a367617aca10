"""One pair at a time in words of the definition, level by level, derivatives by autodiff: the oracle of every test.

Sources: `ong:22` for the operator, `cho:14` for the GRU.
"""

import jax
import jax.numpy as jnp

__all__ = ["monoid_tree"]


def monoid_tree(x, mask, input_kernel, hidden_kernel, input_bias, hidden_bias):
    """Same contract as `api.monoid_tree`; differentiable as it stands."""

    def gru(element, hidden):
        r_in, z_in, n_in = jnp.split(element @ input_kernel + input_bias, 3)
        r_hid, z_hid, n_hid = jnp.split(hidden @ hidden_kernel + hidden_bias, 3)
        keep = jax.nn.sigmoid(z_in + z_hid)
        candidate = jnp.tanh(n_in + jax.nn.sigmoid(r_in + r_hid) * n_hid)
        return (1 - keep) * candidate + keep * hidden

    def joined(left, right, there_left, there_right):
        both = (gru(left, right) + gru(right, left)) / 2
        return jnp.where(there_left & there_right, both, jnp.where(there_left, left, right))

    nodes, there = jnp.where(mask[..., None], x, 0), mask
    while there.shape[1] > 1:
        odd = there.shape[1] % 2
        nodes, there = jnp.pad(nodes, ((0, 0), (0, odd), (0, 0))), jnp.pad(there, ((0, 0), (0, odd)))
        nodes = jax.vmap(jax.vmap(joined))(nodes[:, ::2], nodes[:, 1::2], there[:, ::2], there[:, 1::2])
        there = there[:, ::2] | there[:, 1::2]
    return jnp.where(there, nodes[:, 0], 0)
