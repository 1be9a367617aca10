"""PoNet's mixer: every token meets a pooled summary of all tokens, the maximum of its segment and of its neighbours.

    global   q = mean_t Q_t;  w = softmax_t(q . K_t / sqrt(d));  g = sum_t w_t K_t      per head of width d
    segment  S_t = max over the tokens of t's segment
    local    L_t = max over t - 1, t, t + 1
    out_t = (g + S_t) O_t + L_t, and 0 at tokens that take no part

Time and memory are linear in T; the time of attention (`vaswani:17`; `attention_mix`, the baseline) is quadratic.
Products of entries: in float16 they overflow beyond 255 squared, in bfloat16 they do not.
Source: `tan:22`, section 3 and its code. Departure: padded tokens are left out of maxima altogether, where the release
gives them the value -1e4, which can win against smaller entries.

Letters: `B` sequences, `T` tokens, `D` channels, H heads of width d = D / H.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key
from research.pooling.operator import Operator

__all__ = ["PoNet", "attention_mix", "example", "ponet_mix", "segment_length", "segment_max"]


def segment_length(tokens: int, segments: int) -> int:
    """Tokens of a segment, T // segments + 1; the last ones are shorter or absent."""
    checks.at_least("segments", segments, 1)
    return tokens // segments + 1


def _lowest(x: Array) -> float:
    return float(jnp.finfo(x.dtype).min)  # finite: 0 times it is 0 in a gradient


