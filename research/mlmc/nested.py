"""Nested Monte Carlo: N_0 outer paths, N_d fresh children for every node of depth d - 1, averages for expectations.

Every gamma_{d+1} inside a link is replaced by the mean of N_{d+1} children, which biases the estimate unless the links
are linear. Smooth links: mean squared error about A/N_0 + (sum of b_d/N_d)**2 at N_0 N_1 ... N_D leaves
(`research.mlmc.bounds.nested_slope`); `best_counts` minimises it.
Source: `rainforth:18` for error and rates, `syed:23` for the allocations that it compares with.

A step is a block of outer paths. Path i is a function of (seed, i) alone, whatever the tiles, and its children are
visited tile by tile, so that memory does not depend on the counts; these are traced, and one compiled program serves
all allocations of a problem.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import loops, status, validate
from research.core.types import Array, Float, Int, Key, UInt
from research.mlmc import engine, moments, paths, problems, walks, words
from research.mlmc.engine import float_dtype
from research.mlmc.problems import NestedExpectation as Problem

__all__ = [
    "Info", "Params", "Problem", "Result", "State", "best_counts", "default_tiles", "equal_counts", "estimate",
    "example", "init", "num_leaves", "run", "square_counts", "step",
]  # fmt: skip

#: Largest N_d: a tile beyond it still fits 32 bits.
MAX_COUNT = 1 << 30
#: Leaves that are in memory at once with `default_tiles`.
_LANES = 8192


class Params(eqx.Module):
    """With `num_steps * tiles[0] >= N_0` a run visits all paths; `estimate` does so without being told."""

    counts: Sequence[int] | Int[Array, " D+1"]  # N_0, ..., N_D, each in 1, ..., 2**30; traced
    num_steps: int = eqx.field(static=True, default=1)  # blocks of tiles[0] outer paths
    # Outer paths in a block, and children of a node at each depth that are visited together; None: `default_tiles`.
    tiles: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        validate.at_least("Params.num_steps", self.num_steps, 1)
        allowed = "hold one number for each of D + 1 depths"
        shape = getattr(self.counts, "shape", (len(self.counts),))
        validate.require(len(shape) == 1 and shape[0] > 0, "Params.counts", allowed, self.counts)
        if validate.is_concrete(self.counts):
            for d, count in enumerate(self.counts):
                validate.in_range(f"Params.counts[{d}]", count, 1, MAX_COUNT)
        if self.tiles is not None:
            validate.same_length(tiles=self.tiles, counts=self.counts)
            for d, tile in enumerate(self.tiles):
                validate.in_range(f"Params.tiles[{d}]", tile, 1, MAX_COUNT)


class State(NamedTuple):
    step: Int[Array, ""]  # blocks done
    outer: moments.CentralMoments  # of the outer paths' values so far
    first_bad: Int[Array, ""]  # number of the first path whose value is not finite; -1: none
    seed: UInt[Array, " 2"]


class Info(NamedTuple):
    """After one block."""

    estimate: Float[Array, ""]  # mean of all paths so far
    standard_error: Float[Array, ""]  # of it; says nothing of the bias; NaN before the second path
    paths: Int[Array, ""]  # outer paths so far


class Result(NamedTuple):
    value: Float[Array, ""]  # mean over outer paths
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]  # OK, or NONFINITE: then `state.first_bad` names a path


# ---- Allocations -----------------------------------------------------------------------------------------------------


def equal_counts(m: int, depth: int) -> tuple[int, ...]:
    """N_0 = ... = N_D = m: NMC1 of `syed:23`, m**(D+1) leaves."""
    validate.at_least("m", m, 1)
    return (m,) * (depth + 1)


def square_counts(m: int, depth: int) -> tuple[int, ...]:
    """N_0 = m**2, N_1 = ... = N_D = m: NMC2 of `syed:23`, m**(D+2) leaves."""
    validate.at_least("m", m, 1)
    return (m**2,) + (m,) * depth


def best_counts(budget: float, variance: float, biases: Sequence[float]) -> tuple[int, ...]:
    """The allocation of least A/N_0 + (sum of b_d/N_d)**2 with about `budget` leaves, D = len(biases) >= 1.

    All b_d/N_d are equal: e = (A b_1 ... b_D / (2 D T))**(1/(D+2)). At D = 1, with B = b_1**2, this is
    N_1 = (2 B T/A)**(1/3), N_0 = T/N_1. Counts are rounded to whole numbers and are at least 1, so that the leaves are
    T only nearly. Source: derived from the mean squared error of `rainforth:18`.

    Args:
      budget: T, in leaves, >= 1.
      variance: A > 0, of an outer path with exact inner expectations.
      biases: |b_d| > 0, d = 1, ..., D: the bias is about sum of b_d/N_d.
    """
    validate.at_least("budget", budget, 1)
    validate.positive("variance", variance)
    validate.positive("biases", biases)
    depth = len(biases)
    validate.require(depth >= 1, "biases", "have one entry for each of D >= 1 inner depths", biases)
    share = (variance * math.prod(biases) / (2 * depth * budget)) ** (1 / (depth + 2))
    inner = tuple(max(1, round(bias / share)) for bias in biases)
    return (max(1, round(budget / math.prod(inner))), *inner)


def num_leaves(counts: Sequence[int], outer: int | None = None) -> int:
    """Leaves of `outer` paths (None: of all N_0), exactly."""
    whole = [operator.index(count) for count in jax.device_get(jnp.asarray(counts)).tolist()]
    return math.prod(whole[1:]) * (whole[0] if outer is None else operator.index(outer))


def default_tiles(depth: int) -> tuple[int, ...]:
    """8 children of a node at once (4 from depth 5 on), and outer paths for some 8,192 leaves in memory."""
    tile = 8 if depth < 5 else 4
    return (max(1, _LANES // tile**depth), *(tile,) * depth)


# ---- The method ------------------------------------------------------------------------------------------------------


def init(problem: Problem, params: Params, key: Key) -> State:
    """Before the first block.

    Raises: ValueError for a problem that does not fit itself (`problems.check`) or the number of counts.
    """
    _check(problem, params)
    outer = moments.start(dtype=float_dtype(problem))
    return State(jnp.int32(0), outer, jnp.int32(-1), words.seed_words(key, "nested"))


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One block of outer paths; those from N_0 on count for nothing."""
    counts, tiles = jnp.asarray(params.counts, jnp.int32), _tiles(problem, params)
    numbers = state.step * tiles[0] + jnp.arange(tiles[0])
    valid = numbers < counts[0]
    ids = numbers.astype(jnp.uint32), jnp.zeros(tiles[0], jnp.uint32)
    keys, states = engine.roots(problem, tuple(state.seed), ids)
    values = _values(problem, 0, keys, states, counts, tiles)
    outer = moments.merge(state.outer, moments.of_batch(values, valid))
    bad = valid & ~jnp.isfinite(values)
    found = jnp.where(jnp.any(bad), numbers[jnp.argmax(bad)], -1).astype(jnp.int32)
    first_bad = jnp.where(state.first_bad >= 0, state.first_bad, found)
    error = jnp.sqrt(moments.variance(outer, 1) / jnp.maximum(outer.count, 1).astype(outer.mean.dtype))
    return State(state.step + 1, outer, first_bad, state.seed), Info(outer.mean, error, outer.count)


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`params.num_steps` blocks; pass `state` instead of `key` to continue an earlier run exactly where it stopped."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return Result(state.outer.mean, state, trace, status.of(state))


