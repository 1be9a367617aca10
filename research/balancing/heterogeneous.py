"""Experts of different width, and a balance loss that weighs an expert's load by its width.

The loss is E sum_k (d_k / mean d) f_k P_k: the smaller experts are preferred. Its form is [derived] from the abstract
of the source, which was not read further; equal widths give the usual loss.
Source: `wang-hmoe:24`.

Letters: `T` tokens, `E` experts, `d_k` hidden width of expert k.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import balance_losses, softmax_topk
from research.balancing.routing import NOTHING, Context, Router, Routing, Wrapper
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key

__all__ = ["SizeWeighted", "example", "width_mask"]


def width_mask(widths: tuple[int, ...]) -> Bool[Array, "E w"]:
    """Which of the max(d_k) hidden units each expert has: experts stored at one width, cut by a mask."""
    return jnp.arange(max(widths))[None] < jnp.asarray(widths)[:, None]


class SizeWeighted(Wrapper):
    """A router over experts of these widths, with the size-weighted balance loss added.

    Raises ValueError unless there is one width >= 1 for each expert and the weight is >= 0.
    """

    router: Router
    widths: tuple[int, ...] = eqx.field(static=True)
    loss_weight: float = 1e-2

    def __check_init__(self):
        number = self.router.num_experts
        fits = len(self.widths) == number and all(w >= 1 for w in self.widths)
        checks.require(fits, "SizeWeighted.widths", f"be {number} widths >= 1", self.widths)
        checks.at_least("SizeWeighted.loss_weight", self.loss_weight, 0)

    @property
    def relative_widths(self) -> Float[Array, " E"]:
        """d_k / mean d."""
        widths = jnp.asarray(self.widths, jnp.result_type(float))
        return widths / widths.mean()

    def loss(self, logits, routing: Routing, load_share, context: Context = NOTHING) -> Float[Array, ""]:
        found = balance_losses.load_balancing(
            routing.aux["scores"], load_share, valid=context.valid, weights=self.relative_widths
        )
        return self.router.loss(logits, routing, load_share, context) + self.loss_weight * found


def example(key: Key):
    """Eight experts, the widest eight times as wide as the narrowest."""
    router = SizeWeighted(softmax_topk.SoftmaxTopK(8, 2), tuple(range(1, 9)))
    return router, jax.random.normal(key, (32, 8)), NOTHING
