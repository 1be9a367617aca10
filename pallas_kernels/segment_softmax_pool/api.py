"""Softmax-weighted sums of the elements of many segments: the public function."""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pallas_kernels._dispatch import Candidate, choose
from pallas_kernels._dispatch import explain as _explain
from pallas_kernels.segment_softmax_pool import kernel_tpu, reference, xla

__all__ = ["SegmentSoftmax", "segment_softmax_pool"]

_NAME = "segment_softmax_pool"
Impl = Literal["xla", "pallas_tpu", "pallas_interpret", "reference"]


class SegmentSoftmax(NamedTuple):
    """What is known of each segment."""

    pooled: jax.Array | None  # [G, D] weighted sums; 0 for a segment without elements
    log_sum: jax.Array  # [G] or [G, H] log of the sum of exp(score), in nats; -inf for a segment without elements


def segment_softmax_pool(
    scores: jax.Array,
    values: jax.Array | None,
    segment_ids: jax.Array,
    num_segments: int,
    *,
    valid: jax.Array | None = None,
    impl: Impl | None = None,
) -> SegmentSoftmax:
    """sum_i w_i value_i, w the softmax of the scores over the elements of a segment, and log sum_i exp(score_i).

    Args:
      scores: `[M]`, one for each element, or `[M, H]`, where head h weighs the h-th of H equal shares of the channels;
        float32 or float64. An element with -inf has weight 0, and a segment of such alone is without elements.
      values: `[M, D]` of the dtype of scores, H a divisor of D; None if only `log_sum` is asked for.
      segment_ids: `[M]` integers that do not decrease (not checked); elements outside [0, G) take no part.
      num_segments: G.
      valid: `[M]` bool, None for all; other elements take no part, but their ids are in order all the same.
      impl: None for the best implementation on each platform, or one by name, which never falls back.

    Returns:
      `SegmentSoftmax`. What takes no part touches no output and no gradient, whatever it holds, and its own gradient is
      0; what is not finite stays in its segment. Differentiable once, in scores and values; a segment without elements
      has zero gradients.

    Raises:
      ValueError: shapes or dtypes do not fit, or unknown impl.
      NotImplementedError: the named impl cannot serve these arguments; the message says why.

    Sources: `ilse:18` for a weight of each element, `stergiou:21` for one of each channel too.
    """
    scores, segment_ids = jnp.asarray(scores), jnp.asarray(segment_ids)
    values = None if values is None else jnp.asarray(values)
    _check(scores, values, segment_ids, num_segments, valid)
    inside = (segment_ids >= 0) & (segment_ids < num_segments)
    valid = inside if valid is None else inside & valid
    ids = jnp.clip(segment_ids, 0, num_segments - 1).astype(jnp.int32)
    heads = scores.shape[1] if scores.ndim == 2 else None
    width = heads if values is None else values.shape[1]
    if heads is not None and heads != width:
        scores = scores[:, 0] if heads == 1 else jnp.repeat(scores, width // heads, axis=1)
    pooled, log_sum = _run(scores, values, ids, valid, int(num_segments), impl)
    if heads is not None and heads != width:
        log_sum = log_sum[:, None] if heads == 1 else log_sum[:, :: width // heads]
    return SegmentSoftmax(pooled, log_sum)


def _run(scores, values, ids, valid, num_segments, impl):
    if impl == "reference":
        oracle = choose(_NAME, impl, _forward(num_segments), scores, values, ids, valid)
        return oracle(scores, values, ids, valid)
    return _pool(scores, values, ids, valid, num_segments, impl)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _pool(scores, values, ids, valid, num_segments, impl):
    return _there(scores, values, ids, valid, num_segments, impl)[0]


def _there(scores, values, ids, valid, num_segments, impl):
    run = choose(_NAME, impl, _forward(num_segments), scores, values, ids, valid)
    top, total, pooled = run(scores, values, ids, valid)
    log_sum = jnp.where(total == 0, -jnp.inf, top + jnp.log(jnp.where(total == 0, 1, total)))
    return (pooled, log_sum), (scores, values, ids, valid, top, total, pooled)


def _back(num_segments, impl, kept, cotangent):
    """With exp(score - top) as weights: a score itself may be too large for the logarithm's digits."""
    scores, values, ids, valid, top, total, pooled = kept
    of_pooled, of_log_sum = cotangent
    share = jnp.where(total == 0, 0, 1 / jnp.where(total == 0, 1, total))
    pull, lift = None, jnp.where(total == 0, 0, -of_log_sum * share)
    if values is not None:
        shares = share[:, None] if scores.ndim == 1 else share
        pull = jnp.where(shares == 0, 0, of_pooled * shares)
        level = pull * pooled
        lift += jnp.sum(level, axis=1) if scores.ndim == 1 else level
    args = scores, values, ids, valid, top, pull, lift
    of_scores, of_values = choose(_NAME, impl, _backward(num_segments), *args)(*args)
    return of_scores, of_values, *(np.zeros(each.shape, jax.dtypes.float0) for each in (ids, valid))


_pool.defvjp(_there, _back)


@functools.cache
def _forward(num_segments):
    oracle = functools.partial(reference.segment_softmax_pool, num_segments=num_segments)
    forwards = (functools.partial(each.forward, num_segments=num_segments) for each in (kernel_tpu, xla))
    candidates = _candidates(num_segments, *forwards)
    return candidates | {"reference": Candidate({"default": oracle}, automatic=False)}


@functools.cache
def _backward(num_segments):
    return _candidates(num_segments, kernel_tpu.backward, xla.backward)


def _candidates(num_segments, kernel, by_xla):
    def unsupported(scores, values, *rest):
        del rest
        return kernel_tpu.unsupported(scores, values, num_segments=num_segments)

    interpreted = functools.partial(kernel, interpret=True)
    return {
        "pallas_tpu": Candidate({"tpu": kernel}, unsupported),
        "xla": Candidate({"default": by_xla}),
        "pallas_interpret": Candidate({"default": interpreted}, unsupported, automatic=False),
    }


def _check(scores, values, segment_ids, num_segments, valid):
    if scores.ndim not in (1, 2) or scores.dtype not in (jnp.float32, jnp.float64) or 0 in scores.shape:
        raise ValueError(f"scores must be float32 or float64 [M] or [M, H] with no axis empty, got {scores.dtype} "
                         f"{scores.shape}.")  # fmt: skip
    elements = scores.shape[:1]
    if values is not None:
        if values.ndim != 2 or values.shape[:1] != elements or values.dtype != scores.dtype or 0 in values.shape:
            raise ValueError(f"values must be {scores.dtype} [{elements[0]}, D] with D >= 1, got {values.dtype} "
                             f"{values.shape}.")  # fmt: skip
        width, heads = values.shape[1], scores.shape[1] if scores.ndim == 2 else 1
        if width % heads:
            raise ValueError(f"scores must have a number of heads that divides D={width}, got {heads}.")
    if segment_ids.shape != elements or not jnp.issubdtype(segment_ids.dtype, jnp.integer):
        raise ValueError(f"segment_ids must be integers {elements}, got {segment_ids.dtype} {segment_ids.shape}.")
    if isinstance(num_segments, bool) or not isinstance(num_segments, int | np.integer) or num_segments < 1:
        raise ValueError(f"num_segments must be a Python int >= 1, got {num_segments!r}.")
    if valid is not None and (jnp.shape(valid) != elements or jnp.result_type(valid) != jnp.bool_):
        raise ValueError(f"valid must be bool {elements}, got {jnp.result_type(valid)} {jnp.shape(valid)}.")


def explain(platform: str) -> dict[str, str | None]:
    """Implementation -> None if `impl=None` takes it on the platform, else why not; 128 segments of 64 elements."""
    return _explain(_forward(128), platform, *abstract(8192, 128))


def abstract(elements, width, *, channels=False):
    """Arguments as `jax.ShapeDtypeStruct` trees: scores of elements or of `channels` too, values, ids and valid."""

    def array(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    scores = array(elements, width) if channels else array(elements)
    return scores, array(elements, width), array(elements, dtype=jnp.int32), array(elements, dtype=jnp.bool_)
