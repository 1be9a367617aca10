"""How much of each arrival many stopping problems would take at given prices: the public function."""

from typing import Literal

import jax
import jax.numpy as jnp

from pallas_kernels import _blocks
from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.dual_scan import kernel_tpu, reference, xla

__all__ = ["dual_scan"]

_NAME = "dual_scan"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


def dual_scan(
    gains: jax.Array,
    arrivals: jax.Array,
    multipliers: jax.Array,
    temperature: jax.Array,
    *,
    impl: Impl | None = None,
) -> jax.Array:
    """Loads of the smoothed best response to prices, for several instances side by side.

    Each of `n` nodes stops at most once in `T` times, at each of which type j comes with probability p_j and is worth
    w_ij - lam_j to it. Backwards in time goes the value V of waiting, smoothed at temperature mu; forwards the
    probability q of not having stopped:

        s = (w - lam - V) / mu;  V += sum_j p mu softplus(s);  a = sigmoid(s);  load = sum_i a q;  q -= sum_j p a q

    Instances are the last axis of every array, so that sums over nodes add whole vectors.

    Args:
      gains: `[S, J, n, B]` float32 or float64, the w; `S` is `T`, or 1 where they do not depend on time; -inf for what
        is never taken.
      arrivals: `[T, J, B]` in [0, 1], the p.
      multipliers: `[T, J, B]`, the lam.
      temperature: `[T, J, B]`, the mu, positive, in the unit of the gains.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `[T, J, B]` expected number of nodes that take an arrival, given that it comes.

    Not differentiable on a TPU (its callers' gradients are those of the envelope theorem, never through a sweep). Under
    `vmap` the kernel is given more instances.

    Raises:
      ValueError: shapes or dtypes do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.
    """
    args = tuple(jnp.asarray(a) for a in (gains, arrivals, multipliers, temperature))
    _check(*args)
    return choose(_NAME, impl, _CANDIDATES, *args)(*args)


def _sizes(gains):
    return _blocks.tuned(_NAME, "tpu", jnp.float32, gains.shape[2])


def _unsupported(gains, arrivals, *rest):
    return kernel_tpu.unsupported(gains, arrivals, *rest, sizes=_sizes(gains))


def _batchable(interpret):
    """The kernel; a `vmap` over it becomes more instances of one call, since one fills as many lanes as 128 of them."""

    @jax.custom_batching.custom_vmap
    def kernel(*args):
        return kernel_tpu.dual_scan(*args, sizes=_sizes(args[0]), interpret=interpret)

    @kernel.def_vmap
    def more_instances(size, batched, *args):
        args = (a if b else jnp.broadcast_to(a[None], (size, *a.shape)) for a, b in zip(args, batched, strict=True))
        wide = (jnp.moveaxis(a, 0, -2).reshape(*a.shape[1:-1], -1) for a in args)
        load = kernel(*wide)
        return jnp.moveaxis(load.reshape(*load.shape[:-1], size, -1), -2, 0), True

    return kernel


_CANDIDATES = {
    "pallas_tpu": Candidate({"tpu": _batchable(False)}, _unsupported),
    "xla": Candidate({"default": xla.dual_scan}),
    "pallas_interpret": Candidate({"default": _batchable(True)}, _unsupported, automatic=False),
    "reference": Candidate({"default": reference.dual_scan}, automatic=False),
}


def _check(gains, arrivals, multipliers, temperature):
    if gains.ndim != 4:
        raise ValueError(f"gains must have 4 axes, [S, J, n, B], got shape {gains.shape}.")
    if gains.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"gains must be float32 or float64, got {gains.dtype}.")
    per_time, types, _, lanes = gains.shape
    if arrivals.ndim != 3 or arrivals.shape[1:] != (types, lanes):
        raise ValueError(f"arrivals must have shape (T, {types}, {lanes}), got {arrivals.shape}.")
    if 0 in gains.shape or 0 in arrivals.shape:
        raise ValueError(f"gains must have no empty axis, got shape {gains.shape} for {arrivals.shape[0]} times.")
    if per_time not in (1, arrivals.shape[0]):
        raise ValueError(f"gains must be of 1 time or of {arrivals.shape[0]}, got {per_time}.")
    for name, value in {"multipliers": multipliers, "temperature": temperature}.items():
        if value.shape != arrivals.shape:
            raise ValueError(f"{name} must have shape {arrivals.shape}, got {value.shape}.")
    for name, value in {"arrivals": arrivals, "multipliers": multipliers, "temperature": temperature}.items():
        if value.dtype != gains.dtype:
            raise ValueError(f"{name} must have the dtype of gains, {gains.dtype}, got {value.dtype}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; for 64 instances of 20 nodes."""
    rows = [jax.ShapeDtypeStruct((50, 1, 64), jnp.float32)] * 3
    return _explain(_CANDIDATES, platform, jax.ShapeDtypeStruct((50, 1, 20, 64), jnp.float32), *rows)
