"""The closed-form rounding on a TPU: one replicate in each lane, who is free and all draws stay on the chip.

Arithmetic intensity. A visit of a node is some 10 operations per replicate, 20 where it may be discarded, and its share
of a draw of 64 bits some 30 (115 for four times); the plan's 12 bytes serve a whole tile. Nothing streams, so the
vector unit is the wall, four operations on 1,024 numbers per cycle: 12 cycles for 1,024 replicates where everybody may
be discarded.

The compiler's estimate for a v5e (libtpu 0.0.42.1; not a measurement), cycles per visit of 1,024 replicates, tiles of
4,096: 16.7 with 32 nodes that all may be discarded, 78 % of the vector slots filled; 11.2 with four visits to a time
and no discards, most of which is the time's own draw. XLA's schedule of the loop of `xla.py`, one visit after the
other over 32,768 replicates, takes 738 and 600; over 4,096, 4,407 and 3,846, and with prefix sums of all nodes at once
instead 1,105 and 2,950. By nodes visited together and replicates of a tile, 16 nodes, all of them risky:

    together    1,024    2,048    4,096
    1            73.5     38.0     21.2
    2            62.3     33.8     19.7
    4            58.1     31.2     18.2

Layout. A tile of replicates is `[S, 128]`, whole registers; row i of the scratch `free` says which of them have node i
free. The plan is the same for all: its rows come to scalar memory, a few times to a grid step. A time visits the nodes
that propose, `TOGETHER` of them at once so that their chains hide each other's latency; behind them stands a row for a
node that does not exist and never proposes. Nodes that nobody could have to discard are visited without uniforms, and
uniforms are drawn only for those that are left (`plan.safe`, `plan.drawn`).

Grid (tiles of replicates, steps of times); the second axis is sequential and the state stays in VMEM meanwhile. Source:
as `reference.py`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from pallas_kernels import _blocks
from pallas_kernels._blocks import LANES, SUBLANES
from pallas_kernels.match_scan import draws
from pallas_kernels.match_scan import plan as plans
from pallas_kernels.match_scan.plan import Output

__all__ = [
    "REGISTER",
    "TOGETHER",
    "Visits",
    "cost",
    "fitting",
    "match_scan",
    "stream",
    "unsupported",
    "vmem_bytes",
    "widths",
]

#: Replicates of one vector register, the smallest tile.
REGISTER = SUBLANES * LANES
_VMEM_BUDGET = 14 << 20  # of the 16 MiB a kernel gets without asking on every TPU generation
_SMEM_BUDGET = 256 << 10
#: Nodes visited at once.
TOGETHER = 4
_PER_DRAW = draws.STEPS_PER_DRAW


class Visits(NamedTuple):
    """How often the kernel's loops run, where that is fixed to cost it: by the plan otherwise."""

    drawn: int  # nodes drawn for in each block of four times
    calm: int  # rounds of `TOGETHER` visits without discards in each time
    all: int  # rounds of visits in each time


def vmem_bytes(num_nodes, sizes):
    """On-chip memory of one grid step: the free sets, two words for each node, keys and values double-buffered."""
    return 4 * sizes.programs * (3 * _rows(num_nodes) + 2 * 3)


def _smem_bytes(num_nodes, sizes):
    integers, numbers = widths(num_nodes, sizes.rows)
    return 2 * 4 * (integers + numbers)


def _rows(num_nodes):
    return _blocks.round_up(num_nodes, TOGETHER) + 1


def widths(num_nodes, num_times):
    """Integers and floats of `num_times` times in scalar memory."""
    ranked = _blocks.round_up(num_nodes, TOGETHER)
    return num_times * (ranked + 2) + num_times // _PER_DRAW * (num_nodes + 1), num_times * (2 * ranked + 2)


