"""A gather and two or three products: the path of CPUs, of GPUs and of float64. Source: as `reference.py`."""

import jax
import jax.numpy as jnp

__all__ = ["WIDTH", "page_difference"]

#: On a CPU, XLA copies a drawn row of fewer than 80 numbers one number at a time, unless it is of 64 or more and enters
#: a product on its way. So shorter ones are filled up to 64 if that costs less than it saves, and halved on their way
#: while the points are doubled, which is exact. With 50 columns it saves a third of an iteration of Algorithm 1 where X
#: lies in a core's cache, and two thirds where it does not. To read targets and weights from what fills a row up undoes
#: it: an iteration takes two to four times as long.
WIDTH, _HALF = 64, 0.5


def page_difference(rows, targets, weight, index, new, old, *, link):
    """Same contract as `api.page_difference`."""
    size = new.shape[0]
    new, old = (jnp.pad(point, (0, rows.shape[1] - size)) for point in (new, old))
    drawn, scale = rows[index], 1.0
    if rows.shape[1] >= WIDTH:
        drawn, scale = drawn * _HALF, 1 / _HALF
    pull = scale * _pull(drawn, targets[index], scale * new, scale * old, link)
    if weight is not None:
        pull = pull * weight[index]
    return jnp.matmul(pull, drawn, precision=jax.lax.Precision.HIGHEST)[:size]


def _pull(drawn, targets, new, old, link):
    def margin(point):
        return jnp.matmul(drawn, point, precision=jax.lax.Precision.HIGHEST)

    return margin(new - old) if link is None else link(margin(new), targets) - link(margin(old), targets)