def estimate(problem: Problem, params: Params, key: Key) -> State:
    """Blocks until N_0 paths are done, whatever `params.num_steps`: one program for all allocations. The estimate is
    the result's `outer.mean`.
    """
    wanted = jnp.asarray(params.counts, jnp.int32)[0]
    return jax.lax.while_loop(
        lambda state: state.outer.count < wanted,
        lambda state: step(problem, params, state)[0],
        init(problem, params, key),
    )


def _tiles(problem, params):
    return default_tiles(problem.depth) if params.tiles is None else params.tiles


def _check(problem, params):
    problems.check(problem, float_dtype(problem))
    allowed = f"hold {problem.depth + 1} numbers for a problem of depth {problem.depth}"
    validate.require(len(params.counts) == problem.depth + 1, "Params.counts", allowed, params.counts)


def _values(problem, d, keys, states, counts, tiles) -> Float[Array, "N ..."]:
    """Of nodes of depth d: the link at the mean of N_{d+1} children each, or a leaf's own value."""
    if d == problem.depth:
        return jax.vmap(problem.leaf)(states)
    below = problems.check(problem, float_dtype(problem))[d + 1]
    logs = problem.inner == "logmeanexp" and d + 1 == problem.depth
    size, tile, wanted = keys[0].shape[0], tiles[d + 1], counts[d + 1]

    def visit(t):
        """Values of one tile of children, and which of them are wanted."""
        numbers = t * tile + jnp.arange(tile)
        if d + 1 == problem.depth:
            values = paths.leaves(problem, keys, states, numbers)
        else:
            values = _values(problem, d + 1, *paths.children(problem, d + 1, keys, states, numbers), counts, tiles)
        inside = (numbers < wanted).reshape(1, tile, *(1,) * len(below))
        return values.reshape(size, tile, *below), inside

    def add(carry):
        t, total, lost = carry
        values, inside = visit(t)
        if logs:
            part = jax.nn.logsumexp(jnp.where(inside, values, -jnp.inf), axis=1)
            return t + 1, jnp.logaddexp(total, part), lost
        # What the roundings lost is kept: a float32 sum of a million tiles keeps its digits.
        total, error = loops.two_sum(total, jnp.sum(jnp.where(inside, values, 0), axis=1))
        return t + 1, total, lost + error

    zeros = jnp.zeros((size, *below), float_dtype(problem))
    first = (jnp.int32(0), zeros - jnp.inf if logs else zeros, zeros)
    # The product t * tile stays below MAX_COUNT + tile.
    _, total, lost = jax.lax.while_loop(lambda carry: carry[0] * tile < wanted, add, first)
    number = wanted.astype(zeros.dtype)
    mean = total - jnp.log(number) if logs else (total + lost) / number
    return jax.vmap(functools.partial(_link, problem, d))(states, mean)


def _link(problem: Problem, d: int, state: Any, z: Array) -> Array:
    return problem.link(d, state, z)


def example(key: Key) -> tuple[Problem, Params]:
    """The sine of a Gaussian mean, 60 paths of 6 inner samples in eight blocks; the last block is half empty."""
    del key
    return walks.walk("A3"), Params((60, 6), num_steps=8, tiles=(8, 4))
