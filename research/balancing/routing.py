"""One interface for every router of the family: T tokens choose at most S slots among E experts.

A router is an `eqx.Module` of hyperparameters with four methods: `init` its state, `route` logits, `update` the state
once per optimiser step with the loads of all replicas and micro-batches, and `loss` to be added to the training loss.
`route` never sees the loads of the batch that it routes: the next batch does (no token may influence an earlier one).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = ["NOTHING", "Context", "Router", "Routing", "RoutingState", "check_logits", "count"]

RoutingState = Any  # a pytree; () of routers that remember nothing


class Context(NamedTuple):
    """What a router may know beside its logits; None where the caller does not say."""

    valid: Bool[Array, " T"] | None = None  # False: padding, takes no expert and counts nowhere
    document: Int[Array, " T"] | None = None  # number of the document of each token, ascending
    sequence: Int[Array, " T"] | None = None  # number of the sequence of each token
    layer: int | Int[Array, ""] = 0  # among the layers with experts
    step: int | Int[Array, ""] = 0  # optimiser steps done
    hidden: Float[Array, "T d"] | None = None  # what the logits were made of
    memory: Any = None  # of routers that hand something from layer to layer (gates, recurrent states)
    key: Key | None = None  # of routers that draw


NOTHING = Context()


class Routing(NamedTuple):
    """Unused slots have index E, gate 0 and keep False."""

    index: Int[Array, "T S"]  # chosen experts
    gate: Float[Array, "T S"]  # weights of their outputs, from scores without bias
    keep: Bool[Array, "T S"]
    load: Int[Array, " E"]  # tokens per expert, kept and valid ones
    aux: dict[str, Any]  # what an operator reports beside: "scores" [T, E], "memory", "dropped", ...


class Router(eqx.Module):
    """Base of the routers; a stateless one without a loss overrides `route` alone."""

    num_experts: eqx.AbstractVar[int]
    top_k: eqx.AbstractVar[int]

    @property
    def causal(self) -> bool:
        """Whether no token's choice depends on a later token."""
        return True

    def init(self, key: Key | None = None) -> RoutingState:
        """The state before the first step."""
        del key
        return ()

    def route(self, state: RoutingState, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        raise NotImplementedError

    def update(self, state: RoutingState, load: Int[Array, " E"]) -> RoutingState:
        """The state after an optimiser step whose tokens, over all replicas and micro-batches, had these loads."""
        del load
        return state

    def loss(
        self,
        logits: Float[Array, "T E"],
        routing: Routing,
        load_share: Float[Array, " E"],
        context: Context = NOTHING,
    ) -> Float[Array, ""]:
        """Added to the training loss; `load_share` sums to one over the scope the caller counts, without a gradient."""
        del logits, routing, load_share, context
        return jnp.zeros(())


def count(index: Int[Array, "T S"], keep: Bool[Array, "T S"], num_experts: int) -> Int[Array, " E"]:
    """Tokens per expert, int32; slots that are not kept count nowhere."""
    return jnp.zeros(num_experts + 1, jnp.int32).at[jnp.where(keep, index, num_experts)].add(1)[:num_experts]


def check_logits(router: Router, logits: Float[Array, "T E"]) -> None:
    """Raises ValueError, naming the argument, for logits of another width, none at all, integers, NaN or infinities."""
    checks.require(
        logits.ndim == 2 and logits.shape[1] == router.num_experts,
        "logits",
        f"have shape [T, {router.num_experts}]",
        jnp.shape(logits),
    )
    checks.require(logits.shape[0] >= 1, "logits", "have at least one token", jnp.shape(logits))
    checks.require(jnp.issubdtype(logits.dtype, jnp.floating), "logits", "be floating-point", logits.dtype)
    checks.finite("logits", logits)
