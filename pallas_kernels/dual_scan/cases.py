"""What the laboratory costs and what every test of kernels runs, for this operation.

Costs are of whole calls, per time step of one instance, beside XLA's own schedule of the two scans, whose loops it
charges some 15,000 cycles a time step for the small operations of their bodies. Cycles, kernel and XLA:

              v5e           v5p           v6e           tpu7x
    n20       0.41   31     0.46   25     0.28   14     0.27   18
    n100      1.23   63     1.40   52     0.88   30     0.87   37
    typed     4.81   99     4.89   95     3.62   56     3.74   69
    twice     1.95   63     0.93   52     1.52   30     1.46   37

That `twice` is cheaper than `n100` on a v5p, where it does more work, is the profiler's word and not to be believed.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import _blocks
from pallas_kernels._lab.case import Case, Example
from pallas_kernels.dual_scan import kernel_tpu, xla
from pallas_kernels.dual_scan.api import dual_scan

__all__ = ["NOT_DIFFERENTIABLE", "cases", "examples", "sweep"]

NOT_DIFFERENTIABLE = (
    "the load is itself a gradient, used by a solver whose derivatives are those of the envelope theorem"
)

_NARROW, _WIDE = 32, 1 << 20  # buckets of the tuned table, in nodes


def cases():
    """Few nodes, many nodes, types whose gains do not depend on time; and, heavier, acceptances that do not fit."""
    narrow, wide = _blocks.BlockSizes(32, 512), _blocks.BlockSizes(16, 256)
    return (
        _case("n20", 64, 1, 20, 512, narrow),
        _case("n100", 64, 1, 100, 256, wide),
        _case("typed", 32, 8, 50, 128, _blocks.BlockSizes(8, 128), stationary=True),
        _case("twice", 64, 1, 100, 256, wide, budget=8 << 20)._replace(slow=True),
    )


def sweep():
    """Sizes to try, at as many times and instances for all sizes of a bucket."""
    for nodes, width, lanes, tried in (
        (20, _NARROW, 1024, ((16, 512), (32, 256), (32, 512), (64, 512), (32, 1024))),
        (100, _WIDE, 256, ((8, 256), (16, 128), (16, 256), (32, 256))),
    ):
        for sizes in (_blocks.BlockSizes(*pair) for pair in tried):
            name = f"n{nodes} times {sizes.rows} instances {sizes.programs}"
            bucket = {"platform": "tpu", "dtype": "float32", "width": width}
            yield bucket, sizes, _case(name, 128, 1, nodes, lanes, sizes)


def _case(name, times, types, nodes, lanes, sizes, *, stationary=False, **options):
    gains = _abstract(1 if stationary else times, types, nodes, lanes)
    args = (gains, *[_abstract(times, types, lanes)] * 3)
    kernel = functools.partial(kernel_tpu.dual_scan, sizes=sizes, **options)
    return Case(name, kernel, args, xla.dual_scan, units=times * lanes, per="instance and time")


def _abstract(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def examples():
    """Sizes that fill nothing: chunks that do not divide the times, two tiles, and gains that are read twice."""
    return (
        _example("ragged", times=13, types=1, nodes=5, lanes=3, rows=8),
        _example("stationary", times=9, types=6, nodes=11, lanes=131, rows=4, stationary=True),
        _example("bands", times=5, types=2, nodes=270, lanes=2, rows=8),
        _example("twice", times=19, types=1, nodes=11, lanes=3, rows=8, budget=300_000),
    )


def _example(name, *, times, types, nodes, lanes, rows, stationary=False, **options):
    rng = np.random.default_rng(0)
    gains = rng.random((1 if stationary else times, types, nodes, lanes))
    gains[rng.random(gains.shape) < 0.3] = -np.inf
    row = (times, types, lanes)
    arrivals, multipliers, temperature = rng.random(row) / types, 0.5 * rng.random(row), rng.uniform(0.02, 0.2, row)
    arrivals[rng.random(row) < 0.1] = 0
    args = tuple(jnp.asarray(v, jnp.float32) for v in (gains, arrivals, multipliers, temperature))

    def interpret(*args):
        *args, mode = args
        return kernel_tpu.dual_scan(*args, sizes=_blocks.BlockSizes(rows, 128), interpret=mode, **options)

    # A value is off by some roundings, and temperatures divide it.
    return Example(name, args, dual_scan, interpret, 5e-6)
