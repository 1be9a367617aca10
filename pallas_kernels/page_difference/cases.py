"""What the laboratory costs and what every test of kernels runs, for this operation.

Rows of 126 numbers, target and weight fill the 128 places of HBM, so that neither side lays rows out anew; narrower
ones cost as much there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._lab.case import Case, Example
from pallas_kernels.page_difference import api, kernel_tpu, xla

__all__ = ["NOT_DIFFERENTIABLE", "cases", "examples"]

NOT_DIFFERENTIABLE = "an estimate within a solver: derivatives are those of the equation that it solves"


def cases():
    """The batch of Algorithm 1 for 200,000 rows: linear and weighted, and logistic of uniform draws."""
    return _case("linear", None, weighted=True), _case("logistic", _logistic, weighted=False)


def _case(name, link, *, weighted, num_rows=200_000, width=128, batch=447):
    size = width - 2

    def by_xla(rows, targets, weight, *rest):
        return xla.page_difference(rows, targets, weight if weighted else None, *rest, link=link)

    of_peer = api.abstract(num_rows, width, size, batch)
    points = jax.ShapeDtypeStruct((1 if link is None else 2, width), jnp.float32)
    index = jax.ShapeDtypeStruct((batch + 1,), jnp.int32)
    kernel = functools.partial(kernel_tpu.stream, batch=batch, size=size, link=link, weighted=weighted)
    return Case(name, kernel, (index, points, of_peer[0]), by_xla, of_peer, per="batch")


def _logistic(margin, target):
    return -target * jax.nn.sigmoid(-target * margin)


def examples():
    """Batches that fill no register, rows that fill none, weights or none."""
    return (
        _example("odd batch", num_rows=40, width=64, size=50, batch=13, link=None, weighted=True),
        _example("one row", num_rows=3, width=9, size=7, batch=1, link=_logistic, weighted=False),
        _example("several registers", num_rows=50, width=200, size=198, batch=37, link=_logistic, weighted=True),
    )


def _example(name, *, num_rows, width, size, batch, link, weighted):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(num_rows, width)).astype(np.float32)
    rows[:, size] = np.sign(rows[:, size])
    rows[:, size + 1] = 1 + rows[:, size + 1] ** 2
    rows = jnp.asarray(rows)
    new, old = (jnp.asarray(rng.normal(size=size) / np.sqrt(size), jnp.float32) for _ in range(2))
    index = jnp.asarray(rng.integers(num_rows, size=batch), jnp.int32)
    args = rows, rows[:, size], rows[:, size + 1] if weighted else None, index, new, old

    def interpret(*args):
        *args, mode = args
        return kernel_tpu.page_difference(*args, link=link, interpret=mode)

    return Example(name, args, functools.partial(api.page_difference, link=link), interpret, 2e-5)
