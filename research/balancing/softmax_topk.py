"""Top-K routing by softmax scores: the K experts with the largest logits, gated by their probabilities.

Source: `shazeer:17` (top-K of several experts), `fedus:22` (K = 1), `lepikhin:21` (K = 2), `jiang:24` (softmax over the
chosen logits alone, which equals the renormalised gates). Departure: no noise, no capacity; ties go to the lowest
expert.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits, count
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["Mixtral", "SoftmaxTopK", "check_experts", "example"]


def check_experts(owner: str, num_experts: int, top_k: int, least: int = 1) -> None:
    """Raises ValueError unless `num_experts` >= `least` and 1 <= `top_k` <= `num_experts`."""
    checks.at_least(f"{owner}.num_experts", num_experts, least)
    checks.require(1 <= top_k <= num_experts, f"{owner}.top_k", f"lie in [1, num_experts = {num_experts}]", top_k)


class SoftmaxTopK(Router):
    """K distinct experts per token. Raises ValueError unless 1 <= K <= E."""

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    renormalise: bool = eqx.field(static=True, default=True)  # gates of a token sum to `scale`
    scale: float = 1.0
    gate: str = eqx.field(static=True, default="softmax")  # or "sigmoid", which without a bias selects the same

    def __check_init__(self):
        check_experts("SoftmaxTopK", self.num_experts, self.top_k)
        checks.one_of("SoftmaxTopK.gate", self.gate, gating.GATES)
        checks.finite("SoftmaxTopK.scale", self.scale)

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        scores = gating.scores_of(logits, self.gate)
        found = gating.largest(scores, self.top_k, context)
        gate = gating.gates(found.score, self.renormalise, self.scale)
        keep = found.index < self.num_experts
        return Routing(found.index, gate, keep, found.load, {"scores": scores})


class Mixtral(Router):
    """The K largest logits, and a softmax over these. Raises ValueError unless 1 <= K <= E."""

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        check_experts("Mixtral", self.num_experts, self.top_k)

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        found = gating.largest(logits, self.top_k, context)
        keep = found.index < self.num_experts
        gate = jnp.where(keep, jax.nn.softmax(found.score, axis=-1), 0)
        load = count(found.index, keep, self.num_experts)
        return Routing(found.index, gate, keep, load, {"scores": gating.scores_of(logits)})


def example(key: Key):
    """Eight experts, two per token, thirty-two tokens."""
    return SoftmaxTopK(8, 2), jax.random.normal(key, (32, 8)), NOTHING
