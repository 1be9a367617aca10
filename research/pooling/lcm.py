"""Learnable commutative monoid: a o b = (GRU(a, b) + GRU(b, a)) / 2 by a balanced tree; and the GRU in a row.

The operator is commutative to the bit. That it is associative is only learned: log `monoid.associator` and
`monoid.flip_rate`, since a small training loss says nothing of other orders and larger collections.
GRU(input x, hidden h), with biases of both: r, z = sigma(x W + c + h R + d), n = tanh(x W_n + c_n + r (h R_n + d_n)),
h' = (1 - z) n + z h.
A TPU runs the tree of `pallas_kernels.monoid_tree`, forwards and backwards; so `lcm` has no derivatives of derivatives.
Source: `ong:22`; `cho:14` for the GRU. Departure: absent elements are the formal identity, where the public
implementation feeds rows of zeros through the GRU, so that a result depends on the largest set of its batch.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from pallas_kernels.monoid_tree import monoid_tree
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling import monoid
from research.pooling.operator import Operator

__all__ = ["LCM", "GRUCell", "GRUFold", "combine", "example", "gru", "gru_fold", "lcm"]


class GRUCell(eqx.Module):
    """Weights of a GRU of width H whose inputs have D channels; columns are the gates r, z and the candidate n."""

    input_kernel: Float[Array, "D 3H"]
    hidden_kernel: Float[Array, "H 3H"]
    input_bias: Float[Array, " 3H"]
    hidden_bias: Float[Array, " 3H"]

    @classmethod
    def create(cls, key: Key, inputs: int, width: int) -> "GRUCell":
        """Uniform on +-1 / sqrt(H), as is common for recurrent cells."""
        checks.at_least("inputs", inputs, 1)
        checks.at_least("width", width, 1)
        edge = width**-0.5
        rows = jax.random.uniform(key, (inputs + width + 2, 3 * width), minval=-edge, maxval=edge)
        return cls(rows[:inputs], rows[inputs:-2], rows[-2], rows[-1])


def _plus(x: Float[Array, "... C"], bias: Float[Array, " C"]) -> Float[Array, "... C"]:
    return x + jnp.broadcast_to(bias, x.shape)


def _gates(from_input: Float[Array, "... 3H"], from_hidden: Float[Array, "... 3H"], hidden: Float[Array, "... H"]):
    r_in, z_in, n_in = jnp.split(from_input, 3, axis=-1)
    r_hid, z_hid, n_hid = jnp.split(from_hidden, 3, axis=-1)
    keep = jax.nn.sigmoid(z_in + z_hid)
    candidate = jnp.tanh(n_in + jax.nn.sigmoid(r_in + r_hid) * n_hid)
    return (1 - keep) * candidate + keep * hidden


def gru(cell: GRUCell, x: Float[Array, "... D"], hidden: Float[Array, "... H"]) -> Float[Array, "... H"]:
    """One step of the cell: the next hidden value."""
    from_input = _plus(x @ cell.input_kernel, cell.input_bias)
    return _gates(from_input, _plus(hidden @ cell.hidden_kernel, cell.hidden_bias), hidden)


def combine(cell: GRUCell, a: Float[Array, "... H"], b: Float[Array, "... H"]) -> Float[Array, "... H"]:
    """a o b = (GRU(a, b) + GRU(b, a)) / 2, for a cell with D = H. One matrix product serves both orders."""
    kernel = jnp.concatenate([cell.input_kernel, cell.hidden_kernel], axis=1)
    a_in, a_hid = jnp.split(a @ kernel, 2, axis=-1)
    b_in, b_hid = jnp.split(b @ kernel, 2, axis=-1)
    one = _gates(_plus(a_in, cell.input_bias), _plus(b_hid, cell.hidden_bias), b)
    other = _gates(_plus(b_in, cell.input_bias), _plus(a_hid, cell.hidden_bias), a)
    return 0.5 * (one + other)


def lcm(cell: GRUCell, x: Float[Array, "G N H"], mask: Bool[Array, "G N"]) -> Float[Array, "G H"]:
    """The collection combined by a balanced tree; 0 for an empty one. Differentiable once, backwards.

    Raises:
      ValueError: D and H of the cell differ, or are not the width of `x`; a mask that is not boolean or not `[G, N]`.
    """
    checks.shape("cell.input_kernel", cell.input_kernel, (x.shape[-1], 3 * x.shape[-1]))
    monoid.check_collections(x, mask)
    if x.size == 0 or any(leaf.dtype != jnp.float32 for leaf in (x, *jax.tree.leaves(cell))):
        return _by_levels(cell, x, mask)
    return jax.lax.platform_dependent(cell, x, mask, tpu=_on_the_chip, default=_by_levels)


def _by_levels(cell, x, mask):
    return monoid.tree_reduce(lambda a, b: combine(cell, a, b), x, mask)


def _on_the_chip(cell, x, mask):
    return monoid_tree(x, mask, cell.input_kernel, cell.hidden_kernel, cell.input_bias, cell.hidden_bias)


def gru_fold(cell: GRUCell, x: Float[Array, "G N D"], mask: Bool[Array, "G N"]) -> Float[Array, "G H"]:
    """The sequential baseline: hidden value from 0, over the elements that take part in their order; O(N) in a row.

    Raises:
      ValueError: `x` has another width than the cell's inputs; a mask that is not boolean or not `[G, N]`.
    """
    checks.shape("cell.input_kernel", cell.input_kernel, (x.shape[-1], None))
    monoid.check_collections(x, mask)
    width = cell.hidden_kernel.shape[0]
    inputs = _plus(jnp.where(mask[..., None], x, 0) @ cell.input_kernel, cell.input_bias)  # all elements at once

    def one(hidden, element):
        from_input, here = element
        moved = _gates(from_input, _plus(hidden @ cell.hidden_kernel, cell.hidden_bias), hidden)
        return jnp.where(here[:, None], moved, hidden), None

    start = jnp.zeros((x.shape[0], width), x.dtype)
    return jax.lax.scan(one, start, (jnp.moveaxis(inputs, 1, 0), mask.T))[0]


class LCM(eqx.Module):
    """`lcm` with its cell."""

    cell: GRUCell

    @classmethod
    def create(cls, key: Key, width: int) -> "LCM":
        """A cell of `width` inputs and hidden channels."""
        return cls(GRUCell.create(key, width, width))

    def __call__(self, x: Float[Array, "G N H"], mask: Bool[Array, "G N"]) -> Float[Array, "G H"]:
        return lcm(self.cell, x, mask)


class GRUFold(eqx.Module):
    """`gru_fold` with its cell."""

    cell: GRUCell

    @classmethod
    def create(cls, key: Key, inputs: int, width: int) -> "GRUFold":
        """A cell for inputs of so many channels."""
        return cls(GRUCell.create(key, inputs, width))

    def __call__(self, x: Float[Array, "G N D"], mask: Bool[Array, "G N"]) -> Float[Array, "G H"]:
        return gru_fold(self.cell, x, mask)


def example(key: Key) -> dict[str, Operator]:
    """Both orders of evaluation, with initial weights."""
    weights, drawn = jax.random.split(key)
    x = jax.random.normal(drawn, (2, 5, 3))
    mask = jnp.array([[True, False, True, True, False], [True] * 5])
    return {
        "learnable commutative monoid": Operator(
            lambda params, x, mask: params(x, mask), LCM.create(weights, 3), x,
            "tree of (GRU(a, b) + GRU(b, a)) / 2", "ong:22", "pooling/fig_parity", mask,
        ),
        "GRU fold": Operator(
            lambda params, x, mask: params(x, mask), GRUFold.create(weights, 3, 4), x,
            "h_i = GRU(x_i, h_{i-1}), y = h_n", "cho:14, section 2.3", "pooling/fig_parity", mask,
        ),
    }  # fmt: skip
