"""Loss-free balancing: top-K of scores plus a bias per expert, which follows the loads of past batches.

The bias decides who is chosen and never enters a gate; nothing has a gradient with respect to it. With rule "sign" and
a sigmoid gate this is the published method; with "prop" it is a primal-dual method for balanced assignment.
`deepseek_v3` sets what that model is known for: sigmoid scores, renormalised gates times 2.5, and each token confined
to the groups (nodes) with the best two experts. The numbers of DeepSeek-V3 are [recalled], not checked against it.

Source: `wang:24`, Algorithm 1; bias added to logits, softmax gates: `han:25`; nodes: `deepseek:24`, section 2.1.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.bias_update import BiasState, Rule
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key

__all__ = ["BIAS_SPACES", "LossFree", "best_groups", "deepseek_v3", "example"]

BIAS_SPACES = ("score", "logit")


def best_groups(biased: Float[Array, "T E"], num_groups: int, kept: int) -> Bool[Array, "T E"]:
    """Experts of each token's `kept` best groups, by the sum of the two largest biased scores of a group.

    Groups are contiguous; ties go to the lowest group.
    """
    tokens, num_experts = biased.shape
    members = biased.reshape(tokens, num_groups, num_experts // num_groups)
    strength = jax.lax.top_k(members, min(2, members.shape[-1]))[0].sum(axis=-1)
    _, group = jax.lax.top_k(strength, kept)
    chosen = jnp.any(group[:, :, None] == jnp.arange(num_groups)[None, None], axis=1)
    return jnp.repeat(chosen, num_experts // num_groups, axis=1, total_repeat_length=num_experts)


class LossFree(Router):
    """Top-K of biased scores. Its state is a `BiasState`.

    Raises ValueError unless E >= 2, 1 <= K <= E, the groups divide E and the kept ones hold K experts.
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    rule: Rule = Rule()
    gate: str = eqx.field(static=True, default="sigmoid")
    renormalise: bool = eqx.field(static=True, default=True)
    scale: float = 1.0
    bias_space: str = eqx.field(static=True, default="score")  # what the bias is added to; gates are of the scores
    num_groups: int = eqx.field(static=True, default=1)
    kept_groups: int = eqx.field(static=True, default=1)

    def __check_init__(self):
        check_experts("LossFree", self.num_experts, self.top_k, least=2)
        checks.one_of("LossFree.gate", self.gate, gating.GATES)
        checks.one_of("LossFree.bias_space", self.bias_space, BIAS_SPACES)
        checks.finite("LossFree.scale", self.scale)
        divides = self.num_groups >= 1 and self.num_experts % self.num_groups == 0
        checks.require(divides, "LossFree.num_groups", f"divide num_experts = {self.num_experts}", self.num_groups)
        size = self.num_experts // self.num_groups
        enough = 1 <= self.kept_groups <= self.num_groups and self.kept_groups * size >= self.top_k
        allowed = f"lie in [1, num_groups = {self.num_groups}] and hold top_k = {self.top_k} experts, {size} each"
        checks.require(enough, "LossFree.kept_groups", allowed, self.kept_groups)

    def init(self, key: Key | None = None, dtype=jnp.float32, bias: Float[Array, " E"] | None = None) -> BiasState:
        """At `bias`, or zero."""
        del key
        return self.rule.init(self.num_experts, dtype, bias)

    def route(self, state: BiasState, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        check_logits(self, logits)
        checks.shape("state.bias", state.bias, (self.num_experts,))
        scores = gating.scores_of(logits, self.gate)
        ranked = scores if self.bias_space == "score" else logits.astype(scores.dtype)
        bias = jax.lax.stop_gradient(state.bias).astype(ranked.dtype)
        if self.kept_groups < self.num_groups:
            biased = jax.lax.stop_gradient(ranked) + bias[None]
            index = gating.among(biased, best_groups(biased, self.num_groups, self.kept_groups), self.top_k, context)
        else:
            index = gating.largest(ranked, self.top_k, context, bias).index
        return gating.routing_of(scores, index, renormalise=self.renormalise, scale=self.scale)

    def update(self, state: BiasState, load, summary=()) -> BiasState:
        del summary
        return self.rule.update(state, load, self.top_k)


def deepseek_v3(num_experts: int, top_k: int, num_groups: int = 1, kept_groups: int = 1, **options) -> LossFree:
    """Sigmoid scores, renormalised gates times 2.5, `kept_groups` nodes per token [recalled]."""
    given = {"gate": "sigmoid", "renormalise": True, "scale": 2.5} | options
    return LossFree(num_experts, top_k, num_groups=num_groups, kept_groups=kept_groups, **given)


def example(key: Key):
    """Eight experts in four nodes, of which a token sees two."""
    router = LossFree(8, 2, Rule(step_size=0.01), num_groups=4, kept_groups=2)
    return router, jax.random.normal(key, (32, 8)), NOTHING
