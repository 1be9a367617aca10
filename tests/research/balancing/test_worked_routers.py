"""Every router on six tokens and four experts: sets and loads exactly, values to the digits that are stated.

One program per precision routes all of them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import balance_losses, base_layers, gating, routers
from research.balancing.routing import Context, share

Z = np.array([
    [2, 1, 0, -1], [1.9, 0.3, 0.8, -0.5], [1.5, 1.4, -0.2, 0.6], [0.9, -0.4, 1.1, 0.2], [2.2, 0.1, 0.4, 1.3],
    [1.2, 0.7, -0.6, -0.9],
])  # fmt: skip
#: Two more columns, for null and other special experts.
MORE = np.array([[0.5, 1, 0.1, 0, -0.3, 0.9], [0.4, 0.2, 1.45, -0.1, 0.3, 0.8]]).T
BIAS = np.array([-0.2, 0, 0.1, 0.15])

#: name -> (config, columns of logits that it adds). K = 2 where nothing else is said.
ROUTERS = {
    "plain": ("softmax", {"renormalise": False}),
    "softmax": ("softmax", {}),
    "mixtral": ("mixtral", {}),
    "biased": ("loss_free", {}),
    "unbiased": ("loss_free", {}),
    "biased logits": ("loss_free", {"gate": "softmax", "bias_space": "logit"}),
    "expert_choice": ("expert_choice", {}),
    "drop score": ("capacity_drop", {"factor": 1.0}),
    "drop first": ("capacity_drop", {"factor": 1.0, "policy": "first"}),
    "drop last": ("capacity_drop", {"factor": 1.0, "policy": "last"}),
    "expanded": ("expanded_drop", {}),
    "reroute": ("reroute", {}),
    "grouped": ("grouped", {"num_groups": 2}),
    "null": ("null_experts", {"num_null": 2, "top_k": 3, "loss_weight": 1.0}),
    "plus": ("mixture_plus", {"loss_weight": 1.0}),
    "nodes": ("loss_free", {"num_experts": 6, "num_groups": 3, "kept_groups": 1}),
    "sizes": ("size_weighted", {"widths": (1, 2, 3, 4), "loss_weight": 1.0}),
    "documents": ("document_pools", {"top_k": 1, "pool": 2, "pool_from": "full"}),
    "vote 2": ("expert_sharing", {"budget": 2}),
    "vote 3": ("expert_sharing", {"budget": 3}),
    "seq": ("expert_sharing", {"selection": "seq"}),
}


def _make(name, config):
    return routers.make(name, **({"num_experts": 4, "top_k": 2} | config))


def _route_all(logits, bias, documents):
    found = {}
    for key, given in ROUTERS.items():
        router = _make(*given)
        state = router.init(bias=bias, dtype=bias.dtype) if key.startswith("biased") else router.init()
        columns = logits[:, : router.num_experts]
        routing = router.route(state, columns, Context(document=documents))
        found[key] = routing._asdict() | {"loss": router.loss(columns, routing, share(routing.load))}
    scores = gating.scores_of(logits[:, :4])
    halves = [_make("softmax", {}).route((), part, Context()) for part in (logits[:3, :4], logits[3:, :4])]
    union = sum(share(routing.load) for routing in halves) / 2
    found["losses"] = {
        "union": balance_losses.load_balancing(scores, share(found["softmax"]["load"])),
        "halves": [balance_losses.load_balancing(r.aux["scores"], share(r.load)) for r in halves],
        "halves, share of all": [balance_losses.load_balancing(r.aux["scores"], union) for r in halves],
        "router z": balance_losses.router_z(logits[:, :4]),
        "importance": balance_losses.importance(logits[:, :4]),
        "router z, shifted": balance_losses.router_z(logits[:, :4] + 1),
    }
    found["base"] = base_layers.balanced_assignment(logits[:, :4])
    return found


@pytest.fixture(scope="module", params=["float64", "float32"])
def found(request):
    """Results and how near values must be: ten digits are stated; float32 must agree to 1e-5."""
    with jax.enable_x64(request.param == "float64"):
        logits = jnp.asarray(np.concatenate([Z, MORE], axis=1), request.param)
        given = logits, jnp.asarray(BIAS, request.param), jnp.array([0, 0, 0, 1, 1, 1])
        results = jax.device_get(jax.jit(_route_all)(*given))
    return results | {"tolerance": 6e-11 if request.param == "float64" else 1e-5}


def near(found, actual, stated):
    np.testing.assert_allclose(actual, stated, rtol=0, atol=found["tolerance"])


def sets(routing, unused=None):
    """Rows of digits, as the examples write them."""
    return ",".join("".join("-" if e == unused else str(e) for e in row) for row in routing["index"])


@pytest.mark.parametrize(
    ("key", "rows", "loads"),
    [
        ("plain", "01,02,01,20,03,01", (6, 3, 2, 1)),
        ("mixtral", "01,02,01,20,03,01", (6, 3, 2, 1)),
        ("biased", "10,20,13,23,30,10", (4, 3, 2, 3)),
        ("unbiased", "01,02,01,20,03,01", (6, 3, 2, 1)),
        ("expanded", "01,02,13,23,03,1-", (3, 3, 2, 3)),
        ("reroute", "01,02,13,23,03,12", (3, 3, 3, 3)),
        ("grouped", "02,02,03,02,03,02", (6, 0, 4, 2)),
        ("null", "014,042,051,203,032,045", (6, 2, 3, 2, 3, 2)),
        ("plus", "01,04,05,20,03,04", (6, 1, 1, 1, 2, 1)),
        ("nodes", "01,01,01,23,01,01", (5, 5, 1, 1, 0, 0)),
        ("documents", "0,0,0,2,0,0", (5, 0, 1, 0)),
        ("vote 3", "01,02,01,20,02,01", (6, 3, 3, 0)),
    ],
)
def test_sets_and_loads(found, key, rows, loads):
    assert sets(found[key], unused=4 if key == "expanded" else None) == rows
    np.testing.assert_array_equal(found[key]["load"], loads)


def test_gates_of_softmax_scores(found):
    near(found, found["plain"]["gate"][0], (0.6439142599, 0.2368828181))
    near(found, found["softmax"]["gate"][0], (0.7310585786, 0.2689414214))
    near(found, found["softmax"]["gate"][3], (0.5498339973, 0.4501660027))
    np.testing.assert_allclose(found["mixtral"]["gate"], found["softmax"]["gate"], rtol=1e-6)


def test_gates_know_no_bias(found):
    near(found, found["biased"]["gate"][0], (0.4535508968, 0.5464491032))
    near(found, found["biased"]["gate"][4], (0.4660709388, 0.5339290612))


def test_a_bias_of_logits_selects_and_gates_are_of_the_softmax(found):
    biased = Z + BIAS
    rows = np.argsort(-biased, axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(found["biased logits"]["index"], rows)
    chosen = np.take_along_axis(found["plain"]["aux"]["scores"], rows, axis=1)
    np.testing.assert_allclose(found["biased logits"]["gate"], chosen / chosen.sum(axis=1, keepdims=True), rtol=1e-6)


def test_balance_losses(found):
    losses = found["losses"]
    near(found, losses["union"], 1.3853436500)
    near(found, losses["halves"], (1.5095836178, 1.3122217624))
    near(found, np.mean(losses["halves, share of all"]), 1.3853436500)
    near(found, losses["router z"], 5.3791430781)
    near(found, losses["importance"], 0.3983592753)
    squares = np.log(np.exp(Z).sum(axis=1))  # the z-loss is the one that a shift of the logits changes
    near(found, losses["router z, shifted"] - losses["router z"], np.mean(2 * squares + 1))
    near(found, found["sizes"]["loss"], 0.7679315755)


def test_experts_choose(found):
    np.testing.assert_array_equal(found["expert_choice"]["aux"]["tokens"], [(0, 1, 4), (2, 5, 0), (3, 1, 4), (4, 3, 2)])
    np.testing.assert_array_equal(found["expert_choice"]["keep"].sum(axis=1), (2, 2, 2, 2, 3, 1))


@pytest.mark.parametrize(
    ("policy", "kept"), [("score", "11,11,01,10,11,01"), ("first", "11,11,11,10,01,01"), ("last", "01,01,01,11,11,11")]
)
def test_what_experts_keep(found, policy, kept):
    rows = found[f"drop {policy}"]["keep"].astype(int)
    assert ",".join("".join(map(str, row)) for row in rows) == kept
    assert found[f"drop {policy}"]["aux"]["dropped"] == 12 - rows.sum()


def test_totals_of_rerouting_and_without_limits(found):
    scores = found["plain"]["aux"]["scores"]
    near(found, np.take_along_axis(scores, found["reroute"]["index"], axis=1).sum(), 4.0386808541)
    near(found, found["plain"]["gate"].sum(), 4.8855938132)


def test_balanced_assignment(found):
    np.testing.assert_array_equal(found["base"], (0, 0, 1, 2, 3, 1))
    assert np.isclose(Z[np.arange(6), found["base"]].sum(), 8.4, rtol=0, atol=1e-12)


def test_null_experts(found):
    near(found, found["null"]["gate"][0], (0.7310585786, 0.2689414214, 0))
    near(found, found["null"]["gate"][1], (0.7502601056, 0, 0.2497398944))
    near(found, found["null"]["gate"][5], (1, 0, 0))
    near(found, found["null"]["loss"], 1.2649306775)


def test_experts_without_weights(found):
    near(found, found["plus"]["loss"], 1.4783600548)
    router = _make("mixture_plus", {"factor": 1.1})
    np.testing.assert_array_equal(router.capacities(6), (2, 2, 2, 2, 3, 3))


def test_pools(found):
    pool = found["documents"]["aux"]["pool"]
    np.testing.assert_array_equal(pool, np.repeat([[1, 1, 0, 0], [1, 0, 1, 0]], 3, axis=0))
    for key, coreset in (("vote 2", (1, 1, 0, 0)), ("vote 3", (1, 1, 1, 0)), ("seq", (1, 0, 1, 0))):
        np.testing.assert_array_equal(found[key]["aux"]["coreset"], coreset)


def test_pools_shared_by_layers():
    np.testing.assert_array_equal(_make("shared_pools", {"reuse": 2}).expert_ids(3), np.arange(8, 16))
    router = _make("shared_pools", {"num_experts": 8, "reuse": 3, "num_steps": 1000, "warm": 0.5})
    assert [int(router.pool_size(step)) for step in (0, 100, 250, 500, 900)] == [8, 11, 16, 24, 24]
