"""What routers refuse: one clear line with the argument's name, what is allowed and the value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import (
    balance_losses,
    base_layers,
    capacity,
    expert_choice,
    loss_free,
    mixture_plus,
    quantile_router,
    routers,
    softmax_topk,
)  # fmt: skip
from research.balancing.routing import NOTHING, Context
from research.core import prng

CAPACITY = {"name": "capacity_drop"}
LEAKS = "causal must be False for {!r}: its choices depend on later tokens, got True."

BAD_CONFIGS = [
    ({"name": "softmaxx"}, "name must be one of 'softmax', 'mixtral', "),
    ({"name": "softmax", "renorm": True}, "field of 'softmax' must be one of renormalise, scale, gate, got 'renorm'."),
    ({"name": "grouped"}, "num_groups of 'grouped' must be given, got nothing."),
    ({"name": "softmax", "router": {}}, "router must be left out for 'softmax', which is around no other one, got {}."),
    ({"num_experts": 8.0}, "num_experts must be an integer, got 8.0."),
    ({"top_k": 0}, "SoftmaxTopK.top_k must lie in [1, num_experts = 8], got 0."),
    ({"top_k": 9}, "SoftmaxTopK.top_k must lie in [1, num_experts = 8], got 9."),
    ({"gate": "relu"}, "SoftmaxTopK.gate must be one of 'softmax', 'sigmoid', got 'relu'."),
    ({"scale": float("nan")}, "SoftmaxTopK.scale must be finite, got nan."),
    ({"losses": {"entropy": 1.0}}, "WithLosses.weights must be one of 'load_balancing', "),
    ({"losses": {"router_z": -1.0}}, "WithLosses.weights['router_z'] must be >= 0, got -1.0."),
    ({"name": "mixtral", "top_k": 9}, "Mixtral.top_k must lie in [1, num_experts = 8], got 9."),
    ({"name": "loss_free", "num_experts": 1, "top_k": 1}, "LossFree.num_experts must be >= 2, got 1."),
    ({"name": "loss_free", "rule": {"rule": "signum"}}, "Rule.rule must be one of 'sign', "),
    ({"name": "loss_free", "rule": {"schedule": "linear"}}, "Rule.schedule must be one of 'const', "),
    ({"name": "loss_free", "rule": {"step_size": -1.0}}, "Rule.step_size must be >= 0, got -1.0."),
    ({"name": "loss_free", "rule": {"step_size": float("nan")}}, "Rule.step_size must be >= 0, got nan."),
    ({"name": "loss_free", "rule": {"u": 1.0}}, "field of rule must be one of rule, schedule, step_size, "),
    ({"name": "loss_free", "bias_space": "gate"}, "LossFree.bias_space must be one of 'score', 'logit', got 'gate'."),
    ({"name": "loss_free", "num_groups": 3}, "LossFree.num_groups must divide num_experts = 8, got 3."),
    (
        {"name": "loss_free", "top_k": 3, "num_groups": 4},
        "LossFree.kept_groups must lie in [1, num_groups = 4] and hold top_k = 3 experts, 2 each, got 1.",
    ),
    ({"name": "quantile", "rate": 0.0}, "QuantileRouter.rate must lie in (0, 1], got 0.0."),
    ({"name": "quantile", "sweeps": -1}, "QuantileRouter.sweeps must be >= 0, got -1."),
    (
        {"name": "expert_choice", "rounding": "up"},
        "ExpertChoice.rounding must be one of 'exact', 'floor', ",
    ),
    ({"name": "base"}, "BaseLayers.top_k must be 1, got 2."),
    ({"name": "base", "num_experts": 1, "top_k": 1}, "BaseLayers.num_experts must be >= 2, got 1."),
    (CAPACITY | {"factor": 0.0}, "CapacityDrop.factor must be positive and finite, got 0.0."),
    (CAPACITY | {"factor": float("nan")}, "CapacityDrop.factor must be positive and finite, got nan."),
    (
        CAPACITY | {"policy": "best"},
        "CapacityDrop.policy must be one of 'score', 'first', ",
    ),
    ({"name": "expanded_drop", "ratio": 0.9}, "ExpandedDrop.ratio must be >= 1 and leave at most num_experts = 8 "),
    ({"name": "expanded_drop", "ratio": 5}, "ExpandedDrop.ratio must be >= 1 and leave at most num_experts = 8 "),
    ({"name": "expanded_drop", "factor": -1.0}, "ExpandedDrop.factor must be positive and finite, got -1.0."),
    ({"name": "reroute", "factor": 0.0}, "Reroute.factor must be positive and finite, got 0.0."),
    ({"name": "grouped", "num_groups": 3}, "Grouped.num_groups must divide num_experts = 8 and top_k = 2, got 3."),
    ({"name": "grouped", "num_groups": 4}, "Grouped.num_groups must divide num_experts = 8 and top_k = 2, got 4."),
    ({"name": "null_experts", "num_null": -1}, "NullExperts.num_null must lie in [0, 6], got -1."),
    ({"name": "mixture_plus", "tau": 0.0}, "MixturePlus.tau must lie in (0, 1], got 0.0."),
    ({"name": "mixture_plus", "num_const": -1}, "MixturePlus.num_const must be >= 0, got -1."),
    ({"name": "mixture_plus", "factor": 0.0}, "MixturePlus.factor must be positive and finite, got 0.0."),
    ({"name": "fine_grained", "split": 3}, "split must divide num_experts = 8, got 3."),
    ({"name": "fine_grained", "split": 4}, "split must divide top_k = 2, got 4."),
    ({"name": "size_weighted", "widths": (1, 2)}, "SizeWeighted.widths must be 8 widths >= 1, got (1, 2)."),
    ({"name": "recurrent", "hidden_size": 0}, "Recurrent.hidden_size must be >= 1, got 0."),
    ({"name": "chain", "iterations": 0}, "Chain.iterations must be >= 1, got 0."),
    (
        {"name": "chain", "router": {"name": "recurrent"}},
        "Chain.router must not be a chain nor hand over memories, ",
    ),
    ({"name": "shared_pools", "warm": 1.5}, "SharedPools.warm must lie in [0, 1], got 1.5."),
    ({"name": "shared_pools", "reuse": 0}, "SharedPools.reuse must be >= 1, got 0."),
    ({"name": "document_pools", "pool": 1}, "DocumentPools.pool must lie in [top_k = 2, num_experts = 8], got 1."),
    ({"name": "document_pools", "pool": 9}, "DocumentPools.pool must lie in [top_k = 2, num_experts = 8], got 9."),
    ({"name": "document_pools", "pool": 2, "prefix": 0}, "DocumentPools.prefix must be >= 1, got 0."),
    ({"name": "document_pools", "pool": 2, "pool_from": "past"}, "DocumentPools.pool_from must be one of 'prefix', "),
    ({"name": "expert_sharing"}, "ExpertSharing.budget must lie in [top_k = 2, num_experts = 8], got None."),
    ({"name": "expert_sharing", "budget": 1}, "ExpertSharing.budget must lie in [top_k = 2, num_experts = 8], got 1."),
    ({"name": "expert_sharing", "selection": "seq", "own": 3}, "ExpertSharing.own must lie in [1, 2], got 3."),
    ({"name": "expert_choice", "causal": True}, LEAKS.format("expert_choice")),
    ({"name": "document_pools", "pool": 2, "pool_from": "full", "causal": True}, LEAKS.format("document_pools")),
    ({"name": "base", "top_k": 1, "causal": True}, LEAKS.format("base")),
    ({"name": "expert_sharing", "budget": 2, "causal": True}, LEAKS.format("expert_sharing")),
    (CAPACITY | {"causal": True}, LEAKS.format("capacity_drop")),
    ({"name": "recurrent", "router": {"name": "expert_choice"}, "causal": True}, LEAKS.format("recurrent")),
]


@pytest.mark.parametrize(("config", "message"), BAD_CONFIGS, ids=lambda x: str(x)[:60])
def test_a_config(config, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011  the message is compared below
        routers.make(**({"name": "softmax", "num_experts": 8, "top_k": 2} | config))
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


#: Whatever each router of `NAMES` must be told.
NEEDED = {
    "base": {"top_k": 1},
    "grouped": {"num_groups": 2},
    "null_experts": {"num_null": 1},
    "fine_grained": {"split": 2},
    "size_weighted": {"widths": (1,) * 8},
    "document_pools": {"pool": 4},
    "expert_sharing": {"budget": 4},
}
LEAKING = {"base", "capacity_drop", "expanded_drop", "expert_choice", "expert_sharing", "reroute"}


@pytest.mark.parametrize("name", routers.NAMES)
def test_every_name_makes_a_router_and_exactly_the_leaking_ones_are_refused(name):
    config = {"name": name, "num_experts": 8, "top_k": 2} | NEEDED.get(name, {})
    router = routers.make(**config, losses={"load_balancing": 1e-2})
    assert router.num_ffn == (16 if name == "shared_pools" else 8)
    assert router.causal == (name not in LEAKING)
    if name not in LEAKING:
        assert routers.make(**config, causal=True).causal


def test_what_drops_in_order_or_is_evaluated_does_not_leak():
    assert routers.make("capacity_drop", 8, 2, policy="first", causal=True).policy == "first"
    assert base_layers.BaseLayers(8).at_inference().causal


GOOD = np.zeros((4, 8), np.float32)


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (GOOD[:, :7], "logits must have shape [T, 8], got (4, 7)."),
        (GOOD[0], "logits must have shape [T, 8], got (8,)."),
        (GOOD[:0], "logits must have at least one token, got (0, 8)."),
        (GOOD.astype(np.int32), "logits must be floating-point, got int32."),
        (np.where(np.eye(4, 8), np.nan, GOOD), "logits must be finite, got nan at index (0, 0) (4 such entries)."),
        (np.where(np.eye(4, 8), np.inf, GOOD), "logits must be finite, got inf at index (0, 0) (4 such entries)."),
    ],
)
@pytest.mark.parametrize("name", ["softmax", "loss_free", "expert_choice", "reroute", "quantile", "gate_residual"])
def test_logits(name, logits, message):
    router = routers.make(name, 8, 2)
    memory = {"logits": jnp.zeros(logits.shape)}
    context = Context(memory=memory, parameters={"gate_residual": jnp.zeros((logits.shape[-1], 8))})
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        router.route(router.init(), jnp.asarray(logits), context)
    assert str(raised.value) == message


def test_where_equal_loads_are_asked_for_experts_divide_the_slots():
    message = r"ExpertChoice.num_experts must divide top_k \* T = 10, or rounding be 'floor' or 'ceil', got 8\."
    with pytest.raises(ValueError, match=message):
        expert_choice.ExpertChoice(8, 2).route((), jnp.zeros((5, 8)))
    for rounding, taken in (("floor", 1), ("ceil", 2)):
        router = expert_choice.ExpertChoice(8, 2, rounding)
        load = jax.eval_shape(lambda z, r=router: r.route((), z).aux["tokens"], jnp.zeros((5, 8)))
        assert load.shape == (8, taken)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: loss_free.LossFree(8, 2).init(bias=jnp.zeros(7)),
            "bias must have shape (8), got (7,).",
        ),
        (
            lambda: loss_free.LossFree(8, 2).route(loss_free.LossFree(4, 2).init(), jnp.asarray(GOOD)),
            "state.bias must have shape (8), got (4,).",
        ),
        (
            lambda: quantile_router.QuantileRouter(8, 2).update(quantile_router.QuantileRouter(8, 2).init(), None),
            "summary must have shape (8), got (0,).",
        ),
        (
            lambda: capacity.CapacityDrop(softmax_topk.SoftmaxTopK(8, 2), policy="random").route((), jnp.asarray(GOOD)),
            "context.key must be given for policy 'random', got None.",
        ),
        (
            lambda: routers.make("document_pools", 8, 2, pool=4).route((), jnp.asarray(GOOD)),
            "context.document must be given for pools of documents, got None.",
        ),
        (
            lambda: routers.make("recurrent", 8, 2).route((), jnp.asarray(GOOD)),
            "context.hidden must be given for a recurrent router, got None.",
        ),
        (
            lambda: mixture_plus.MixturePlus(4, 2).capacities(8),
            "MixturePlus.factor must be given for capacities, got None.",
        ),
        (
            lambda: capacity.share_of(1.23456789, jnp.int32(5), 8),
            "factor must have few enough digits for int32 where the number of tokens is traced, got 1.23456789.",
        ),
    ],
)
def test_a_call(call, message):
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        call()
    assert str(raised.value) == message


def test_a_loss_of_sequences_needs_their_numbers():
    router = routers.make("softmax", 8, 2, losses={"sequence_wise": 1.0})
    logits = jax.ShapeDtypeStruct((4, 8), jnp.float32)

    def loss(logits, context):
        routing = router.route((), logits, context)
        return router.loss(logits, routing, routing.load / 8, context)

    with pytest.raises(ValueError, match=r"context.sequence must be given for sequence_wise, got None\."):
        jax.eval_shape(lambda z: loss(z, NOTHING), logits)
    assert jax.eval_shape(lambda z: loss(z, Context(sequence=jnp.zeros(4, int))), logits).shape == ()
    assert set(balance_losses.LOSSES) == {"load_balancing", "sequence_wise", "router_z", "importance"}


def test_shares_are_exact_for_decimals():
    """ceil(1.1 * 10) is 11, which floating-point numbers miss; traced counts give the same as Python's integers."""
    assert capacity.share_of(1.1, 10, 1) == 11
    assert capacity.places(0.001, 1, 8, 8) == 1
    counts, cases = np.arange(0, 4000, 37), [(f, r) for f in (0.7, 1.0, 1.1, 1.25) for r in ("ceil", "floor")]
    traced = jax.jit(lambda n: [capacity.share_of(factor, n, 12, rounding) for factor, rounding in cases])
    for found, (factor, rounding) in zip(traced(jnp.asarray(counts, jnp.int32)), cases, strict=True):
        assert list(found) == [capacity.share_of(factor, int(n), 12, rounding) for n in counts]


def test_a_key_draws_other_tokens():
    router = capacity.CapacityDrop(softmax_topk.SoftmaxTopK(2, 1), 0.5, "random")
    route = jax.jit(lambda key: router.route((), jnp.zeros((16, 2)), Context(key=key)))
    kept = [np.asarray(route(prng.root_key(seed)).keep) for seed in range(2)]
    assert kept[0].sum() == kept[1].sum() == 4
    assert (kept[0] != kept[1]).any()