def segment_max(
    x: Float[Array, "B T D"], mask: Bool[Array, "B T"], segments: int | Int[Array, "B T"]
) -> Float[Array, "B T D"]:
    """Largest entry per channel among the tokens of each token's segment; 0 at tokens that take no part.

    Args:
      segments: how many segments of equal length (`segment_length`), or ids in [0, T), such as sentence numbers.
    """
    batch, tokens, width = x.shape
    kept = jnp.where(mask[..., None], x, _lowest(x))
    if isinstance(segments, int):
        length = segment_length(tokens, segments)
        count = -(-tokens // length)
        padded = jnp.pad(kept, ((0, 0), (0, count * length - tokens), (0, 0)), constant_values=_lowest(x))
        tops = jnp.max(padded.reshape(batch, count, length, width), axis=2, keepdims=True)
        spread = jnp.broadcast_to(tops, (batch, count, length, width)).reshape(batch, count * length, width)[:, :tokens]
    else:
        tops = jax.vmap(lambda rows, ids: jax.ops.segment_max(rows, ids, num_segments=tokens)[ids])
        spread = tops(kept, segments)
    return jnp.where(mask[..., None], spread, 0)


def _local_max(x: Float[Array, "B T D"], mask: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
    kept = jnp.pad(jnp.where(mask[..., None], x, _lowest(x)), ((0, 0), (1, 1), (0, 0)), constant_values=_lowest(x))
    largest = jnp.maximum(jnp.maximum(kept[:, :-2], kept[:, 1:-1]), kept[:, 2:])
    return jnp.where(mask[..., None], largest, 0)


def _check(mask: Array, heads: int, **given: Array) -> None:
    first = next(iter(given.values()))
    for name, array in given.items():
        checks.shape(name, array, (*jnp.shape(mask), first.shape[-1]))
    checks.require(mask.dtype == bool, "mask", "be boolean", mask.dtype)
    checks.require(
        heads >= 1 and first.shape[-1] % heads == 0, "heads", f"be >= 1 and divide {first.shape[-1]} channels", heads
    )


def _heads(x: Float[Array, "B T D"], heads: int) -> Float[Array, "B T H d"]:
    return x.reshape(*x.shape[:2], heads, -1)


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def ponet_mix(
    q: Float[Array, "B T D"], k: Float[Array, "B T D"], o: Float[Array, "B T D"], local: Float[Array, "B T D"],
    seg: Float[Array, "B T D"], mask: Bool[Array, "B T"], *, heads: int = 1, segments: int | Int[Array, "B T"] = 32,
) -> Float[Array, "B T D"]:  # fmt: skip
    """Tokens mixed at three granularities.

    Args:
      q, k, o, local, seg: linear projections of the hidden states.
      mask: True takes part.
      segments: how many, or an id in [0, T) of every token.

    Raises:
      ValueError: arrays of different shapes, a mask that is not boolean or not `[B, T]`, heads that do not divide D,
        fewer than 1 segment, ids that are not integers of the mask's shape.
    """
    _check(mask, heads, q=q, k=k, o=o, local=local, seg=seg)
    if isinstance(segments, int):
        checks.at_least("segments", segments, 1)
    else:
        checks.shape("segments", segments, mask.shape)
        checks.require(jnp.issubdtype(segments.dtype, jnp.integer), "segments", "be integers", segments.dtype)
    inside = mask[..., None]
    q, k, o = (_heads(jnp.where(inside, each, 0), heads) for each in (q, k, o))
    count = jnp.maximum(jnp.sum(mask, axis=1), 1)[:, None, None]
    query = jnp.sum(_wide(q), axis=1) / count.astype(_wide(q).dtype)
    logits = jnp.einsum("bhd,bthd->bth", query, _wide(k)) / q.shape[-1] ** 0.5
    logits = jnp.where(inside, logits, _lowest(logits))
    weights = jnp.where(inside, jax.nn.softmax(logits, axis=1), 0)
    summary = jnp.einsum("bth,bthd->bhd", weights, _wide(k)).astype(o.dtype)
    mixed = (summary[:, None] + _heads(segment_max(seg, mask, segments), heads)) * o
    return jnp.where(inside, mixed.reshape(local.shape) + _local_max(local, mask), 0)


def attention_mix(
    q: Float[Array, "B T D"], k: Float[Array, "B T D"], v: Float[Array, "B T D"], mask: Bool[Array, "B T"], *,
    heads: int = 1, block: int = 512,
) -> Float[Array, "B T D"]:  # fmt: skip
    """Softmax attention of every token over all tokens; 0 at tokens that take no part. The baseline.

    Queries go in blocks, so that memory is linear in T; time is quadratic.

    Args:
      block: queries at once; T must be a multiple of min(block, T).

    Raises:
      ValueError: as `ponet_mix`; a block that does not divide T.
    """
    _check(mask, heads, q=q, k=k, v=v)
    batch, tokens, width = q.shape
    block = min(block, tokens)
    checks.require(block >= 1 and tokens % block == 0, "block", f"divide {tokens} tokens", block)
    inside = mask[..., None]
    q, k, v = (_heads(jnp.where(inside, each, 0), heads) for each in (q, k, v))

    def attend(some):
        logits = _wide(jnp.einsum("bqhd,bthd->bhqt", some, k)) / q.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(mask[:, None, None], logits, _lowest(logits)), axis=-1)
        return jnp.einsum("bhqt,bthd->bqhd", weights.astype(v.dtype), v)

    blocks = jnp.moveaxis(q.reshape(batch, tokens // block, block, heads, -1), 1, 0)
    mixed = jnp.moveaxis(jax.lax.map(attend, blocks), 0, 1).reshape(batch, tokens, width)
    return jnp.where(inside, mixed, 0)


class PoNet(eqx.Module):
    """`ponet_mix` of five linear projections of the hidden states, in the order of its arguments."""

    kernel: Float[Array, "5 D D"]
    bias: Float[Array, "5 D"]
    heads: int = eqx.field(static=True)
    segments: int = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, width: int, heads: int = 1, segments: int = 32) -> "PoNet":
        """Kernels N(0, 1 / D), biases 0."""
        checks.require(width >= 1 and heads >= 1 and width % heads == 0, "heads", f"divide width {width}", heads)
        checks.at_least("segments", segments, 1)
        return cls(jax.random.normal(key, (5, width, width)) / width**0.5, jnp.zeros((5, width)), heads, segments)

    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]) -> Float[Array, "B T D"]:
        x = jnp.where(mask[..., None], x, 0)  # or the kernel's gradient would see what padding holds
        parts = jnp.einsum("btd,pde->pbte", x, self.kernel) + self.bias[:, None, None]
        return ponet_mix(*parts, mask, heads=self.heads, segments=self.segments)


def example(key: Key) -> dict[str, Operator]:
    """The mixer with its projections, with segments of equal length and with given ids."""
    drawn, *keys = jax.random.split(key, 3)
    x = jax.random.normal(drawn, (2, 6, 4))
    mask = jnp.array([[True, False, True, True, False, True], [True] * 6])
    formula, source, figure = "(g + S_t) O_t + L_t", "tan:22, section 3", "pooling/fig_mixing"

    def by_sentence(_, inputs, mask):
        *parts, ids = inputs
        return ponet_mix(*parts, mask, heads=2, segments=ids)

    parts = tuple(jax.random.normal(k, x.shape) for k in jax.random.split(keys[1], 5))
    ids = jnp.array([[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 5]])
    return {
        "PoNet mixer": Operator(
            lambda params, x, mask: params(x, mask), PoNet.create(keys[0], 4, 2, 2), x, formula, source, figure, mask,
            degree=2,
        ),
        "PoNet mixer, sentences": Operator(by_sentence, (), (*parts, ids), formula, source, figure, mask, degree=2),
    }  # fmt: skip
