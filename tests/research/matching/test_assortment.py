"""Choice models against enumeration; the order's inequality where it holds and where not; guarantees; bad input."""

import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.core.status import Status
from research.matching import assortment, assortment_oracles, choice_models, submodular_orders

play = eqx.filter_jit(assortment.run)
value_of = eqx.filter_jit(lambda model, masks: model.value(masks))
revenue_of = eqx.filter_jit(lambda model, masks: model.revenue(masks))
offer_of = eqx.filter_jit(lambda model, masks: model.offer(masks))
violations = eqx.filter_jit(submodular_orders.order_violations)
search = eqx.filter_jit(assortment.search)


def logit(rng, n):
    return choice_models.MultinomialLogit(
        jnp.asarray(rng.random(n) + 0.1), jnp.asarray(rng.gamma(0.5, size=n) + 0.01), jnp.asarray(1.0)
    )


def mixture(rng, n, segments=3):
    weights = jnp.asarray(rng.gamma(0.5, size=(segments, n)) + 0.01)
    shares = jnp.asarray(rng.dirichlet(np.ones(segments)))
    return choice_models.Mixture(jnp.asarray(rng.random(n) + 0.1), weights, jnp.ones(segments), shares)


def chain(rng, n):
    moves = rng.random((n, n)) * (1 - np.eye(n))
    moves *= rng.uniform(0.3, 0.99, (n, 1)) / moves.sum(axis=1, keepdims=True)
    arrival = jnp.asarray(rng.dirichlet(np.ones(n)))
    return choice_models.MarkovChain(jnp.asarray(rng.random(n) + 0.1), arrival, jnp.asarray(moves))


class Coverage(eqx.Module):
    """Total weight of the points that chosen items cover: monotone and submodular, hence every order will do."""

    covers: jax.Array  # [N, points], boolean
    weight: jax.Array  # [points]

    @property
    def num_items(self):
        return self.covers.shape[0]

    def value(self, mask):
        return jnp.vectorize(
            lambda m: jnp.sum(jnp.where(jnp.any(m[:, None] & self.covers, axis=0), self.weight, 0)),
            signature="(n)->()",
        )(mask)


MODELS = [pytest.param(make, id=make.__name__) for make in (logit, mixture, chain)]


def all_masks(n):
    return ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1).astype(bool)


@pytest.mark.parametrize("make", MODELS)
def test_every_assortment_is_worth_what_enumeration_says(make, x64):
    rng = np.random.default_rng(0)
    model, masks = make(rng, 7), all_masks(7)
    np.testing.assert_allclose(revenue_of(model, masks), assortment_oracles.revenues(model), atol=1e-12)
    table = assortment_oracles.values(model)
    np.testing.assert_allclose(value_of(model, masks), table, atol=1e-12)
    offer = np.asarray(offer_of(model, masks))
    assert np.all(~offer | masks)
    if make is not mixture:  # one assortment for everybody: what is offered earns the value
        np.testing.assert_allclose(revenue_of(model, offer), table, atol=1e-12)


def test_segments_are_shown_what_is_best_for_them(x64):
    model = mixture(np.random.default_rng(1), 6)
    masks = all_masks(6)
    offers = offer_of(model, masks)
    earned = sum(
        share * revenue_of(choice_models.MultinomialLogit(model.prices, weights, outside), offer)
        for share, weights, outside, offer in zip(model.shares, model.weights, model.outside, offers, strict=True)
    )
    np.testing.assert_allclose(earned, value_of(model, masks), atol=1e-12)


def test_logit_by_hand():
    """Weights 1 and 1 beside an outside of 1: the dear item alone earns 5, with the cheap one 4."""
    model = choice_models.MultinomialLogit(jnp.asarray([10.0, 2.0]), jnp.ones(2), jnp.ones(()))
    masks = jnp.asarray([[0, 0], [1, 0], [0, 1], [1, 1]], bool)
    np.testing.assert_allclose(revenue_of(model, masks), [0, 5, 1, 4], rtol=1e-6)
    np.testing.assert_allclose(value_of(model, masks), [0, 5, 1, 5], rtol=1e-6)
    np.testing.assert_array_equal(offer_of(model, masks)[3], [True, False])


def test_a_memoryless_chain_is_the_logit(x64):
    rng = np.random.default_rng(2)
    model, masks = logit(rng, 6), all_masks(6)
    choice = model.weights / (model.outside + jnp.sum(model.weights))
    same = choice_models.MarkovChain(model.prices, choice, jnp.tile(choice, (6, 1)))
    np.testing.assert_allclose(revenue_of(same, masks), revenue_of(model, masks), atol=1e-12)
    np.testing.assert_allclose(value_of(same, masks), value_of(model, masks), atol=1e-12)


