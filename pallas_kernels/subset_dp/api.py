"""The best online policy's value of every set of free nodes: the public function."""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.subset_dp import kernel_tpu, reference, xla

__all__ = ["subset_dp"]

Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


def subset_dp(weights: jax.Array, arrivals: jax.Array, *, keep: bool = False, impl: Impl | None = None) -> jax.Array:
    """Values of all sets of free nodes before the first time, or before every time.

    At each time type j arrives with probability p_j, and may be matched to a free node i for w_ij, which is then no
    longer free:

        V_T = 0;  V_t(F) = V_{t+1}(F) + sum_j p_tj max(0, max_{i in F} w_tji + V_{t+1}(F - i) - V_{t+1}(F))

    Args:
      weights: `[S, J, n]` float32 or float64, n >= 1; `S` is `T`, or 1 where they do not depend on time.
      arrivals: `[T, J]` in [0, 1], the p, of the dtype of the weights; rows add up to 1 at most.
      keep: return the values of all times.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      V_0 `[2^n]`, by bit mask: bit i for node i; with `keep` all V_t `[T+1, 2^n]`.

    Not differentiable on a TPU. Under `vmap` the kernel runs once for each instance.

    Raises:
      ValueError: shapes or dtypes do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Source: `braverman:24`, as `reference.py`.
    """
    weights, arrivals = jnp.asarray(weights), jnp.asarray(arrivals)
    _check(weights, arrivals)
    return choose("subset_dp", impl, _candidates(keep), weights, arrivals)(weights, arrivals)


@functools.cache
def _candidates(keep):
    def kernel(interpret):
        return jax.custom_batching.sequential_vmap(
            functools.partial(kernel_tpu.subset_dp, keep=keep, interpret=interpret)
        )

    return {
        "pallas_tpu": Candidate({"tpu": kernel(False)}, kernel_tpu.unsupported),
        "xla": Candidate({"default": functools.partial(xla.subset_dp, keep=keep)}),
        "pallas_interpret": Candidate({"default": kernel(True)}, kernel_tpu.unsupported, automatic=False),
        "reference": Candidate({"default": functools.partial(reference.subset_dp, keep=keep)}, automatic=False),
    }


def _check(weights, arrivals):
    if weights.ndim != 3 or 0 in weights.shape:
        raise ValueError(f"weights must have 3 axes, [S, J, n], none of them empty, got shape {weights.shape}.")
    if weights.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"weights must be float32 or float64, got {weights.dtype}.")
    per_time, types, _ = weights.shape
    if arrivals.ndim != 2 or arrivals.shape[1] != types or arrivals.shape[0] < 1:
        raise ValueError(f"arrivals must have shape (T, {types}), T >= 1, got {arrivals.shape}.")
    if per_time not in (1, arrivals.shape[0]):
        raise ValueError(f"weights must be of 1 time or of {arrivals.shape[0]}, got {per_time}.")
    if arrivals.dtype != weights.dtype:
        raise ValueError(f"arrivals must have the dtype of weights, {weights.dtype}, got {arrivals.dtype}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; for 20 nodes and 100 times."""
    weights, arrivals = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((100, 1, 20), (100, 1)))
    return _explain(_candidates(False), platform, weights, arrivals)
