"""Both sweeps as a `lax.scan` each: the path of CPUs, of GPUs and of float64.

On a TPU its schedule is bound by the loops: some ten operations for each time step, each with its own trip to memory.
The table is in `cases.py`. Source: as `reference.py`.
"""

import jax
import jax.numpy as jnp

from pallas_kernels.dual_scan import steps

__all__ = ["dual_scan"]


def dual_scan(gains, arrivals, multipliers, temperature):
    """Same contract as `api.dual_scan`."""

    def back(value, gains, row):
        accept, value = steps.relax(value, gains, row)
        return value, accept

    nodes, dtype = gains.shape[2:], arrivals.dtype
    rows = steps.smoothed(arrivals, multipliers, temperature)
    _, accept = steps.over_time(back, jnp.full(nodes, 0, dtype), gains, rows, reverse=True)

    def forward(free, row):
        arrivals, accept = row
        taken = accept * free[None]
        return steps.spend(free, arrivals, taken), jnp.sum(taken, axis=1)

    return jax.lax.scan(forward, jnp.full(nodes, 1, dtype), (arrivals, accept))[1]
