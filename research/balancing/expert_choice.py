"""Expert choice: each expert takes its c best tokens, so that loads are equal and tokens get from 0 to E experts.

Not causal: whether an expert takes a token depends on the tokens after it (`wang:24` bounds what leaks).
Source: `zhou-choice:22`. Ties go to the lowest token.

Letters: `T` tokens, `E` experts, `c` tokens per expert.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.capacity import ranked, share_of
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits, num_valid, valid_tokens
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["ROUNDINGS", "ExpertChoice", "example"]

ROUNDINGS = ("exact", "floor", "ceil")


class ExpertChoice(Router):
    """Each expert takes the c = T K / E tokens with the largest softmax scores of that expert.

    A token has E slots, in descending order of gate, used ones first. Reports "tokens" `[E, c]`, what each expert
    takes, best first. Raises ValueError where E does not divide K T and rounding is "exact".
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)  # K: the mean over tokens
    rounding: str = eqx.field(static=True, default="exact")  # of c; with a mask, "exact" rounds down

    def __check_init__(self):
        check_experts("ExpertChoice", self.num_experts, self.top_k)
        checks.one_of("ExpertChoice.rounding", self.rounding, ROUNDINGS)

    @property
    def causal(self) -> bool:
        return False

    @property
    def num_slots(self) -> int:
        return self.num_experts

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        tokens, num_experts = logits.shape
        most, limit = self._taken(tokens), self._taken(num_valid(context, logits))
        scores = gating.scores_of(logits)
        valid = valid_tokens(context, logits)[:, None]
        shown = jnp.where(valid, jax.lax.stop_gradient(scores), -jnp.inf)
        order, rank = ranked(shown)
        taken = valid & (rank < limit)
        value, index = jax.lax.top_k(jnp.where(taken, shown, -jnp.inf), num_experts)
        index = jnp.where(jnp.isneginf(value), num_experts, index)
        return gating.routing_of(scores, index, renormalise=False, tokens=order[:most].T)

    def _taken(self, tokens):
        if isinstance(tokens, int) and self.rounding == "exact":
            slots = tokens * self.top_k
            allowed = f"divide top_k * T = {slots}, or rounding be 'floor' or 'ceil'"
            checks.require(slots % self.num_experts == 0, "ExpertChoice.num_experts", allowed, self.num_experts)
        return share_of(self.top_k, tokens, self.num_experts, "ceil" if self.rounding == "ceil" else "floor")


def example(key: Key):
    """Eight experts take eight of thirty-two tokens each."""
    return ExpertChoice(8, 2), jax.random.normal(key, (32, 8)), NOTHING