def test_upper_hull_by_definition():
    table = np.random.default_rng(3).random(32)
    sets = np.arange(32)
    expected = [table[(sets & ~s) == 0].max() for s in sets]
    np.testing.assert_array_equal(assortment_oracles.upper_hull(table), expected)


def stacked(models):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)


@pytest.mark.parametrize("make", [logit, mixture])
def test_price_is_a_submodular_order(make, x64):
    """All three properties on 12 instances of 8 items, 1,000 samples each; the reverse order is none."""
    rng = np.random.default_rng(4)
    models, keys = stacked([make(rng, 8) for _ in range(12)]), prng.replicate_keys(prng.root_key(0), 12)

    @jax.jit
    def worst(backwards, strong):
        def one(key, model):
            order = choice_models.by_price(model.prices)
            order = jnp.where(backwards, order[::-1], order)
            return submodular_orders.order_violations(key, model, order, 4000, strong=strong)

        return jax.vmap(one)(keys, models)

    for strong in (True, False):  # differences of four numbers below 2
        assert max(float(x.max()) for x in worst(False, strong)) <= 1e-14
    assert float(worst(True, True).submodular.max()) > 1e-3


@pytest.mark.parametrize("make", [logit, mixture])
def test_the_defining_inequality_on_all_triples(make, x64):
    """Every A, every B in A, every C after A: 602 triples of 6 items by price, 40 instances."""
    rng = np.random.default_rng(9)
    triples = [
        (a, b, c)
        for cut in range(1, 6)
        for a in range(1 << (cut - 1), 1 << cut)  # item cut - 1 is the last of A
        for b in range(a + 1)
        if b & ~a == 0
        for c in range(1 << cut, 64, 1 << cut)
    ]
    a, b, c = np.array(triples).T
    for _ in range(40):
        model = make(rng, 6)
        dearest_first = eqx.tree_at(lambda m: m.prices, model, jnp.sort(model.prices)[::-1])
        table = assortment_oracles.values(dearest_first)
        assert np.max((table[a | c] - table[a]) - (table[b | c] - table[b])) <= 1e-14


def test_price_is_no_submodular_order_for_every_chain(x64):
    """All want item 2 first. The cheap item 3 adds nothing to {2}; to {0, 2} it does, in place of 2 and beside 0.

    Then 2 is not sold, h_2 = 0.2 h_1 + 0.8 h_3 with h_1 = 0.42 + 0.2 h_2: 0.084 / 0.64 becomes 0.164 / 0.96.
    """
    gain = 0.164 / 0.96 - 0.084 / 0.64
    model = choice_models.MarkovChain(
        jnp.asarray([0.7, 0.2, 0.1, 0.1]),
        jnp.asarray([0.0, 0.0, 1.0, 0.0]),
        jnp.asarray([[0, 0, 0.9, 0], [0.6, 0, 0.2, 0], [0, 0.2, 0, 0.8], [0, 0, 0.4, 0]]),
    )
    table = assortment_oracles.values(model)
    assert table[0b1100] == pytest.approx(table[0b0100], abs=1e-12)
    assert table[0b1101] - table[0b0101] == pytest.approx(gain, abs=1e-12)
    found = violations(prng.root_key(0), model, choice_models.by_price(model.prices), 2000)
    assert float(found.submodular) == pytest.approx(gain, abs=1e-12)
    assert max(float(found.monotone), float(found.subadditive)) <= 1e-14


