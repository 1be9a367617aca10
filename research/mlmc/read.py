"""READ, the Recursive Estimator for Arbitrary Depth: an unbiased estimate of a repeatedly nested expectation.

A node of depth d < D draws a level N with P(N = n) = r_d (1 - r_d)**n and runs 2**(b_d + N) children; the mean a of the
first half of their values and the mean b of the second give

    g_d(y, (a + b)/2) / p_0 at N = 0,    [g_d(y, (a + b)/2) - (g_d(y, a) + g_d(y, b))/2] / p_N above,

whose expectation telescopes. A replicate is the value of one root; the estimate is the mean of a number of replicates
that is fixed beforehand (`deadline` says why). `step` runs a block of replicates.
Source: `syed:23`, Algorithm 1, which has b = 0. Departure: the halves are the first and the second, not odd and even.
"""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import loops, validate
from research.core.status import Status
from research.core.types import Array, Bool, Float, Int, Key, UInt
from research.mlmc import bounds, engine, leaf_blocks, leaves, levels, problems, walks, words
from research.mlmc.problems import NestedExpectation as Problem

__all__ = [
    "ESTIMATORS", "Info", "LEAVES", "LEVELS", "Params", "Problem", "Replicates", "Result", "State", "advance",
    "block_info", "estimate", "example", "finish", "init", "level_statistics", "plan", "planned_replicates",
    "replicates", "result", "run", "start", "step",
]  # fmt: skip

ESTIMATORS = ("single", "coupled", "block")
#: Variates of leaves: words of their own; randomised nets; or words of their own, summed by the kernel `nested_leaf`.
LEAVES = ("random", "sobol", "blocks")
LEVELS = ("independent", "systematic")


class Params(eqx.Module):
    r: tuple[float, ...] = eqx.field(static=True)  # length D, each in (1/2, 1)
    num_steps: int = eqx.field(static=True, default=64)  # blocks
    b: tuple[int, ...] | None = eqx.field(static=True, default=None)  # base exponents, in 0..20; None: zeros
    block: int = eqx.field(static=True, default=16384)  # replicates of a block, a power of two
    tiles: tuple[int, ...] | None = eqx.field(static=True, default=None)  # C_0 = block, ..., C_D; None: `plan`
    estimator: str = eqx.field(static=True, default="single")
    leaves: str = eqx.field(static=True, default="random")
    levels: str = eqx.field(static=True, default="independent")  # of the roots; see `systematic`
    sums: str | None = eqx.field(static=True, default=None)  # dtype of sums and links; None: the problem's
    allow_infinite_variance: bool = eqx.field(static=True, default=False)
    strict: bool = eqx.field(static=True, default=False)  # raise where the variance may be infinite, not warn

    def __check_init__(self):
        validate.at_least("Params.num_steps", self.num_steps, 1)
        for d, r in enumerate(self.r):
            validate.require(0.5 < r <= 1 - 2.0**-20, f"Params.r[{d}]", "lie in (0.5, 1 - 2**-20]", r)
        if self.b is not None:
            validate.require(len(self.b) == len(self.r), "Params.b", f"have {len(self.r)} entries, as r", self.b)
            for d, b in enumerate(self.b):
                allowed = isinstance(b, int) and 0 <= b <= bounds.MAX_BASE
                validate.require(allowed, f"Params.b[{d}]", f"be an integer in 0..{bounds.MAX_BASE}", b)
        _power_of_two("Params.block", self.block)
        if self.tiles is not None:
            wanted = f"have {len(self.r) + 1} entries, the first one Params.block"
            validate.require(
                len(self.tiles) == len(self.r) + 1 and self.tiles[0] == self.block, "Params.tiles", wanted, self.tiles
            )
            for d, tile in enumerate(self.tiles):
                _power_of_two(f"Params.tiles[{d}]", tile)
            validate.require(list(self.tiles) == sorted(self.tiles)[::-1], "Params.tiles", "not increase", self.tiles)
        validate.one_of("Params.estimator", self.estimator, ESTIMATORS)
        validate.one_of("Params.leaves", self.leaves, LEAVES)
        validate.one_of("Params.levels", self.levels, LEVELS)
        validate.one_of("Params.sums", self.sums, (None, "float32", "float64"))


