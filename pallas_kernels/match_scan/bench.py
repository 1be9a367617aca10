"""Node-steps per second of the rounding against a vectorised NumPy simulator of the same law.

A node-step is one node at one time for one replicate, visited or not: what the simulation is worth, whatever it skips.
Beside them the generator alone: `jax.random.bits` with as many encryptions as the XLA path makes, one for each
replicate and time and, where somebody may be discarded, one for each node and block of four times, counted as the same
node-steps. It is no limit: drawn where it is used, a word costs less than one written to memory.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.match_scan import match_scan, peers
from pallas_kernels.match_scan import plan as plans
from pallas_kernels.match_scan.plan import Plan

__all__ = ["cases", "workload"]

_SHAPES = {"crowded": (100, 100, 0.2, 100), "sparse": (100, 200, 0.9, 4)}


def workload(name):
    """`(order, weights, rates)`, each `[T, n]`, and `arrivals [T]`: all nodes propose, or a few as in LP-OnOpt."""
    num_nodes, num_steps, highest, proposing = _SHAPES[name]
    rng = np.random.default_rng(0)
    weights = -np.sort(-rng.random((num_steps, num_nodes), np.float32), axis=1)
    order = np.argsort(rng.random((num_steps, num_nodes)), axis=1)
    rates = np.round(highest * rng.random((num_steps, num_nodes)) * (1 << 24)) / (1 << 24)
    rates[:, proposing:] = 0
    return order.astype(np.int32), weights, rates.astype(np.float32), rng.random(num_steps, np.float32)


def cases(tables, quick=False):
    """Yields the cases; `tables` are other kernels' workloads. `quick`: a twentieth of the replicates."""
    del tables
    num_runs = 8192 // (20 if quick else 1)
    for name in _SHAPES:
        order, weights, rates, arrivals = workload(name)
        num_steps, num_nodes = order.shape
        proposing = np.sum(rates > 0, axis=1).astype(np.int32)
        plan = Plan(*(jnp.asarray(x)[:, None] for x in (order, weights, rates, proposing, arrivals)))
        words = jax.random.bits(jax.random.key(0), (2, num_runs), np.uint32)
        blocks = int(jnp.sum(plans.drawn(plan)[1] > 0))
        few = min(num_runs, 1024)
        works = {
            "numpy": Work(
                functools.partial(peers.simulate, order, weights, rates, arrivals, few), num_steps * num_nodes * few
            ),
            "xla": Work(_waited(jax.jit(match_scan), plan, words), num_steps * num_nodes * num_runs),
            "jax.random.bits alone": Work(
                _waited(_bits, (num_steps + num_nodes * blocks, 1024)), num_steps * num_nodes * 1024
            ),
        }
        note = f"{proposing.mean():.0f} nodes propose at each time" + (", a twentieth" if quick else "")
        yield Case(f"match_scan {name}", "node-steps", (num_nodes, num_steps, num_runs), works, note)


@functools.partial(jax.jit, static_argnums=0)
def _bits(shape):
    return jax.random.bits(jax.random.key(0), shape)


def _waited(function, *args):
    return lambda: jax.block_until_ready(function(*args))
