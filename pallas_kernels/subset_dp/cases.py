"""What the laboratory costs and what every test of kernels runs, for this operation.

Costs are of one time more, per register of 1,024 sets; XLA's are of two times. Cycles, kernel and XLA:

              v5e             v5p             v6e             tpu7x
    n16        29   5,420      30   7,554      25   3,810      26   12,321
    n18        29   5,475      29   7,667      25   3,863      25  12,435
    typed     121  22,334     123  29,500     105  15,571     106   50,761

Of 20 nodes, too long to simulate every time, a register takes the kernel 33 cycles on a v5e. What binds is the turning
of registers, seven times each: the vector unit is a third full.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._lab.case import Case, Example
from pallas_kernels.subset_dp import kernel_tpu, xla
from pallas_kernels.subset_dp.api import subset_dp

__all__ = ["NOT_DIFFERENTIABLE", "cases", "examples"]

NOT_DIFFERENTIABLE = "a derivative with respect to the weights is the law of the best policy, which needs its decisions"

_SETS = 1024  # of a unit


def cases():
    """Sets that fill four blocks, several types; and, slower to simulate, sixteen blocks."""
    return _case("n16", 16), _case("typed", 14, types=4), _case("n18", 18)._replace(slow=True)


def _case(name, nodes, types=1):
    call = kernel_tpu.Call(nodes, 1, types, per_time=True, keep=False)
    args, shorter = ((_abstract(times, 1, call.scalars),) for times in (2, 1))
    peer_args = _abstract(2, types, nodes), _abstract(2, types)
    units = (1 << nodes) / _SETS
    kernel = functools.partial(kernel_tpu.backward, call=call)
    return Case(name, kernel, args, xla.subset_dp, peer_args, units, f"time and {_SETS:,} sets", 2 * units, shorter)


def _abstract(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def examples():
    """Sets that fill no register, blocks that read from others, types, and values of all times."""
    return (
        _example("chunks, ragged", nodes=5, times=17),
        _example("blocks", nodes=12, times=2, together=1),
        _example("types, stationary", nodes=11, times=3, types=3, stationary=True),
        _example("all times", nodes=11, times=3, keep=True),
    )


def _example(name, *, nodes, times, types=1, stationary=False, keep=False, **options):
    rng = np.random.default_rng(0)
    weights, arrivals = rng.random((1 if stationary else times, types, nodes)), rng.random((times, types)) / types
    weights[rng.random(weights.shape) < 0.3] = 0
    arrivals[-1] = 1 / types
    args = tuple(jnp.asarray(v, jnp.float32) for v in (weights, arrivals))

    def interpret(*args):
        *args, mode = args
        return kernel_tpu.subset_dp(*args, keep=keep, **options, interpret=mode)

    # Each time rounds a few times.
    return Example(name, args, functools.partial(subset_dp, keep=keep), interpret, 1e-6)
