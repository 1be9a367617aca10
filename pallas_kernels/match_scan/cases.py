"""What the laboratory costs and what every test of kernels runs, for this operation.

The compiler's simulator counts a loop whose length depends on data once: both sides are costed with loops of fixed
length, of one block of four times, XLA's without the loop around it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import _blocks
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.match_scan import draws, kernel_tpu, xla
from pallas_kernels.match_scan.api import match_scan
from pallas_kernels.match_scan.plan import Plan

__all__ = ["NOT_DIFFERENTIABLE", "cases", "examples", "sweep"]

NOT_DIFFERENTIABLE = "every decision compares with a random number"


#: Replicates of XLA's schedule: on a v5e, crowded, cycles per unit are 4,407 for 4,096 and 738 for these.
_MANY = 32768
_FLOCK = 1024  # replicates of a unit


def cases():
    """Everybody proposes and may be discarded; and, as the solutions of LP-OnOpt are, few do and nobody can be."""
    sizes = _blocks.BlockSizes(16, 4096)
    return (
        _case("crowded", 32, sizes, kernel_tpu.Visits(drawn=32, calm=0, all=8)),
        _case("sparse", 100, sizes, kernel_tpu.Visits(drawn=0, calm=1, all=1)),
    )


def sweep():
    """Times of a grid step and replicates of a tile to try, the same number of times for all."""
    for rows, programs in ((4, 1024), (4, 2048), (4, 4096), (16, 2048), (16, 4096), (16, 8192), (32, 4096)):
        sizes = _blocks.BlockSizes(rows, programs)
        visits = kernel_tpu.Visits(drawn=32, calm=0, all=8)
        bucket = {"platform": "tpu", "dtype": "float32", "width": 1 << 20}
        yield bucket, sizes, _case(f"rows {rows} programs {programs}", 32, sizes, visits, 32 // rows)


def _case(name, num_nodes, sizes, visits, steps=1):
    """The kernel with loops of fixed length; `steps` grid steps less as many again, so that a start is not charged."""
    integers, numbers = kernel_tpu.widths(num_nodes, sizes.rows)

    def args(steps):
        words = _abstract(2, 1, sizes.programs // _blocks.LANES, _blocks.LANES, dtype=jnp.uint32)
        return _abstract(steps, 1, integers, dtype=jnp.int32), _abstract(steps, 1, numbers), words

    kernel = functools.partial(kernel_tpu.stream, num_nodes=num_nodes, times=sizes.rows, visits=visits)
    visited = visits.all * kernel_tpu.TOGETHER
    units = steps * sizes.rows * visited * sizes.programs / _FLOCK
    peer = functools.partial(_four_times, visits.drawn > 0, visited)
    rows = [_abstract(4, 1, num_nodes, dtype=kind) for kind in (jnp.int32, jnp.float32, jnp.float32)]
    of_peer = (
        _abstract(num_nodes, _MANY, dtype=jnp.bool_), _abstract(_MANY), _abstract(2, _MANY, dtype=jnp.uint32),
        *rows, _abstract(4, 1),
    )  # fmt: skip
    per = f"visit of {_FLOCK:,} replicates"
    return Case(name, kernel, args(2 * steps), peer, of_peer, units, per, 4 * visited * _MANY / _FLOCK, args(steps))


def _four_times(discards, visited, free, value, words, *rows):
    """One block of `xla.match_scan`, with loops of fixed length."""
    nodes = jnp.arange(free.shape[0], dtype=jnp.uint32)[:, None]
    drawn = jnp.stack(draws.discard_words(words[:, None], 5, nodes)) if discards else None

    def one_time(carry, this):
        free, value = carry
        part, order, weights, rates, arrivals = this
        event = draws.event(words, 20 + part)
        match = jnp.where(event.arrival < arrivals[0], event.match, 2)[None]
        bits = xla.Discards(drawn, part, event.shared) if discards else None
        free, reward = xla.match_step(free, match, bits, (0,), order, weights, rates, (visited,), arrivals)
        return (free, value + reward), None

    return jax.lax.scan(one_time, (free, value), (jnp.arange(4), *rows))[0]


def _abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def examples():
    return (
        _example("crowded", nodes=5, times=4, runs=150, sizes=_blocks.BlockSizes(4, 1024)),
        _example("two tiles, a step part full", nodes=2, times=12, runs=1300, sizes=_blocks.BlockSizes(8, 1024)),
    )


def _example(name, *, nodes, times, runs, sizes):
    """Rates that discard often; the last time is padding, at another nobody arrives."""
    rng = np.random.default_rng(0)
    weights, rates = rng.random((times, nodes)), rng.random((times, nodes)) * (rng.random((times, nodes)) < 0.8)
    arrivals = rng.random(times)
    arrivals[[1, 2]] = 0, 1
    rates[-1] = arrivals[-1] = 0
    order = np.argsort(np.where(rates > 0, -weights, 1), axis=1, kind="stable")
    weights, rates = (np.take_along_axis(x, order, 1) for x in (weights, rates))
    proposing = np.where(arrivals > 0, np.sum(rates > 0, axis=1), 0)
    args = (
        jnp.asarray(order, jnp.int32), jnp.asarray(weights, jnp.float32), draws.on_grid(jnp.asarray(rates)),
        jnp.asarray(proposing, jnp.int32), jnp.asarray(arrivals, jnp.float32),
        jnp.asarray(rng.integers(0, 1 << 32, (2, runs), np.uint64), jnp.uint32),
    )  # fmt: skip

    def plan(*args):
        return Plan(*(x[:, None] for x in args))

    def call(*args, impl):
        return match_scan(plan(*args[:-1]), args[-1], impl=impl)

    def interpret(*args):
        *args, words, mode = args
        return kernel_tpu.match_scan(plan(*args), words, sizes=sizes, interpret=mode)

    return Example(name, args, call, interpret, 0.0)
