"""What routers share: scores of logits, gates of chosen experts, top-K among allowed experts.

Scores are float32 at least, whatever the model computes in: at a step size of 1e-3 a bias near 0.5 cannot change in
bfloat16. The selection has no gradient; gates have one with respect to scores.
"""

import jax
import jax.numpy as jnp

from pallas_kernels import topk_route
from research.balancing.routing import Context, Routing, count, valid_tokens
from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int

__all__ = ["GATES", "RENORMALISE_FLOOR", "among", "gates", "largest", "routing_of", "scores_of", "take"]

GATES = ("softmax", "sigmoid")

#: Added to a sum of gates before dividing by it: all gates of a token may be 0.
RENORMALISE_FLOOR = 1e-20


def scores_of(logits: Float[Array, "T E"], gate: str = "softmax") -> Float[Array, "T E"]:
    """Affinity scores in [0, 1], float32 or wider: the softmax of each row, or the sigmoid of each entry."""
    checks.one_of("gate", gate, GATES)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return jax.nn.softmax(logits, axis=-1) if gate == "softmax" else jax.nn.sigmoid(logits)


def take(scores: Float[Array, "T E"], index: Int[Array, "T S"]) -> Float[Array, "T S"]:
    """Scores of the chosen experts; 0 in unused slots, those with index E."""
    num_experts = scores.shape[1]
    found = jnp.take_along_axis(scores, jnp.minimum(index, num_experts - 1), axis=1)
    return jnp.where(index < num_experts, found, 0)


def gates(score: Float[Array, "T S"], renormalise: bool, scale: float = 1.0) -> Float[Array, "T S"]:
    """Gates from chosen scores: divided by their sum if `renormalise`, times `scale`."""
    if renormalise:
        score = score / (score.sum(axis=-1, keepdims=True) + RENORMALISE_FLOOR)
    return score * scale


def routing_of(
    scores: Float[Array, "T E"], index: Int[Array, "T S"], *, renormalise: bool, scale: float = 1.0, **aux
) -> Routing:
    """The routing to these experts, whose unused slots have index E."""
    keep = index < scores.shape[1]
    gate = gates(take(scores, index), renormalise, scale)
    return Routing(index, gate, keep, count(index, keep, scores.shape[1]), {"scores": scores, **aux})


def largest(
    scores: Float[Array, "T E"], top_k: int, context: Context, bias: Float[Array, " E"] | None = None
) -> topk_route.TopkRoute:
    """The K largest of `scores + bias` of each valid token, in descending order, ties to the lowest expert."""
    bias = jnp.zeros(scores.shape[1], scores.dtype) if bias is None else jax.lax.stop_gradient(bias)
    return topk_route.topk_route(scores, bias.astype(scores.dtype), top_k, valid=context.valid)


def among(scores: Float[Array, "T E"], allowed: Bool[Array, "T E"], top_k: int, context: Context) -> Int[Array, "T S"]:
    """Indices of the K largest allowed scores of each valid token; E where fewer than K are allowed."""
    num_experts = scores.shape[1]
    masked = jnp.where(allowed & valid_tokens(context, scores)[:, None], jax.lax.stop_gradient(scores), -jnp.inf)
    index = largest(masked, top_k, context).index
    padded = jnp.pad(masked, ((0, 0), (0, 1)), constant_values=-jnp.inf)
    return jnp.where(jnp.isneginf(jnp.take_along_axis(padded, index, axis=1)), num_experts, index)
