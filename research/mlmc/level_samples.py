"""Samples of the differences of levels, D = 1: what multilevel Monte Carlo with fixed levels takes means of.

A sample of level l has m = 2**(l + base) inner samples. With a and b the means of the first and the second half of
them, P_l = g((a + b)/2), and Delta_l = P_l - (g(a) + g(b))/2 for l >= 1, Delta_0 = P_0: E Delta_l = E P_l - E P_{l-1}.
Source: `giles:15`, section 9, for the antithetic halves.

Sample i of level l is a function of (seed, l, i) alone: the path of replicate i + 2**32 l. The level is traced. A few
tile shapes cover all of them, and a loop over tiles of inner samples does the rest: few programs, no padding to speak
of, bounded memory.
"""

import functools

import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Float, Int, UInt
from research.mlmc import bounds, engine, moments, paths, problems
from research.mlmc.engine import float_dtype
from research.mlmc.moments import CentralMoments
from research.mlmc.problems import NestedExpectation

__all__ = ["MAX_EXPONENT", "add", "check", "start"]

#: Largest l + base: 2**30 inner samples.
MAX_EXPONENT = 30
#: Tile of inner samples of a half -> samples of a batch. A tile shape serves all halves at least as long; a batch is
#: run whole, wanted or not, so that fine levels, of which few samples are wanted, have small ones.
_SHAPES = {1: 2048, 8: 64}


def check(problem: NestedExpectation, max_level: int, base: int) -> None:
    """Raises ValueError unless the problem has depth 1 and fits itself, and levels up to `max_level` are possible."""
    validate.require(problem.depth == 1, "problem.depth", "be 1 for fixed levels", problem.depth)
    validate.in_range("base", base, 0, bounds.MAX_BASE)
    validate.in_range("max_level", max_level, 0, MAX_EXPONENT - base)
    problems.check(problem, float_dtype(problem))


def start(problem: NestedExpectation, max_level: int) -> CentralMoments:
    """Moments of nothing, `[max_level + 1, 2]`: of Delta_l and of P_l."""
    return moments.start((max_level + 1, 2), float_dtype(problem))


def add(
    problem: NestedExpectation,
    seed: UInt[Array, " 2"],
    so_far: CentralMoments,
    wanted: Int[Array, " L+1"],
    base: int = 0,
) -> CentralMoments:
    """The next `wanted[l]` samples of every level, from where its count stands.

    Args:
      seed: two uint32 words.
      so_far: `[L + 1, 2]`, of Delta_l and P_l.
      wanted: further samples of levels 0, ..., L, >= 0.
      base: level 0 has 2**base inner samples; static.

    Returns:
      the moments with them.
    """
    top = len(wanted) - 1 + base
    # A switch on a traced level would run every branch for every lane of a batch: lanes go one by one.
    level = jax.custom_batching.sequential_vmap(functools.partial(_add_level, top=top, base=base))

    def one(row):
        number, held, count = row
        return level(problem, seed, number, held, count)

    return jax.lax.map(one, (jnp.arange(len(wanted)), so_far, wanted.astype(jnp.int32)))


def _add_level(problem, seed, level, so_far, count, *, top, base):
    """`count` more samples of one level, into moments `[2]`; `top` is the largest exponent there can be."""
    shapes = [tile for tile in _SHAPES if 2 * tile <= 2**top or tile == 1]
    half = jnp.int32(1) << jnp.maximum(level + base - 1, 0)
    branches = [functools.partial(_batches, problem, seed, tile=tile, base=base) for tile in shapes]
    place = sum(((half >= tile).astype(jnp.int32) for tile in shapes[1:]), jnp.int32(0))
    return jax.lax.switch(place, branches, level, so_far, count)


def _batches(problem, seed, level, so_far, count, *, tile, base):
    size = _SHAPES[tile]
    last = so_far.count[0] + count

    def body(carry):
        first, held = carry
        numbers = first + jnp.arange(size)
        ids = numbers.astype(jnp.uint32), jnp.full(size, level, jnp.uint32)
        pair = _differences(problem, seed, ids, level, tile, base)
        batch = jax.vmap(moments.of_batch, in_axes=(0, None))(jnp.stack(pair), numbers < last)
        return first + size, moments.merge(held, batch)

    return jax.lax.while_loop(lambda carry: carry[0] < last, body, (so_far.count[0], so_far))[1]


def _differences(problem, seed, ids, level, tile, base) -> tuple[Float[Array, " N"], Float[Array, " N"]]:
    """Delta_l and P_l of the samples with these ids."""
    dtype, below = float_dtype(problem), problems.check(problem, float_dtype(problem))[1]
    logs, size = problem.inner == "logmeanexp", ids[0].shape[0]
    keys, states = engine.roots(problem, tuple(seed), ids)
    single = level + base == 0
    half = jnp.int32(1) << jnp.maximum(level + base - 1, 0)

    def add(carry):
        t, total = carry
        numbers = t * tile + jnp.arange(tile)
        values = paths.leaves(problem, keys, states, jnp.concatenate([numbers, half + numbers]))
        values = values.reshape(size, 2, tile, *below)
        if logs:
            return t + 1, jnp.logaddexp(total, jax.nn.logsumexp(values, axis=2))
        return t + 1, total + jnp.sum(values, axis=2)

    zeros = jnp.zeros((size, 2, *below), dtype)
    # Halves are whole numbers of tiles, so that nothing needs a mask.
    _, total = jax.lax.while_loop(
        lambda carry: carry[0] * tile < half, add, (jnp.int32(0), zeros - jnp.inf if logs else zeros)
    )
    number = half.astype(dtype)
    mean = total - jnp.log(number) if logs else total / number
    a = mean[:, 0]
    b = jnp.where(single, a, mean[:, 1])
    link = jax.vmap(functools.partial(problem.link, 0))
    value = link(states, jnp.logaddexp(a, b) - jnp.log(2.0).astype(dtype) if logs else (a + b) / 2)
    if logs:  # the mean of both halves is no mean of their logarithms
        difference = value - (link(states, a) + link(states, b)) / 2
    else:
        difference = jax.vmap(functools.partial(problem.delta, 0))(states, a, b)
    return jnp.where(level == 0, value, difference), value