def fitting(sizes, shape, num_runs):
    """Sizes that fit the chip, the plan `[T, J, n]` and the number of replicates, if any does."""
    num_steps, _, num_nodes = shape
    rows = min(_blocks.round_up(sizes.rows, _PER_DRAW), num_steps)
    programs = min(sizes.programs, _blocks.round_up(num_runs, REGISTER))
    while programs > REGISTER and vmem_bytes(num_nodes, _blocks.BlockSizes(rows, programs)) > _VMEM_BUDGET:
        programs = _blocks.round_up(programs // 2, REGISTER)
    while rows > _PER_DRAW and _smem_bytes(num_nodes, _blocks.BlockSizes(rows, programs)) > _SMEM_BUDGET:
        rows = _blocks.round_up(rows // 2, _PER_DRAW)
    return _blocks.BlockSizes(rows, programs)


def unsupported(plan, words, *, count_free, sizes):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    _, num_types, num_nodes = plan.order.shape
    if num_types > 1:
        return f"{num_types} types; the kernel plays one, whose discards need no sums over types"
    if count_free:
        return "count_free: how many replicates have a node free is counted by XLA alone"
    if vmem_bytes(num_nodes, sizes) > _VMEM_BUDGET or _smem_bytes(num_nodes, sizes) > _SMEM_BUDGET:
        return f"{num_nodes} nodes: the free sets of {sizes.programs} replicates do not fit the chip"
    return None


def cost(num_tiles, num_steps, num_nodes, sizes):
    """Operations and bytes of one call, for the compiler's scheduler: every node proposes, half may be discarded."""
    lanes, integers_and_numbers = num_tiles * sizes.programs, sum(widths(num_nodes, sizes.rows))
    return pl.CostEstimate(
        flops=lanes * num_steps * (120 + num_nodes * (10 + 15 + 15)),
        transcendentals=0,
        bytes_accessed=4 * (3 * lanes + num_tiles * (num_steps // sizes.rows) * integers_and_numbers),
    )


def match_scan(plan, words, *, discards=True, count_free=False, sizes, interpret=False):
    """Same contract as `api.match_scan`; one type, no counts. `sizes` as `fitting` returns them."""
    del count_free
    num_runs = words.shape[1]
    tiles = -(-num_runs // sizes.programs)
    words = _blocks.pad_axis(words, 1, tiles * sizes.programs).reshape(2, tiles, -1, LANES)
    integers, numbers = _scalars(plan, discards, sizes.rows)
    value = stream(integers, numbers, words, num_nodes=plan.order.shape[-1], times=sizes.rows, interpret=interpret)
    return Output(value.reshape(-1)[:num_runs], None)


def _scalars(plan, discards, num_times):
    """The plan as `stream` takes it: times at which nothing happens fill the last grid step."""
    num_steps, _, num_nodes = plan.order.shape
    ranked = _blocks.round_up(num_nodes, TOGETHER)
    length = _blocks.round_up(num_steps, num_times)
    # The node behind the last stands for nobody.
    order = _blocks.pad_axis(plan.order[:, 0], 1, ranked, num_nodes)
    weights, rates = (_blocks.pad_axis(x[:, 0], 1, ranked) for x in (plan.weights, plan.rates))
    rounds, safe = -(-plan.proposing // TOGETHER), plans.safe(plan)
    calm = jnp.where(safe < plan.proposing, safe // TOGETHER, rounds) if discards else rounds
    nodes, count = plans.drawn(plan)
    count = count[:, None] if discards else jnp.zeros_like(count)[:, None]
    per_time = (order, calm, rounds), (weights, rates, plan.arrivals, draws.odds(plan.arrivals))
    integers = [_grouped(x, length, num_times) for x in per_time[0]]
    integers += [_grouped(x, length // _PER_DRAW, num_times // _PER_DRAW) for x in (nodes, count)]
    numbers = [_grouped(x, length, num_times) for x in per_time[1]]
    return jnp.concatenate(integers, axis=1)[:, None], jnp.concatenate(numbers, axis=1)[:, None]


def _grouped(x, length, size):
    return _blocks.pad_axis(x, 0, length).reshape(length // size, -1)


def stream(integers, numbers, words, *, num_nodes, times, visits=None, interpret=False):
    """The kernel itself, on a plan already in rows of scalars.

    Args:
      integers: `[steps, 1, K]` int32: of `times` times, the nodes by rank, then rounds of visits without discards, then
        all rounds; of their blocks of four, the nodes drawn for, then how many.
      numbers: `[steps, 1, L]` float32: weights by rank, rates by rank, arrival probabilities, and `draws.odds` of them.
      words: `[2, tiles, S, 128]` uint32 keys.
      visits: `Visits` instead of the plan's.

    Returns:
      values, `[tiles, S, 128]`.
    """
    _, tiles, height, _ = words.shape
    sizes = _blocks.BlockSizes(times, height * LANES)
    rows = _rows(num_nodes)
    ours = pl.BlockSpec((1, height, LANES), lambda tile, step: (tile, 0, 0))

    def scalars(array):
        return pl.BlockSpec((1, *array.shape[1:]), lambda tile, step: (step, 0, 0), memory_space=pltpu.SMEM)

    return pl.pallas_call(
        functools.partial(_kernel, num_nodes=num_nodes, times=times, visits=visits),
        grid=(tiles, integers.shape[0]),
        in_specs=[
            scalars(integers),
            scalars(numbers),
            pl.BlockSpec((2, 1, height, LANES), lambda tile, step: (0, tile, 0, 0)),
        ],
        out_specs=ours,
        out_shape=jax.ShapeDtypeStruct(words.shape[1:], jnp.float32),
        scratch_shapes=[
            pltpu.VMEM((rows, height, LANES), jnp.float32),
            pltpu.VMEM((2, rows, height, LANES), jnp.uint32),
        ],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary")),
        cost_estimate=cost(tiles, integers.shape[0] * times, num_nodes, sizes),
        interpret=interpret,
        name="match_scan",
    )(integers, numbers, words)


def _kernel(integers, numbers, words, value, free, drawn, *, num_nodes, times, visits):
    ranked = _blocks.round_up(num_nodes, TOGETHER)
    blocks = times // _PER_DRAW
    calm_at = times * ranked
    nodes_at = calm_at + 2 * times
    count_at = nodes_at + blocks * num_nodes
    rates_at, arrivals_at = times * ranked, 2 * times * ranked
    step = pl.program_id(1)
    key = words[0, 0], words[1, 0]

    @pl.when(step == 0)
    def _():
        value[...] = jnp.zeros_like(value)

        @pl.loop(0, free.shape[0])
        def _(node):
            free[node] = jnp.ones(free.shape[1:], free.dtype)

    def play(time, block, part):
        event = draws.event(key, (_PER_DRAW * block + part).astype(jnp.uint32))
        match = jnp.where(event.arrival < numbers[0, 0, arrivals_at + time], event.match, 2.0)
        odds = numbers[0, 0, arrivals_at + times + time]
        which, begin = divmod(part, 2)

        def visit(round_, carry, discards):
            ahead, reward = carry
            places = [time * ranked + TOGETHER * round_ + i for i in range(TOGETHER)]
            nodes = [integers[0, 0, place] for place in places]
            before = [free[node] for node in nodes]
            after = []
            for place, node, here in zip(places, nodes, before, strict=True):
                wanted = here * numbers[0, 0, rates_at + place]
                reached = jnp.minimum(ahead + wanted, 1.0)
                leaves = (ahead <= match) & (match < reached)
                reward = jnp.where(leaves, numbers[0, 0, place], reward)
                if discards:
                    best = reached - ahead
                    word = drawn[which, node]
                    uniform = draws.discard_uniforms(word, jnp.uint32(16 * begin), event.shared)
                    leaves = leaves | (uniform * (odds - best) < wanted - best)
                after.append(jnp.where(leaves, 0.0, here))
                ahead = reached
            for node, here in zip(nodes, after, strict=True):
                free[node] = here
            return ahead, reward

        calm, rounds = (integers[0, 0, calm_at + i * times + time] for i in range(2))
        if visits is not None:
            calm, rounds = visits.calm, visits.all
        zero = jnp.zeros(free.shape[1:], jnp.float32)
        carry = jax.lax.fori_loop(0, calm, functools.partial(visit, discards=False), (zero, zero))
        _, reward = jax.lax.fori_loop(calm, rounds, functools.partial(visit, discards=True), carry)
        value[0] += reward

    @pl.loop(0, blocks)
    def _(i):
        block = step * blocks + i

        @pl.loop(0, integers[0, 0, count_at + i] if visits is None else visits.drawn)
        def _(k):
            node = integers[0, 0, nodes_at + i * num_nodes + k]
            drawn[0, node], drawn[1, node] = draws.discard_words(key, block.astype(jnp.uint32), node)

        for part in range(_PER_DRAW):
            play(_PER_DRAW * i + part, block, part)
