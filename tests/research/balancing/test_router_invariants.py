"""What each router promises, on sixty random batches whose experts differ in attraction; NumPy says what is right.

One program routes all batches in float64.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.balancing import (
    balance_losses,
    capacity,
    chain,
    fine_grained,
    gating,
    heterogeneous,
    mixture_plus,
    oracles,
    recurrent_router,
    routers,
    softmax_topk,
)  # fmt: skip
from research.balancing.routing import Context, share
from research.core import prng

BATCHES, T, E, K = 60, 24, 8, 2
DOCUMENT = np.repeat(np.arange(4), 6)

ROUTERS = {
    "expert_choice": {},
    "base": {},
    "expanded_drop": {},
    "reroute": {},
    "reroute tight": {"factor": 0.6},
    "grouped": {"num_groups": 2},
    "quantile": {},
    "document_pools": {"pool": 3},
    "document_pools full": {"pool": 3, "pool_from": "full"},
    "expert_sharing": {"budget": 3},
    "expert_sharing seq": {"selection": "seq"},
    "shared_pools": {"reuse": 1},
    "loss_free": {"num_groups": 4, "kept_groups": 2},
    "softmax": {},
    **{f"capacity_drop {policy}": {"policy": policy, "factor": 1.1} for policy in capacity.POLICIES},
}
LIMIT = math.ceil(1.1 * K * T / E)


def _make(name, config):
    name = name.partition(" ")[0]
    return routers.make(name, E, 1 if name == "base" else K, **config)


MADE = {name: _make(name, config) for name, config in ROUTERS.items()}


def _draw(dtype):
    keys = prng.replicate_keys(prng.root_key(0), BATCHES)

    def one(key):
        attraction, own = jax.random.split(key)
        return jax.random.normal(own, (T, E), dtype) + 1.5 * jax.random.normal(attraction, (1, E), dtype)

    return jax.vmap(one)(keys)


@pytest.fixture(scope="module")
def batch():
    """Logits `[60, T, E]` and name -> Routing with this leading axis."""
    with jax.enable_x64(True):
        logits = _draw(jnp.float64)
        context = Context(document=jnp.asarray(DOCUMENT), key=prng.root_key(5))

        def all_of(logits):
            return {name: router.route(router.init(), logits, context) for name, router in MADE.items()}

        return np.asarray(logits), jax.device_get(jax.jit(jax.vmap(all_of))(logits))


def softmax(logits):
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def top(scores, k):
    return np.argsort(-scores, axis=-1, kind="stable")[..., :k]


def kept_pairs(index, keep):
    return {(i, e) for i, (row, kept) in enumerate(zip(index, keep, strict=True)) for e in row[kept]}


def test_softmax_takes_the_largest(batch):
    logits, found = batch
    np.testing.assert_array_equal(found["softmax"].index, top(softmax(logits), K))
    np.testing.assert_allclose(found["softmax"].gate.sum(axis=-1), 1, rtol=1e-12)
    np.testing.assert_array_equal(found["shared_pools"].index, found["softmax"].index)
    np.testing.assert_allclose(found["shared_pools"].gate, found["softmax"].gate, rtol=1e-12)


def test_node_limited_tokens_stay_in_their_best_nodes(batch):
    logits, found = batch
    scores = 1 / (1 + np.exp(-logits))
    strength = scores.reshape(BATCHES, T, 4, 2).sum(axis=-1)
    nodes = top(strength, 2)
    masked = np.where((nodes[..., None] == np.arange(E) // 2).any(axis=2), scores, -np.inf)
    np.testing.assert_array_equal(found["loss_free"].index, top(masked, K))


def test_experts_choose_their_best_tokens(batch):
    logits, found = batch
    assert (found["expert_choice"].load == K * T // E).all()
    best = np.argsort(-softmax(logits), axis=1, kind="stable")[:, : K * T // E]
    np.testing.assert_array_equal(found["expert_choice"].aux["tokens"], best.swapaxes(1, 2))


def test_balanced_assignment_is_optimal(batch):
    """Loads are equal, and the total is that of a matching by SciPy."""
    logits, found = batch
    assert (found["base"].load == T // E).all()
    for z, index in zip(logits, found["base"].index[..., 0], strict=True):
        assert np.isclose(z[np.arange(T), index].sum(), oracles.matching(z).value, rtol=1e-12)


@pytest.mark.parametrize("policy", capacity.POLICIES)
def test_a_capacity_is_kept(batch, policy):
    """No expert gets more; what is kept was chosen, and whoever was dropped stood behind C others."""
    _, found = batch
    dropped, plain = found[f"capacity_drop {policy}"], found["softmax"]
    assert (dropped.load <= LIMIT).all()
    np.testing.assert_array_equal(dropped.load, np.minimum(plain.load, LIMIT))
    np.testing.assert_array_equal(dropped.index[dropped.keep], plain.index[dropped.keep])
    np.testing.assert_array_equal(dropped.gate[dropped.keep], plain.gate[dropped.keep])
    token = np.broadcast_to(np.arange(T)[:, None], (T, K))
    for b in range(BATCHES):
        order = {"score": -plain.gate[b], "first": token, "last": -token}.get(policy)
        if order is None:
            continue
        for e in range(E):
            mine = plain.index[b] == e
            kept = mine & dropped.keep[b]
            if (mine & ~kept).any():
                assert order[kept].max() <= order[mine & ~kept].min()


def test_random_drops_differ_from_ordered_ones(batch):
    _, found = batch
    kept = [found[f"capacity_drop {policy}"].keep for policy in capacity.POLICIES]
    assert all((kept[3] != other).any() for other in kept[:3])


def test_expanded_drop_is_what_its_definition_says(batch):
    logits, found = batch
    limit = K * T // E
    more = 0
    for z, index, keep in zip(softmax(logits), found["expanded_drop"].index, found["expanded_drop"].keep, strict=True):
        candidates = top(z, 3)
        asked = np.full((T, E), -np.inf)
        np.put_along_axis(asked, candidates, np.take_along_axis(z, candidates, axis=1), axis=1)
        order = np.argsort(-asked, axis=0, kind="stable")[:limit]
        accepted = np.zeros((T, E), bool)
        np.put_along_axis(accepted, order, True, axis=0)
        accepted &= np.isfinite(asked)
        best = top(np.where(accepted, z, -np.inf), K)
        wanted = {(i, e) for i in range(T) for e in best[i] if accepted[i, e]}
        assert kept_pairs(index, keep) == wanted
        plain = np.minimum(np.bincount(top(z, K).ravel(), minlength=E), limit).sum()
        more += len(wanted) >= plain
    assert more >= 0.9 * BATCHES  # usual, not guaranteed


@pytest.mark.parametrize(("name", "factor"), [("reroute", 1.0), ("reroute tight", 0.6)])
def test_rerouting_is_greedy(batch, name, factor):
    logits, found = batch
    limit = math.ceil(factor * K * T / E)
    for b in range(BATCHES):
        scores, routing = softmax(logits[b]), jax.tree.map(lambda leaf: leaf[b], found[name])  # noqa: B023
        taken, load, wanted = np.zeros(T, int), np.zeros(E, int), set()
        for pair in np.argsort(-scores, axis=None, kind="stable"):
            i, e = divmod(int(pair), E)
            if taken[i] < K and load[e] < limit:
                wanted.add((i, e))
                taken[i], load[e] = taken[i] + 1, load[e] + 1
        assert kept_pairs(routing.index, routing.keep) == wanted
        assert routing.aux["dropped"] == K * T - len(wanted)


def test_groups_get_equal_loads(batch):
    logits, found = batch
    assert (found["grouped"].load.reshape(BATCHES, 2, E // 2).sum(axis=-1) == K * T // 2).all()
    best = softmax(logits).reshape(BATCHES, T, 2, E // 2).argmax(axis=-1)
    np.testing.assert_array_equal(found["grouped"].index, best + np.array([0, E // 2]))


def test_documents_use_few_experts(batch):
    logits, found = batch
    scores = softmax(logits)
    for name in ("document_pools", "document_pools full"):
        routing = found[name]
        assert routing.keep.all()
        for b in range(BATCHES):
            for d in range(4):
                rows = d == DOCUMENT
                basis = scores[b, rows] if "full" in name else scores[b, rows][:1]
                pool = set(top(basis.sum(axis=0), 3))
                assert set(routing.index[b, rows].ravel()) <= pool
                inside = np.isin(np.arange(E), list(pool))
                np.testing.assert_array_equal(routing.index[b, rows], top(np.where(inside, scores[b, rows], -1), K))


def test_a_pool_follows_the_first_tokens_of_its_document(x64):
    """Against a loop over tokens, with padding in between."""
    rng = np.random.RandomState(0)
    logits, valid = rng.randn(20, T, E), rng.rand(20, T) < 0.8
    document = np.sort(rng.randint(0, 5, (20, T)), axis=1)
    router = routers.make("document_pools", E, K, pool=3, prefix=3)
    route = jax.jit(jax.vmap(lambda z, d, v: router.route((), z, Context(document=d, valid=v))))
    pools = route(logits, document, valid).aux["pool"]
    for z, d, v, pool in zip(softmax(logits), document, valid, pools, strict=True):
        for i in range(T):
            past = [j for j in range(i + 1) if d[j] == d[i] and v[j]][:3]
            np.testing.assert_array_equal(np.flatnonzero(pool[i]), np.sort(top(z[past].sum(axis=0), 3)))


def test_blocks_share_experts(batch):
    logits, found = batch
    assert ((found["expert_sharing"].load > 0).sum(axis=-1) <= 3).all()
    routing = found["expert_sharing seq"]
    best = softmax(logits).argmax(axis=-1)
    for b in range(BATCHES):
        np.testing.assert_array_equal(np.flatnonzero(routing.aux["coreset"][b]), np.unique(best[b]))
        np.testing.assert_array_equal(routing.keep[b].sum(axis=-1), min(K, len(set(best[b]))))


def test_the_quantile_router_balances_the_batch_it_has_seen(batch, x64):
    logits, found = batch
    router = MADE["quantile"]
    biased = 1 / (1 + np.exp(-logits)) + found["quantile"].aux["summary"][:, None]
    loads = np.array([np.bincount(top(rows, K).ravel(), minlength=E) for rows in biased])
    before = np.abs(found["quantile"].load - K * T / E).max(axis=-1)
    after = np.abs(loads - K * T / E).max(axis=-1)
    assert (after <= before).mean() > 0.9
    assert np.median(after) <= 2 < np.median(before)
    state = router.update(router.init(), None, jnp.asarray(found["quantile"].aux["summary"][0]))
    assert state.updates == 1
    np.testing.assert_allclose(state.bias, found["quantile"].aux["summary"][0], rtol=1e-6)


@jax.jit
def _losses(logits):
    """Of eight sequences: each one's loss, at even shares, all of them as one batch in several ways."""
    scores = jax.vmap(gating.scores_of)(logits)
    routing = jax.vmap(lambda z: softmax_topk.SoftmaxTopK(E, K).route((), z))(logits)
    shares, even = jax.vmap(share)(routing.load), jnp.full((E,), 1 / E)
    flat, index, keep = (x.reshape(-1, x.shape[-1]) for x in (scores, routing.index, routing.keep))
    sequence = jnp.repeat(jnp.arange(8), T, total_repeat_length=8 * T)
    sizes = heterogeneous.SizeWeighted(softmax_topk.SoftmaxTopK(E, K), (3,) * E, 1.0)
    of = balance_losses.load_balancing
    return {
        "each": jax.vmap(of)(scores, shares),
        "even shares": jax.vmap(lambda s: of(s, even))(scores),
        "uniform scores": of(jnp.full((T, E), 0.3), shares[0]),  # rows that sum to something else are normalised
        "uniform importance": balance_losses.importance(jnp.zeros((T, E))),
        "union": of(flat, shares.mean(axis=0)),
        "replicas, shares of all": jax.vmap(lambda s: of(s, shares.mean(axis=0)))(scores),
        "sequences": balance_losses.sequence_wise(flat, index, keep, sequence, num_sequences=8),
        "equal widths": sizes.loss(logits[0], jax.tree.map(lambda leaf: leaf[0], routing), shares[0]),
    }


