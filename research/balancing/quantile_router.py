"""Top-K of biased scores whose bias is the balancing price of the last batch, found by sweeps of the quantile dual.

In place of a step of fixed size along the loads' error, each forward pass sweeps over its own batch's scores, starting
from the bias that it routes with, and reports where it arrives ("summary"); the update after the step takes the mean
over replicas and micro-batches. No step size, no time to travel; causal, since a batch is routed by what earlier ones
left. With tokens split over a mesh axis inside `shard_map`, name it in `axis`: all devices then sweep over all tokens.
Source: none known to us; `quantile` has the sweep, `han:25` the view of the bias as a dual variable.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import assignment, gating, quantile
from research.balancing.routing import NOTHING, Context, Router, Routing, check_logits
from research.balancing.softmax_topk import check_experts
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = ["QuantileRouter", "QuantileState", "example", "swept"]


class QuantileState(NamedTuple):
    """Checkpointed with a model."""

    bias: Float[Array, " E"]
    updates: Int[Array, ""]


def swept(
    problem: assignment.Problem, bias: Float[Array, " E"], sweeps: int, axis: str | None = None
) -> Float[Array, " E"]:
    """The bias after so many sweeps, each (E - 1) / E of the way; without a gradient."""
    problem, bias = jax.lax.stop_gradient((problem, bias))
    damping = (problem.num_experts - 1) / problem.num_experts
    return jax.lax.fori_loop(0, sweeps, lambda _, p: quantile.sweep(problem, p, damping, axis=axis).bias, bias)


class QuantileRouter(Router):
    """Its state is a `QuantileState`. Raises ValueError unless E >= 2, 1 <= K <= E, sweeps >= 0, rate in (0, 1]."""

    num_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    sweeps: int = eqx.field(static=True, default=2)
    rate: float = 1.0  # how far an update goes from the old bias to the batch's
    gate: str = eqx.field(static=True, default="sigmoid")
    renormalise: bool = eqx.field(static=True, default=True)
    scale: float = 1.0
    axis: str | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        check_experts("QuantileRouter", self.num_experts, self.top_k, least=2)
        checks.at_least("QuantileRouter.sweeps", self.sweeps, 0)
        checks.one_of("QuantileRouter.gate", self.gate, gating.GATES)
        checks.finite("QuantileRouter.scale", self.scale)
        if checks.is_concrete(self.rate):
            checks.require(0 < self.rate <= 1, "QuantileRouter.rate", "lie in (0, 1]", self.rate)

    def at_inference(self) -> "QuantileRouter":
        """Without sweeps."""
        return dataclasses.replace(self, sweeps=0)

    def init(self, key: Key | None = None, dtype=jnp.float32) -> QuantileState:
        del key
        return QuantileState(jnp.zeros(self.num_experts, dtype), jnp.int32(0))

    def route(self, state: QuantileState, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        check_logits(self, logits)
        checks.shape("state.bias", state.bias, (self.num_experts,))
        scores = gating.scores_of(logits, self.gate)
        index = gating.largest(scores, self.top_k, context, state.bias).index
        problem = assignment.Problem(scores, self.top_k, context.valid)
        summary = swept(problem, state.bias.astype(scores.dtype), self.sweeps, self.axis).astype(state.bias.dtype)
        return gating.routing_of(scores, index, renormalise=self.renormalise, scale=self.scale, summary=summary)

    def update(self, state: QuantileState, load, summary: Float[Array, " E"] = ()) -> QuantileState:
        del load
        checks.shape("summary", summary, state.bias.shape)
        bias = state.bias + self.rate * (summary - state.bias)
        return QuantileState(bias.astype(state.bias.dtype), state.updates + 1)


def example(key: Key):
    """Eight experts, two per token."""
    return QuantileRouter(8, 2), jax.random.normal(key, (32, 8)), NOTHING
