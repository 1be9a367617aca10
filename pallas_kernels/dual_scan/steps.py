"""What one time step of a sweep does, in jnp: the parts of `xla.py`, for callers that build other sweeps of them.

Letters: `T` times, `J` types, `n` nodes, `B` instances, `S` = `T`, or 1 where gains do not depend on time.
"""

import jax
import jax.numpy as jnp

__all__ = ["over_time", "per_node", "relax", "smoothed", "spend"]

#: Slopes below it are taken as it: exp(80) is finite in float32, and sigmoid(-80) is zero for every purpose.
_LOWEST = -80.0


def over_time(step, init, gains, rows, *, reverse=False):
    """`lax.scan` of step(carry, gains of the time `[J, n, B]`, rows of the time); `gains [S, J, n, B]`."""
    if gains.shape[0] == jax.tree.leaves(rows)[0].shape[0]:
        return jax.lax.scan(lambda c, row: step(c, *row), init, (gains, rows), reverse=reverse)
    return jax.lax.scan(lambda c, row: step(c, gains[0], row), init, rows, reverse=reverse)


def per_node(of_column):
    """`[J, B]` against `[J, n, B]`."""
    return of_column[:, None]


def smoothed(arrivals, multipliers, temperature):
    """Rows of the smoothed recursion, with all that can be done by column done once."""
    return arrivals * temperature, multipliers / temperature, 1 / temperature


def relax(value, gains, rows):
    """One step back in time: acceptance `[J, n, B]` and the smoothed value of waiting `[n, B]`; rows as `smoothed`."""
    mass, price, inverse = (per_node(row) for row in rows)
    accept, excess = _softplus((gains - value[None]) * inverse - price)
    return accept, value + jnp.sum(mass * excess, axis=0)


def _softplus(slope):
    """Sigmoid and softplus from one exponential."""
    slope = jnp.maximum(slope, _LOWEST)
    denominator = 1 + jnp.exp(-slope)
    return 1 / denominator, slope + jnp.log(denominator)


def spend(free, arrivals, taken):
    """One step forward: what is left of `free [n, B]` once `taken [J, n, B]` is given to those who arrive."""
    return free - jnp.sum(per_node(arrivals) * taken, axis=0)
