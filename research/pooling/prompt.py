"""Prompt-guided pooling: windows of visual tokens averaged with softmax weights of their scores against a prompt.

y = sum over the window of w_i x_i with w = softmax(s / temperature) over the window, scores s shared by channels. Equal
scores give average pooling. Source: `liu:24`, the authors' code: scores are a softmax over all tokens of a frame
sequence of the scaled cosine with the text's embedding, the temperature is 0.01, and a requested output size o of n
gives windows of n - (o - 1) (n // o) elements at steps of n // o.

Letters: `B` batch, `S` axes of the tokens (time, height, width), `O` those of the output, `D` features.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.pooling.adaptive import Bins, even_bins, lay_out
from research.pooling.operator import Operator

__all__ = ["TEMPERATURE", "example", "prompt_pool", "prompt_scores", "windows_of"]

#: The authors' choice; at scores that sum to 1 over all tokens, a difference of 0.01 is a factor e of weight.
TEMPERATURE = 0.01


def prompt_scores(
    tokens: Float[Array, "B *S D"], prompt: Float[Array, "B D"], logit_scale: float | Float[Array, ""] = 100.0
) -> Float[Array, "B *S"]:
    """Softmax over all tokens of logit_scale cos(prompt, token); sums to 1 over S.

    Args:
      logit_scale: inverse temperature of the pair of encoders that made both embeddings.
    """
    checks.shape("prompt", prompt, (tokens.shape[0], tokens.shape[-1]))
    wide = jnp.promote_types(tokens.dtype, jnp.float32)
    flat = tokens.astype(wide).reshape(tokens.shape[0], -1, tokens.shape[-1])
    cosine = jnp.einsum("bnd,bd->bn", _unit(flat), _unit(prompt.astype(wide)))
    return jax.nn.softmax(logit_scale * cosine, axis=-1).reshape(tokens.shape[:-1])


def _unit(x):
    """Rows of length 1; a row of zeros stays, with gradients that are finite."""
    return x * jax.lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)


def windows_of(sizes: Sequence[int], out=None, kernel=None, stride=None) -> list[Bins]:
    """The windows along every axis, for a requested size or for given windows.

    Raises ValueError unless exactly one of `out` and `kernel` is given, for numbers < 1, an output larger than the
    input and a kernel larger than the input.
    """
    one = (out is None) != (kernel is None)
    checks.require(one, "out, kernel", "be given one without the other", (out, kernel))
    checks.require(out is None or stride is None, "stride", "be None where out is given", stride)
    if out is not None:
        counts = _per_axis("out", out, sizes)
        fits = all(o <= n for o, n in zip(counts, sizes, strict=True))
        checks.require(fits, "out", f"be at most the number of tokens {tuple(sizes)}", counts)
        steps = [n // o for o, n in zip(counts, sizes, strict=True)]
        return [even_bins(o, n - (o - 1) * t, t) for o, n, t in zip(counts, sizes, steps, strict=True)]
    lengths = _per_axis("kernel", kernel, sizes)
    fits = all(k <= n for k, n in zip(lengths, sizes, strict=True))
    checks.require(fits, "kernel", f"be at most the number of tokens {tuple(sizes)}", lengths)
    steps = lengths if stride is None else _per_axis("stride", stride, sizes)
    return [even_bins((n - k) // t + 1, k, t) for n, k, t in zip(sizes, lengths, steps, strict=True)]


def _per_axis(name: str, value, sizes: Sequence[int]) -> tuple[int, ...]:
    numbers = (value,) * len(sizes) if np.ndim(value) == 0 else tuple(value)
    fits = len(numbers) == len(sizes) and min(numbers) >= 1
    checks.require(fits, name, f"have a number >= 1 for each of the {len(sizes)} axes", value)
    return numbers


def prompt_pool(
    x: Float[Array, "B *S D"], scores: Float[Array, "B *S"], *, out: int | Sequence[int] | None = None,
    kernel: int | Sequence[int] | None = None, stride: int | Sequence[int] | None = None,
    temperature: float | Float[Array, ""] = TEMPERATURE,
) -> Float[Array, "B *O D"]:  # fmt: skip
    """Softmax-weighted average of every window of tokens.

    Args:
      scores: as of `prompt_scores`; any real numbers.
      out: sizes of the output; or `kernel` (and `stride`, by default the kernel) for windows that fit whole.
      temperature: > 0; concrete values are checked.

    Raises ValueError for what `windows_of` refuses, scores of another shape and a temperature <= 0.
    """
    checks.shape("scores", scores, x.shape[:-1])
    checks.positive("temperature", temperature)
    bins = windows_of(x.shape[1:-1], out, kernel, stride)
    wide = jnp.promote_types(x.dtype, jnp.float32)
    weights = _split(scores[..., None], bins).astype(wide) / temperature
    inner = tuple(range(2, 2 * len(bins) + 1, 2))
    weights = jax.nn.softmax(weights, axis=inner)
    return jnp.sum(weights * _split(x, bins).astype(wide), axis=inner).astype(x.dtype)


def _split(x, bins: Sequence[Bins]):
    """`[B, O1, K1, O2, K2, ..., D]`."""
    x = x[(slice(None), *(slice(0, max(one.stop)) for one in bins))]
    laid, _ = lay_out(x, bins)
    parts = [size for one in bins for size in (len(one.start), one.longest)]
    return laid.reshape(x.shape[0], *parts, x.shape[-1])


def example(key: Key) -> dict[str, Operator]:
    """Overlapping windows over a small video, and scores of tokens against a prompt."""
    for_x, for_scores, for_prompt = jax.random.split(key, 3)
    x, scores = jax.random.normal(for_x, (2, 3, 5, 4, 2)), jax.random.normal(for_scores, (2, 3, 5, 4))
    tokens, prompt = jax.random.normal(for_x, (2, 6, 3)), jax.random.normal(for_prompt, (2, 3))
    return {
        "prompt_pool": Operator(
            lambda _, inputs, mask: prompt_pool(*inputs, out=(2, 2, 2), temperature=0.5), (), (x, scores),
            "sum_i softmax(s / temperature)_i x_i over the window", "liu:24, authors' code",
        ),
        "prompt_scores": Operator(
            lambda _, inputs, mask: prompt_scores(*inputs, 2.0), (), (tokens, prompt),
            "softmax over all tokens of logit_scale cos(prompt, token)", "liu:24, authors' code",
        ),
    }  # fmt: skip
