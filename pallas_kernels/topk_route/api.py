"""Which experts each token takes: the public function."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.topk_route import kernel_tpu, reference, xla, xla_cpu

__all__ = ["TopkRoute", "topk_route"]

_NAME = "topk_route"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


class TopkRoute(NamedTuple):
    """Slots are in descending order of biased scores; of equal ones the lowest expert comes first."""

    index: jax.Array  # [T, k] int32 experts in [0, E); E for tokens that are not valid
    score: jax.Array  # [T, k] their scores without bias; 0 for tokens that are not valid
    load: jax.Array  # [E] int32 valid tokens of each expert
    threshold: jax.Array | None  # [T] the (k+1)-th largest biased score


def topk_route(
    scores: jax.Array,
    bias: jax.Array,
    k: int,
    *,
    threshold: bool = False,
    valid: jax.Array | None = None,
    impl: Impl | None = None,
) -> TopkRoute:
    """The k experts with the largest `scores + bias` of each token, their scores, and the loads.

    Args:
      scores: `[T, E]` float32 or float64, without NaN (not checked); -inf for what must not be taken while there is
        something else.
      bias: `[E]` of the dtype of `scores`, added for selection only.
      k: experts of a token, in [1, E].
      threshold: whether to return the (k+1)-th largest biased scores as well, k < E.
      valid: `[T]` bool, None for all: tokens that are not valid take no expert and count nowhere.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `TopkRoute`. Its `score` has derivatives with respect to `scores`; nothing has any with respect to `bias`, and
      `threshold` has none.

    Raises:
      ValueError: shapes or dtypes do not fit, k out of range, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Source: `wang:24`, Algorithm 1.
    """
    scores, bias = jnp.asarray(scores), jnp.asarray(bias)
    _check(scores, bias, k, threshold, valid)
    valid = jnp.ones(scores.shape[0], bool) if valid is None else jnp.asarray(valid)
    return TopkRoute(*_route(scores, bias, valid, int(k), bool(threshold), impl))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _route(scores, bias, valid, k, threshold, impl):
    return choose(_NAME, impl, _candidates(k, threshold), scores, bias, valid)(scores, bias, valid)


def _forwards(scores, bias, valid, k, threshold, impl):
    found = _route(scores, bias, valid, k, threshold, impl)
    return found, (found[0], bias, valid)


def _backwards(k, threshold, impl, kept, cotangent):
    """A score's cotangent goes to the entry that was taken; experts of one token differ, so that sums have one term."""
    del k, threshold, impl
    index, bias, valid = kept
    taken = index[:, :, None] == jnp.arange(bias.shape[0])[None, None]
    pulled = jnp.sum(jnp.where(taken, cotangent[1][:, :, None], 0), axis=1)
    return pulled, jnp.zeros_like(bias), np.zeros(valid.shape, jax.dtypes.float0)


_route.defvjp(_forwards, _backwards)


@functools.cache
def _candidates(k, threshold):
    def bound(function, **options):
        return functools.partial(function, k=k, threshold=threshold, **options)

    unsupported = functools.partial(kernel_tpu.unsupported, rounds=k + threshold)
    interpreted = Candidate({"default": bound(kernel_tpu.topk_route, interpret=True)}, unsupported, automatic=False)
    return {
        "pallas_tpu": Candidate({"tpu": bound(kernel_tpu.topk_route)}, unsupported),
        "xla": Candidate({"cpu": bound(xla_cpu.topk_route), "default": bound(xla.topk_route)}),
        "pallas_interpret": interpreted,
        "reference": Candidate({"default": bound(reference.topk_route)}, automatic=False),
    }


def _check(scores, bias, k, threshold, valid):
    if scores.ndim != 2 or scores.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"scores must be float32 or float64 [T, E], got {scores.dtype} {scores.shape}.")
    tokens, num_experts = scores.shape
    if tokens < 1 or num_experts < 1:
        raise ValueError(f"scores must have at least one token and one expert, got {scores.shape}.")
    if bias.shape != (num_experts,) or bias.dtype != scores.dtype:
        raise ValueError(f"bias must be {scores.dtype} {(num_experts,)}, got {bias.dtype} {bias.shape}.")
    most = num_experts - 1 if threshold else num_experts
    if not 1 <= k <= most:
        raise ValueError(f"k must lie in [1, {most}]{' with threshold' if threshold else ''}, got {k}.")
    if valid is not None and (jnp.shape(valid) != (tokens,) or jnp.result_type(valid) != jnp.bool_):
        raise ValueError(f"valid must be bool {(tokens,)}, got {jnp.result_type(valid)} {jnp.shape(valid)}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; 8 of 64 experts."""
    return _explain(_candidates(8, False), platform, *abstract(8192, 64))


def abstract(tokens, num_experts):
    """Arguments as `jax.ShapeDtypeStruct` trees: scores, bias and valid."""

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    return array(tokens, num_experts), array(num_experts), array(tokens, dtype=jnp.bool_)
