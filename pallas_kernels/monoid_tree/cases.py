"""What the laboratory costs and what every test of kernels runs, for this operation.

Costs are of the whole public function, with all that XLA does around the kernel, and XLA's of the same function. A
product has jax's default precision: one pass of a TPU's matrix unit.
"""

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._lab.case import Case, Example
from pallas_kernels.monoid_tree import api, kernel_tpu

__all__ = ["cases", "examples", "gradient", "value"]


def cases():
    """Values of one collection of 1,024 and of one of 2,048; values and all derivatives of one of 1,024.

    Several chunks, as of 4,096, are not simulated on tpu7x; for other chips `shapes` has them.
    """
    return (
        _case("n1024", value, 1024),
        _case("n2048", value, 2048, slow=True),
        _case("gradient", gradient, 1024, slow=True),
    )


def _case(name, asked, elements, *, slow=False):
    args = api.abstract(1, elements, 128)
    if asked is gradient:
        args = (*args, jax.ShapeDtypeStruct((1, 128), jnp.float32))
    kernel, by_xla = (_named(asked, impl) for impl in ("pallas_tpu", "xla"))
    return Case(name, kernel, args, by_xla, units=elements / 1024, per="1,024 elements", slow=slow)


def _named(asked, impl):
    return lambda *args: asked(*args, impl=impl)


def value(*args, impl):
    """The public function, all arguments by place."""
    return api.monoid_tree(*args, impl=impl)


def gradient(x, mask, *rest, impl):
    """Its value and its derivatives in x and the four weights, for a cotangent, the last argument."""
    *weights, cotangent = rest
    y, pull = jax.vjp(lambda x, *weights: api.monoid_tree(x, mask, *weights, impl=impl), x, *weights)
    return y, pull(cotangent)


def examples():
    """Elements, collections and channels that fill nothing, few of them there and none of the first collection.

    In several steps, of which the last has collections that do not exist; more channels than a register's.
    """
    return (
        _example("odd", (3, 5, 7), 0.5),
        _example("several steps", (5, 16, 130), 0.9, chunk=64, kept=32),
    )


def _example(name, shape, share, **sizes):
    rng = np.random.default_rng(0)
    collections, elements, channels = shape
    mask = rng.random((collections, elements)) < share
    mask[0] = False
    x = np.where(mask[..., None], rng.normal(size=shape), np.nan)
    edge = channels**-0.5
    weights = (rng.uniform(-edge, edge, size) for size in ((channels, 3 * channels),) * 2 + ((3 * channels,),) * 2)
    args = (jnp.asarray(x, jnp.float32), jnp.asarray(mask), *(jnp.asarray(w, jnp.float32) for w in weights))

    def call(*args, impl):
        return jax.jit(lambda *args: api.monoid_tree(*args, impl=impl))(*args)

    def interpret(*args):
        *args, mode = args
        return kernel_tpu.forward(*args, interpret=mode, **sizes)[0]

    call.sizes = sizes
    # A level adds some roundings to a number of order one, and its derivative is at most that large.
    return Example(name, args, call, interpret, 2e-6, differentiable=(0, 2, 3, 4, 5))