def test_balance_losses_lie_in_their_range_and_are_one_at_uniform(x64):
    found = _losses(_draw(jnp.float64)[:8])
    assert ((found["each"] >= 0) & (found["each"] <= E)).all()
    for name in ("even shares", "uniform scores"):
        np.testing.assert_allclose(found[name], 1, rtol=1e-12)
    np.testing.assert_allclose(found["uniform importance"], 0, atol=1e-15)
    # The mean over replicas with the shares of all of them is the loss of the union; that of sequences is larger here.
    np.testing.assert_allclose(found["replicas, shares of all"].mean(), found["union"], rtol=1e-12)
    np.testing.assert_allclose(found["sequences"], found["each"].mean(), rtol=1e-12)
    assert found["sequences"] > found["union"]
    np.testing.assert_allclose(found["equal widths"], found["each"][0], rtol=1e-12)


def test_widths_are_cut_by_a_mask():
    np.testing.assert_array_equal(heterogeneous.width_mask((1, 3)), [[1, 0, 0], [1, 1, 1]])


def _gated_linear(hidden, weights):
    """All experts' outputs `[T, E, d]`."""
    gate, up = (np.einsum("td,edw->tew", hidden, weights[name]) for name in ("gate", "up"))
    return np.einsum("tew,ewd->ted", gate / (1 + np.exp(-gate)) * up, weights["down"])


