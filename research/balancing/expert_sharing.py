"""A block of tokens, decoded together, shares a small set of experts: fewer weights to fetch.

"vote": the B experts with the largest sums of the tokens' top-K probabilities. "seq": the union of each token's k0
best. Tokens then choose their top-K inside; with fewer than K inside, slots stay unused. Not causal within a block.
Only the abstract of the source was read; details are ours.
Source: `chen:26` [abstract].

Letters: `T` tokens of the block, `E` experts, `K` experts per token, `B` shared experts.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key

__all__ = ["SELECTIONS", "ExpertSharing", "example"]

SELECTIONS = ("vote", "seq")


class ExpertSharing(Router):
    """Top-K inside the shared experts of all tokens given. Reports "coreset" `[E]`, bool.

    Raises ValueError unless 1 <= K <= E, K <= B <= E for "vote" and 1 <= k0 <= K for "seq".
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    selection: str = eqx.field(static=True, default="vote")
    budget: int | None = eqx.field(static=True, default=None)  # B, of "vote"
    own: int = eqx.field(static=True, default=1)  # k0, of "seq"
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_experts("ExpertSharing", self.num_experts, self.top_k)
        checks.one_of("ExpertSharing.selection", self.selection, SELECTIONS)
        if self.selection == "vote":
            within = self.budget is not None and self.top_k <= self.budget <= self.num_experts
            allowed = f"lie in [top_k = {self.top_k}, num_experts = {self.num_experts}]"
            checks.require(within, "ExpertSharing.budget", allowed, self.budget)
        else:
            checks.require(1 <= self.own <= self.top_k, "ExpertSharing.own", f"lie in [1, {self.top_k}]", self.own)

    @property
    def causal(self) -> bool:
        return False

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        scores = gating.scores_of(logits)
        coreset = self._coreset(jax.lax.stop_gradient(scores), context)
        allowed = jnp.broadcast_to(coreset[None], scores.shape)
        index = gating.among(scores, allowed, self.top_k, context)
        return gating.routing_of(scores, index, renormalise=self.renormalise, coreset=coreset)

    def _coreset(self, scores, context) -> Bool[Array, " E"]:
        number = scores.shape[1]
        if self.selection == "seq":
            return gating.largest(scores, self.own, context).load > 0
        found = gating.largest(scores, self.top_k, context)
        votes = jnp.zeros(number + 1, scores.dtype).at[found.index].add(found.score)[:number]
        return jnp.zeros(number, bool).at[jax.lax.top_k(votes, self.budget)[1]].set(True)


def example(key: Key):
    """Thirty-two tokens vote for four of eight experts."""
    return ExpertSharing(8, 2, budget=4), jax.random.normal(key, (32, 8)), NOTHING
