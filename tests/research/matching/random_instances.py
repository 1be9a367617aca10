"""Batches of random rounding problems, half of them with zero weights and ties, allocations on the boundary."""

import jax
import jax.numpy as jnp
import numpy as np

from research.matching import oracles_exact, problems, rates, rounding


def batch(seed, count, num_offline, num_steps, num_types=0, rescaling=rates.EDGE):
    """`rounding.Problem` with a leading axis `[count]`, float64, its x, and <w, x>; use under `x64`."""
    rng = np.random.default_rng(seed)
    shape = (num_steps, num_types) if num_types else (num_steps,)
    weights, arrivals, x = [], [], []
    for _ in range(count):
        p = rng.random(shape) ** rng.choice([0.2, 1.0])
        p = p / max(1, num_types) if num_types else np.where(rng.random(shape) < 0.2, 1, p)
        w = rng.random((num_offline, *shape))
        w = np.where(rng.random(w.shape) < 0.3, 0, np.round(w, rng.choice([1, 6])))
        weights.append(w)
        arrivals.append(p)
        x.append(oracles_exact.random_allocation(rng, p, num_offline))
    weights, arrivals, x = (jnp.asarray(np.stack(a), jnp.float64) for a in (weights, arrivals, x))

    def build(w, p, x):
        return rounding.from_allocation(problems.Problem(w, p), x, rescaling)

    return jax.jit(jax.vmap(build))(weights, arrivals, x), x, jnp.sum(weights * x, axis=tuple(range(1, weights.ndim)))


def lane(batched, index):
    return jax.tree.map(lambda leaf: leaf[index], batched)
