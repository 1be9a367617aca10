"""Experts that cost almost nothing beside the usual ones: zero (0), copy (x) and constant (a x + b v, learned).

Columns of the logits: `num_ffn` usual experts, then zero, copy and constant ones. A constant expert mixes its input
with its vector v by (a, b) = softmax(x W_c). The gate of a zero expert is set to 0 before renormalising, so that the
others' gates sum to one. `GateResidual` adds the logits of the layer before, times a learned matrix, to any router's.
Source: `jin-moe:24`; experts, gates and residual as in the authors' code, the weights of the balance loss and the
capacities are [recalled].

Letters: `T` tokens, `E` experts of all kinds, `K` experts per token, `d` features.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from research.balancing import balance_losses, gating, softmax_topk
from research.balancing.capacity import dropped, exact, places, rank_in_expert
from research.balancing.routing import NOTHING, Context, Router, Routing, Wrapper, check_logits, count, num_valid
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = ["GateResidual", "MixturePlus", "example"]


class MixturePlus(Router):
    """Top-K over experts of four kinds. Its parameters in a layer: "vector" `[n, d]`, "mix" `[n, d, 2]` of constants.

    Raises ValueError unless at least one expert has weights, 1 <= K <= E, tau in (0, 1], loss weight >= 0.
    """

    ffn_experts: int = eqx.field(static=True)
    top_k: int = eqx.field(static=True)
    num_zero: int = eqx.field(static=True, default=1)
    num_copy: int = eqx.field(static=True, default=1)
    num_const: int = eqx.field(static=True, default=0)
    tau: float = eqx.field(static=True, default=0.75)  # share of an expert's load that one without weights should get
    factor: float | None = eqx.field(static=True, default=None)  # gamma of the capacities; None: nothing is dropped
    loss_weight: float = 0.0

    def __check_init__(self):
        checks.at_least("MixturePlus.ffn_experts", self.ffn_experts, 1)
        for name in ("num_zero", "num_copy", "num_const"):
            checks.at_least(f"MixturePlus.{name}", getattr(self, name), 0)
        softmax_topk.check_experts("MixturePlus", self.num_experts, self.top_k)
        checks.require(0 < self.tau <= 1, "MixturePlus.tau", "lie in (0, 1]", self.tau)
        checks.at_least("MixturePlus.loss_weight", self.loss_weight, 0)
        if self.factor is not None:
            checks.positive("MixturePlus.factor", self.factor)

    @property
    def num_experts(self) -> int:
        return self.ffn_experts + self.num_zero + self.num_copy + self.num_const

    @property
    def num_ffn(self) -> int:
        return self.ffn_experts

    @property
    def causal(self) -> bool:
        return self.factor is None

    def capacities(self, tokens: int | Int[Array, ""]) -> Int[Array, " E"]:
        """Places of each expert: gamma tau K T / (tau N_f + N_z), rounded up, with weights; without tau otherwise.

        N_f experts have weights and N_z do not. The sum is at least gamma K T.
        """
        checks.require(self.factor is not None, "MixturePlus.factor", "be given for capacities", None)
        tau, special = exact(self.tau), self.num_experts - self.num_ffn
        even = exact(self.factor) * self.num_experts / (tau * self.num_ffn + special)
        ffn, rest = (places(even * part, self.top_k, tokens, self.num_experts) for part in (tau, 1))
        return jnp.where(jnp.arange(self.num_experts) < self.num_ffn, ffn, rest)

    def loss_weights(self) -> Float[Array, " E"]:
        """eta: 1 of experts with weights, tau of others."""
        return jnp.where(jnp.arange(self.num_experts) < self.num_ffn, 1.0, self.tau)

    def layer_parameters(self, key: Key, width: int) -> dict[str, Any]:
        vector, mix = jax.random.split(key)
        shape = (self.num_const, width)
        return {
            "vector": jax.random.normal(vector, shape) / width**0.5,
            "mix": jax.random.normal(mix, (*shape, 2)) / width**0.5,
        }

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        del state
        check_logits(self, logits)
        scores = gating.scores_of(logits)
        index = gating.largest(jax.lax.stop_gradient(scores), self.top_k, context).index
        first = self.num_ffn
        is_zero = (index >= first) & (index < first + self.num_zero)
        gate = gating.gates(jnp.where(is_zero, 0, gating.take(scores, index)), renormalise=True)
        keep = index < self.num_experts
        routing = Routing(index, gate, keep, count(index, keep, self.num_experts), {"scores": scores})
        if self.factor is None:
            return routing
        limit = jnp.append(self.capacities(num_valid(context, logits)), 0)[index]
        priority = jax.lax.stop_gradient(gating.take(scores, index))
        within = rank_in_expert(index, priority, keep, self.num_experts) < limit
        return dropped(routing, keep & within, self.num_experts)

    def combine(self, routing: Routing, context: Context, experts) -> Float[Array, "T d"]:
        hidden = context.hidden
        out = super().combine(routing, context, experts)
        copy = self.num_ffn + self.num_zero
        is_copy = (routing.index >= copy) & (routing.index < copy + self.num_copy)
        gate = routing.gate.astype(hidden.dtype)
        out = out + jnp.where(is_copy, gate, 0).sum(axis=1, keepdims=True) * hidden
        if not self.num_const:
            return out
        const = jnp.arange(self.num_const) + copy + self.num_copy
        weight = jnp.sum(
            jnp.where(routing.index[:, :, None] == const[None, None], gate[:, :, None], 0), axis=1
        )  # [T, n]
        mix = jax.nn.softmax(jnp.einsum("td,ndc->tnc", hidden, context.parameters["mix"].astype(hidden.dtype)), axis=-1)
        own = jnp.sum(weight * mix[:, :, 0], axis=1, keepdims=True) * hidden
        return out + own + (weight * mix[:, :, 1]) @ context.parameters["vector"].astype(hidden.dtype)

    def loss(self, logits, routing: Routing, load_share, context: Context = NOTHING) -> Float[Array, ""]:
        del logits
        found = balance_losses.load_balancing(
            routing.aux["scores"], load_share, valid=context.valid, weights=self.loss_weights()
        )
        return self.loss_weight * found


class GateResidual(Wrapper):
    """z_l + z_{l-1} W_g in place of z_l, where z_{l-1} are the logits that the layer before routed by; no bias.

    Its parameter in a layer: "gate_residual" `[E, E]`, zero at first, so that a model starts as it would without.
    """

    router: Router

    def layer_parameters(self, key: Key, width: int) -> dict[str, Any]:
        zeros = jnp.zeros((self.num_experts, self.num_experts))
        return {**self.router.layer_parameters(key, width), "gate_residual": zeros}

    def memory(self, num_tokens: int, dtype=jnp.float32) -> dict[str, Any]:
        return {**self.router.memory(num_tokens, dtype), "logits": jnp.zeros((num_tokens, self.num_experts), dtype)}

    def route(self, state, logits: Float[Array, "T E"], context: Context = NOTHING) -> Routing:
        check_logits(self, logits)
        before = context.memory["logits"]
        logits = logits + before.astype(logits.dtype) @ context.parameters["gate_residual"].astype(logits.dtype)
        routing = self.router.route(state, logits, context)
        memory = {**routing.aux.get("memory", {}), "logits": logits.astype(before.dtype)}
        return routing._replace(aux={"logits": logits, **routing.aux, "memory": memory})


def example(key: Key):
    """Five usual experts and one of each other kind, behind a gate residual."""
    router = GateResidual(MixturePlus(5, 2, num_const=1, loss_weight=1e-2))
    logits, hidden, before, parameters = (jax.random.fold_in(key, i) for i in range(4))
    context = Context(
        hidden=jax.random.normal(hidden, (32, 4)),
        memory={"logits": jax.random.normal(before, (32, 8))},
        parameters=router.layer_parameters(parameters, 4),
    )
    return router, jax.random.normal(logits, (32, 8)), context
