"""Bounds: worked values, the identity behind them, the search that tries to break them, bad input."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.core import prng
from research.matching import adversary, bounds

EDGE, NAOR, PLAIN = (0.11, 0.18), (0.048, 0.0643), (0.0, 0.0)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("rescaling", "ratio", "exhausted"),
    [(EDGE, 0.678965138, 0.723862), (NAOR, 0.652796899, 0.889165), (PLAIN, 1 - 1 / math.e, 1.0)],
)
def test_rho_reproduces_the_published_constants(rescaling, ratio, exhausted):
    worst = bounds.rho(*rescaling)
    np.testing.assert_allclose(worst.ratio, ratio, rtol=0, atol=1e-9)
    np.testing.assert_allclose(worst.exhausted, exhausted, rtol=0, atol=5e-7)  # six digits are given


@pytest.mark.usefixtures("x64")
def test_rho_is_the_minimum_over_the_exhausted_mass():
    eps, delta = (grid.ravel() for grid in np.meshgrid(np.linspace(0.01, 0.9, 20), np.linspace(0.01, 2, 20)))
    s = np.linspace(0, 1, 20_001)[:, None]
    brute = np.min(1 - (eps + (1 - eps) * s) * np.exp(-(1 + delta) * s), 0)
    # The objective is smooth with curvature below 10: off the minimum by half a grid step costs less than 10 h^2 / 8.
    np.testing.assert_allclose(bounds.rho(eps, delta).ratio, brute, rtol=0, atol=10 * 5e-5**2 / 8)
    assert np.all(np.asarray(bounds.rho(eps, delta).ratio) <= brute + 1e-15)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("size", "unscaled", "scaled"), [(50, 0.650851, 0.681327), (200, 0.649459, 0.679552), (1000, 0.649090, 0.679082)]
)
def test_hard_edge_has_its_worked_ratios(size, unscaled, scaled):
    np.testing.assert_allclose(bounds.hard_edge_ratio(size, 0.724), unscaled, rtol=0, atol=5e-7)
    np.testing.assert_allclose(bounds.hard_edge_ratio(size, 0.724, *EDGE), scaled, rtol=0, atol=5e-7)


@pytest.mark.usefixtures("x64")
def test_hard_edge_tends_to_rho_and_stays_above_it():
    worst = bounds.rho(*EDGE)
    ratios = [float(bounds.hard_edge_ratio(10**k, worst.exhausted, *EDGE)) for k in range(1, 7)]
    assert np.all(np.diff(ratios) < 0)
    assert 0 < ratios[-1] - float(worst.ratio) < 1e-6


def test_hard_edge_does_not_cancel_in_single_precision():
    with jax.enable_x64(True):
        exact = float(bounds.hard_edge_ratio(10**6, jnp.float64(0.724), *EDGE))
    assert abs(float(bounds.hard_edge_ratio(10**6, jnp.float32(0.724), *EDGE)) - exact) < 1e-6


def closed_form_law(order, rates, free):
    """P[node is the best proposer | free], node by node from the definition."""
    mass, law = 0.0, np.zeros(len(rates))
    for node in order:
        share = rates[node] * free[node]
        law[node] = min(1, mass + share) - min(1, mass)
        mass += share
    return law


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("n", [1, 4])
def test_a_step_is_worth_what_the_identity_says(n):
    rng = np.random.default_rng(n)
    weights = rng.integers(0, 4, (30, n)) / 2  # ties
    rates, x, arrivals, laws = (
        rng.random((30, n)),
        rng.random((30, n)),
        rng.random(30),
        rng.dirichlet(np.ones(2**n), 30),
    )
    value = np.zeros(30)
    for lane in range(30):
        order = np.argsort(-weights[lane], kind="stable")
        for free in itertools.product((0, 1), repeat=n):
            chance = arrivals[lane] * laws[lane, sum(bit << i for i, bit in enumerate(free))]
            value[lane] += chance * closed_form_law(order, rates[lane], free) @ weights[lane]
    ours = jax.jit(jax.vmap(bounds.policy_value_of_step))(*(jnp.asarray(a) for a in (weights, arrivals, rates, laws)))
    np.testing.assert_allclose(ours, value, rtol=0, atol=1e-14)
    relaxation = jax.jit(jax.vmap(bounds.relaxation_value_of_step))(jnp.asarray(weights), jnp.asarray(x))
    np.testing.assert_allclose(relaxation, (weights * x).sum(1), rtol=0, atol=1e-14)


# The search.


def configuration(used, mass, fresh=0.0, exhausted=0.0):
    return adversary.Configuration(*(jnp.asarray(leaf, jnp.float64) for leaf in (used, mass, fresh, exhausted)))


@pytest.mark.usefixtures("x64")
def test_expected_minimum_of_an_instance_with_many_thin_nodes():
    """Fresh and exhausted mass are limits: 4,000 nodes each, the count of free exhausted ones binomial."""
    many, fresh, exhausted, arrival = 4000, 0.3, 0.6, 0.5
    eps, delta = EDGE
    used, mass = np.array([0.2, 0.55]), np.array([0.05, 0.05])
    thin = configuration(used, mass, fresh, exhausted)
    free = 1 - np.asarray(bounds.rescaled(used, *EDGE))
    rates = np.asarray(bounds.rescaled(used + arrival * mass, *EDGE) - bounds.rescaled(used, *EDGE)) / arrival / free
    nobody = (1 - (1 + delta) * exhausted / many) ** many
    value = 1 - nobody
    for subset in itertools.product((0, 1), repeat=2):
        chance = np.prod(np.where(subset, free, 1 - free))
        value += nobody * chance * min(1, (1 - eps) * fresh + np.dot(subset, rates))
    np.testing.assert_allclose(adversary.expected_minimum(thin, arrival, *EDGE), value, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_the_closed_form_is_one_of_the_configurations():
    worst = bounds.rho(*EDGE)
    at_rho = configuration([0.5], [0.0], 1 - worst.exhausted, worst.exhausted)
    np.testing.assert_allclose(adversary.ratio(at_rho, 1e-4, *EDGE), worst.ratio, rtol=0, atol=1e-14)


@pytest.fixture(scope="module")
def found():
    """The worst configurations of one batched search at four rescalings; the last moves along a level of rho."""
    with jax.enable_x64(True):
        rescalings = jnp.asarray([EDGE, NAOR, PLAIN, (0.2, 0.3)], jnp.float64)
        search = jax.vmap(
            lambda pair: adversary.search(prng.root_key(0), pair[0], pair[1], num_starts=24, num_steps=1000)
        )
        return jax.device_get((search(rescalings), bounds.rho(*rescalings.T)))


def test_the_search_finds_nothing_below_rho_at_the_published_parameters(found):
    worst, rho = found
    excess = worst.ratio - rho.ratio
    assert np.all(excess[:3] >= -1e-12)  # evidence, not proof: nothing lower exists among what was tried
    assert np.all(excess[:3] <= 1e-5)  # and the climbs do arrive


def test_the_search_finds_a_worse_configuration_where_there_is_one(found):
    worst, rho = found
    assert worst.ratio[3] < rho.ratio[3] - 0.007
    one = jax.tree.map(lambda leaf: leaf[3], worst.configuration)
    assert np.all(one.used + one.mass <= 1 + 1e-12)
    assert one.mass.sum() + one.fresh + one.exhausted <= 1 + 1e-12
    with jax.enable_x64(True):
        again = adversary.ratio(configuration(*one), worst.arrival[3], 0.2, 0.3)
    np.testing.assert_allclose(again, worst.ratio[3], rtol=0, atol=1e-12)


@pytest.mark.slow  # 14 s: thirty searches
@pytest.mark.usefixtures("x64")
def test_vertex_weights_allow_more_than_the_published_ratio():
    evidence = adversary.vertex_weights(prng.root_key(0))
    assert np.all(np.diff(evidence.integrals) <= 1e-9)  # cuts only ever lower the optimum
    assert np.all(np.diff(evidence.g) <= 1e-12)
    assert evidence.violation < 1e-6
    # Seeds and numbers of nodes give 0.7085 to 0.7093; the parameters behind the published 0.685 are not known.
    assert bounds.GUARANTEES["pivotal_vertex"].ratio < evidence.integrals[-1] < 0.711


def test_guarantees_are_ordered_as_the_literature_improves():
    ratios = {name: row.ratio for name, row in bounds.GUARANTEES.items()}
    line = ("half", "papadimitriou", "saberi_wajc", "independent", "bins", "pivotal", "pivotal_vertex")
    assert [ratios[name] for name in line] == sorted(ratios[name] for name in line)
    assert ratios["pivotal"] <= bounds.rho(*EDGE).ratio
    assert ratios["bins"] <= bounds.rho(*NAOR).ratio


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bounds.rho(1.0, 0.1), r"\(eps, delta\) must satisfy eps < 1 .* got \(1\.0, 0\.1\)"),
        (lambda: bounds.rho(-0.1, 0.1), r"eps must lie in \[0, 1\], got -0\.1"),
        (lambda: bounds.rho(0.1, -0.1), r"delta must be >= 0, got -0\.1"),
        (lambda: bounds.rho(0.1, math.nan), r"delta must be finite, got nan"),
        (lambda: bounds.rho(0.0, 0.1), r"both 0, got \(0\.0, 0\.1\)"),
        (lambda: bounds.rho(np.array([0.1, 0.2]), np.array([0.1, 0.0])), r"both 0, got \(0\.2, 0\.0\)"),
        (lambda: bounds.hard_edge_ratio(0, 0.5), r"num_exhausted must be >= 1, got 0"),
        (lambda: bounds.hard_edge_ratio(5, 1.5), r"poisson must lie in \[0, 1\], got 1\.5"),
        (lambda: adversary.search(prng.root_key(0), 0.1, 0.1, num_nodes=11), r"num_nodes must lie in \[0, 10\]"),
        (lambda: adversary.search(prng.root_key(0), 0.1, 0.1, num_starts=0), r"num_starts must be >= 1, got 0"),
        (lambda: adversary.search(prng.root_key(0), 0.1, 0.1, num_steps=0), r"num_steps must be >= 1, got 0"),
        (lambda: adversary.search(prng.root_key(0), 0.1, 0.1, arrivals=(0.5, 0.0)), r"arrivals must be positive"),
        (lambda: adversary.search(prng.root_key(0), 0.1, 0.1, arrivals=(0.5, 1.1)), r"arrivals must lie in \[0, 1\]"),
        (lambda: adversary.vertex_weights(prng.root_key(0), num_points=1), r"num_points must be >= 2, got 1"),
        (lambda: adversary.vertex_weights(prng.root_key(0), num_rounds=0), r"num_rounds must be >= 1, got 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