def test_splitting_experts_keeps_outputs_and_cost():
    rng = np.random.RandomState(0)
    whole = {"gate": rng.randn(3, 4, 6), "up": rng.randn(3, 4, 6), "down": rng.randn(3, 6, 4)}
    hidden = rng.randn(5, 4)
    pieces = _gated_linear(hidden, fine_grained.split_experts(whole, 2)).reshape(5, 3, 2, 4).sum(axis=2)
    np.testing.assert_allclose(pieces, _gated_linear(hidden, whole), rtol=1e-12)
    costs = {fine_grained.flops_per_token(96, 64, active=2, split=m) for m in (1, 2, 4)}
    assert costs == {6 * 64 * 96 * 2}
    with pytest.raises(ValueError, match=r"split must divide the width 6, got 4\."):
        fine_grained.split_experts(whole, 4)


def _scaling(hidden, index, gate):
    """Expert k multiplies by k + 1; for indices of experts with weights only."""
    return jnp.sum(jnp.where(index < 3, gate * (index + 1), 0), axis=1, keepdims=True) * hidden


def test_experts_without_weights_do_what_they_say(x64):
    """Against sums over the experts of four kinds, one after the other."""
    router = mixture_plus.MixturePlus(3, 4, num_zero=1, num_copy=2, num_const=2)
    key = prng.root_key(0)
    hidden, logits = jax.random.normal(key, (T, 5)), jax.random.normal(prng.root_key(1), (T, E))
    learned = router.layer_parameters(prng.root_key(2), 5)
    mix = jax.jit(lambda z, x, learned: router.mix((), z, Context(hidden=x, parameters=learned), _scaling))
    out, routing = jax.device_get(mix(logits, hidden, learned))
    learned = jax.device_get(learned)
    expected = np.zeros((T, 5))
    for i in range(T):
        for e, gate in zip(routing.index[i], routing.gate[i], strict=True):
            x = np.asarray(hidden[i])
            if e < 3:
                expected[i] += gate * (e + 1) * x
            elif e == 3:
                assert gate == 0
            elif e < 6:
                expected[i] += gate * x
            else:
                a, b = softmax(x @ learned["mix"][e - 6])
                expected[i] += gate * (a * x + b * learned["vector"][e - 6])
    np.testing.assert_allclose(out, expected, atol=1e-12)
    others = np.where(np.asarray(routing.index) == 3, 0, routing.gate).sum(axis=1)
    np.testing.assert_allclose(others, 1, rtol=1e-12)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.1, 1.25])
