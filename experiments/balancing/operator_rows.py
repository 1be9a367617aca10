"""The routers of the comparison, by label, and what each makes of the same logits."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.balancing import byte_mixture
from research.balancing import assignment, balance_losses, gating, metrics, quantile, routers
from research.balancing.routing import Context, Router, Routing, share
from research.core import validate as checks
from research.core.types import Array, Float

__all__ = ["BLOCK", "LOSSES", "ROWS", "Measured", "Row", "losses", "made", "measured", "optima", "routed", "stateful"]


class Row(NamedTuple):
    """A router as figures and tables name it.

    Attributes:
      name: of `routers.NAMES`.
      config: its fields; names in braces are filled from the experiment's config.
      special: columns of the logits, the last ones, that it takes for experts without weights.
      comparable: whether its total of scores compares with the optimum over all experts.
    """

    name: str
    config: dict[str, Any] = {}  # noqa: RUF012  never changed
    special: int = 0
    comparable: bool = True


#: Sixteen experts, two per token, in four groups of devices; sequences of at least sixteen tokens.
ROWS = {
    "top-K": Row("softmax"),
    "Mixtral": Row("mixtral"),
    "loss-free, sign": Row("loss_free", {"gate": "softmax", "rule": {"rule": "sign", "step_size": 1e-2}}),
    "loss-free, prop": Row("loss_free", {"gate": "softmax", "rule": {"rule": "prop", "step_size": 0.2}}),
    "node-limited": Row("deepseek_v3", {"rule": {"step_size": 1e-2}, "num_groups": 4, "kept_groups": 2}),
    "quantile": Row("quantile", {"gate": "softmax"}),
    "expert choice": Row("expert_choice"),
    "BASE (K = 1)": Row("base", {"top_k": 1}),
    "drop by score": Row("capacity_drop", {"factor": 1.0}),
    "drop the last": Row("capacity_drop", {"factor": 1.0, "policy": "first"}),
    "expanded drop": Row("expanded_drop", {"factor": 1.0, "ratio": 2.0}),
    "reroute": Row("reroute", {"factor": 1.0}),
    "grouped": Row("grouped", {"num_groups": 2}),
    "null experts": Row("null_experts", {"num_null": 4, "top_k": 3}, special=4, comparable=False),
    "MoE++": Row("mixture_plus", {"num_zero": 1, "num_copy": 2, "num_const": 1}, special=4, comparable=False),
    "fine-grained": Row("fine_grained", {"split": 2}),
    "recurrent": Row("recurrent", {"hidden_size": "{recurrent}"}),
    "chain": Row("chain", comparable=False),
    "shared pools": Row("shared_pools", {"reuse": 2}, comparable=False),
    "document pools": Row("document_pools", {"pool": 4, "prefix": 8}),
    "whole documents": Row("document_pools", {"pool": 4, "pool_from": "full"}),
    "sharing, vote": Row("expert_sharing", {"budget": 8}),
    "sharing, seq": Row("expert_sharing", {"selection": "seq"}),
}
#: Balance losses of plain top-K on the same logits, without weights.
LOSSES = ("load balancing", "sequence-wise", "size-weighted", "importance", "router z")
#: Tokens that are decoded together.
BLOCK = 16


class Measured(NamedTuple):
    """Of one router on one batch."""

    violation: Float[Array, ""]  # MaxVio of experts with weights
    device_violation: Float[Array, ""]  # of four devices
    value: Float[Array, ""]  # total score over the optimum with equal loads; 0 where they do not compare
    dropped: Float[Array, ""]  # share of slots
    unique: Float[Array, ""]  # experts that a block of tokens needs, mean


def made(algo) -> dict[str, Router]:
    """label -> router, for the experiment's section `algo`."""
    found = {}
    for label in algo.routers:
        checks.one_of("config.algo.routers", label, tuple(ROWS))
        row = ROWS[label]
        config = {name: algo.recurrent if value == "{recurrent}" else value for name, value in row.config.items()}
        given = {"num_experts": algo.experts - row.special, "top_k": algo.top_k} | config
        found[label] = routers.make(row.name, **given)
    return found


