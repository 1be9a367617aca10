"""The difference of a batch of gradients of a linear model at two points: the public function."""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.page_difference import kernel_tpu, reference, xla

__all__ = ["page_difference"]

_NAME = "page_difference"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]
Link = Callable[[jax.Array, jax.Array], jax.Array]


def page_difference(
    rows: jax.Array,
    targets: jax.Array,
    weight: jax.Array | None,
    index: jax.Array,
    new: jax.Array,
    old: jax.Array,
    *,
    link: Link | None = None,
    impl: Impl | None = None,
) -> jax.Array:
    """sum_b w_i x_i (phi(x_i'new, t_i) - phi(x_i'old, t_i)), i = index[b], with rows read once.

    Args:
      rows: `[n, W]` x_i in the first D columns. If W >= D + 2, columns D and D + 1 must hold t_i and w_i as well; which
        copy is read is up to the implementation.
      targets: `[n]` t.
      weight: `[n]` w, or None for weights of 1.
      index: `[b]` integers in [0, n), not checked.
      new, old: `[D]`, D <= W.
      link: phi(margins, targets), elementwise; None for phi(m, t) = m - t, where x_i'(new - old) is one margin.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `[D]`; implementations differ by the order of sums.

    The kernel is not differentiable. Under `vmap` it runs one lane after the other.

    Raises:
      ValueError: shapes or dtypes do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Source: `cai:24`.
    """
    args = rows, targets, weight, index, new, old
    _check(*args)
    return choose(_NAME, impl, _candidates(link, weight is None), *args)(*args)


@functools.cache
def _candidates(link, unweighted):
    def bound(function, **options):
        return functools.partial(function, link=link, **options)

    def sequential(interpret):
        # None is no array, and `sequential_vmap` takes arrays only.
        one_by_one = jax.custom_batching.sequential_vmap(
            lambda rows, weight, *rest: kernel_tpu.page_difference(
                rows, None, None if unweighted else weight, *rest, link=link, interpret=interpret
            )
        )
        return lambda rows, targets, weight, *rest: one_by_one(rows, targets if unweighted else weight, *rest)

    return {
        "pallas_tpu": Candidate({"tpu": sequential(False)}, kernel_tpu.unsupported),
        "xla": Candidate({"default": bound(xla.page_difference)}),
        "pallas_interpret": Candidate({"default": sequential(True)}, kernel_tpu.unsupported, automatic=False),
        "reference": Candidate({"default": bound(reference.page_difference)}, automatic=False),
    }


def _check(rows, targets, weight, index, new, old):
    if rows.ndim != 2 or rows.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"rows must be float32 or float64 with 2 axes, got {rows.dtype} {rows.shape}.")
    num_rows, width = rows.shape
    if new.ndim != 1 or not 1 <= new.shape[0] <= width:
        raise ValueError(f"new must be (D,), D from 1 to {width}, got {new.shape}.")
    expected = {"targets": (targets, (num_rows,)), "new": (new, new.shape), "old": (old, new.shape)}
    if weight is not None:
        expected["weight"] = weight, (num_rows,)
    for name, (array, shape) in expected.items():
        if array.shape != shape or array.dtype != rows.dtype:
            raise ValueError(f"{name} must be {rows.dtype} {shape}, got {array.dtype} {array.shape}.")
    if index.ndim != 1 or index.shape[0] < 1 or not jnp.issubdtype(index.dtype, jnp.integer):
        raise ValueError(f"index must be integers (b,), b >= 1, got {index.dtype} {index.shape}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; 50 numbers in rows of 64."""
    return _explain(_candidates(None, False), platform, *abstract(1 << 16, 64, 50, 256))


def abstract(num_rows, width, size, batch):
    """Arguments as `jax.ShapeDtypeStruct` trees."""

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    each = array(num_rows)
    return array(num_rows, width), each, each, array(batch, dtype=jnp.int32), array(size), array(size)
