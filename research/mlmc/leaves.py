"""Values of innermost children, the part where nearly all time goes.

Two sources of their variates: words of their own ("random"), or a randomised net of the whole family ("sobol"). In the
net, child c has coordinate j of the base-2 Sobol' sequence's point c, shifted digitally by a word of the parent. Both
halves of a family are nets with independent-looking uniform shifts and the law of a whole family one level lower, so
that levels telescope and the estimate stays unbiased; the inner error falls faster than for independent children.
Source: `joe:08` for the direction numbers; randomisation by a digital shift is classical.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from research.core.types import Array, Float, Int
from research.mlmc import words
from research.mlmc.layout import take

__all__ = ["MAX_COORDINATES", "enter", "handles", "points", "sobol_directions", "values"]

# Degree, middle coefficients and first direction numbers of the primitive polynomials of coordinates 2, 3, ...
_POLYNOMIALS = (
    (1, 0, (1,)), (2, 1, (1, 3)), (3, 1, (1, 3, 1)), (3, 2, (1, 1, 1)), (4, 1, (1, 1, 3, 3)), (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)), (5, 4, (1, 1, 5, 5, 5)), (5, 7, (1, 1, 7, 11, 19)),
)  # fmt: skip
MAX_COORDINATES = 1 + len(_POLYNOMIALS)
_BITS = 32


@functools.cache
def sobol_directions(coordinate: int) -> tuple[int, ...]:
    """v_0, ..., v_31 in units of 2**-32: bit i of a point's number contributes v_i, by exclusive or."""
    if coordinate == 0:
        return tuple(1 << (_BITS - 1 - i) for i in range(_BITS))
    degree, middle, first = _POLYNOMIALS[coordinate - 1]
    v = [m << (_BITS - 1 - i) for i, m in enumerate(first)]
    for i in range(degree, _BITS):
        new = v[i - degree] ^ (v[i - degree] >> degree)
        for k in range(1, degree):
            if (middle >> (degree - 1 - k)) & 1:
                new ^= v[i - k]
        v.append(new)
    return tuple(v)


def points(c: Array, coordinate: int) -> Array:
    """32 bits of the coordinate of points number c of the Sobol' sequence, before the shift; uint32."""
    c = c.astype(jnp.uint32)
    out = jnp.zeros_like(c)
    for i, direction in enumerate(sobol_directions(coordinate)):
        out = out ^ jnp.where((c >> i) & 1 == 1, jnp.uint32(direction), jnp.uint32(0))
    return out


def handles(problem: Any, source: str, keys: words.Words) -> tuple:
    """What a family's leaves need of their parent's key: the key, or one shift for each coordinate."""
    if source != "sobol":
        return keys
    return tuple(words.shift_words(keys, problem.num_variates[problem.depth]))


def enter(problem: Any, d: int, drawn: Any, states: Any, dtype: Any) -> Any:
    """States after y_d of lanes whose variates have these words, from the states before."""
    if len(drawn):
        u = words.variates(drawn, problem.kinds[d], dtype)
    else:
        u = jnp.zeros((jax.tree.leaves(states)[0].shape[0], 0), dtype)
    return jax.vmap(functools.partial(problem.transition, d))(states, u)


def values(
    problem: Any, source: str, parents: tuple, node: Int[Array, " C"], child: Int[Array, " C"], dtype: Any
) -> Float[Array, "C ..."]:
    """g_D of one leaf a lane.

    Args:
      parents: (`handles`, states) of all parents of the tile, `[N]`, largest families first.
      node: index of the lane's parent.
      child: the leaf's number among its siblings.
    """
    handle, states = take(parents, node)
    depth = problem.depth
    if source == "random":
        drawn = words.leaf_words(handle, child.astype(jnp.uint32), problem.num_variates[depth])
    else:
        drawn = [points(child, j) ^ shift for j, shift in enumerate(handle)]
    return jax.vmap(problem.leaf)(enter(problem, depth, drawn, states, dtype))