def stateful(label: str) -> bool:
    """Whether a router remembers loads."""
    return ROWS[label].name in ("loss_free", "deepseek_v3", "quantile")


def routed(label: str, router: Router, state, learned, seen: byte_mixture.Layers, sequence) -> Routing:
    """What a router makes of the logits of the last layer, with what else it needs."""
    last = seen.logits.shape[0] - 1
    logits, hidden = seen.logits[last], seen.hidden[last]
    context = Context(document=sequence, hidden=hidden, layer=last)
    if label == "recurrent":
        return _after_layers(router, learned, seen)
    if label == "chain":
        own = jax.tree.map(lambda leaf: leaf[last], learned["chain"])
        experts = byte_mixture.experts_of(learned["up"][last], learned["down"][last])
        return router.mix(state, logits, context._replace(parameters=own), experts)[1]
    if label == "shared pools":
        return router.route(state, jnp.concatenate([seen.logits[last - 1], logits], axis=1), context)
    if label.startswith("sharing"):
        blocks = jax.vmap(lambda z: router.route(state, z))(logits.reshape(-1, BLOCK, logits.shape[1]))
        index, gate, keep = (x.reshape(-1, x.shape[-1]) for x in (blocks.index, blocks.gate, blocks.keep))
        return Routing(index, gate, keep, blocks.load.sum(axis=0), {})
    return router.route(state, logits, context)


def _after_layers(router, learned, seen):
    memory = router.memory(seen.logits.shape[1])
    for layer, (logits, hidden) in enumerate(zip(seen.logits, seen.hidden, strict=True)):
        own = jax.tree.map(lambda leaf: leaf[layer], learned["recurrent"])  # noqa: B023
        context = Context(hidden=hidden, memory=memory, parameters=own, shared={"cell": learned["cell"]})
        routing = router.route((), logits, context)
        memory = routing.aux["memory"]
    return routing


def measured(
    label: str, router: Router, routing: Routing, logits: Float[Array, "T E"], optimum: dict[int, Array]
) -> Measured:
    """Measurements of a routing; `optimum[K]` is the dual bound on totals of softmax scores with equal loads."""
    row, tokens = ROWS[label], logits.shape[0]
    load = routing.load[: router.num_ffn]
    value = jnp.zeros((), logits.dtype)
    if row.comparable:
        value = gating.take(gating.scores_of(logits), routing.index).sum() / optimum[router.top_k]
    dropped = routing.aux.get("dropped", 0) / (tokens * router.top_k)
    used = jnp.zeros((tokens // BLOCK, router.num_experts + 1), bool)
    used = used.at[jnp.arange(tokens)[:, None] // BLOCK, routing.index].set(True)[:, : router.num_ffn]
    return Measured(
        metrics.max_violation(load), metrics.device_violation(load, 4),
        value, jnp.asarray(dropped, logits.dtype), used.sum(axis=1).mean(),
    )  # fmt: skip


def optima(routers: dict[str, Router], logits: Float[Array, "T E"], sweeps: int) -> dict[int, Array]:
    """K of comparable routers -> the dual value after the sweeps, an upper bound on totals with equal loads."""
    found = {}
    for k in sorted({router.top_k for label, router in routers.items() if ROWS[label].comparable}):
        problem = assignment.Problem(gating.scores_of(logits), k)
        found[k] = quantile.run(problem, quantile.Params(num_steps=sweeps)).last.dual
    return found


def losses(logits: Float[Array, "T E"], top_k: int, sequence) -> Float[Array, " losses"]:
    """`LOSSES` of plain top-K; sizes of experts from one to two."""
    routing = routers.make("softmax", logits.shape[1], top_k).route((), logits)
    scores, load = routing.aux["scores"], share(routing.load)
    widths = jnp.linspace(1, 2, logits.shape[1])
    return jnp.stack([
        balance_losses.load_balancing(scores, load),
        balance_losses.sequence_wise(scores, routing.index, routing.keep, sequence),
        balance_losses.load_balancing(scores, load, weights=widths / widths.mean()),
        balance_losses.importance(logits), balance_losses.router_z(logits),
    ])  # fmt: skip
