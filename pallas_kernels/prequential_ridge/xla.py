"""Blocked prequential ridge, all programs in lockstep, by library Cholesky and triangular solves.

The path of GPUs, of TPUs without the kernel, and of derivatives: one `lax.scan` over blocks, every operation batched
over the programs, so that a wide accelerator is filled by programs. CPUs have a schedule of their own (`xla_cpu.py`).

Source: blocked innovations form of the recursion in `reference.py`. For a block X of B rows with P and theta from
before it,

    S = I + X P X' = C C',   e = C^-1 (y - X theta),   U = C^-1 X P,   theta += U' e,   P -= U' U,

row k's residual is C_kk e_k and its pivot C_kk^2. Padding is a zero row with label zero: pivot 1, nothing learnt.
"""

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels.prequential_ridge.output import Output

__all__ = ["learn", "lockstep", "take_rows"]

_HIGHEST = jax.lax.Precision.HIGHEST


def take_rows(features, labels, rows):
    """Features `[..., d]` and labels `[...]` of `rows [...]`; zero where the row is negative."""
    present = rows >= 0
    return jnp.where(present[..., None], features[rows], 0), jnp.where(present, labels[rows], 0)


def lockstep(features, labels, rows, factor, weights, *, block_size):
    """Same contract as `api.prequential_ridge`; `rows [P, L]`, work `P L d^2` whatever is padding."""
    num_programs, length = rows.shape
    rows = _blocks.pad_axis(rows, 1, _blocks.round_up(length, block_size), -1)
    blocks = jnp.moveaxis(rows.reshape(num_programs, -1, block_size), 1, 0)

    def step(state, block):
        return jax.vmap(learn)(*state, *take_rows(features, labels, block))

    (factor, weights), (residual, pivot) = jax.lax.scan(step, (factor, weights), blocks)
    residual, pivot = (jnp.moveaxis(v, 0, 1).reshape(num_programs, -1)[:, :length] for v in (residual, pivot))
    return Output(residual, pivot, factor, weights)


def learn(factor, weights, x, y):
    """One block of one program: `factor [d, d]`, `weights [d]`, `x [B, d]`, `y [B]`."""
    gain = jnp.dot(x, factor, precision=_HIGHEST)
    residual = y - jnp.dot(x, weights, precision=_HIGHEST)
    identity = jnp.eye(len(x), dtype=x.dtype)
    gram = identity + jnp.dot(gain, x.T, precision=_HIGHEST)
    root = jax.lax.linalg.cholesky(gram, symmetrize_input=False)
    solved = jax.lax.linalg.triangular_solve(
        root, jnp.concatenate([residual[:, None], gain], axis=1), left_side=True, lower=True
    )
    innovation, update = solved[:, 0], solved[:, 1:]
    scale = jnp.sum(jnp.where(identity > 0, root, 0), axis=1)  # the diagonal, without a gather
    state = (
        factor - jnp.dot(update.T, update, precision=_HIGHEST),
        weights + jnp.dot(innovation, update, precision=_HIGHEST),
    )
    return state, (scale * innovation, scale**2)
