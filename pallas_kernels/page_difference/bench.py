"""Rows per second of a batch difference on a CPU, by XLA, beside the memory's and the matrix product's limits.

Flops are two of a margin and two of the sum for each number of a row, twice the margin where phi is not linear; traffic
is a row.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.page_difference.api import page_difference

__all__ = ["cases"]

_ROWS, _SIZE, _WIDTH = 200_000, 50, 64
_BATCHES = 64  # of a call, each at the point that the one before leads to


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    rng = np.random.default_rng(0)
    num_rows = 1 << 12 if quick else _ROWS
    rows = rng.standard_normal((num_rows, _WIDTH)).astype(np.float32)
    rows[:, _SIZE + 2 :] = 0
    rows = jnp.asarray(rows)
    batch = int(num_rows**0.5)
    count = _BATCHES * batch
    index = jnp.asarray(rng.integers(num_rows, size=(_BATCHES, batch)), jnp.int32)
    points = (jnp.asarray(rng.standard_normal(_SIZE), jnp.float32) for _ in range(2))
    args = rows, rows[:, _SIZE], rows[:, _SIZE + 1], index, *points
    for name, link, products in (("linear", None, 2), ("logistic", _logistic, 3)):
        run = jax.jit(functools.partial(_updates, link=link))
        call = lambda run=run: jax.block_until_ready(run(*args))  # noqa: E731
        work = Work(call, count, flops=2.0 * products * count * _SIZE, traffic=4.0 * count * _WIDTH)
        yield Case("page_difference", "rows", (num_rows, _SIZE), {"xla": work}, name)


def _updates(rows, targets, weight, index, new, old, *, link):
    def update(k, u):
        return u - 1e-3 / index.shape[1] * page_difference(rows, targets, weight, index[k], u, old, link=link)

    return jax.lax.fori_loop(0, index.shape[0], update, new)


def _logistic(margin, target):
    return -target * jax.nn.sigmoid(-target * margin)
