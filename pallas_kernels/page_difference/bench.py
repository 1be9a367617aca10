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


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    rng = np.random.default_rng(0)
    num_rows = 1 << 12 if quick else _ROWS
    rows = rng.standard_normal((num_rows, _WIDTH)).astype(np.float32)
    rows[:, _SIZE + 2 :] = 0
    rows = jnp.asarray(rows)
    batch = int(num_rows**0.5)
    index = jnp.asarray(rng.integers(num_rows, size=batch), jnp.int32)
    points = (jnp.asarray(rng.standard_normal(_SIZE), jnp.float32) for _ in range(2))
    args = rows, rows[:, _SIZE], rows[:, _SIZE + 1], index, *points
    for name, link, products in (("linear", None, 2), ("logistic", _logistic, 3)):
        run = jax.jit(functools.partial(page_difference, link=link))
        call = lambda run=run: jax.block_until_ready(run(*args))  # noqa: E731
        work = Work(call, batch, flops=2.0 * products * batch * _SIZE, traffic=4.0 * batch * _WIDTH)
        yield Case("page_difference", "rows", (num_rows, _SIZE), {"xla": work}, name)


def _logistic(margin, target):
    return -target * jax.nn.sigmoid(-target * margin)
