"""Random instances: programs that see their own sub-sequences of one table, from a state that is not the identity."""

import jax.numpy as jnp
import numpy as np


def instance(seed, *, dim, awake, length=50, table=60, dtype=np.float32):
    """Program p sees each of `length` slots with probability `awake[p]`, in its own order."""
    rng = np.random.default_rng(seed)
    programs = len(awake)
    features = rng.uniform(0, 1, (table, dim))
    labels = rng.uniform(0, 1, table)
    rows = np.stack([rng.permutation(table)[:length] for _ in range(programs)])
    rows = np.where(rng.random(rows.shape) < np.asarray(awake)[:, None], rows, -1)
    root = rng.normal(size=(programs, dim, dim)) / (2 * dim)
    factor = np.eye(dim)[None] + root @ root.swapaxes(1, 2)
    weights = rng.normal(size=(programs, dim)) / dim
    args = tuple(jnp.asarray(a, dtype) for a in (features, labels))
    start = {"factor": jnp.asarray(factor, dtype), "weights": jnp.asarray(weights, dtype)}
    return (*args, jnp.asarray(rows, jnp.int32)), start


def gaps(got, expected):
    """Largest difference of each field, relative to the field's largest value where that exceeds 1."""
    return {
        name: float(jnp.max(jnp.abs(a - b)) / max(1.0, float(jnp.max(jnp.abs(b)))))
        for name, a, b in zip(expected._fields, got, expected, strict=True)
    }