def test_capacities_of_all_kinds_hold_enough(factor):
    for ffn, special in ((8, (1, 1, 2)), (5, (0, 3, 0)), (16, (1, 1, 1))):
        router = mixture_plus.MixturePlus(ffn, 2, *special, tau=0.6, factor=factor)
        for tokens in (1, 7, 64, 100):
            assert int(router.capacities(tokens).sum()) >= factor * 2 * tokens * (1 - 1e-12)


def test_the_recurrent_cell_is_the_textbook_one(x64):
    theirs = eqx.nn.GRUCell(6, 6, key=prng.root_key(0))
    cell = {"input": theirs.weight_ih.T, "state": theirs.weight_hh.T, "input_bias": theirs.bias}
    # Theirs has no bias of the state beside the candidate's.
    cell["state_bias"] = jnp.concatenate([jnp.zeros(12), theirs.bias_n])
    x, state = (jax.random.normal(prng.root_key(seed), (T, 6)) for seed in (1, 2))
    gru = jax.jit(recurrent_router.gru)
    np.testing.assert_allclose(gru(cell, x, state), jax.jit(jax.vmap(theirs))(x, state), atol=1e-12)
    carried = cell | {"input_bias": cell["input_bias"].at[6:12].set(1e3)}
    np.testing.assert_array_equal(gru(carried, x, state), state)


