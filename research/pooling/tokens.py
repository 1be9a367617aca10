"""Pooling a sequence of tokens: mean, max, first, last, position-weighted, attention, windows; a router over windows.

Positions are those of the tokens that take part, counted by the mask: padding on the left, on the right or in between
changes nothing. An empty sequence gives 0.
Source: `ivison:25`, for the position-weighted mean (the release counts padded positions too, at batch size
1; here only tokens count); `heakl:25`, for windows and router (the release has no mask);
`devlin:19` for the first token.

Letters: `B` sequences, `T` tokens, `D` channels, `n` tokens of one sequence, `W` windows, `A` hidden units.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key
from research.pooling import layouts
from research.pooling.attention import AttentionPool, attention_pool
from research.pooling.operator import Operator
from research.pooling.sets import set_pool

__all__ = [
    "KINDS", "WindowRouter", "example", "normalized", "position_weights", "token_pool",
    "windowed_mean",
]  # fmt: skip

KINDS = ("mean", "max", "first", "last", "position_weighted", "attention", "windowed")

_PARAMS = {"attention": {"kernel", "context"}, "windowed": {"windows"}}


def _default_mask(x: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None) -> Bool[Array, "B T"]:
    layouts.layout_of(x, mask=mask)  # refuses wrong ranks, shapes and dtypes
    return jnp.ones(x.shape[:2], bool) if mask is None else mask


def position_weights(mask: Bool[Array, "B T"], dtype: Any = jnp.float32) -> Float[Array, "B T"]:
    """t / (1 + ... + n) at the t-th token that takes part, 0 elsewhere; rows sum to 1, or are 0."""
    place = jnp.where(mask, jnp.cumsum(mask, axis=1), 0).astype(dtype)
    return place / jnp.maximum(jnp.sum(place, axis=1, keepdims=True), 1)


def _weighted(x: Float[Array, "B T D"], weights: Float[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """sum_t w_t x_t over tokens that take part, accumulated in float32 at least."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    clean = jnp.where(mask[..., None], x, 0).astype(wide)
    return jnp.einsum("bt,btd->bd", weights.astype(wide), clean).astype(x.dtype)


