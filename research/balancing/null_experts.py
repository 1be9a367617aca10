"""Null experts: m more columns in the router that compute nothing, so that tokens differ in how many experts they use.

Gates are renormalised over the chosen true experts; a token with null experts alone gets nothing from the layer. In the
balance loss each null expert's load is replaced by the mean over them, since they are interchangeable.
Source: `zeng:24`.

Letters: `T` tokens, `E` true and null experts, `m` null ones, `K` slots per token.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import balance_losses, gating
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits, count
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["NullExperts", "averaged_share", "example"]


def averaged_share(load_share: Float[Array, " E"], num_null: int) -> Float[Array, " E"]:
    """The load share with the last `num_null` entries replaced by their mean."""
    true, null = jnp.split(load_share, [load_share.shape[0] - num_null])
    return jnp.concatenate([true, jnp.full_like(null, null.mean())]) if num_null else load_share


class NullExperts(Router):
    """Top-K over all experts. Slots of null experts keep their index, in [E - m, E), with gate 0; loads count them.

    Raises ValueError unless 1 <= K <= E, 0 <= m < E and the weight is >= 0.
    """

    num_experts: int = eqx.field(static=True)  # E, null experts included
    top_k: int = eqx.field(static=True)
    num_null: int = eqx.field(static=True)  # m, the last columns
    loss_weight: float = 0.0  # of the balance loss

    def __check_init__(self):
        check_experts("NullExperts", self.num_experts, self.top_k)
        within = 0 <= self.num_null < self.num_experts
        checks.require(within, "NullExperts.num_null", f"lie in [0, {self.num_experts - 1}]", self.num_null)
        checks.at_least("NullExperts.loss_weight", self.loss_weight, 0)

    @property
    def num_ffn(self) -> int:
        return self.num_experts - self.num_null

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        scores = gating.scores_of(logits)
        index = gating.largest(jax.lax.stop_gradient(scores), self.top_k, context).index
        true = index < self.num_ffn
        gate = gating.gates(jnp.where(true, gating.take(scores, index), 0), renormalise=True)
        keep = index < self.num_experts
        return Routing(index, gate, keep, count(index, keep, self.num_experts), {"scores": scores})

    def loss(self, logits, routing: Routing, load_share, context: Context = NOTHING) -> Float[Array, ""]:
        del logits
        share = averaged_share(load_share, self.num_null)
        return self.loss_weight * balance_losses.load_balancing(routing.aux["scores"], share, valid=context.valid)


def example(key: Key):
    """Six true and two null experts, three slots per token."""
    return NullExperts(8, 3, 2, loss_weight=1e-2), jax.random.normal(key, (32, 8)), NOTHING
