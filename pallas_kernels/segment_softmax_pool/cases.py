"""What the laboratory costs and what every test of kernels runs, for this operation.

Costs are of a value and of its gradient apart: of both in one program the profiler does not see the second. The value
with one weight for each element is costed without its look at whether all is finite, at which the profiler ends on a
tpu7x; elsewhere that takes 8 to 18 % more. Segments have 64 elements on average, or 8. With one weight for each element
XLA's schedule is the faster of two: products with matrices of all segments by all elements, whose cost is in proportion
to the segments, instead of the scatters and gathers of `xla.py`, at 8,192 elements in 128 segments five to ten times as
long on a v5e. Weights of channels have only these.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._lab.case import Case, Example
from pallas_kernels.segment_softmax_pool import api, channels_tpu, kernel_tpu, shared_tpu, xla
from pallas_kernels.segment_softmax_pool.staircase import Staircase

__all__ = ["cases", "examples"]

_ELEMENTS, _WIDTH = 8192, 128
_EIGHTH = 1024


def cases():
    """8,192 elements; XLA's products with 1,024 segments on an eighth of them, since more take long to simulate."""
    return (
        _case("elements", 128, _products, _ELEMENTS, 128),
        _case("elementsback", 128, _products_back, _ELEMENTS, 128, back=True),
        _case("channels", 128, xla.forward, _ELEMENTS, 128, channels=True),
        _case("channelsback", 128, xla.backward, _ELEMENTS, 128, channels=True, back=True),
        _case("small", 1024, _products, _EIGHTH, 1024)._replace(slow=True),
        _case("smallback", 1024, _products_back, _EIGHTH, 1024, back=True)._replace(slow=True),
    )


def _case(name, segments, peer, peer_elements, peer_segments, *, channels=False, back=False):
    scores, values, _, _ = api.abstract(_ELEMENTS, _WIDTH, channels=channels)
    path = kernel_tpu.path_of(scores, values, segments, back=back)
    args = (
        _abstract(path.steps, dtype=jnp.int32), _abstract(1, _ELEMENTS, dtype=jnp.int32),
        scores if channels else _abstract(1, _ELEMENTS), values,
    )  # fmt: skip
    peer_args = api.abstract(peer_elements, _WIDTH, channels=channels)
    module, options = channels_tpu if channels else shared_tpu, {"path": path}
    if back:
        kernel, grid = module.backward, _abstract(segments, _WIDTH)
        args += (grid,) * 3 if channels else (grid, _abstract(path.tiles, 8, path.segments))
        grid = _abstract(peer_segments, _WIDTH)
        line = grid if channels else _abstract(peer_segments)
        peer_args += line, grid, line
    else:
        kernel, options = module.forward, options | {"num_segments": segments}
        options |= {} if channels else {"calm": True}
        peer = functools.partial(peer, num_segments=peer_segments)
    return Case(
        name, functools.partial(kernel, **options), args, peer, peer_args, _ELEMENTS / 1024, "1,024 elements",
        peer_elements / 1024,
    )  # fmt: skip


_dot = functools.partial(jnp.dot, precision="highest")


def _members(ids, valid, num_segments):
    return (ids[None] == jnp.arange(num_segments)[:, None]) & valid[None]


def _products(scores, values, ids, valid, *, num_segments):
    member = _members(ids, valid, num_segments)
    top = jnp.max(jnp.where(member, scores[None], xla.LOWEST), axis=1)
    weights = jnp.where(member, jnp.exp(scores[None] - top[:, None]), 0)
    total = jnp.sum(weights, axis=1)
    return top, total, _dot(weights, values) / total[:, None]


def _products_back(scores, values, ids, valid, top, pull, lift):
    weights = jnp.where(_members(ids, valid, len(top)), jnp.exp(scores[None] - top[:, None]), 0)
    height = _dot(pull, values.T) - lift[:, None]
    return jnp.sum(weights * height, axis=0), _dot(weights.T, pull)


def _abstract(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def examples():
    """Elements, segments and channels that fill no register; segments over several blocks, blocks of many segments,
    empty ones, elements that take no part and are not finite, ids out of range, scores far apart.
    """
    return (
        _example("long segments", elements=300, num_segments=3, width=5, path=Staircase(128, 8, 3, 1)),
        _example("short segments", elements=200, num_segments=150, width=3, path=Staircase(128, 8, 2, 19)),
        _example("far apart", elements=300, num_segments=20, width=3, channels=True, path=Staircase(128, 8, 3, 3)),
        _example("no values", elements=140, num_segments=30, width=130, channels=True, path=Staircase(128, 16, 2, 2)),
    )


def _example(name, *, elements, num_segments, width, path, channels=False):
    rng = np.random.default_rng(0)
    ids = np.sort(rng.integers(0, num_segments, size=elements)).astype(np.int32)
    valid = rng.random(elements) < 0.8
    scores = rng.normal(size=(elements, width) if channels else elements)
    values = rng.normal(size=(elements, width))
    if name == "far apart":
        scores *= 60
    if name == "short segments":
        ids[-9:] = num_segments
    scores[~valid], values[~valid] = np.inf, np.nan
    args = jnp.asarray(scores, jnp.float32), jnp.asarray(values, jnp.float32), jnp.asarray(ids), jnp.asarray(valid)
    weighs = name != "no values"

    def call(scores, values, ids, valid, *, impl):
        def run(scores, values, ids, valid):
            some = values if weighs else None
            return api.segment_softmax_pool(scores, some, ids, num_segments, valid=valid, impl=impl)

        return _parts(*jax.jit(run)(scores, values, ids, valid))

    def interpret(scores, values, ids, valid, mode):
        def run(scores, values, ids, valid):
            inside, some = valid & (ids < num_segments), values if weighs else None
            options = {"num_segments": num_segments, "path": path, "interpret": mode}
            return kernel_tpu.forward(scores, some, jnp.minimum(ids, num_segments - 1), inside, **options)

        top, total, pooled = jax.jit(run)(scores, values, ids, valid)
        return _parts(pooled, top + jnp.log(total))

    # Some roundings of the largest number, and of scores by whose differences weights are exponentials.
    return Example(name, args, call, interpret, 2e-6, differentiable=(0, 1) if weighs else (0,))


def _parts(pooled, log_sum):
    """Of segments with elements, which is where a logarithm is finite; without None."""
    log_sum = jnp.where(log_sum > -jnp.inf, log_sum, 0)
    return (log_sum,) if pooled is None else (pooled, log_sum)
