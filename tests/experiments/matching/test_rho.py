"""Searches stay above rho at the published pair, and equal nodes bind where the closed form promises too much."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.matching import twins
from research.matching import adversary, bounds


def test_equal_nodes_agree_with_the_enumeration(x64):
    """Three nodes at one use, by `twins` on that point alone and by the adversary's sum over sets."""
    eps, delta, used, share = 0.11, 0.18, 0.55, 0.25
    mass = (1 - share) / 3
    three = adversary.Configuration(jnp.full(3, used), jnp.full(3, mass), jnp.zeros(()), jnp.asarray(share))
    expected = adversary.expected_minimum(three, 1e-9, eps, delta)
    found = twins._proposed(eps, delta, jnp.asarray(3), jnp.asarray(used), jnp.asarray(share))
    assert float(found) == pytest.approx(float(expected), abs=1e-7)


def test_equal_nodes_bind_where_delta_is_large_beside_eps(x64):
    published = float(bounds.rho(0.11, 0.18).ratio)
    assert float(twins.least(0.11, 0.18)) >= published - 1e-9
    assert float(twins.least(0.02, 0.32)) < 0.66 < published < float(bounds.rho(0.02, 0.32).ratio)


def test_worst_so_far_falls_and_stays_above_rho_at_the_published_pair(play):
    config, curves = play("rho.py:quick")
    assert (np.diff(curves["worst"], axis=0) <= 0).all()
    eps, delta = config.problem.eps.index(0.11), config.problem.delta.index(0.18)
    worst = curves["worst"][-1, :, eps * len(config.problem.delta) + delta]
    assert (worst >= bounds.rho(0.11, 0.18).ratio - 1e-6).all()
    assert (worst < 0.7).all()