def windowed_mean(
    x: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None = None, windows: int = 8
) -> tuple[Float[Array, "B W D"], Bool[Array, "B W"]]:
    """Means of min(W, n) equal windows of a sequence, each of n // min(W, n) tokens; those left over are dropped.

    Args:
      windows: W >= 1; the output has min(W, T) of them.

    Returns:
      means, 0 of windows that a short sequence does not have, and which it has.

    Raises:
      ValueError: windows < 1; an `x` that is not `[B, T, D]`; a mask that is not boolean or not `[B, T]`.
    """
    checks.at_least("windows", windows, 1)
    mask = _default_mask(x, mask)
    many = min(windows, x.shape[1])
    count = jnp.sum(mask, axis=1, keepdims=True)
    used = jnp.minimum(many, count)
    width = count // jnp.maximum(used, 1)
    place = jnp.cumsum(mask, axis=1) - 1
    window = jnp.where(mask & (place < used * width), place // jnp.maximum(width, 1), many)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    member = jax.nn.one_hot(window, many, dtype=wide)  # a row of zeros for what is dropped
    share = member / jnp.maximum(width, 1)[..., None].astype(wide)
    means = jnp.einsum("btw,btd->bwd", share, jnp.where(mask[..., None], x, 0).astype(wide))
    return means.astype(x.dtype), jnp.arange(many)[None] < used


def token_pool(
    x: Float[Array, "B T D"], kind: str, mask: Bool[Array, "B T"] | None = None, params: dict | None = None
) -> Float[Array, "B *W D"]:
    """One vector per sequence, or one per window.

    Args:
      kind: mean; max; first and last token that takes part; position_weighted, sum_t t x_t / sum_t t; attention,
        `attention.attention_pool` with logits c . tanh(V^T x_t); windowed, `windowed_mean` `[B, min(W, T), D]`.
      mask: True takes part; None for no padding.
      params: attention: kernel V `[D, A]`, context c `[A]`; windowed: windows (8), a Python int.

    Raises:
      ValueError: an unknown kind or parameter, a missing one, and for what `windowed_mean` refuses.
    """
    checks.one_of("kind", kind, KINDS)
    given = dict(params or {})
    known = _PARAMS.get(kind, set())
    checks.require(given.keys() <= known, "params", f"have no key but {sorted(known)} for kind {kind!r}", sorted(given))
    if kind in ("mean", "max"):
        return set_pool(x, kind, mask=mask)
    if kind == "windowed":
        return windowed_mean(x, mask, **given)[0]
    mask = _default_mask(x, mask)
    if kind == "position_weighted":
        return _weighted(x, position_weights(mask, jnp.promote_types(x.dtype, jnp.float32)), mask)
    if kind == "attention":
        checks.require(given.keys() == known, "params", f"have the keys {sorted(known)}", sorted(given))
        checks.shape("params['kernel']", given["kernel"], (x.shape[-1], None))
        checks.shape("params['context']", given["context"], jnp.shape(given["kernel"])[1:])
        return attention_pool(x, given["kernel"], given["context"], mask=mask)
    number = jnp.where(mask, jnp.cumsum(mask, axis=1), 0)
    chosen = mask & (number == (1 if kind == "first" else jnp.sum(mask, axis=1, keepdims=True)))
    return jnp.sum(jnp.where(chosen[..., None], x, 0), axis=1, dtype=x.dtype)


def normalized(y: Float[Array, "... D"]) -> Float[Array, "... D"]:
    """y / |y|, for selection by cosine; 0 stays 0, with a finite gradient: 1e-12 is added under the root."""
    wide = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    return (wide * jax.lax.rsqrt(jnp.sum(jnp.square(wide), axis=-1, keepdims=True) + 1e-12)).astype(y.dtype)


class WindowRouter(eqx.Module):
    """Choice among C actions, such as skip, run once, run twice: an MLP per window mean, logits averaged over windows.

    MLP: Linear(D, A), GELU (tanh form), Linear(A, C); `heakl:25`: A = 128, C = 3, W = 8.
    """

    first: Float[Array, "D A"]
    first_bias: Float[Array, " A"]
    second: Float[Array, "A C"]
    second_bias: Float[Array, " C"]
    windows: int = eqx.field(static=True)

    @classmethod
    def create(cls, key: Key, inputs: int, hidden: int = 128, actions: int = 3, windows: int = 8) -> "WindowRouter":
        """Entries N(0, 1 / fan-in), biases 0."""
        for name, value in (("inputs", inputs), ("hidden", hidden), ("actions", actions), ("windows", windows)):
            checks.at_least(name, value, 1)
        one, other = jax.random.split(key)
        first = jax.random.normal(one, (inputs, hidden)) / inputs**0.5
        second = jax.random.normal(other, (hidden, actions)) / hidden**0.5
        return cls(first, jnp.zeros(hidden), second, jnp.zeros(actions), windows)

    def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"] | None = None) -> Float[Array, "B C"]:
        """Logits `[B, C]`; 0 for an empty sequence."""
        means, there = windowed_mean(x, mask, self.windows)
        hidden = jax.nn.gelu(means @ self.first + self.first_bias[None, None], approximate=True)
        logits = hidden @ self.second + self.second_bias[None, None]
        return set_pool(logits, "mean", mask=there)


def example(key: Key) -> dict[str, Operator]:
    """Every kind, and the router."""
    drawn, scorer, router = jax.random.split(key, 3)
    x = jax.random.normal(drawn, (2, 5, 3))
    mask = jnp.array([[True, False, True, True, False], [True] * 5])
    means = ("idempotent", "homogeneous", "shift", "monotone", "min_max")

    def pooled(kind, formula, source, invariants=(), params=None):
        def apply(_, x, mask):
            return token_pool(x, kind, mask, params)

        return Operator(apply, (), x, formula, source, "", mask, invariants)

    return {
        "token mean": pooled("mean", "mean of tokens", "zaheer:17", ("permutation", *means)),
        "token max": pooled("max", "largest entry per channel", "zaheer:17", ("permutation", *means)),
        "first token": pooled("first", "x_1", "devlin:19", means),
        "last token": pooled("last", "x_n", "devlin:19", means),
        "position-weighted mean": pooled(
            "position_weighted", "sum_t t x_t / sum_t t", "ivison:25", means
        ),
        "windowed mean": pooled("windowed", "means of W equal windows", "heakl:25", (), {"windows": 2}),
        "token attention": Operator(
            lambda pool, x, mask: token_pool(x, "attention", mask, {"kernel": pool.hidden, "context": pool.score}),
            AttentionPool.create(scorer, 3, 4), x, "sum_t w_t x_t, w = softmax(c . tanh(V^T x_t))",
            "ilse:18, section 2", "", mask, ("permutation", "idempotent", "min_max"),
        ),
        "window router": Operator(
            lambda params, x, mask: params(x, mask), WindowRouter.create(router, 3, 4, windows=2), x,
            "mean over windows of MLP(window mean)", "heakl:25", "", mask,
        ),
    }  # fmt: skip
