"""Visual tokens pooled to a budget: how vision-language models hand fewer tokens to the language model.

All of them are an adaptive average of the token grid. `hu:25` (TokenFLEX) pools to n x n tokens before a SwiGLU
projector and draws n anew at every training step, so that one model serves every budget; `maaz:24` (VideoGPT+) halves
each side of a frame's grid, and `xu:24` (PLLaVA) pools time and space together, both after their projector.
Source: the three papers.

Letters: `B` batch, `T` frames, `H`, `W` grid of tokens, `D` features.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.pooling.adaptive import adaptive_pool
from research.pooling.operator import Operator

__all__ = ["BUDGETS", "SHAPES", "TokenFlex", "draw_budget", "example", "pool_tokens"]

#: Tokens of `hu:25`: 8 x 8, 12 x 12, 16 x 16.
BUDGETS = (64, 144, 256)

#: Output grids of the two models that pool to one size: of a frame (16 x 16), of an image (24 x 24), of a video.
SHAPES = {"video_gpt_plus_frame": (8, 8), "video_gpt_plus_image": (12, 12), "pllava": (16, 12, 12)}


def pool_tokens(x: Float[Array, "B *S D"], model: str) -> Float[Array, "B *O D"]:
    """The token pool of a published model.

    Args:
      x: `[B, H, W, D]` tokens of frames or images, or `[B, T, H, W, D]` of videos for "pllava"; after the projector.
      model: one of `SHAPES`.

    Returns:
      the tokens on the grid that `SHAPES` says.
    """
    checks.one_of("model", model, tuple(SHAPES))
    out = SHAPES[model]
    checks.require(x.ndim == len(out) + 2, "x", f"have {len(out) + 2} axes for {model}", x.shape)
    return adaptive_pool(x, out)


def draw_budget(
    key: Key, step: int | Int[Array, ""], budgets: Sequence[int] = BUDGETS,
    probabilities: Float[Array, " N"] | None = None,
) -> Int[Array, ""]:  # fmt: skip
    """Which budget a training step has: an index into `budgets`, the same whenever the step is asked for.

    A budget is a shape. Choose it by `jax.lax.switch` over functions that return the loss, one per budget.

    Args:
      probabilities: of the budgets; None for equal ones, since the paper's are not known.
    """
    chance = jnp.full(len(budgets), 1 / len(budgets)) if probabilities is None else jnp.asarray(probabilities)
    checks.shape("probabilities", chance, (len(budgets),))
    return jax.random.categorical(prng.per_step(prng.stream(key, "budget"), step), jnp.log(chance))


class TokenFlex(eqx.Module):
    """Adaptive average to a budget, then the projector (x W1 * silu(x W2)) W3.

    Source: `hu:25`.
    """

    value: Float[Array, "D hidden"]
    gate: Float[Array, "D hidden"]
    project: Float[Array, "hidden out"]

    @classmethod
    def create(cls, key: Key, width: int, hidden: int, out: int) -> "TokenFlex":
        """Weights from N(0, 1 / inputs)."""
        shapes = ((width, hidden), (width, hidden), (hidden, out))
        keys = jax.random.split(key, len(shapes))
        return cls(*(jax.random.normal(k, s) / np.sqrt(s[0]) for k, s in zip(keys, shapes, strict=True)))

    def __call__(self, x: Float[Array, "B H W D"], budget: int) -> Float[Array, "B budget out"]:
        """Tokens for the language model.

        Args:
          budget: n^2 for a whole n; any of `BUDGETS`, or another one.
        """
        side = int(np.sqrt(budget) + 0.5) if budget >= 1 else 0
        checks.require(side >= 1 and side * side == budget, "budget", "be the square of a number >= 1", budget)
        pooled = adaptive_pool(x, side).reshape(x.shape[0], budget, x.shape[-1])
        return (pooled @ self.value * jax.nn.silu(pooled @ self.gate)) @ self.project


def example(key: Key) -> dict[str, Operator]:
    """A grid of 5 x 5 tokens for a budget of nine."""
    for_weights, for_x = jax.random.split(key)
    return {
        "token_flex": Operator(
            lambda params, x, mask: params(x, 9), TokenFlex.create(for_weights, 3, 4, 2),
            jax.random.normal(for_x, (2, 5, 5, 3)), "(p W1 * silu(p W2)) W3, p the adaptive average", "hu:25", degree=2,
        )
    }  # fmt: skip
