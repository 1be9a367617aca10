"""The sum over the batch in plain jnp: the oracle of every test of this package. Source: `cai:24`."""

import jax
import jax.numpy as jnp

__all__ = ["page_difference"]


def page_difference(rows, targets, weight, index, new, old, *, link):
    """Same contract as `api.page_difference`."""
    x = rows[index][:, : new.shape[0]]

    def margin(point):
        return jnp.matmul(x, point, precision=jax.lax.Precision.HIGHEST)

    t = targets[index]
    pull = margin(new - old) if link is None else link(margin(new), t) - link(margin(old), t)
    if weight is not None:
        pull = pull * weight[index]
    return jnp.sum(pull[:, None] * x, axis=0)
