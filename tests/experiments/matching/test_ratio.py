"""Ratios: bounds hold instance by instance, and simulated contenders agree with exact ones."""

import jax
import pytest

from experiments.lib import lanes
from experiments.matching import contenders
from research.core import prng
from research.matching import problems


@pytest.fixture(scope="module")
def curves(play):
    return play("ratio.py:quick")[1]


def test_no_contender_beats_the_philosopher_nor_the_philosopher_the_bound(curves):
    best = curves["value/philosopher"]
    assert (best <= curves["dual"] + 1e-9).all()
    for name in (*contenders.ROUNDINGS, "greedy", "bid_price"):
        assert (curves[f"value/{name}"] <= best + 1e-9).all()
    assert (curves["value/closed_form"] >= 0.678 * curves["dual"]).all()


def test_host_oracles_bracket_the_certified_bounds(x64):
    one = problems.er(prng.root_key(3), 0.6, 4, 7, jax.numpy.float64)
    batch = jax.tree.map(lambda leaf: leaf[None], one)
    found = contenders.ex_ante_values(batch)
    solved = contenders.relaxed(one, 1e-6)
    assert float(solved.primal) - 1e-9 <= found["highs"][0] <= float(solved.dual) + 1e-9
    assert found["highs"][0] <= found["ex_ante"][0] + 1e-9
    assert found["value/half"][0] == pytest.approx(found["ex_ante"][0] / 2)  # x/2 on every edge, exactly
    assert found["value/fgl"][0] >= found["ex_ante"][0] / 2 - 1e-9


def test_simulation_agrees_with_enumeration():
    """Values lie in [0, 4]: by Hoeffding 0.15 is exceeded with probability 2 exp(-23) by each of five means."""
    one = problems.er(prng.root_key(4), 0.7, 4, 8)
    solved = contenders.relaxed(one, 1e-4)
    keys = lanes.run_keys(prng.root_key(5), 0, 8192)
    simulated, exact = contenders.simulated_values(one, solved, keys), contenders.exact_values(one, solved)
    for name, value in simulated.items():
        assert float(value) == pytest.approx(float(exact[name]), abs=0.15), name
