"""The operator of the tree on a block of pairs, and its derivative, with two thirds of the definition's products.

The gates of both orders, a W + b R and b W + a R, are t + u and t - u with t = (a + b) (W + R) / 2 and
u = (a - b) (W - R) / 2: four products of H x H where the definition has eight. Exchanging a and b changes the sign of u
and nothing else, so that the operator is commutative to the bit. Sigmoids are tanh of half the argument, and all halves
are in the weights, where powers of two round nothing.

Arrays are `[M, H]`, H being whole registers; gates are r and z side by side, `[M, 2 H]`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["LEAVES", "ROWS", "Weights", "combine", "pack", "padded", "pull"]

#: Rows of each of `Weights.bias`, and of its derivative, which is to be summed over them.
ROWS = 8
LEAVES = 5  # arrays of `Weights`


class Weights(NamedTuple):
    """Arrays, or references to them in a kernel."""

    plus: jax.Array  # [H, 2 H] of a + b to t
    minus: jax.Array  # [H, 2 H] of a - b to u
    candidate: jax.Array  # [H, 2 H] of an element as input and, halved, as hidden value, to the candidates
    bias: tuple  # [8, 2 H] twice, the same in all rows: of t, and of the candidates' parts

    @classmethod
    def of(cls, leaves) -> "Weights":
        return cls(*leaves[:3], tuple(leaves[3:]))


def padded(input_kernel, hidden_kernel, input_bias, hidden_bias, width: int):
    """Weights of a GRU for channels padded to `width` by zeros: `[width, 3 width]` and `[1, 3 width]`, twice each."""
    size = input_bias.shape[0] // 3

    def gates(array, rows):
        whole = jnp.pad(array.reshape(-1, 3, size), [(0, rows), (0, 0), (0, width - size)])
        return whole.reshape(-1, 3 * width)

    kernels, biases = (input_kernel, hidden_kernel), (input_bias[None], hidden_bias[None])
    if size == width:  # as they are: padding nothing is an operation of its own all the same
        return *kernels, *biases
    return *(gates(kernel, width - size) for kernel in kernels), *(gates(bias, 0) for bias in biases)


def pack(input_kernel, hidden_kernel, input_bias, hidden_bias) -> Weights:
    """Of padded weights; linear."""
    width = input_kernel.shape[0]
    gates, last = slice(0, 2 * width), slice(2 * width, 3 * width)
    of_input, of_hidden = 0.25 * input_kernel[:, gates], 0.25 * hidden_kernel[:, gates]
    return Weights(
        of_input + of_hidden,
        of_input - of_hidden,
        jnp.concatenate([input_kernel[:, last], 0.5 * hidden_kernel[:, last]], axis=1),
        tuple(
            jnp.broadcast_to(row, (ROWS, 2 * width))
            for row in (
                0.5 * (input_bias[:, gates] + hidden_bias[:, gates]),
                jnp.concatenate([input_bias[:, last], 0.5 * hidden_bias[:, last]], axis=1),
            )
        ),
    )


class _Order(NamedTuple):
    """One of both orders of a pair: what its step of the GRU computes."""

    reset: jax.Array  # tanh of half of the gate's argument
    keep: jax.Array
    candidate: jax.Array
    recalled: jax.Array  # what the hidden value gives to the candidate, halved
    hidden: jax.Array


def _dot(a, b, contract=(1, 0)):
    return jax.lax.dot_general(
        a, b, (((contract[0],), (contract[1],)), ((), ())), preferred_element_type=jnp.float32
    )  # fmt: skip


def _orders(a, b, weights: Weights) -> tuple[_Order, _Order]:
    width = a.shape[1]
    t = _dot(a + b, weights.plus[...]) + weights.bias[0][:1]
    u = _dot(a - b, weights.minus[...])
    of_a = _dot(a, weights.candidate[...]) + weights.bias[1][:1]
    of_b = _dot(b, weights.candidate[...]) + weights.bias[1][:1]

    def order(gates, of_input, of_hidden, hidden):
        reset, keep, recalled = gates[:, :width], gates[:, width:], of_hidden[:, width:]
        candidate = jnp.tanh(of_input[:, :width] + (recalled + reset * recalled))
        return _Order(reset, keep, candidate, recalled, hidden)

    return order(jnp.tanh(t + u), of_a, of_b, b), order(jnp.tanh(t - u), of_b, of_a, a)


def combine(a, b, weights: Weights):
    """a o b, `[M, H]`."""
    one, other = (
        (order.candidate + order.hidden) + order.keep * (order.hidden - order.candidate)
        for order in _orders(a, b, weights)
    )
    return 0.25 * (one + other)


def pull(a, b, cotangent, weights: Weights):
    """Derivatives in a and in b, `[M, H]`, and in the weights, as `Weights` whose bias is summed over pairs."""
    quarter = 0.25 * cotangent
    one, other = (_pull_order(order, quarter) for order in _orders(a, b, weights))
    (gates_one, input_a, recall_b, direct_b), (gates_other, input_b, recall_a, direct_a) = one, other
    t, u = gates_one + gates_other, gates_one - gates_other
    of_a, of_b = jnp.concatenate([input_a, recall_a], axis=1), jnp.concatenate([input_b, recall_b], axis=1)
    plus, minus = _dot(t, weights.plus[...], (1, 1)), _dot(u, weights.minus[...], (1, 1))
    da = (plus + minus) + (_dot(of_a, weights.candidate[...], (1, 1)) + direct_a)
    db = (plus - minus) + (_dot(of_b, weights.candidate[...], (1, 1)) + direct_b)
    of_weights = Weights(
        _dot(a + b, t, (0, 0)),
        _dot(a - b, u, (0, 0)),
        _dot(a, of_a, (0, 0)) + _dot(b, of_b, (0, 0)),
        (_rows(t), _rows(of_a + of_b)),
    )
    return da, db, of_weights


def _pull_order(order: _Order, quarter):
    """Derivatives in the gates' halved arguments, in both parts of the candidate, and in the hidden value as such."""
    inside = quarter * (1 - order.keep) * (1 - order.candidate * order.candidate)
    reset = inside * order.recalled * (1 - order.reset * order.reset)
    keep = quarter * (order.hidden - order.candidate) * (1 - order.keep * order.keep)
    return jnp.concatenate([reset, keep], axis=1), inside, inside * (1 + order.reset), quarter * (1 + order.keep)


def _rows(x):
    """Sum over rows up to those of one register."""
    if x.shape[0] % ROWS:
        return jnp.sum(x, axis=0, keepdims=True)
    return jnp.sum(x.reshape(-1, ROWS, x.shape[1]), axis=0)
