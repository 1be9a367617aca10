"""Experts shared by adjacent layers: a layer chooses among those of its block of r layers.

At first a layer has its own E experts; over the first `warm` share of training the pool grows to r E, the experts of
the other layers coming in order of their distance upwards from the own layer, cyclically within the block. The
schedule and this order are ours: only the abstract of the source was read.
Source: `rexmoe:25` [abstract].

Letters: `T` tokens, `E` experts of one layer, `r` layers of a block, `K` experts per token.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = ["SharedPools", "example"]


class SharedPools(Router):
    """Top-K of the r E experts of a block, those that have come in; needs `context.layer` and `context.step`.

    Columns of the logits are the block's experts, layer by layer; `expert_ids` are their numbers in the model.
    Raises ValueError unless r >= 1, 1 <= K <= E, warm in [0, 1] and the number of steps is >= 1.
    """

    layer_experts: int = eqx.field(static=True)  # E
    top_k: int = eqx.field(static=True)
    reuse: int = eqx.field(static=True, default=2)  # r; must divide the number of layers with experts
    num_steps: int = eqx.field(static=True, default=1)  # of the training
    warm: float = eqx.field(static=True, default=0.0)  # share of it in which the pool grows
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_experts("SharedPools", self.layer_experts, self.top_k)
        checks.at_least("SharedPools.reuse", self.reuse, 1)
        checks.at_least("SharedPools.num_steps", self.num_steps, 1)
        checks.in_range("SharedPools.warm", self.warm, 0, 1)

    @property
    def num_experts(self) -> int:
        return self.layer_experts * self.reuse

    def expert_ids(self, layer: int | Int[Array, ""]) -> Int[Array, " rE"]:
        """The experts of a layer's block, numbered through all layers."""
        return layer // self.reuse * self.num_experts + jnp.arange(self.num_experts)

    def pool_size(self, step: int | Int[Array, ""]) -> Int[Array, ""]:
        """Experts that a layer may choose among at a step, E <= size <= r E."""
        steps = round(self.warm * self.num_steps)
        more = self.num_experts - self.layer_experts
        if steps == 0:
            return jnp.int32(self.num_experts)
        return self.layer_experts + more * jnp.minimum(jnp.asarray(step, jnp.int32), steps) // steps

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        column = jnp.arange(self.num_experts)
        distance = (column // self.layer_experts - context.layer) % self.reuse
        entry = distance * self.layer_experts + column % self.layer_experts
        allowed = entry < self.pool_size(context.step)
        shown = jnp.where(allowed[None], logits, -jnp.inf)
        scores = gating.scores_of(shown)
        index = gating.among(scores, jnp.broadcast_to(allowed[None], scores.shape), self.top_k, context)
        return gating.routing_of(scores, index, renormalise=self.renormalise)


def example(key: Key):
    """Four experts a layer, shared by two layers, half of the foreign ones in."""
    context = Context(layer=jnp.int32(3), step=jnp.int32(5))
    return SharedPools(4, 2, 2, num_steps=20, warm=0.5), jax.random.normal(key, (32, 8)), context
