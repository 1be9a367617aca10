"""Routers by name, as a config writes them.

    make("loss_free", num_experts=64, top_k=6, rule={"rule": "sign", "step_size": 1e-3}, losses={"sequence_wise": 1e-4})
    make("capacity_drop", num_experts=64, top_k=6, factor=1.25, router={"name": "grouped", "num_groups": 8})

`num_experts` and `top_k` are always the experts with weights that a layer has, and the slots of a token; whatever a
router adds to them (null, zero, copy, constant experts; other layers' experts) comes on top.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from research.balancing import (
    balance_losses,
    base_layers,
    capacity,
    chain,
    document_pools,
    expert_choice,
    expert_sharing,
    fine_grained,
    grouped,
    heterogeneous,
    loss_free,
    mixture_plus,
    null_experts,
    quantile_router,
    recurrent_router,
    shared_pools,
    softmax_topk,
)
from research.balancing.bias_update import Rule
from research.balancing.routing import Router
from research.core import validate as checks

__all__ = ["NAMES", "make"]


def _null_experts(num_experts: int, top_k: int, num_null: int, **options) -> Router:
    return null_experts.NullExperts(num_experts + num_null, top_k, num_null, **options)


def _fine_grained(num_experts: int, top_k: int, split: int, **options) -> Router:
    for name, value in (("num_experts", num_experts), ("top_k", top_k)):
        checks.require(split >= 1 and value % split == 0, "split", f"divide {name} = {value}", split)
    return fine_grained.FineGrained(num_experts // split, top_k // split, split, **options)


#: Name -> class, and what builds it where that is not the class.
_PLAIN: dict[str, tuple[type[Router], Callable[..., Router] | None]] = {
    "softmax": (softmax_topk.SoftmaxTopK, None),
    "mixtral": (softmax_topk.Mixtral, None),
    "loss_free": (loss_free.LossFree, None),
    "deepseek_v3": (loss_free.LossFree, loss_free.deepseek_v3),
    "quantile": (quantile_router.QuantileRouter, None),
    "expert_choice": (expert_choice.ExpertChoice, None),
    "base": (base_layers.BaseLayers, None),
    "expanded_drop": (capacity.ExpandedDrop, None),
    "reroute": (capacity.Reroute, None),
    "grouped": (grouped.Grouped, None),
    "null_experts": (null_experts.NullExperts, _null_experts),
    "mixture_plus": (mixture_plus.MixturePlus, None),
    "fine_grained": (fine_grained.FineGrained, _fine_grained),
    "shared_pools": (shared_pools.SharedPools, None),
    "document_pools": (document_pools.DocumentPools, None),
    "expert_sharing": (expert_sharing.ExpertSharing, None),
}
#: Name -> class of routers around another one.
_WRAPPERS: dict[str, type[Router]] = {
    "capacity_drop": capacity.CapacityDrop,
    "size_weighted": heterogeneous.SizeWeighted,
    "gate_residual": mixture_plus.GateResidual,
    "recurrent": recurrent_router.Recurrent,
    "chain": chain.Chain,
}
NAMES = (*_PLAIN, *_WRAPPERS)


def make(
    name: str,
    num_experts: int,
    top_k: int,
    *,
    causal: bool = False,
    losses: Mapping[str, float] | None = None,
    router: Mapping[str, Any] | None = None,
    **config,
) -> Router:
    """The router of this name.

    Args:
      name: one of `NAMES`.
      num_experts: with weights, in a layer.
      top_k: slots of a token; of "chain", in an iteration.
      causal: refuse a router by which later tokens would influence earlier ones.
      losses: name in `balance_losses.LOSSES` -> weight.
      router: of a router around another one, the inner one's name and config; "softmax" if None.
      config: fields of the router's class; `rule` may be a dict of fields of `bias_update.Rule`.

    Raises:
      ValueError: unknown name or field, a missing field, a value out of range, or a leak with `causal`.
    """
    checks.one_of("name", name, NAMES)
    for field, value in (("num_experts", num_experts), ("top_k", top_k)):
        checks.require(isinstance(value, int) and not isinstance(value, bool), field, "be an integer", repr(value))
    if isinstance(config.get("rule"), Mapping):
        config["rule"] = _rule(config["rule"])
    if name in _WRAPPERS:
        inner = {"name": "softmax"} | dict(router or {})
        around = make(inner.pop("name"), num_experts, top_k, **inner)
        made = _build(name, _WRAPPERS[name], _WRAPPERS[name], (around,), config)
    else:
        checks.require(router is None, "router", f"be left out for {name!r}, which is around no other one", router)
        kind, builder = _PLAIN[name]
        made = _build(name, kind, builder or kind, (num_experts, top_k), config)
    allowed = f"be False for {name!r}: its choices depend on later tokens"
    checks.require(made.causal or not causal, "causal", allowed, causal)
    return balance_losses.WithLosses(made, losses) if losses else made


def _build(name, kind, builder, given, config):
    fields = [field for field in dataclasses.fields(kind) if field.init][len(given) :]
    known = [field.name for field in fields]
    for key in config:
        checks.require(key in known, f"field of {name!r}", f"be one of {', '.join(known) or 'none'}", repr(key))
    for field in fields:
        missing = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        checks.require(not missing or field.name in config, f"{field.name} of {name!r}", "be given", "nothing")
    return builder(*given, **config)


def _rule(config: Mapping[str, Any]) -> Rule:
    known = [field.name for field in dataclasses.fields(Rule)]
    for key in config:
        checks.require(key in known, "field of rule", f"be one of {', '.join(known)}", repr(key))
    return Rule(**config)
