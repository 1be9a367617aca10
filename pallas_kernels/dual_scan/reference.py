"""The two sweeps in plain jnp, one time after the other: the oracle of every test of this package.

Source: smoothed optimal stopping. With `p` arrivals, `lam` multipliers, `mu` temperature and `s = (w - lam - V) / mu`,
backwards `V += sum_j p mu softplus(s)` from `V = 0`, `a = sigmoid(s)`; forwards from `q = 1` the load is `sum_i a q`
and `q -= sum_j p a q`: the gradient of the smoothed value, `nesterov:05`.
"""

import jax
import jax.numpy as jnp

__all__ = ["dual_scan"]


def dual_scan(gains, arrivals, multipliers, temperature):
    """Same contract as `api.dual_scan`."""
    gains = jnp.broadcast_to(gains, (arrivals.shape[0], *gains.shape[1:]))
    value = jnp.zeros(gains.shape[2:], gains.dtype)
    accept = []
    for w, p, lam, mu in reversed(list(zip(gains, arrivals, multipliers, temperature, strict=True))):
        slope = (w - lam[:, None] - value[None]) / mu[:, None]
        accept.append(jax.nn.sigmoid(slope))
        value = value + jnp.sum((p * mu)[:, None] * jax.nn.softplus(slope), axis=0)
    free = jnp.ones_like(value)
    load = []
    for p, a in zip(arrivals, reversed(accept), strict=True):
        taken = a * free[None]
        load.append(jnp.sum(taken, axis=1))
        free = free - jnp.sum(p[:, None] * taken, axis=0)
    return jnp.stack(load)