def constrained(rng, model, order, constraint):
    n = model.num_items
    if constraint == "cardinality":
        return assortment.with_cardinality(model, order, int(rng.integers(1, n // 2 + 1)))
    if constraint == "budget":
        return assortment.with_budget(model, order, rng.random(n) ** 2, rng.uniform(0.2, 1.5))
    return assortment.with_parts(model, order, rng.integers(0, 3, n), rng.integers(1, 4, 3))


def set_number(mask):
    return int(np.asarray(mask) @ (1 << np.arange(len(mask))))


@pytest.mark.parametrize(
    ("make", "constraint"), [*((logit, c) for c in assortment.CONSTRAINTS), (mixture, "cardinality")]
)
def test_guarantee_against_brute_force(make, constraint, x64):
    rng = np.random.default_rng(5)
    floor = assortment.guarantee(constraint, epsilon=0.1)
    for _ in range(15):
        model = make(rng, 10)
        problem = constrained(rng, model, choice_models.by_price(model.prices), constraint)
        result = search(problem, constraint)
        best = assortment_oracles.brute_force(problem)
        chosen = set_number(result.chosen)
        assert assortment_oracles.feasible(problem)[chosen]
        assert float(result.value) == pytest.approx(assortment_oracles.values(model)[chosen], abs=1e-12)
        assert floor * best.value <= float(result.value) * (1 + 1e-12)
        assert float(result.value) <= best.value + 1e-12


@pytest.mark.parametrize("constraint", assortment.CONSTRAINTS)
def test_guarantee_for_coverage_in_any_order(constraint, x64):
    """Submodular functions have every order; adversarial here: the heaviest items come last."""
    rng = np.random.default_rng(6)
    for _ in range(15):
        covers = rng.random((9, 30)) < rng.random((9, 1)) * 0.5
        model = Coverage(jnp.asarray(covers), jnp.asarray(rng.gamma(0.3, size=30)))
        table = np.asarray(value_of(model, all_masks(9)))
        order = np.argsort(covers.sum(axis=1))
        problem = constrained(rng, model, order, constraint)
        best = np.where(assortment_oracles.feasible(problem), table, -1).max()
        result = search(problem, constraint)
        assert assortment_oracles.feasible(problem)[set_number(result.chosen)]
        assert float(result.value) >= assortment.guarantee(constraint, epsilon=0.1) * best - 1e-12


def test_greedy_has_no_guarantee_and_threshold_mends_it():
    """One item may be offered; the dearest comes first and nobody wants it."""
    model = choice_models.MultinomialLogit(jnp.asarray([2.0, 1.0]), jnp.asarray([1e-3, 10.0]), jnp.ones(()))
    problem = assortment.with_cardinality(model, [0, 1], 1)
    greedy = play(problem, assortment.Params(2, "greedy"))
    found = search(problem, "cardinality")
    np.testing.assert_array_equal(greedy.state.chosen, [True, False])
    np.testing.assert_array_equal(found.chosen, [False, True])
    assert float(greedy.state.value) < 0.01 * float(found.value)


def test_the_best_single_item_stands_in_where_the_budget_is_blocked():
    """Item 0 costs little and passes the threshold; the valuable item 1 then no longer fits, alone it does."""
    covers = jnp.asarray([[True, False], [False, True]])
    problem = assortment.with_budget(Coverage(covers, jnp.asarray([0.2, 1.0])), [0, 1], [0.1, 1.0], 1.0)
    result = play(problem, assortment.Params(2, "threshold", 1.0))
    np.testing.assert_array_equal(result.state.chosen, [True, False])
    np.testing.assert_array_equal(result.chosen, [False, True])
    assert float(result.value) == 1.0


def test_swap_by_hand():
    """One item of the part: 1.0 is replaced by 2.5, not by 4.9, which is less than twice 2.5; 5 replaces it."""
    covers = jnp.eye(4, dtype=bool)
    problem = assortment.with_parts(Coverage(covers, jnp.asarray([1.0, 2.5, 4.9, 5.0])), range(4), [0] * 4, [1])
    result = play(problem, assortment.Params(4, "swap"))
    np.testing.assert_array_equal(result.trace.accepted, [True, True, False, True])
    np.testing.assert_array_equal(result.chosen, [False, False, False, True])
    np.testing.assert_array_equal(result.state.weight, [0, 0, 0, 5.0])


@pytest.mark.parametrize("rule", assortment.RULES)
def test_scan_against_a_loop_over_sets(rule, x64):
    """The same rules on Python sets and the table of all values."""
    rng = np.random.default_rng(7)
    for _ in range(6):
        model = logit(rng, 8)
        order = np.asarray(choice_models.by_price(model.prices))
        table = assortment_oracles.values(model)
        f = lambda items, table=table: table[sum(1 << i for i in items)]  # noqa: E731
        part, capacity = rng.integers(0, 2, 8), rng.integers(1, 4, 2)
        problem = assortment.with_parts(model, order, part, capacity)
        kept, weight = set(), {}
        for e in map(int, order):
            gain = f(kept | {e}) - f(kept)
            peers = [i for i in kept if part[i] == part[e]]
            room = len(peers) < capacity[part[e]]
            if rule == "swap" and not room:
                lightest = min(peers, key=lambda i: (weight[i], i))
                if gain >= 2 * weight[lightest]:
                    kept, weight = (kept - {lightest}) | {e}, weight | {e: gain}
            elif room and (gain > 0 if rule == "greedy" else gain >= 0):
                kept, weight = kept | {e}, weight | {e: gain}
        result = play(problem, assortment.Params(8, rule))
        assert {int(i) for i in np.flatnonzero(result.state.chosen)} == kept
        assert float(result.state.value) == pytest.approx(f(kept), abs=1e-12)


def test_guarantees():
    assert assortment.guarantee("cardinality") == 0.5
    assert math.isclose(assortment.guarantee("budget", epsilon=0.5), 2 / 9)
    assert assortment.guarantee("partition", epsilon=9.0) == 0.25


MODEL = logit(np.random.default_rng(8), 4)


def built(**changes):
    problem = assortment.with_budget(MODEL, range(4), [0.5] * 4, 1.0)
    return eqx.tree_at(lambda p: [getattr(p, name) for name in changes], problem, list(changes.values()))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (built(order=np.array([0, 1, 2, 2])), "order must be a permutation of 0..3"),
        (built(order=np.arange(3)), "order must list all 4 items, got 3 entries."),
        (built(cost=np.ones(3)), "cost must have shape (4), got (3,)."),
        (built(cost=np.array([0.1, -0.2, 0, 0])), "cost must lie in [0, inf], got -0.2 at index 1"),
        (built(cost=np.array([0.1, np.inf, 0, 0])), "cost must be finite, got inf at index 1"),
        (built(budget=np.array(np.nan)), "budget must be finite, got nan."),
        (built(part=np.array([0, 0, 1, 0])), "part must lie in [0, 0], got 1 at index 2"),
        (built(capacity=np.array([0])), "capacity must lie in [1, inf], got 0 at index 0"),
    ],
)
def test_bad_problems_are_named(problem, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        assortment.run(problem, assortment.Params(problem.num_items))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: assortment.Params(4, "best"), "Params.rule must be one of 'greedy'"),
        (lambda: assortment.Params(0), "Params.num_steps must be >= 1, got 0."),
        (lambda: assortment.Params(4, threshold=-1.0), "Params.threshold must lie in [0, inf], got -1.0."),
        (lambda: assortment.run(built(), assortment.Params(5)), "Params.num_steps must be <= 4, the number of items"),
        (lambda: assortment.run(built(), assortment.Params(4, "swap")), "cost under rule 'swap' must lie in [0, 0]"),
        (lambda: assortment.guarantee("matroid"), "constraint must be one of 'cardinality'"),
        (lambda: assortment.guarantee("budget", epsilon=-1), "epsilon must lie in [0, inf], got -1."),
        (lambda: assortment.search(built(), "budget", epsilon=0.0), "epsilon must be positive and finite, got 0.0."),
        (lambda: assortment_oracles.values(logit(np.random.default_rng(0), 21)), "number of items must lie in [1, 20]"),
        (lambda: assortment_oracles.revenues(Coverage(np.eye(2), np.ones(2))), "model must be one of choice_models"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


P, W, ONE = np.ones(2), np.full(2, 0.5), np.ones(())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (choice_models.MultinomialLogit(-P, W, ONE), "prices must lie in [0, inf], got -1.0 at index 0"),
        (choice_models.MultinomialLogit(P * np.inf, W, ONE), "prices must be finite, got inf at index 0"),
        (choice_models.MultinomialLogit(P, 0 * W, ONE), "weights must be positive and finite, got 0.0 at index 0"),
        (choice_models.MultinomialLogit(P, W[:1], ONE), "weights must have shape (2), got (1,)."),
        (choice_models.MultinomialLogit(P, W, 0 * ONE), "outside must be positive and finite, got 0.0."),
        (choice_models.MarkovChain(P, 2 * W, np.zeros((2, 2))), "sum of arrival must lie in [0, 1], got 2.0."),
        (
            choice_models.MarkovChain(P, W, np.full((2, 2), 0.5)),
            "rows of transition summed must lie in [0, 0.999999]",
        ),
        (choice_models.MarkovChain(P, W, np.zeros(2)), "transition must have shape (2, 2), got (2,)."),
        (choice_models.Mixture(P, np.ones((3, 2)), np.ones(2), np.ones(3) / 3), "outside must have shape (3), got"),
        (choice_models.Mixture(P, np.ones((2, 2)), P, P), "shares must sum to 1"),
    ],
)
def test_bad_models_are_named(model, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model.validate()


def test_items_past_the_end_are_reported():
    problem, params = assortment.example(prng.root_key(0))
    done = play(problem, params).state
    again = eqx.filter_jit(lambda p, s: assortment.run(p, params, state=s))(problem, done)
    assert again.status == Status.NONFINITE
    np.testing.assert_array_equal(again.state.chosen, done.chosen)