def _power_of_two(name, value):
    allowed = isinstance(value, int) and 1 <= value <= 1 << 24 and value & (value - 1) == 0
    validate.require(allowed, name, "be a power of two, at most 2**24", value)


class State(NamedTuple):
    step: Int[Array, ""]  # blocks done
    seed: UInt[Array, " 2"]
    next_id: UInt[Array, " 2"]  # low and high word of the first replicate to come
    total: Float[Array, ""]  # sum of the block means, and what rounding has taken from it
    rest: Float[Array, ""]
    leaves: loops.Counter
    slots: loops.Counter  # leaf lanes run; leaves / slots is the fill
    bad: Int[Array, ""]  # replicates whose value is not finite, left out of the sums
    first_bad: UInt[Array, " 2"]  # id of the first one; 2**64 - 1 without one
    overflow: Int[Array, ""]  # blocks with a node beyond the engine's range; its replicate is among `bad`


class Info(NamedTuple):
    """One block: moments about its own mean, over its finite replicates."""

    first_id: UInt[Array, " 2"]
    mean: Float[Array, ""]
    m2: Float[Array, ""]  # sums of (x - mean)**k
    m3: Float[Array, ""]
    m4: Float[Array, ""]
    largest: Float[Array, ""]  # value of largest modulus
    largest_id: UInt[Array, " 2"]
    count: Int[Array, ""]  # finite replicates
    first_bad: UInt[Array, " 2"]  # id of the first one that is not; 2**64 - 1 without one
    leaves: loops.Counter
    slots: loops.Counter
    overflow: Bool[Array, ""]


class Result(NamedTuple):
    value: Float[Array, ""]  # the mean of all block means since `init`
    state: State
    trace: Info  # leading axis: num_steps
    status: Int[Array, ""]  # NONFINITE: a replicate is not finite; DIVERGED: an overflow is to be finished


class Replicates(NamedTuple):
    value: Float[Array, " R"]  # NaN where the replicate is not finite or overflows
    leaves: Int[Array, " R"]
    overflow: Bool[Array, ""]  # whether a node was beyond the engine's range: its replicate is NaN


def plan(problem: Problem, params: Params, *, statistics: bool = False, count: bool = True) -> engine.Plan:
    """The engine's static description, after the checks that need the problem.

    Tiles are by default half a block at inner depths and a sixteenth for leaves: large where nodes are, so that all
    sizes of family share a tile, small where leaves are, so that the last tile of a line wastes little.

    Raises: ValueError where r does not fit the depth, or the problem's functions do not fit together.
    """
    problems.check(problem, engine.float_dtype(problem))
    depth = problem.depth
    validate.require(len(params.r) == depth, "Params.r", f"have {depth} entries at depth {depth}", params.r)
    if params.leaves == "sobol":
        most = leaves.MAX_COORDINATES
        number = problem.num_variates[depth]
        validate.require(number <= most, f"num_variates[{depth}]", f"be at most {most} for a net of leaves", number)
        validate.require(depth > 0, "Params.leaves", "be 'random' at depth 0", params.leaves)
    if params.leaves == "blocks":
        validate.require(depth > 0, "Params.leaves", "be 'random' at depth 0", params.leaves)
        validate.one_of("Params.estimator with leaves='blocks'", params.estimator, ("single",))
        why = leaf_blocks.unsupported(problem, ())
        validate.require(why is None, "Params.leaves", "be 'random' or 'sobol' for this problem", f"'blocks': {why}")
    tiles = params.tiles
    if tiles is None:
        inner, last = max(params.block >> 1, 1), max(params.block >> 4, min(params.block, 16))
        tiles = (params.block, *(inner,) * (depth - 1), min(last, inner))[: depth + 1]
    laws = tuple(levels.Geometric(r) for r in params.r)
    base = params.b or (0,) * depth
    return engine.Plan(
        laws, base, tiles, params.estimator, params.leaves, params.levels, params.sums, count, statistics
    )


def _guard(problem, params):
    """Says once, before anything runs, what random levels do to these links."""
    if problem.depth and len(params.r) == problem.depth:
        bounds.check_levels(
            problem, params.r, b=params.b, allow_infinite_variance=params.allow_infinite_variance, strict=params.strict
        )


