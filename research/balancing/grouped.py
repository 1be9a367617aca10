"""Experts in groups, one per device, of which each token takes equally many: device loads are equal by construction.

Source: `tang-pangu:25`: the softmax is over all experts, the top-(K/M) within
each of M contiguous groups. (Routing to the best groups only is an option of `loss_free.LossFree`.)

Letters: `T` tokens, `E` experts, `K` experts per token, `M` groups.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["Grouped", "example"]


class Grouped(Router):
    """K / M experts of each group; a group's load is K T / M exactly. Raises ValueError unless M divides E and K."""

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    num_groups: int = eqx.field(static=True)
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_experts("Grouped", self.num_experts, self.top_k)
        m = self.num_groups
        divides = m >= 1 and self.num_experts % m == 0 and self.top_k % m == 0
        allowed = f"divide num_experts = {self.num_experts} and top_k = {self.top_k}"
        checks.require(divides, "Grouped.num_groups", allowed, m)

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        tokens, num_experts = logits.shape
        size = num_experts // self.num_groups
        scores = gating.scores_of(logits)
        rows = jax.lax.stop_gradient(scores).reshape(tokens * self.num_groups, size)
        valid = context.valid
        valid = None if valid is None else jnp.repeat(valid, self.num_groups, total_repeat_length=rows.shape[0])
        within = gating.largest(rows, self.top_k // self.num_groups, Context(valid=valid)).index
        first = jnp.arange(self.num_groups, dtype=within.dtype)[None, :, None] * size
        within = within.reshape(tokens, self.num_groups, -1)
        index = jnp.where(within < size, first + within, num_experts).reshape(tokens, self.top_k)
        return gating.routing_of(scores, index, renormalise=self.renormalise)


def example(key: Key):
    """Eight experts on two devices, two of each per token."""
    return Grouped(8, 4, 2), jax.random.normal(key, (32, 8)), NOTHING
