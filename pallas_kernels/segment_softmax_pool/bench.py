"""Elements per second of a value and its gradient on a CPU: by XLA as here, and as users write it by hand.

By hand: `jax.ops.segment_max` and two `segment_sum`, without a word on the order of ids, and derivatives by autodiff.
The limit is the memory's: scores and values are read twice and their gradients written.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._bench import Case, Work
from pallas_kernels.segment_softmax_pool.api import segment_softmax_pool

__all__ = ["cases"]

_SHAPES = (131_072, 2_048, 64), (32_768, 128, 128)


def cases(tables, quick=False):
    """Yields the cases; `tables` are not used."""
    del tables
    for elements, num_segments, width in ((1024, 16, 64),) if quick else _SHAPES:
        rng = np.random.default_rng(0)
        ids = jnp.asarray(np.sort(rng.integers(0, num_segments, size=elements)), jnp.int32)
        values = jnp.asarray(rng.normal(size=(elements, width)), jnp.float32)
        for name, shape in (("elements", elements), ("channels", (elements, width))):
            scores = jnp.asarray(rng.normal(size=shape), jnp.float32)
            ours = functools.partial(_ours, ids=ids, num_segments=num_segments)
            peer = functools.partial(_by_hand, ids=ids, num_segments=num_segments)
            traffic = 4.0 * (3 * values.size + 3 * scores.size)
            works = {
                "by hand": Work(functools.partial(_both(peer), scores, values), values.size, traffic=traffic),
                "xla": Work(functools.partial(_both(ours), scores, values), values.size, traffic=traffic),
            }
            shape = elements, num_segments, width
            yield Case(f"segment_softmax_pool {name}", "numbers", shape, works, "value and gradient")


def _both(function):
    return jax.jit(jax.value_and_grad(lambda scores, values: jnp.sum(function(scores, values)), argnums=(0, 1)))


def _ours(scores, values, *, ids, num_segments):
    return segment_softmax_pool(scores, values, ids, num_segments).pooled


def _by_hand(scores, values, *, ids, num_segments):
    scores = scores[:, None] if scores.ndim == 1 else scores
    sums = functools.partial(jax.ops.segment_sum, segment_ids=ids, num_segments=num_segments)
    top = jax.ops.segment_max(jax.lax.stop_gradient(scores), ids, num_segments=num_segments)
    weights = jnp.exp(scores - top[ids])
    return sums(weights * values) / jnp.maximum(sums(weights), 1e-30)
