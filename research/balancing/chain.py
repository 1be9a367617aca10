"""A chain of experts: a layer calls its pool of experts C times, each time with a router of its own.

h <- h + sum_k g_k E_k(h), C times. What a layer returns is the sum of the C contributions; the model's residual branch
adds h. C = 1 is the usual layer. Loads are counted over all iterations, since there is one pool.
Source: `wang-chain:25` [abstract and recalled].

Letters: `T` tokens, `E` experts, `S` slots of one iteration, `C` iterations, `d` features.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing.routing import Context, Router, Routing, Wrapper
from research.balancing.softmax_topk import SoftmaxTopK
from research.core import validate as checks
from research.core.types import Array, Float, Key

__all__ = ["Chain", "example"]


class Chain(Wrapper):
    """The given logits serve the first iteration; "chain" `[C-1, d, E]` of the layer's parameters the others.

    `mix` does all iterations, and its routing has the slots of all of them, `[T, C S]`. `route` does the first alone.
    Raises ValueError for C < 1, and for an inner router that calls experts or hands over memories itself.
    """

    router: Router
    iterations: int = eqx.field(static=True, default=2)  # C

    def __check_init__(self):
        checks.at_least("Chain.iterations", self.iterations, 1)
        plain = not isinstance(self.router, Chain) and not self.router.memory(1)
        checks.require(plain, "Chain.router", "not be a chain nor hand over memories", type(self.router).__name__)

    def layer_parameters(self, key: Key, width: int) -> dict[str, Any]:
        inner, weights = jax.random.split(key)
        shape = (self.iterations - 1, width, self.num_experts)
        weights = jax.random.normal(weights, shape) / width**0.5
        return {**self.router.layer_parameters(inner, width), "chain": weights}

    def mix(self, state, logits: Float[Array, "T E"], context: Context, experts) -> tuple[Float[Array, "T d"], Routing]:
        hidden, routings = context.hidden, []
        for c in range(self.iterations):
            if c:
                # A scan's jaxpr would hold the experts once, but C is two or three.
                logits = hidden.astype(logits.dtype) @ context.parameters["chain"][c - 1].astype(logits.dtype)
            here = context._replace(hidden=hidden, key=_of_iteration(context.key, c))
            routing = self.router.route(state, logits, here)
            hidden = hidden + self.router.combine(routing, here, experts).astype(hidden.dtype)
            routings.append(routing)
        return hidden - context.hidden, _joined(routings)


def _of_iteration(key, c):
    return key if key is None or c == 0 else jax.random.fold_in(key, c)


def _joined(routings: list[Routing]) -> Routing:
    """Slots side by side, loads and drops added, scores averaged: the balance loss is then that of the pool."""
    index, gate, keep = (jnp.concatenate(parts, axis=1) for parts in list(zip(*routings, strict=True))[:3])
    aux = {"scores": sum(r.aux["scores"] for r in routings) / len(routings)}
    if "dropped" in routings[0].aux:
        aux["dropped"] = sum(r.aux["dropped"] for r in routings)
    return Routing(index, gate, keep, sum(r.load for r in routings), aux)


def example(key: Key):
    """Two iterations over eight experts; conformance tests see the first."""
    router = Chain(SoftmaxTopK(8, 2), 2)
    logits, hidden, layer = (jax.random.fold_in(key, i) for i in range(3))
    context = Context(hidden=jax.random.normal(hidden, (32, 4)), parameters=router.layer_parameters(layer, 4))
    return router, jax.random.normal(logits, (32, 8)), context
