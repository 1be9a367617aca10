"""The audit's own pieces: the naive rule against an independent enumeration, and what the metrics report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.matching import audits
from research.core import prng
from research.matching import exact_law, oracles_exact, rates, rounding

ORDER = ("pivotal", "closed_form", "independent", "bins", "naive", "typed")


def rounded(key, types=0, dtype=jnp.float64):
    problem, x = audits.instance(key, 3, 3, types, dtype)
    return rounding.from_allocation(problem, x, rates.EDGE), rates.survival(x, rates.EDGE).T


def test_the_naive_law_is_that_of_an_independent_enumeration(x64):
    for seed in range(3):
        one, _ = rounded(prng.root_key(seed))
        free, _ = oracles_exact.rounding_law(one.weights, one.arrivals, one.rates, "naive")
        np.testing.assert_allclose(audits.naive_law(one), free, atol=1e-12)


def test_errors_are_seen(x64):
    """Against the survival of another solution the marginals are wrong; of a perfectly correlated pair, dependence."""
    one, survival = rounded(prng.root_key(0))
    free = exact_law.law(one).free
    marginal, slack = audits.errors(free, survival + 0.25)
    assert float(marginal) == pytest.approx(0.25, abs=1e-12)
    assert float(slack) < 1e-12
    together = jnp.asarray([[0.5, 0, 0, 0.5]])
    _, slack = audits.errors(together, jnp.full((1, 2), 0.5))
    assert float(slack) == pytest.approx(0.25)


def test_naive_slack_of_two_nodes(x64):
    """By hand: 1 - p - (1 - p r)^2 where 2 r > 1, and none below."""
    p, r = np.array([0.3, 0.8]), np.array([0.4, 0.9])
    by_hand = np.maximum(0, 1 - p[:, None] - (1 - p[:, None] * r) ** 2) * (r > 0.5)
    np.testing.assert_allclose(jax.device_get(audits.naive_slack(p, r)), by_hand, atol=1e-12)


def test_metrics_tell_the_rules_apart(play):
    _, curves = play("law.py:quick")
    for rule in ORDER:
        assert curves[f"marginal/{rule}"].max() < 1e-12
        assert (curves[f"dependence/{rule}"].max() > 1e-4) == (rule == "naive")
    expected = curves["survival"] * 1024
    assert np.abs(curves["free"] - expected).max() < 5 * np.sqrt(1024)  # Hoeffding: false alarm below 1e-18 per pair