def test_memories_go_from_layer_to_layer(x64):
    """Two layers by hand: the second routes by what the first one handed on."""
    router = mixture_plus.GateResidual(recurrent_router.Recurrent(softmax_topk.SoftmaxTopK(E, K), 6))
    rng = np.random.RandomState(0)
    hidden, logits = rng.randn(T, 5), rng.randn(T, E)
    shared = router.shared_parameters(prng.root_key(2), 5)
    route = jax.jit(lambda memory, learned: router.route(
        (), jnp.asarray(logits), Context(hidden=jnp.asarray(hidden), memory=memory, parameters=learned, shared=shared)
    ))  # fmt: skip
    memory, state, before = router.memory(T, jnp.float64), np.zeros((T, 6)), np.zeros((T, E))
    for layer in range(2):
        learned = router.layer_parameters(prng.root_key(3 + layer), 5)
        learned["gate_residual"] = jnp.asarray(rng.randn(E, E))
        routing = jax.device_get(route(memory, learned))
        state = np.asarray(recurrent_router.gru(shared["cell"], hidden @ learned["project"], jnp.asarray(state)))
        before = before @ learned["gate_residual"] + logits
        memory = routing.aux["memory"]
        np.testing.assert_allclose(memory["recurrent"], state, atol=1e-12)
        np.testing.assert_allclose(memory["logits"], before, atol=1e-12)
        np.testing.assert_allclose(routing.aux["logits"], state @ learned["readout"], atol=1e-12)


def test_a_chain_calls_the_experts_again(x64):
    rng, inner = np.random.RandomState(0), softmax_topk.SoftmaxTopK(3, 2)
    hidden, logits, weights = rng.randn(T, 5), rng.randn(T, 3), rng.randn(2, 5, 3)

    def mixed(router, logits, hidden, weights=None):
        return router.mix((), logits, Context(hidden=hidden, parameters={"chain": weights}), _scaling)

    plain = jax.jit(lambda z, h: mixed(inner, z, h))
    once, first = jax.jit(lambda z, h: mixed(chain.Chain(inner, 1), z, h))(logits, hidden)
    np.testing.assert_allclose(once, plain(logits, hidden)[0], atol=1e-12)
    np.testing.assert_array_equal(first.index, plain(logits, hidden)[1].index)
    out, found = jax.jit(lambda *given: mixed(chain.Chain(inner, 3), *given))(logits, hidden, weights)
    h, load = hidden, 0
    for z in (lambda h: logits, *(lambda h, w=w: h @ w for w in weights)):
        step, routing = jax.device_get(plain(z(h), h))
        h, load = h + step, load + routing.load
    np.testing.assert_allclose(out, h - hidden, atol=1e-12)
    np.testing.assert_array_equal(found.load, load)
    assert found.index.shape == (T, 6)
