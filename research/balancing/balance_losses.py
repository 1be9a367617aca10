"""Auxiliary losses: what is added to the training loss so that a router balances its loads or keeps its logits small.

All return the loss without its weight. `load_balancing` is one formula for several published losses, which differ in
the tokens that the load share f counts: those of this micro-batch; those of all micro-batches and replicas of a step
(the caller sums E counts and the mean over replicas is then the loss of the union, exactly); or, in `sequence_wise`,
those of one sequence at a time. f has no gradient; P, the mean of the scores with rows that sum to one, has.

Source: `fedus:22`, eq. 4-6; `qiu:25` for f of the global batch; `deepseek:24`, eq. 17-20, for sequences (weight 1e-4
[recalled]); `zoph:22`, eq. 5, for the z-loss (weight 1e-3 [recalled]); `shazeer:17`, eq. 6-7, for importance, here of
all experts' probabilities instead of the chosen ones' [recalled]; the form for experts of different size is derived
from the abstract of `wang-hmoe:24`.

Letters: `T` tokens, `E` experts, `S` slots.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from research.balancing import gating, softmax_topk
from research.balancing.routing import NOTHING, Context, Router, Routing, Wrapper, valid_tokens
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = [
    "LOSSES", "WithLosses", "example", "importance", "load_balancing", "mean_scores", "router_z", "sequence_wise",
]  # fmt: skip

LOSSES = ("load_balancing", "sequence_wise", "router_z", "importance")


def _normalised(scores: Float[Array, "T E"]) -> Float[Array, "T E"]:
    return scores / (scores.sum(axis=-1, keepdims=True) + gating.RENORMALISE_FLOOR)


def mean_scores(scores: Float[Array, "T E"], valid: Bool[Array, " T"] | None = None) -> Float[Array, " E"]:
    """P: the mean over valid tokens of scores divided by their row's sum; sums to one."""
    rows = _normalised(scores)
    if valid is None:
        return rows.mean(axis=0)
    return jnp.where(valid[:, None], rows, 0).sum(axis=0) / jnp.maximum(valid.sum(), 1)


def load_balancing(
    scores: Float[Array, "T E"],
    load_share: Float[Array, " E"],
    *,
    valid: Bool[Array, " T"] | None = None,
    weights: Float[Array, " E"] | None = None,
) -> Float[Array, ""]:
    """E sum_k w_k f_k P_k, in [0, E] where w = 1; 1 at uniform loads or at uniform scores.

    Args:
      scores: of the chosen gate, >= 0; rows are normalised here.
      load_share: f, sums to one; of any scope, see above.
      valid: tokens that count.
      weights: w, one of each expert, for experts of different cost.
    """
    share = jax.lax.stop_gradient(load_share).astype(scores.dtype)
    weighted = share if weights is None else share * jnp.asarray(weights, scores.dtype)
    return scores.shape[1] * jnp.sum(weighted * mean_scores(scores, valid))


def sequence_wise(
    scores: Float[Array, "T E"],
    index: Int[Array, "T S"],
    keep: Bool[Array, "T S"],
    sequence: Int[Array, " T"],
    *,
    valid: Bool[Array, " T"] | None = None,
    num_sequences: int | None = None,
) -> Float[Array, ""]:
    """The mean over sequences of `load_balancing` within each.

    Args:
      sequence: number of each token's sequence, in [0, `num_sequences`); those without a valid token do not count.
      num_sequences: at most so many, T if None.
    """
    tokens, num_experts = scores.shape
    number = tokens if num_sequences is None else num_sequences
    valid = jnp.ones(tokens, bool) if valid is None else valid
    counts = jnp.zeros((number, num_experts + 1), jnp.int32)
    kept = keep & valid[:, None]
    counts = counts.at[sequence[:, None], jnp.where(kept, index, num_experts)].add(1)[:, :num_experts]
    share = counts / jnp.maximum(counts.sum(axis=1, keepdims=True), 1).astype(scores.dtype)
    rows = jnp.where(valid[:, None], _normalised(scores), 0)
    length = jnp.zeros(number, scores.dtype).at[sequence].add(valid.astype(scores.dtype))
    means = jax.ops.segment_sum(rows, sequence, number) / jnp.maximum(length, 1)[:, None]
    return num_experts * jnp.sum(share * means) / jnp.maximum(jnp.sum(length > 0), 1)


def router_z(logits: Float[Array, "T E"], valid: Bool[Array, " T"] | None = None) -> Float[Array, ""]:
    """The mean over valid tokens of the square of log sum_k exp(z_k), nats squared. No shift of z leaves it alone."""
    squares = jax.nn.logsumexp(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1) ** 2
    if valid is None:
        return squares.mean()
    return jnp.where(valid, squares, 0).sum() / jnp.maximum(valid.sum(), 1)


def importance(logits: Float[Array, "T E"], valid: Bool[Array, " T"] | None = None) -> Float[Array, ""]:
    """Squared coefficient of variation, over experts, of the summed probabilities; 0 at uniform."""
    total = mean_scores(gating.scores_of(logits), valid)
    return jnp.var(total) / (jnp.mean(total) ** 2 + gating.RENORMALISE_FLOOR)


class WithLosses(Wrapper):
    """A router with weighted losses added to its own.

    Raises ValueError for an unknown loss or a weight that is negative or not finite.
    """

    router: Router
    weights: Mapping[str, float]  # name in `LOSSES` -> weight

    def __init__(self, router: Router, weights: Mapping[str, float]):
        for name, weight in weights.items():
            checks.one_of("WithLosses.weights", name, LOSSES)
            checks.at_least(f"WithLosses.weights[{name!r}]", weight, 0)
            checks.finite(f"WithLosses.weights[{name!r}]", weight)
        self.router, self.weights = router, dict(weights)

    def loss(self, logits, routing: Routing, load_share, context: Context = NOTHING) -> Float[Array, ""]:
        total = self.router.loss(logits, routing, load_share, context)
        for name, weight in sorted(self.weights.items()):
            total = total + weight * self._one(name, logits, routing, load_share, context)
        return total

    def _one(self, name, logits, routing, load_share, context):
        scores, logits = routing.aux["scores"], routing.aux.get("logits", logits)
        if name == "load_balancing":
            return load_balancing(scores, load_share, valid=context.valid)
        if name == "sequence_wise":
            checks.require(context.sequence is not None, "context.sequence", "be given for sequence_wise", None)
            valid = valid_tokens(context, logits)
            return sequence_wise(scores, routing.index, routing.keep, context.sequence, valid=valid)
        return (router_z if name == "router_z" else importance)(logits, context.valid)


def example(key: Key):
    """Two sequences, three losses."""
    router = WithLosses(
        softmax_topk.SoftmaxTopK(8, 2), {"load_balancing": 1e-2, "sequence_wise": 1e-4, "router_z": 1e-3}
    )
    context = Context(sequence=jnp.repeat(jnp.arange(2), 16, total_repeat_length=32))
    return router, jax.random.normal(key, (32, 8)), context
