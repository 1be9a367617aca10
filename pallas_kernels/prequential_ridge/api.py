"""Exact prequential ridge regression of many programs, in blocks: the public function."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels import _blocks
from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.prequential_ridge import kernel_tpu, reference, xla, xla_cpu
from pallas_kernels.prequential_ridge.output import Output

__all__ = ["Output", "compact", "prequential_ridge"]

_NAME = "prequential_ridge"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


def prequential_ridge(
    features: jax.Array,
    labels: jax.Array,
    rows: jax.Array,
    *,
    factor: jax.Array,
    weights: jax.Array,
    block_size: int | None = None,
    impl: Impl | None = None,
) -> Output:
    """Online ridge regression: each program predicts its rows in order, and learns each before the next.

    A program is one learner, for instance one (replicate, group). `rows[p]` lists the rows of the shared table that it
    sees, in its own order, so permutations and sub-sequences copy no features. Blocks that hold padding only cost
    nothing on a CPU and in the TPU kernel: `compact` moves padding to the end of each program. On GPUs programs run in
    lockstep.

    Args:
      features: `[n, d]` float32 or float64.
      labels: `[n]`, same dtype.
      rows: `[P, L]` integers below `n`; negative entries are padding and change nothing.
      factor: `[P, d, d]` symmetric positive definite `(lambda I + sum x x')^-1` to start from.
      weights: `[P, d]` ridge weights to start from.
      block_size: rows learnt together by matrix products; None for the tuned value. The result does not depend on it
        but for rounding; a run that stops at a multiple of it and goes on from its `Output` repeats the undivided one.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `Output(residual [P, L], pivot [P, L], factor, weights)`.

    Differentiable in features, labels, factor and weights, forwards and backwards, whatever `impl`: derivatives go
    through the lockstep form, which keeps one `[P, d, d]` state per block. Under `vmap` the batch becomes more
    programs.

    Raises:
      ValueError: shapes or dtypes do not fit, rows out of range, block_size < 1, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Source: Sherman-Morrison over blocks (Woodbury); innovations form. Equal to `reference.py` to 1e-10 in float64.
    """
    rows, *table = (jnp.asarray(a) for a in (rows, features, labels, factor, weights))
    _check(rows, *table, block_size)
    return _differentiable(block_size, impl, rows.astype(jnp.int32), *table)


def compact(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Moves the padding of each program to its end, keeping the order of its rows.

    Args:
      rows: `[P, L]` integers, negative = padding.

    Returns:
      `(packed, slot)`, both `[P, L]`: the rows, and where each entry of `rows` went. Bring a result back with
      `jnp.take_along_axis(out.residual, slot, axis=1)`; padding lands on padding.
    """
    present = rows >= 0
    count = jnp.sum(present, axis=1, keepdims=True, dtype=jnp.int32)
    kept = jnp.cumsum(present, axis=1, dtype=jnp.int32)
    padded = jnp.arange(1, rows.shape[1] + 1, dtype=jnp.int32)[None] - kept
    slot = jnp.where(present, kept - 1, count + padded - 1)
    packed = jax.vmap(lambda row, to: jnp.zeros_like(row).at[to].set(row, unique_indices=True))(rows, slot)
    return packed, slot


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _differentiable(block_size, impl, rows, features, labels, factor, weights):
    return _batchable(block_size, impl)(rows, features, labels, factor, weights)


@_differentiable.defjvp
def _derivative(block_size, impl, primals, tangents):
    rows, primals = primals[0], tuple(primals[1:])
    size = block_size or _sizes("default", primals[0]).rows
    return jax.jvp(
        lambda *table: xla.lockstep(*table[:2], rows, *table[2:], block_size=size), primals, tuple(tangents[1:])
    )


