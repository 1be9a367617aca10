"""Both sweeps on a CPU against NumPy: steps of one node, time, type and instance per second.

The peer is the same arithmetic in float32 with instances last, vectorised over nodes and instances, in place, in
buffers that are made once. Flops by count, transcendentals as one each: 12 backwards, 4 forwards.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.dual_scan.api import dual_scan

__all__ = ["cases", "numpy_sweep"]

# Times, types, nodes, instances, and whether gains do not depend on time.
_SHAPES = {
    "20 x 50, 64 instances": (50, 1, 20, 64, False),
    "100 x 500, one instance": (500, 1, 100, 1, False),
    "50 x 200, 16 types, 8 instances": (200, 16, 50, 8, True),
}
_FLOPS = 16
_LOWEST = np.float32(-80)


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used. Sweeps are short: `quick` changes nothing."""
    del tables, quick
    for name, (times, types, nodes, lanes, stationary) in _SHAPES.items():
        args = _random(times, types, nodes, lanes, stationary)
        steps = times * types * nodes * lanes
        counted = float(_FLOPS * steps)
        moved = 4.0 * (2 * steps + args[0].size)  # acceptances written and read, gains read
        work = {"items": steps, "flops": counted, "useful": counted, "traffic": moved}
        works = {"numpy": Work(numpy_sweep(*args), **work), "xla": Work(_jax_call(args), **work)}
        yield Case(f"dual_scan {name}", "steps", (times, types, nodes, lanes), works, "uniform and independent")


def _random(times, types, nodes, lanes, stationary):
    rng = np.random.default_rng(0)
    row = (times, types, lanes)
    gains = rng.random((1 if stationary else times, types, nodes, lanes))
    gains[rng.random(gains.shape) < 0.5] = -np.inf
    rest = rng.random(row) / types, 0.5 * rng.random(row), rng.uniform(0.01, 0.1, row)
    return tuple(v.astype(np.float32) for v in (gains, *rest))


def _jax_call(args):
    on_device = [jnp.asarray(v) for v in args]
    run = jax.jit(dual_scan)
    return lambda: jax.block_until_ready(run(*on_device))


def numpy_sweep(gains, arrivals, multipliers, temperature):
    """A function of nothing that returns the loads `[T, J, B]`; arguments as in `api.dual_scan`."""
    times, types, _ = arrivals.shape
    nodes = gains.shape[2:]
    mass, price, inverse = (v[:, :, None] for v in (arrivals * temperature, multipliers / temperature, 1 / temperature))
    chance = arrivals[:, :, None]
    accept = np.empty((times, types, *nodes), np.float32)
    slope, other = (np.empty((types, *nodes), np.float32) for _ in range(2))
    load = np.empty_like(arrivals)
    per_time = len(gains) > 1

    def call():
        value = np.zeros(nodes, np.float32)
        for t in reversed(range(times)):
            np.subtract(gains[t if per_time else 0], value, out=slope)
            np.multiply(slope, inverse[t], out=slope)
            np.subtract(slope, price[t], out=slope)
            np.maximum(slope, _LOWEST, out=slope)
            np.negative(slope, out=other)
            np.exp(other, out=other)
            np.add(other, 1, out=other)
            np.divide(1, other, out=accept[t])
            np.log(other, out=other)
            np.add(slope, other, out=slope)
            np.multiply(slope, mass[t], out=slope)
            for gained in slope:
                value += gained
        free = np.ones(nodes, np.float32)
        for t in range(times):
            np.multiply(accept[t], free, out=slope)
            np.add.reduce(slope, axis=1, out=load[t])
            np.multiply(slope, chance[t], out=slope)
            for spent in slope:
                np.subtract(free, spent, out=free)
        return load

    return call
