"""Sequential prequential ridge in plain jnp: one rank-one update per row, the oracle of every test of this package.

Source: the recursion of online ridge regression with `s = x' P x`,
`theta += P x (y - x'theta) / (1 + s)`, `P -= (P x)(P x)' / (1 + s)` (`vovk:01`; Sherman-Morrison).
"""

import jax
import jax.numpy as jnp

from pallas_kernels.prequential_ridge.output import Output

__all__ = ["prequential_ridge"]

_HIGHEST = jax.lax.Precision.HIGHEST


def prequential_ridge(features, labels, rows, factor, weights):
    """Same contract as `api.prequential_ridge`, one row at a time; shapes `[n, d], [n], [P, L], [P, d, d], [P, d]`."""

    def one_row(state, row):
        factor, weights = state
        present = row >= 0
        x = jnp.where(present, features[row], 0)
        y = jnp.where(present, labels[row], 0)
        gain = jnp.dot(factor, x, precision=_HIGHEST)
        pivot = 1 + jnp.dot(x, gain, precision=_HIGHEST)
        residual = y - jnp.dot(x, weights, precision=_HIGHEST)
        # k k' with k = P x / sqrt(1 + s) keeps P exactly symmetric.
        scaled = gain / jnp.sqrt(pivot)
        state = factor - jnp.outer(scaled, scaled), weights + gain * (residual / pivot)
        return state, (residual, pivot)

    def one_program(factor, weights, rows):
        (factor, weights), (residual, pivot) = jax.lax.scan(one_row, (factor, weights), rows)
        return Output(residual, pivot, factor, weights)

    return jax.vmap(one_program)(factor, weights, rows)
