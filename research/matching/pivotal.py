"""Ordered pivotal sampling: a random set with given marginals, whose every prefix has the size it should have.

One fractional element, the pivot, is carried along; each next element duels it, and one of the two is decided.
Marginals are exact, every prefix holds the floor or the ceiling of its sum, and the indicators are negatively dependent
in both forms, E[prod X] <= prod v and E[prod (1 - X)] <= prod (1 - v).
Source: `braverman:24` (pivotal sampling by decreasing weight).
"""

import jax
import jax.numpy as jnp

from research.core.types import Array, Bool, Float, Key

__all__ = ["best_law", "decided_tolerance", "sample", "select"]


def decided_tolerance(dtype) -> float:
    """How close to 0 or 1 a pivot counts as decided: else rounding could select two elements where one is right."""
    return 1e-7 if jnp.dtype(dtype) == jnp.float32 else 1e-15


def sample(key: Key, v: Float[Array, " m"]) -> Bool[Array, " m"]:
    """A set with P[k selected] = v_k, elements in the given order; `v` in [0, 1]."""
    return select(jax.random.uniform(key, (v.shape[0] + 1,), v.dtype), v)


def select(uniforms: Float[Array, " m+1"], v: Float[Array, " m"]) -> Bool[Array, " m"]:
    """The set as a function of one uniform for each element, and a last one that decides the pivot left at the end."""
    indices = jnp.arange(v.shape[0])
    near = decided_tolerance(v.dtype)

    def duel(carry, element):
        pivot, share, chosen = carry
        index, value, uniform = element
        total = share + value
        sure, skip, alone = value >= 1, value <= 0, share <= 0
        over = total > 1
        # Below 1 the winner stays pivot and the loser is out; above 1 the winner is selected and the loser is pivot.
        odds = jnp.where(over, 1 - value, share) / jnp.where(over, 2 - total, jnp.where(total > 0, total, 1))
        pivot_wins = uniform < odds
        new_pivot = jnp.where(alone | (pivot_wins == over), index, pivot)
        new_share = jnp.where(alone, value, jnp.where(over, total - 1, total))
        full = ~alone & ~over & (new_share >= 1 - near)
        empty = ~alone & over & (new_share <= near)
        winner = jnp.where(full, new_pivot, jnp.where(~alone & over, jnp.where(pivot_wins, pivot, index), -1))
        winner = jnp.where(sure, index, jnp.where(skip, -1, winner))
        unchanged = sure | skip
        share = jnp.where(unchanged, share, jnp.where(full | empty, 0, new_share))
        pivot = jnp.where(unchanged, pivot, new_pivot)
        return (pivot, share, chosen | (indices == winner)), None

    start = (jnp.int32(-1), jnp.zeros((), v.dtype), jnp.zeros(v.shape, bool))
    elements = (indices.astype(jnp.int32), v, uniforms[:-1])
    (pivot, share, chosen), _ = jax.lax.scan(duel, start, elements)
    return chosen | ((indices == pivot) & (uniforms[-1] < share))


def best_law(v: Float[Array, "... m"]) -> Float[Array, "... m"]:
    """P[k is the first element selected] = min(1, S_k) - min(1, S_{k-1}), S the prefix sums of `v`."""
    reached = jnp.minimum(1, jnp.cumsum(v, axis=-1))
    return jnp.diff(reached, axis=-1, prepend=jnp.zeros_like(reached[..., :1]))
