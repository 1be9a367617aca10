"""The tree on whole levels, one matrix product for both orders of a pair: what runs where the kernel does not."""

import jax
import jax.numpy as jnp

__all__ = ["monoid_tree"]


def monoid_tree(x, mask, input_kernel, hidden_kernel, input_bias, hidden_bias):
    """Same contract as `api.monoid_tree`."""
    kernel = jnp.concatenate([input_kernel, hidden_kernel], axis=1)
    biases = input_bias[None, None], hidden_bias[None, None]
    nodes, there = jnp.where(mask[..., None], x, 0), mask
    while there.shape[1] > 1:
        pairs = there.shape[1] // 2
        left, right = nodes[:, 0 : 2 * pairs : 2], nodes[:, 1 : 2 * pairs : 2]
        has_left, has_right = there[:, 0 : 2 * pairs : 2], there[:, 1 : 2 * pairs : 2]
        both = (has_left & has_right)[..., None]
        joined = jnp.where(both, _combine(left, right, kernel, *biases), jnp.where(has_left[..., None], left, right))
        nodes = jnp.concatenate([joined, nodes[:, 2 * pairs :]], axis=1)
        there = jnp.concatenate([has_left | has_right, there[:, 2 * pairs :]], axis=1)
    return jnp.where(there, nodes[:, 0], 0)


def _combine(a, b, kernel, input_bias, hidden_bias):
    a_in, a_hid = jnp.split(a @ kernel, 2, axis=-1)
    b_in, b_hid = jnp.split(b @ kernel, 2, axis=-1)
    one = _gates(a_in + input_bias, b_hid + hidden_bias, b)
    other = _gates(b_in + input_bias, a_hid + hidden_bias, a)
    return 0.5 * (one + other)


def _gates(from_input, from_hidden, hidden):
    r_in, z_in, n_in = jnp.split(from_input, 3, axis=-1)
    r_hid, z_hid, n_hid = jnp.split(from_hidden, 3, axis=-1)
    keep = jax.nn.sigmoid(z_in + z_hid)
    candidate = jnp.tanh(n_in + jax.nn.sigmoid(r_in + r_hid) * n_hid)
    return (1 - keep) * candidate + keep * hidden