def start(problem: Problem, seed: UInt[Array, " 2"], first_id: UInt[Array, " 2"], params: Params) -> State:
    """A state from the two seed words themselves, at any replicate."""
    dtype = params.sums or engine.float_dtype(problem)
    zero, none = loops.start_counter(), jnp.asarray(_NO_ID)
    number = jnp.zeros((), dtype)
    seed, first_id = jnp.asarray(seed, jnp.uint32), jnp.asarray(first_id, jnp.uint32)
    return State(jnp.int32(0), seed, first_id, number, number, zero, zero, jnp.int32(0), none, jnp.int32(0))


def init(problem: Problem, params: Params, key: Key | None = None) -> State:
    """The state before replicate 0; the seed words are those of the stream "read" of the key."""
    if key is None:
        raise ValueError("key must be a PRNG key, got None.")
    plan(problem, params)
    _guard(problem, params)
    return start(problem, words.seed_words(key, "read"), jnp.zeros(2, jnp.uint32), params)


_NO_ID = np.full(2, 0xFFFFFFFF, np.uint32)


def _first(mask):
    """Index of the first True, or the length."""
    return jnp.min(jnp.where(mask, jnp.arange(mask.size, dtype=jnp.int32), mask.size))


def block_info(problem: Problem, params: Params, seed: UInt[Array, " 2"], first_id: UInt[Array, " 2"]) -> Info:
    """What replicates first_id, ..., first_id + block - 1 give."""
    first = (first_id[0], first_id[1])
    ids = words.next_ids(first, jnp.arange(params.block, dtype=jnp.uint32))
    planned = plan(problem, params, count=False)
    ran = engine.block(problem, planned, (seed[0], seed[1]), ids, jnp.ones(params.block, bool))
    fine = jnp.isfinite(ran.value)
    x = jnp.where(fine, ran.value, 0)
    count = fine.sum(dtype=jnp.int32)
    mean = x.sum() / jnp.maximum(count, 1).astype(x.dtype)
    away = jnp.where(fine, x - mean, 0)
    square = away**2
    at = jnp.argmax(jnp.abs(x))
    worst = _first(~fine)
    bad = jnp.where(worst < params.block, jnp.stack(words.next_ids(first, worst.astype(jnp.uint32))), _NO_ID)
    return Info(
        first_id, mean, square.sum(), (square * away).sum(), (square**2).sum(), x[at],
        jnp.stack([ids[0][at], ids[1][at]]), count, bad, ran.tally.leaves, ran.tally.slots, ran.tally.overflow,
    )  # fmt: skip


def advance(state: State, info: Info, params: Params) -> State:
    """The state after the block of replicates that begins at `state.next_id`."""
    done = state.step + 1
    mean = info.mean.astype(state.total.dtype)
    total, lost = loops.two_sum(state.total, mean)
    return State(
        done, state.seed, jnp.stack(words.next_ids((state.next_id[0], state.next_id[1]), params.block)),
        total, state.rest + lost, loops.add(state.leaves, info.leaves), loops.add(state.slots, info.slots),
        state.bad + params.block - info.count, jnp.where(state.bad == 0, info.first_bad, state.first_bad),
        state.overflow + info.overflow.astype(jnp.int32),
    )  # fmt: skip


def step(problem: Problem, params: Params, state: State) -> tuple[State, Info]:
    """One block: replicates next_id, ..., next_id + block - 1."""
    info = block_info(problem, params, state.seed, state.next_id)
    return advance(state, info, params), info


def run(problem: Problem, params: Params, key: Key | None = None, *, state: State | None = None) -> Result:
    """`num_steps` blocks; pass `state` to continue where an earlier run stopped, to the bit."""
    state = init(problem, params, key) if state is None else state
    state, trace = loops.scan_steps(step, problem, params, state, params.num_steps)
    return result(state, trace)


def result(state: State, trace: Info) -> Result:
    """The estimate and the status of a state, with the infos of its last blocks."""
    code = jnp.where(state.overflow > 0, Status.DIVERGED, jnp.where(state.bad > 0, Status.NONFINITE, Status.OK))
    value = (state.total + state.rest) / jnp.maximum(state.step, 1).astype(state.total.dtype)
    return Result(value, state, trace, code.astype(jnp.int32))


