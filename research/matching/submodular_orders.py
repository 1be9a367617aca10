"""Is an order of the items a submodular order of f? The three inequalities that define it, on sampled sets.

f is monotone, subadditive, and f(A + C) - f(A) <= f(B + C) - f(B) whenever B is part of A and all of C comes after all
of A: what the guarantees of `assortment` rest on.
Source: `udwani:24`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from research.core.types import Array, Float, Key

__all__ = ["Violations", "order_violations"]


class Violations(NamedTuple):
    """By how much each property failed, at worst over the samples; 0 where it held in all of them."""

    monotone: Float[Array, ""]  # f(B) - f(A), B in A
    subadditive: Float[Array, ""]  # f(A + C) - f(A) - f(C), any A and C
    submodular: Float[Array, ""]  # f(A + C) - f(A) - f(B + C) + f(B), B in A, C after A in the order


def order_violations(key: Key, model, order, num_samples: int, *, strong: bool = True) -> Violations:
    """Samples nested sets B in A and sets C, and checks the three inequalities that define a submodular order.

    Args:
      key: consumed.
      model: has num_items and value; order: `[N]`; num_samples: sets drawn, at random densities, cuts uniform.
      strong: B any part of A; otherwise B is A up to a random item of the order (the weak form). May be traced.
    """
    n = model.num_items
    position = jnp.zeros(n, jnp.int32).at[jnp.asarray(order)].set(jnp.arange(n, dtype=jnp.int32))
    draws = jax.random.uniform(key, (num_samples, 3 * n + 3))
    some, other, inner = draws[:, :n], draws[:, n : 2 * n], draws[:, 2 * n : 3 * n]
    density, cut, start = draws[:, -3:-2], 1 + jnp.floor(n * draws[:, -2:-1]), jnp.floor((n + 1) * draws[:, -1:])
    row = position[None, :]
    left = (some < density) & (row < cut)
    right = (other < 1 - density) & (row >= cut)
    part = left & jnp.where(strong, inner < 0.5, row < start)
    anything = other < 0.5
    sets = jnp.stack([left, part, anything, left | anything, left | right, part | right])
    f_left, f_part, f_any, f_union, f_left_more, f_part_more = model.value(sets)
    worst = [f_part - f_left, f_union - f_left - f_any, (f_left_more - f_left) - (f_part_more - f_part)]
    return Violations(*(jnp.maximum(jnp.max(w), 0) for w in worst))