@functools.cache
def _batchable(block_size, impl):
    """The operation; a `vmap` over it becomes more programs of one call, since loops of unlike length batch badly."""

    @jax.custom_batching.custom_vmap
    @jax.jit
    def operation(rows, features, labels, factor, weights):
        args = features, labels, rows, factor, weights
        return choose(_NAME, impl, _candidates(block_size), *args)(*args)

    @operation.def_vmap
    def more_programs(size, batched, *args):
        args = [
            a if b else jnp.broadcast_to(a[None], (size, *a.shape))
            # A table that is the same for the whole batch stays one table.
            if i in (0, 3, 4) or batched[1] or batched[2] else a
            for i, (a, b) in enumerate(zip(args, batched, strict=True))
        ]  # fmt: skip
        rows, features, labels, factor, weights = args
        if batched[1] or batched[2]:
            shift = jnp.arange(size, dtype=rows.dtype)[:, None, None] * features.shape[1]
            rows = jnp.where(rows < 0, rows, rows + shift)
            features, labels = (a.reshape(-1, *a.shape[2:]) for a in (features, labels))
        out = operation(
            *(rows.reshape(-1, rows.shape[-1]), features, labels),
            *(a.reshape(-1, *a.shape[2:]) for a in (factor, weights)),
        )
        out = jax.tree.map(lambda a: a.reshape(size, -1, *a.shape[1:]), out)
        return out, jax.tree.map(lambda a: True, out)

    return operation


@functools.cache
def _candidates(block_size):
    def lockstep(features, *rest):
        return xla.lockstep(features, *rest, block_size=block_size or _sizes("default", features).rows)

    def lanes(features, *rest):
        sizes = _sizes("cpu", features)
        return xla_cpu.lanes(features, *rest, block_size=block_size or sizes.rows, programs=sizes.programs)

    def kernel(features, *rest, interpret=False):
        sizes = tpu_sizes(features)
        return kernel_tpu.prequential_ridge(features, *rest, sizes=sizes, interpret=interpret)

    def unsupported(features, *rest):
        return kernel_tpu.unsupported(features, *rest, sizes=tpu_sizes(features))

    def tpu_sizes(features):
        sizes = _blocks.tuned(_NAME, "tpu", jnp.float32, features.shape[1])
        return sizes if block_size is None else _blocks.BlockSizes(block_size, sizes.programs)

    interpreted = functools.partial(kernel, interpret=True)
    return {
        "pallas_tpu": Candidate({"tpu": kernel}, unsupported),
        "xla": Candidate({"cpu": lanes, "default": lockstep}),
        "pallas_interpret": Candidate({"default": interpreted}, unsupported, automatic=False),
        "reference": Candidate({"default": reference.prequential_ridge}, automatic=False),
    }


def _sizes(platform, features):
    return _blocks.tuned(_NAME, platform, features.dtype, features.shape[1])


def _check(rows, features, labels, factor, weights, block_size):
    num_rows, width = _ranked("features", features, 2)
    num_programs, _ = _ranked("rows", rows, 2)
    _shaped("labels", labels, (num_rows,))
    _shaped("factor", factor, (num_programs, width, width))
    _shaped("weights", weights, (num_programs, width))
    if features.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"features must be float32 or float64, got {features.dtype}.")
    for name, value in {"labels": labels, "factor": factor, "weights": weights}.items():
        if value.dtype != features.dtype:
            raise ValueError(f"{name} must have the dtype of features, {features.dtype}, got {value.dtype}.")
    if not jnp.issubdtype(rows.dtype, jnp.integer):
        raise ValueError(f"rows must be integers, got {rows.dtype}.")
    if block_size is not None and block_size < 1:
        raise ValueError(f"block_size must be >= 1, got {block_size}.")
    if not isinstance(rows, jax.core.Tracer) and rows.size and np.asarray(rows).max() >= num_rows:
        raise ValueError(
            f"rows must be below the number of rows of features, {num_rows}, got {np.asarray(rows).max()}."
        )


def _ranked(name, value, rank):
    if value.ndim != rank:
        raise ValueError(f"{name} must have {rank} axes, got shape {value.shape}.")
    return value.shape


def _shaped(name, value, expected):
    if value.shape != expected:
        raise ValueError(f"{name} must have shape {expected}, got {value.shape}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; for six groups of 25 features."""
    shapes = {"features": (4096, 25), "labels": (4096,), "rows": (6, 4096), "factor": (6, 25, 25), "weights": (6, 25)}
    args = (jax.ShapeDtypeStruct(shape, jnp.int32 if name == "rows" else jnp.float32) for name, shape in shapes.items())
    return _explain(_candidates(None), platform, *args)
