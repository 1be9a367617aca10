"""Configurations of many equal nodes: beyond the reach of `adversary.search`, which enumerates sets of a few.

m nodes of mass z that have used y, and mass s on exhausted nodes, m z + s = 1, at a vanishing arrival probability.
Where delta is large beside eps, 1 / (1 - theta) nodes just below the threshold theta of h, with z = 1 - theta, bind.
Source: derived here, for the constant of `braverman:24`.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from research.core.types import Array, Float
from research.matching import bounds

__all__ = ["least"]

_MOST_NODES = 24


def least(eps, delta, *, num_uses: int = 64, num_shares: int = 41) -> Float[Array, ""]:
    """The least E[min(1, X)] over all m <= 24, a grid of y up to and around theta, and a grid of s."""
    theta = bounds.threshold(eps, delta)
    below = theta * (1 - jnp.geomspace(1e-9, 1, num_uses))
    uses = jnp.concatenate([below, theta + (1 - theta) * jnp.linspace(0, 1, num_uses)])
    shares = jnp.linspace(0, 1, num_shares)[:-1]
    over_shares = jax.vmap(_proposed, in_axes=(None, None, None, None, 0))
    over_uses = jax.vmap(over_shares, in_axes=(None, None, None, 0, None))
    return jnp.min(jax.lax.map(lambda m: jnp.min(over_uses(eps, delta, m, uses, shares)), 1 + jnp.arange(_MOST_NODES)))


def _proposed(eps, delta, m, used, share):
    """E[min(1, X)], or 1 where y + z > 1: such a node cannot be."""
    mass = (1 - share) / m
    free = 1 - bounds.rescaled(used, eps, delta)
    slope = jnp.where(used < bounds.threshold(eps, delta), 1 - eps, 1 + delta)
    rate = jnp.minimum(1, slope * mass / jnp.where(free > 0, free, 1))
    count = jnp.arange(_MOST_NODES + 1)
    ways = gammaln(m + 1.0) - gammaln(count + 1.0) - gammaln(jnp.maximum(m - count, 0) + 1.0)
    chance = jnp.exp(ways) * free**count * (1 - free) ** jnp.maximum(m - count, 0) * (count <= m)
    proposed = 1 - jnp.exp(-(1 + delta) * share) * (1 - jnp.sum(chance * jnp.minimum(1, rate * count)))
    return jnp.where(used + mass <= 1, proposed, 1)
