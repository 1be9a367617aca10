"""The recursion in NumPy, to compare with: all sets at once."""

import numpy as np

__all__ = ["bit_view_values"]


def bit_view_values(weights, arrivals):
    """V_0 of every free set `[2^n]`, Bernoulli, in the dtype of the weights `[n, T]`: over sets by bit views."""
    num_nodes = weights.shape[0]
    values = np.zeros(1 << num_nodes, weights.dtype)
    for t in reversed(range(weights.shape[1])):
        best = values.copy()
        for i in range(num_nodes):
            with_node, without = (x.reshape(-1, 2, 1 << i)[:, b] for x, b in ((best, 1), (values, 0)))
            np.maximum(with_node, without + weights[i, t], out=with_node)
        values += arrivals[t] * (best - values)
    return values
