"""Elements per second of a value and its gradient on a CPU: one product for both orders, and two cells by hand.

By hand: the GRU called for each order of a pair, as a library's cell would be. The limit is the products': 24 H^2
operations for a pair's value, three times that with all derivatives.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.monoid_tree.api import monoid_tree

__all__ = ["cases"]

_SHAPES = (64, 256, 32), (8, 1024, 128)


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    for shape in ((4, 32, 8),) if quick else _SHAPES:
        collections, elements, channels = shape
        rng = np.random.default_rng(0)
        x = jnp.asarray(rng.standard_normal(shape), jnp.float32)
        mask = jnp.asarray(rng.random(shape[:2]) < 0.75)
        edge = channels**-0.5
        sizes = ((channels, 3 * channels),) * 2 + ((3 * channels,),) * 2
        weights = [jnp.asarray(rng.uniform(-edge, edge, size), jnp.float32) for size in sizes]
        flops = 3 * 24.0 * collections * (elements - 1) * channels**2
        works = {
            name: Work(functools.partial(_both(impl), x, mask, weights), collections * elements, flops=flops)
            for name, impl in (("two cells", "reference"), ("xla", "xla"))
        }
        yield Case("monoid_tree", "elements", shape, works, "value and gradient")


def _both(impl):
    def total(x, mask, weights):
        return jnp.sum(monoid_tree(x, mask, *weights, impl=impl))

    return jax.jit(jax.value_and_grad(total, (0, 2)))
