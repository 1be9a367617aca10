"""The estimator of an inclusion, averaged exactly over its sampling law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from research.halpern import finite_sums, games


def law(inclusion):
    """Every draw `[M, I]` and its probability `[M]`."""
    if isinstance(inclusion, games.MatrixGame) and inclusion.split == "importance":
        marginals = [_invert(inclusion.row_weight), _invert(inclusion.column_weight)]
    elif isinstance(inclusion, finite_sums.LinearModel):
        marginals = [_invert(inclusion.weight) / inclusion.num_components]
    else:
        marginals = [np.full(inclusion.num_components, 1 / inclusion.num_components)]
    draws = np.array(list(itertools.product(*(range(len(m)) for m in marginals))))
    return jnp.asarray(draws), jnp.asarray([np.prod(p) for p in itertools.product(*marginals)])


def _invert(weight):
    weight = np.asarray(weight)
    return np.divide(1, weight, out=np.zeros_like(weight), where=weight > 0)


def moments(inclusion, draws, probabilities, new, old):
    """(E estimate, E|estimate|^2) of one draw of `difference`."""
    each = jax.vmap(lambda draw: inclusion.difference(draw[None], new, old))(draws)
    mean = jax.tree.map(lambda leaf: jnp.tensordot(probabilities, leaf, 1), each)
    return mean, jnp.vdot(probabilities, jax.vmap(lambda e: optax.tree.norm(e, squared=True))(each))


def measure(inclusion, new, old):
    """Of stacked pairs of points, with d the move and F the change of the operator:
    |bias|, E|estimate|^2 / |d|^2, E|estimate|^2 / <F, d>, |F| / |d|, <F, d> / |d|^2.
    """
    draws, probabilities = law(inclusion)

    @jax.jit
    @jax.vmap
    def one(new, old):
        mean, second = moments(inclusion, draws, probabilities, new, old)
        change = optax.tree.sub(inclusion.full(new), inclusion.full(old))
        move = optax.tree.sub(new, old)
        size, along = optax.tree.norm(move, squared=True), optax.tree.vdot(change, move)
        bias = optax.tree.norm(optax.tree.sub(mean, change))
        return bias, second / size, second / along, optax.tree.norm(change) / jnp.sqrt(size), along / size

    return [np.asarray(part) for part in one(new, old)]
