"""Innermost families through the kernel `nested_leaf`: sums over pieces of families, without a value for each leaf.

Families are run by size. A lane of the kernel is a family of at most 2**LONG children, or 2**(LONG - 1) children of
either half of a larger one; lanes of larger families lie on a line (`layout`), and are added pairwise. Half means are
those of the engine up to the order of summation, and up to 2e-5 of the inverse normal in the tails.

A problem's arrays are none of the kernel's business: what depends on them alone is worked out once, outside
(`as_leaf`), and single numbers go in as constants.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from pallas_kernels.nested_leaf import nested_leaf
from research.core.types import Array, Bool, Float, Int
from research.mlmc import layout, words

__all__ = ["LONG", "as_leaf", "halves", "unsupported"]

#: Children of a lane are 2**LONG at most: few, so that little is lost where the last tile of a size is not full.
LONG = 3
_TILE = 1024  # lanes of a tile of the kernel: one vector register


def unsupported(problem: Any, states: Any) -> str | None:
    """Why innermost families of a problem cannot be run here, or None; `states` after y_{D-1}."""
    if problem.num_variates[problem.depth] < 1:
        return "a leaf without variates is the same for all children"
    if problem.inner != "mean":
        return f"inner {problem.inner}: the kernel adds values up as they are"
    kinds = {leaf.dtype for leaf in jax.tree.leaves((problem, states))}
    return (
        None if kinds <= {np.dtype(np.float32)} else f"arrays are {sorted(map(str, kinds))}, the kernel takes float32"
    )


class _Variates:
    """Variates of one lane, to be picked one by one."""

    def __init__(self, values):
        self._values = values

    def __getitem__(self, index):
        return self._values[index]

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return iter(self._values)


def as_leaf(problem: Any, states: Any) -> tuple[Callable, Float[Array, " K"]]:
    """`leaf` and `constants` of `nested_leaf`: g_D after one more transition, of rows that `_rows` makes of states."""
    depth, arrays = problem.depth, jax.tree.leaves(problem)
    tree, lane = jax.tree.structure(problem), jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), states)
    number = jax.ShapeDtypeStruct((), jnp.float32)

    def one(variates):
        def run(arrays, state, u):
            own = jax.tree.unflatten(tree, arrays)
            return own.leaf(own.transition(depth, state, variates(u)))

        return jax.make_jaxpr(run)(arrays, lane, (number,) * problem.num_variates[depth])

    try:
        traced = one(_Variates)
    except TypeError:  # arithmetic with all variates at once
        traced = one(jnp.stack)
    jaxpr, consts = traced.jaxpr, traced.consts
    givens = jaxpr.invars[len(arrays) :]
    alone, first, later = [*jaxpr.constvars, *jaxpr.invars[: len(arrays)]], [], []
    known = set(alone)
    for equation in jaxpr.eqns:
        if all(isinstance(x, core.Literal) or x in known for x in equation.invars):
            first.append(equation)
            known |= set(equation.outvars)
        else:
            later.append(equation)
    ends = [x for equation in later for x in equation.invars] + jaxpr.outvars
    held = list(dict.fromkeys(x for x in ends if not isinstance(x, core.Literal) and x in known))
    constants = [jnp.ravel(x) for x in _function(jaxpr, alone, held, first)(*consts, *arrays)]
    of_lane = _function(jaxpr, [*held, *givens], jaxpr.outvars, later)
    (out,) = (x.aval.shape for x in jaxpr.outvars)

    def leaf(shared, rows, u):
        block = rows[0].shape
        sizes = [math.prod(x.aval.shape) for x in held]
        splits = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
        shared = [_gather([shared[i] for i in split], x.aval.shape) for split, x in zip(splits, held, strict=True)]
        here, rest = [], list(rows)
        for x in jax.tree.leaves(lane):
            count = math.prod(x.shape)
            here.append(_gather(rest[:count], (*x.shape, *block)))
            rest = rest[count:]
        axes = [None] * len(held) + [len(x.aval.shape) for x in givens]
        run = of_lane
        for _ in block:
            run = jax.vmap(run, in_axes=axes, out_axes=len(out))
        (values,) = run(*shared, *here, *u)
        return tuple(values.reshape(-1, *block)) if out else (values,)

    return leaf, jnp.concatenate(constants) if constants else jnp.zeros(0, jnp.float32)


def _function(jaxpr, given, wanted, equations):
    """Part of a jaxpr as a function."""
    part = jaxpr.replace(constvars=[], invars=given, outvars=wanted, eqns=equations)
    return core.jaxpr_as_fun(core.ClosedJaxpr(part, ()))


def _gather(parts, shape):
    return parts[0] if len(parts) == 1 and parts[0].shape == tuple(shape) else jnp.stack(parts).reshape(shape)


def _rows(states) -> Float[Array, "S N"]:
    """All numbers of states, one row each."""
    leaves = jax.tree.leaves(states)
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1).T for leaf in leaves])


def halves(
    problem: Any, keys: words.Words, states: Any, exponent: Int[Array, " N"], runs: Bool[Array, " N"],
    *, tile: int = _TILE, impl: str | None = None,
) -> tuple[Float[Array, "N ..."], Float[Array, "N ..."]]:  # fmt: skip
    """Means over either half of the families of leaves of N nodes, N a power of two; both are an only child's value.

    Args:
      keys, states: of the nodes, states after y_{D-1}.
      exponent: e of families of 2**e children, in 0..30.
      runs: nodes that have a family here; the means of others are zero.
      tile: lanes that the kernel takes at once.
      impl: as `nested_leaf` takes it.
    """
    leaf, constants = as_leaf(problem, states)
    rows, (size,) = _rows(states), exponent.shape
    kinds, tiles = problem.kinds[problem.depth], max(size // (4 * tile), 1)
    batch = tiles * tile

    def of_lanes(tree, place, e, long):
        """Sums over lanes `[2, Z, batch]`: pieces number `place.child` of their nodes."""
        (k0, k1), rows = tree
        piece = place.child << jnp.maximum(long - 1, 0)
        second = piece + ((1 << e) >> 1)
        first = jnp.stack([piece, second]).astype(jnp.uint32)
        count = jnp.full(tiles, jnp.int32(1) << long)
        keys = jnp.stack([k0, k1])
        options = {"kinds": kinds, "tag": words.LEAF, "most": 1 << LONG, "impl": impl}
        return nested_leaf(keys, first, count, rows.T, constants, leaf, **options)

    def of_size(long, sums):
        """Adds the families of 2**long children; with the longest lanes those of more, too."""
        mine = runs & (jnp.minimum(exponent, LONG) == long)
        line = layout.lay_out(layout.codes(jnp.maximum(exponent - long, 0), mine, jnp.zeros_like(runs)))
        tree = layout.place((keys, rows.T, exponent), line.slot)

        def more(carry):
            start, sums = carry
            place = layout.lanes(line, start, batch)
            *nodes, e = layout.take(tree, place.node)
            found = jnp.where(place.used[None, None], of_lanes(nodes, place, e, long), 0)
            height = jnp.minimum(e - long, batch.bit_length() - 1)[None, None]
            whole, part = found, found
            for s in range(1, batch.bit_length()):
                width = batch >> s
                part = part[..., :width] + part[..., width:]
                whole = whole.at[..., :width].set(jnp.where(height[..., :width] == s, part, whole[..., :width]))
            first = place.used[None, None] & ((place.child[None, None] & ((1 << height) - 1)) == 0)
            return start + batch, sums.at[..., place.node].add(jnp.where(first, whole, 0))

        none = jnp.zeros_like(sums)
        _, found = jax.lax.while_loop(lambda carry: carry[0] < line.total, more, (jnp.int32(0), none))
        return sums + layout.take(jnp.moveaxis(found, -1, 0), line.slot).transpose(1, 2, 0)

    shape = jax.eval_shape(problem.leaf, jax.eval_shape(
        lambda s, u: problem.transition(problem.depth, s, u), jax.tree.map(lambda x: x[0], states),
        jnp.zeros(len(kinds), jnp.float32))).shape  # fmt: skip
    sums = jnp.zeros((2, math.prod(shape), size), jnp.float32)
    sums = jax.lax.fori_loop(0, LONG + 1, of_size, sums)
    number = jnp.maximum(jnp.exp2(exponent.astype(jnp.float32)) / 2, 1)[None]
    a, b = (jnp.moveaxis(part / number, -1, 0).reshape(size, *shape) for part in sums)
    only = (exponent == 0).reshape(size, *(1,) * len(shape))
    return a, jnp.where(only, a, b)
