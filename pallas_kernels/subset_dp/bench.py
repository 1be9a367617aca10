"""The subset dynamic program on a CPU against NumPy on bit views: states, a set at a time of day, per second.

Counted for each: an addition and a maximum for each node, three operations for the time, and 8 bytes, one value read
and one written; of additions half are of use, since a node is free in half of all sets.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.subset_dp import peers
from pallas_kernels.subset_dp.api import subset_dp

__all__ = ["cases"]

#: n, T; and in the quick form.
_SHAPES, _QUICK = ((12, 400), (16, 40), (20, 8)), ((8, 20), (10, 20))


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used, instances are drawn."""
    del tables
    for size in _QUICK if quick else _SHAPES:
        yield _case(*size)


def _case(n, steps):
    rng = np.random.default_rng(0)
    weights, arrivals = rng.random((n, steps), np.float32), rng.random(steps, np.float32)
    on_device = jnp.asarray(weights.T[:, None]), jnp.asarray(arrivals[:, None])
    run = jax.jit(lambda *args: subset_dp(*args)[-1])
    states = steps * 2**n
    counted = {"flops": float(states * (2 * n + 3)), "useful": float(states * (n + 3)), "traffic": 8.0 * states}
    works = {
        "numpy bit views": Work(
            functools.partial(peers.bit_view_values, weights, arrivals), states, **counted,
            report=lambda values: {"value": float(values[-1])},
        ),
        "xla": Work(
            lambda: jax.block_until_ready(run(*on_device)), states, **counted,
            report=lambda value: {"value": float(value)},
        ),
    }  # fmt: skip
    return Case(f"subset_dp n={n}", "states", (2**n, steps), works, "Bernoulli, float32")
