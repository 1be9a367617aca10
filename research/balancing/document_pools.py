"""A pool of experts per document: tokens choose inside the P experts with the largest summed probability.

"full" sums over all tokens of the document, so later tokens decide what earlier ones may choose: not causal. "prefix"
sums over the tokens so far, itself included, and stops after the first n of the document: causal, and from the n-th
token on a document uses at most P experts; with n = 1 that holds from its first token. Only the abstract of the source
was read; the score and both ways of taking the pool are ours.
Source: `emo:26` [abstract].

Letters: `T` tokens, `E` experts, `K` experts per token, `P` experts of a document.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import gating
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits, valid_tokens
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Key

__all__ = ["POOLS", "DocumentPools", "example"]

POOLS = ("prefix", "full")


class DocumentPools(Router):
    """Top-K inside the pool of the token's document; needs `context.document`.

    Reports "pool" `[T, E]`, bool. Raises ValueError unless 1 <= K <= P <= E and the prefix has a token.
    """

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    pool: int = eqx.field(static=True)  # P
    pool_from: str = eqx.field(static=True, default="prefix")
    prefix: int = eqx.field(static=True, default=1)  # n, in tokens
    renormalise: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_experts("DocumentPools", self.num_experts, self.top_k)
        checks.one_of("DocumentPools.pool_from", self.pool_from, POOLS)
        within = self.top_k <= self.pool <= self.num_experts
        allowed = f"lie in [top_k = {self.top_k}, num_experts = {self.num_experts}]"
        checks.require(within, "DocumentPools.pool", allowed, self.pool)
        checks.at_least("DocumentPools.prefix", self.prefix, 1)

    @property
    def causal(self) -> bool:
        return self.pool_from == "prefix"

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        checks.require(context.document is not None, "context.document", "be given for pools of documents", None)
        scores = gating.scores_of(logits)
        valid = valid_tokens(context, logits)
        probability = jnp.where(valid[:, None], jax.lax.stop_gradient(scores), 0)
        totals = self._whole(probability, context) if self.pool_from == "full" else self._so_far(probability, context)
        best = jax.lax.top_k(totals, self.pool)[1]
        pool = jnp.zeros(scores.shape, bool).at[jnp.arange(scores.shape[0])[:, None], best].set(True)
        index = gating.among(scores, pool, self.top_k, context)
        return gating.routing_of(scores, index, renormalise=self.renormalise, pool=pool)

    def _whole(self, probability, context):
        number = jnp.cumsum(_starts(context)) - 1
        return jax.ops.segment_sum(probability, number, probability.shape[0])[number]

    def _so_far(self, probability, context):
        """Sums that start anew with each document, so that no rounding comes from another one."""
        starts = _starts(context)
        done = _running(starts, valid_tokens(context, probability).astype(jnp.int32))  # the token itself included
        return _running(starts, jnp.where((done <= self.prefix)[:, None], probability, 0))


def _running(starts: Bool[Array, " T"], x: Float[Array, "T ..."]) -> Float[Array, "T ..."]:
    """Sums from the last start up to each entry, by a scan of logarithmic depth."""

    def joined(left, right):
        (anew, total), (fresh, more) = left, right
        carried = jnp.where(fresh.reshape(fresh.shape + (1,) * (more.ndim - fresh.ndim)), 0, total)
        return anew | fresh, carried + more

    return jax.lax.associative_scan(joined, (starts, x))[1]


def _starts(context: Context) -> Bool[Array, " T"]:
    """Whether a document begins at a token."""
    document = context.document
    return jnp.concatenate([jnp.ones(1, bool), document[1:] != document[:-1]])


def example(key: Key):
    """Four documents of eight tokens, pools of three experts from the first two tokens."""
    context = Context(document=jnp.repeat(jnp.arange(4), 8, total_repeat_length=32))
    return DocumentPools(8, 2, 3, prefix=2), jax.random.normal(key, (32, 8)), context
