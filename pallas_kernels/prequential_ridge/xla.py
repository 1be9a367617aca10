import jax
import jax.numpy as jnp

from pallas_kernels.prequential_ridge.output import Output

_HIGHEST = jax.lax.Precision.HIGHEST


def lockstep(features, labels, rows, factor, weights, *, block_size):
    num_programs, length = rows.shape
    num_blocks = -(-length // block_size)
    rows = jnp.pad(rows, ((0, 0), (0, num_blocks * block_size - length)), constant_values=-1)
    blocks = jnp.moveaxis(rows.reshape(num_programs, num_blocks, block_size), 1, 0)
    identity = jnp.eye(block_size, dtype=features.dtype)

    def one_block(factor, weights, rows):
        present = rows >= 0
        x = jnp.where(present[:, None], features[rows], 0)
        y = jnp.where(present, labels[rows], 0)
        gain = jnp.dot(x, factor, precision=_HIGHEST)
        gram = identity + jnp.dot(gain, x.T, precision=_HIGHEST)
        residual = y - jnp.dot(x, weights, precision=_HIGHEST)
        root = jnp.linalg.cholesky(gram, symmetrize_input=False)
        diagonal = jnp.diagonal(root)
        scaled = jax.scipy.linalg.solve_triangular(
            root, jnp.concatenate([residual[:, None], gain], axis=1), lower=True
        )
        innovation, gain = scaled[:, 0], scaled[:, 1:]
        weights = weights + jnp.dot(innovation, gain, precision=_HIGHEST)
        factor = factor - jnp.dot(gain.T, gain, precision=_HIGHEST)
        return (factor, weights), (innovation * diagonal, diagonal**2)

    def body(state, rows):
        return jax.vmap(one_block)(*state, rows)

    (factor, weights), (residual, pivot) = jax.lax.scan(body, (factor, weights), blocks)
    flat = (jnp.moveaxis(v, 0, 1).reshape(num_programs, -1)[:, :length] for v in (residual, pivot))
    return Output(*flat, factor, weights)