def estimate(trace: Info) -> float:
    """The mean over all finite replicates of a trace, in double precision, blocks by id: on the host."""
    count = np.asarray(trace.count, np.float64).ravel()
    mean = np.asarray(trace.mean, np.float64).ravel()
    order = np.argsort(words.join(np.asarray(trace.first_id).reshape(-1, 2).T), kind="stable")
    return math.fsum((count * mean)[order]) / count.sum()


def finish(problem: Problem, params: Params, seed, first_id: int) -> np.ndarray:
    """Values of a block, those of replicates beyond the engine's range included, on the host (`slow`).

    Returns:
      `[block]`, float64; NaN where a replicate is not finite.
    """
    from research.mlmc import slow

    ids = np.uint64(first_id) + np.arange(params.block, dtype=np.uint64)
    ran = replicates(problem, params, seed, ids)
    values = np.asarray(ran.value, np.float64).copy()
    if bool(ran.overflow):
        planned = plan(problem, params)
        for i in np.flatnonzero(~np.isfinite(values)):
            values[i] = slow.replicate(problem, planned, seed, int(ids[i]))[0]
    return values


@eqx.filter_jit
def _many(problem, planned, seed, low, high, number):
    width = planned.tiles[0]

    def one(carry, row):
        valid = jnp.arange(width) + row[2] * width < number
        return carry, engine.block(problem, planned, tuple(seed), row[:2], valid)

    blocks = low.shape[0] // width
    rows = (low.reshape(blocks, width), high.reshape(blocks, width), jnp.arange(blocks))
    return jax.lax.scan(one, None, rows)[1]


def _run_ids(problem, planned, seed, ids):
    pair = np.asarray(seed)
    fits = pair.shape == (2,) and pair.dtype.kind in "iu" and pair.min() >= 0 and pair.max() < 1 << 32
    validate.require(bool(fits), "seed", "be two integers in [0, 2**32)", seed)
    low, high = words.split(ids)
    pad = -len(low) % planned.tiles[0]
    low, high = (jnp.asarray(np.concatenate([word, np.zeros(pad, np.uint32)])) for word in (low, high))
    seed = jnp.asarray(pair.astype(np.uint32))
    return _many(problem, planned, seed, low, high, jnp.int32(len(low) - pad)), len(low) - pad


def replicates(problem: Problem, params: Params, seed, ids) -> Replicates:
    """Values of replicates by id, on the host's order; `params.num_steps` is not used.

    Args:
      seed: two uint32 words.
      ids: `[R]` integers in [0, 2**64).
    """
    planned = plan(problem, params)
    _guard(problem, params)
    return planned_replicates(problem, planned, seed, ids)


def planned_replicates(problem: Problem, planned: engine.Plan, seed, ids) -> Replicates:
    """The same from a plan of one's own, whose laws of levels are not looked at (`truncated`)."""
    ran, number = _run_ids(problem, planned, seed, ids)
    return Replicates(ran.value.reshape(-1)[:number], ran.leaves.reshape(-1)[:number], ran.tally.overflow.any())


def level_statistics(problem: Problem, params: Params, seed, ids) -> dict[str, np.ndarray]:
    """What the nodes of a pilot's replicates saw, per depth and level, for the choice of r and b.

    Returns:
      float64 arrays `[D, 31]`: `count` of nodes; `mean`, `mean_square` and `mean_fourth` of Delta (of the link itself
      at level 0), without the weight 1/p; `largest` of its modulus. Means are 0 where the count is.
    """
    planned = plan(problem, params, statistics=True)
    _guard(problem, params)
    ran, _ = _run_ids(problem, planned, seed, ids)
    table = np.asarray(ran.tally.levels, np.float64)
    count = table[..., 0].sum(axis=0)
    means = table[..., 1:4].sum(axis=0) / np.maximum(count, 1)[..., None]
    names = ("mean", "mean_square", "mean_fourth")
    return {"count": count, **{n: means[..., i] for i, n in enumerate(names)}, "largest": table[..., 4].max(axis=0)}


def example(key: Key) -> tuple[Problem, Params]:
    """The walk A3 in small blocks."""
    del key
    return walks.walk("A3"), Params(r=(0.6,), num_steps=8, block=64)
