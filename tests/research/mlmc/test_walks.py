"""Exact values of the walks, by Gauss and Hermite's quadrature nested as the definition is."""

import numpy as np
import pytest
from scipy import special

from research.mlmc import oracles, walks

#: Links of a walk with corners or jumps meet quadrature badly; their values are elementary.
SMOOTH = [name for name in walks.NAMES if name not in ("A4", "A5")]


@pytest.mark.parametrize("name", SMOOTH)
def test_quadrature_gives_the_closed_form(name, x64):
    problem = walks.walk(name, np.float64)
    walk, depth = oracles.walk(problem), problem.depth
    nodes, weights = np.polynomial.hermite_e.hermegauss(64 if depth < 3 else 40)
    weights = weights / weights.sum()

    def gamma(d, y):
        below = y[..., None] + walk.scales[d] * nodes
        value = walk.functions[d](below) if d == depth else walk.link(d, below, gamma(d + 1, below))
        return value @ weights

    assert gamma(0, np.asarray(walk.mean)) == pytest.approx(problem.exact, abs=2e-9 if name != "E3" else 1e-8)


def test_values_with_corners():
    assert walks.walk("A4").exact == pytest.approx(0.3989422804, abs=1e-10)
    assert walks.walk("A5").exact == pytest.approx(special.ndtr(0.3), abs=1e-12)
    with pytest.raises(ValueError, match="name must be one of"):
        walks.walk("A6")
