"""One interface for every router of the family: T tokens choose at most S slots among E experts.

A router is an `eqx.Module` of hyperparameters. `route` chooses for one layer and one batch; `update` follows once per
optimiser step, with the loads of all replicas and micro-batches; `loss` is added to the training loss. `route` never
sees the loads of the batch that it routes: the next batch does (no token may influence an earlier one).

What a model does with any of them, per layer with experts:

    context = Context(valid, ..., hidden=h, memory=memory, parameters=layer, shared=shared)
    out, routing = router.mix(state, logits, context, experts)    # experts(x, index, gate): those below num_ffn
    memory = routing.aux.get("memory", memory)                    # to the next layer; at first router.memory(T)
    total += router.loss(logits, routing, load_share, context)

and per optimiser step, with loads summed and summaries averaged over replicas and micro-batches,

    state = router.update(state, load, summary)                   # summary = routing.aux.get("summary", ())

Parameters that routers learn are no part of them: `layer_parameters` and `shared_parameters` make them, the model keeps
them with its own and hands them back in the context, so that a scan over layers and an optimiser see one kind of tree.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Bool, Float, Int, Key

__all__ = [
    "NOTHING", "Context", "Experts", "Router", "Routing", "RoutingState", "Wrapper", "check_logits", "count",
    "num_valid", "share",
    "valid_tokens",
]  # fmt: skip

RoutingState = Any  # a pytree; () of routers that remember nothing

#: `experts(hidden [T, d], index [T, S], gate [T, S]) -> [T, d]`, which passes by indices of experts without weights.
Experts = Callable[[Float[Array, "T d"], Int[Array, "T S"], Float[Array, "T S"]], Float[Array, "T d"]]


class Context(NamedTuple):
    """What a router may know beside its logits; None where the caller does not say."""

    valid: Bool[Array, " T"] | None = None  # False: padding, takes no expert and counts nowhere
    document: Int[Array, " T"] | None = None  # number of the document of each token, ascending
    sequence: Int[Array, " T"] | None = None  # number of the sequence of each token, in [0, T)
    layer: int | Int[Array, ""] = 0  # among the layers with experts
    step: int | Int[Array, ""] = 0  # optimiser steps done
    hidden: Float[Array, "T d"] | None = None  # what the logits were made of
    memory: Any = None  # from the layer before, of routers that hand something on (gates, recurrent states)
    key: Key | None = None  # of routers that draw
    parameters: Any = None  # `layer_parameters` of this layer
    shared: Any = None  # `shared_parameters`


NOTHING = Context()


class Routing(NamedTuple):
    """Unused slots have index E, gate 0 and keep False; slots of experts without weights have their own index."""

    index: Int[Array, "T S"]  # chosen experts
    gate: Float[Array, "T S"]  # weights of their outputs, from scores without bias
    keep: Bool[Array, "T S"]
    load: Int[Array, " E"]  # tokens per expert, kept and valid ones
    aux: dict[str, Any]  # "scores" [T, E] >= 0 without bias; "logits" if others than given; "memory", "summary", ...


class Router(eqx.Module):
    """Base of the routers; a stateless one without a loss overrides `route` alone."""

    num_experts: eqx.AbstractVar[int]  # E: columns of the logits and entries of the loads
    top_k: eqx.AbstractVar[int]  # K: experts per token, on average where tokens differ

    @property
    def causal(self) -> bool:
        """Whether no token's choice depends on a later token."""
        return True

    @property
    def num_slots(self) -> int:
        """S: slots of each token in what `route` returns."""
        return self.top_k

    @property
    def num_ffn(self) -> int:
        """Experts that have weights: those of the first columns; the rest cost nothing or almost nothing."""
        return self.num_experts

    def at_inference(self) -> "Router":
        """The router to evaluate with."""
        return self

    def layer_parameters(self, key: Key, width: int) -> dict[str, Any]:
        """What the router learns in a layer whose tokens have `width` features, beside the matrix of the logits."""
        del key, width
        return {}

    def shared_parameters(self, key: Key, width: int) -> dict[str, Any]:
        """What the router learns once for all layers."""
        del key, width
        return {}

    def memory(self, num_tokens: int, dtype=jnp.float32) -> dict[str, Any]:
        """What the first layer with experts receives as `Context.memory`: a dict, so that wrappers can add to it."""
        del num_tokens, dtype
        return {}

    def init(self, key: Key | None = None) -> RoutingState:
        """The state before the first step."""
        del key
        return ()

    def route(self, state: RoutingState, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        """The experts of each token."""
        raise NotImplementedError

    def mix(
        self, state: RoutingState, logits: Float[Array, "T E"], context: Context, experts: Experts
    ) -> tuple[Float[Array, "T d"], Routing]:
        """The gated sum of the chosen experts' outputs at `context.hidden`, and the routing."""
        routing = self.route(state, logits, context)
        return self.combine(routing, context, experts), routing

    def combine(self, routing: Routing, context: Context, experts: Experts) -> Float[Array, "T d"]:
        """The gated sum of the outputs of the chosen experts, those without weights included."""
        return experts(context.hidden, routing.index, routing.gate)

    def update(self, state: RoutingState, load: Int[Array, " E"], summary: Any = ()) -> RoutingState:
        """The state after an optimiser step.

        Args:
          state: before it.
          load: tokens per expert, summed over all replicas and micro-batches.
          summary: `routing.aux["summary"]` of routers that report one, averaged over the same.
        """
        del load, summary
        return state

    def loss(
        self,
        logits: Float[Array, "T E"],
        routing: Routing,
        load_share: Float[Array, " E"],
        context: Context = NOTHING,
    ) -> Float[Array, ""]:
        """Added to the training loss; `load_share` sums to one over the scope the caller counts, without a gradient."""
        del routing, load_share, context
        return jnp.zeros((), logits.dtype)


class Wrapper(Router):
    """A router that changes something about another one; everything else is the inner router's."""

    router: Router

    @property
    def num_experts(self) -> int:
        return self.router.num_experts

    @property
    def top_k(self) -> int:
        return self.router.top_k

    @property
    def causal(self) -> bool:
        return self.router.causal

    @property
    def num_slots(self) -> int:
        return self.router.num_slots

    @property
    def num_ffn(self) -> int:
        return self.router.num_ffn

    def at_inference(self) -> Router:
        return dataclasses.replace(self, router=self.router.at_inference())

    def layer_parameters(self, key, width):
        return self.router.layer_parameters(key, width)

    def shared_parameters(self, key, width):
        return self.router.shared_parameters(key, width)

    def memory(self, num_tokens, dtype=jnp.float32):
        return self.router.memory(num_tokens, dtype)

    def init(self, key=None):
        return self.router.init(key)

    def route(self, state, logits, context=NOTHING):
        return self.router.route(state, logits, context)

    def mix(self, state, logits, context, experts):
        if type(self).route is Wrapper.route:  # an inner router may call the experts more than once
            return self.router.mix(state, logits, context, experts)
        return super().mix(state, logits, context, experts)

    def combine(self, routing, context, experts):
        return self.router.combine(routing, context, experts)

    def update(self, state, load, summary=()):
        return self.router.update(state, load, summary)

    def loss(self, logits, routing, load_share, context=NOTHING):
        return self.router.loss(logits, routing, load_share, context)


def count(index: Int[Array, "T S"], keep: Bool[Array, "T S"], num_experts: int) -> Int[Array, " E"]:
    """Tokens per expert, int32; slots that are not kept count nowhere."""
    return jnp.zeros(num_experts + 1, jnp.int32).at[jnp.where(keep, index, num_experts)].add(1)[:num_experts]


def check_logits(router: Router, logits: Float[Array, "T E"]) -> None:
    """Raises ValueError, naming the argument, for logits of another width, none at all, integers, NaN or infinities."""
    allowed = f"have shape [T, {router.num_experts}]"
    checks.require(
        jnp.ndim(logits) == 2 and logits.shape[1] == router.num_experts, "logits", allowed, jnp.shape(logits)
    )
    checks.require(logits.shape[0] >= 1, "logits", "have at least one token", jnp.shape(logits))
    checks.require(jnp.issubdtype(logits.dtype, jnp.floating), "logits", "be floating-point", logits.dtype)
    checks.finite("logits", logits)


def valid_tokens(context: Context, logits: Float[Array, "T E"]) -> Bool[Array, " T"]:
    """All tokens where the context does not say."""
    return jnp.ones(logits.shape[0], bool) if context.valid is None else jnp.asarray(context.valid)


def num_valid(context: Context, logits: Float[Array, "T E"]) -> int | Int[Array, ""]:
    """T without padding: an integer where the context does not say."""
    return logits.shape[0] if context.valid is None else jnp.sum(context.valid, dtype=jnp.int32)


def share(load: Int[Array, " E"]) -> Float[Array, " E"]:
    """Loads as shares that sum to one, without a gradient; zeros where nothing was routed."""
    load = jax.lax.stop_gradient(load)
    return load / jnp.maximum(load.sum(), 1)
